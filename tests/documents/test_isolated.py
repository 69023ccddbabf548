from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from runner.documents.isolated import Failure, Isolated
from runner.errors import StepError

READER = "tests.documents.odd_readers:read"


def gone(process: int) -> bool:
    """Whether a process has ended, as it must within a moment."""
    for _ in range(100):
        try:
            if "\nState:\tZ" in Path(f"/proc/{process}/status").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_answers_come_in_the_order_of_the_items_each_from_its_own_process() -> None:
    items = [{"do": "sleep", "seconds": 0.2 if number % 3 == 0 else 0, "n": number} for number in range(20)]
    with Isolated(READER, concurrency=3) as isolated:
        answers = list(isolated.map(items))
        warm = isolated._process
        again = list(isolated.map(items[:2]))
        assert isolated._process is warm, "the warm process serves later calls too"
    assert [answer["item"] for answer in answers] == items
    assert [answer["item"] for answer in again] == items[:2]
    processes = {answer["process"] for answer in answers}
    assert len(processes) == 20
    assert warm is not None
    assert all(map(gone, [warm.pid, *processes]))


def test_several_are_worked_on_at_once() -> None:
    started = time.monotonic()
    with Isolated(READER, concurrency=8) as isolated:
        next(isolated.map([{"do": "exit", "status": 0}]))  # warm
        started = time.monotonic()
        list(isolated.map([{"do": "sleep", "seconds": 0.4}] * 8))
    assert time.monotonic() - started < 8 * 0.4 / 2


HOSTILE = [
    ({"do": "kill", "signal": signal.SIGSEGV}, "reading it crashed (SIGSEGV)"),
    ({"do": "kill", "signal": signal.SIGKILL}, "reading it crashed (SIGKILL)"),
    ({"do": "exit", "status": 3}, "reading it ended with status 3"),
    ({"do": "raise"}, "reading it failed: ValueError: odd ? thing"),
    ({"do": "bloat", "bytes": 10**10}, "reading it takes more than 400 MB"),
    ({"do": "bloat and crash", "megabytes": 250}, "reading it takes more than 400 MB"),
    ({"do": "sleep", "seconds": 99}, "reading it takes more than 3 s"),
    ({"do": "spin"}, "reading it takes more than 3 s"),
]


def test_an_item_that_crashes_hangs_or_bloats_harms_only_itself() -> None:
    started = time.monotonic()
    good = {"do": "write"}
    items = [item for hostile, _ in HOSTILE for item in (hostile, good)]
    with Isolated(READER, seconds=3, megabytes=400, concurrency=4) as isolated:
        answers = list(isolated.map(items))
    assert answers[::2] == [Failure(reason) for _, reason in HOSTILE]
    assert [answer["item"] for answer in answers[1::2]] == [good] * len(HOSTILE)
    assert time.monotonic() - started < 40


def test_large_answers_wait_on_the_disk_and_nothing_is_left_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with Isolated(READER, concurrency=4) as isolated:
        answers = [len(answer) for answer in isolated.map([{"do": "bloat", "bytes": 8_000_000}] * 6)]
        assert list(tmp_path.iterdir()) == []
    assert answers == [8_000_000] * 6


def test_a_mistake_of_the_user_ends_the_work_in_its_own_words() -> None:
    with Isolated(READER) as isolated, pytest.raises(StepError, match="a package is missing") as caught:
        list(isolated.map([{"do": "refuse"}]))
    assert caught.value.remedy == "install it"


def test_a_bug_is_not_taken_for_a_damaged_file() -> None:
    with Isolated(READER) as isolated, pytest.raises(StepError, match="ModuleNotFoundError: No module named") as caught:
        list(isolated.map([{"do": "bug"}]))
    assert "this is a bug in the runner or a library below it (odd_readers.py, line" in caught.value.remedy


def test_a_process_that_does_not_start_is_said() -> None:
    with Isolated("runner.documents.nothing:read") as isolated, pytest.raises(StepError, match="does not run"):
        list(isolated.map([{}]))


def wait_for(file: Path) -> int:
    for _ in range(400):
        if file.exists() and (text := file.read_text()):
            return int(text)
        time.sleep(0.05)
    raise AssertionError("the reader did not start")


def test_who_waits_may_stop_and_takes_all_processes_along(tmp_path: Path) -> None:
    def tick() -> None:
        if (tmp_path / "child").exists():
            raise KeyboardInterrupt

    isolated = Isolated(READER, tick=tick)
    with isolated, pytest.raises(KeyboardInterrupt):
        list(isolated.map([{"do": "tell", "file": str(tmp_path / "child")}]))
    assert gone(wait_for(tmp_path / "child"))


@pytest.mark.parametrize("victim", ["caller", "nursery"])
def test_a_kill_leaves_no_process_behind(tmp_path: Path, victim: str) -> None:
    program = (
        "import sys\n"
        "from runner.documents.isolated import Isolated\n"
        f"isolated = Isolated({READER!r}, concurrency=2)\n"
        "isolated._start()\n"
        f"open({str(tmp_path / 'nursery')!r}, 'w').write(str(isolated._process.pid))\n"
        f"try: list(isolated.map([{{'do': 'tell', 'file': {str(tmp_path)!r} + '/' + name}} for name in ('a', 'b')]))\n"
        "except Exception as error: sys.exit(str(error))\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
    nursery = wait_for(tmp_path / "nursery")
    children = [wait_for(tmp_path / "a"), wait_for(tmp_path / "b")]
    os.kill(caller.pid if victim == "caller" else nursery, signal.SIGKILL)
    _, said = caller.communicate(timeout=20)
    assert all(map(gone, [nursery, *children]))
    if victim == "nursery":
        assert "the process that reads files does not run" in said


def test_secrets_of_an_item_are_on_no_command_line(tmp_path: Path) -> None:
    items: list[Any] = [{"do": "tell", "file": str(tmp_path / "child"), "password": "canary-password"}]

    def tick() -> None:
        if (tmp_path / "child").exists() and (tmp_path / "child").read_text():
            raise KeyboardInterrupt

    isolated = Isolated(READER, tick=tick)
    with isolated:
        answers = isolated.map(items)
        isolated._start()
        assert isolated._process is not None
        line = Path(f"/proc/{isolated._process.pid}/cmdline").read_bytes() + Path(f"/proc/{isolated._process.pid}/environ").read_bytes()
        with pytest.raises(KeyboardInterrupt):
            next(answers)
    assert b"canary" not in line
