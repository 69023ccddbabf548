"""What a worker can do to itself is that step's failure, in words, while the runner lives."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from runner.engine import Store, run, scrub
from runner.engine.events import Event, Log
from tests.engine.toys.building import instance, recipe

WORDS = {
    "step-error": "there is nothing to write",
    "bug": "ZeroDivisionError: one by nothing",
    "segfault": "the worker crashed with a segmentation fault (SIGSEGV); the last lines of its log:",
    "killed": "the worker was killed (SIGKILL), most likely because the machine ran out of memory; it had used ",
    "exit": "the worker ended itself with exit status 3",
    "nothing": "the worker ended itself with exit status 0",
    "sys-exit": "the step ended the process itself (exit 4)",
    "memory": "out of memory",
    "disk": "the disk is full (somewhere)",
    "foreign-file": "the step wrote stray, which belongs to none of its outputs: main",
    "link": "the step wrote provenance/link, which is no regular file",
    "output-is-link": "the step wrote provenance, which is no regular file",
    "hard-link": "the step wrote provenance/toy, which is a hard link to another file",
    "no-folder": "the step removed the folder that it was to write into, or put something else there",
    "odd-name": "the step wrote a file with an unprintable name: 'a\\udcff'",
    "half-character": "the file a? is odd",
    "no-text": "not a text",
    "mute": "Mute: it cannot be put in words",
    "odd-metric": "ValueError: could not convert string to float: 'high'",
    "odd-progress": "ValueError: could not convert string to float: 'some'",
    "real-time-signal": "the worker was ended by signal 40",
}


@pytest.mark.parametrize("wrong", WORDS)
def test_every_way_to_go_wrong(root: Path, store: Store, wrong: str) -> None:
    whole = recipe(root, instance("a", wrong=wrong), instance("b"))
    result = run(whole, store)
    assert result.instances["a"].error is not None
    assert result.instances["a"].error["message"].startswith(WORDS[wrong])
    assert result.instances["b"].state == "done"
    assert result.exit_code == 1
    assert result.instances["a"].artifact is None
    assert not store.folder(str(result.instances["a"].key)).exists()


@pytest.mark.parametrize("odd", ["half-characters", "odd-numbers"])
def test_what_no_file_can_hold_is_told_differently(root: Path, store: Store, odd: str) -> None:
    result = run(recipe(root, instance("a", wrong=odd)), store)
    assert (result.exit_code, result.instances["a"].state) == (0, "done")
    assert result.folder is not None
    told = [json.loads(line) for line in (result.folder / "events.jsonl").read_text().splitlines()]
    said = [event for event in told if event["event"] in ("log", "warning", "fact", "progress", "metrics")]
    if odd == "half-characters":
        assert [event.get("message") for event in said][:2] == ["a?", "b?"]
        assert result.instances["a"].warnings == ["b?"]
        assert json.loads((result.folder / "run.json").read_text())["instances"][0]["facts"]["c?"] == {"value": "d?", "unit": ""}
    else:
        assert [(event["done"], event["total"]) for event in said if event["event"] == "progress"] == [(0.0, None)]
        assert [event["values"] for event in said if event["event"] == "metrics"] == [{"loss": None}]
        assert result.instances["a"].facts["n"]["value"] == 2**70


def test_a_log_that_grows_on_and_on_keeps_its_beginning_and_its_end(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrub, "LARGEST_LOG", 200_000)
    monkeypatch.setattr(scrub, "BEGINNING", 1000)
    result = run(recipe(root, instance("a", wrong="chatter")), store)
    assert result.folder is not None
    log = (result.folder / "logs/a.log").read_text()
    assert len(log) < 300_000
    assert log.startswith("x" * 99 + "\n")
    assert "MiB of this log were left out here]" in log
    assert log.endswith("x" * 99 + "\n")


def test_a_crash_shows_where(root: Path, store: Store) -> None:
    result = run(recipe(root, instance("a", wrong="segfault")), store)
    error = result.instances["a"].error or {}
    assert "Fatal Python error: Segmentation fault" in error["message"]
    assert "string_at" in error["message"]
    assert result.folder is not None
    assert "about to crash" in (result.folder / "logs/a.log").read_text()


def test_a_bug_leaves_its_traceback_in_the_log_alone(root: Path, store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    result = run(recipe(root, instance("a", wrong="bug")), store)
    assert result.folder is not None
    assert "Traceback" in (result.folder / "logs/a.log").read_text()
    assert capfd.readouterr() == ("", "")


def test_a_timeout(root: Path, store: Store) -> None:
    result = run(recipe(root, instance("a", seconds=30, resources={"timeout": 0.3})), store)
    assert result.instances["a"].error == {
        "message": "took longer than its timeout of 0.3 s",
        "remedy": "raise resources.timeout, or give it less to do",
    }


def logged(root: Path, store: Store, offline: bool = False, **resources: Any) -> list[str]:
    seen: list[Event] = []
    run(
        recipe(root, instance("a", wrong="threads", resources=resources, name=str(resources))), store, offline=offline, listener=seen.append
    )
    return [event.message for event in seen if isinstance(event, Log)]


def test_threads_and_offline_reach_the_worker(root: Path, store: Store) -> None:
    assert logged(root, store, threads=3) == ["threads 3 offline None False"]
    assert logged(root, store, offline=True) == [f"threads {len(os.sched_getaffinity(0))} offline 1 True"]


def gone(process: int) -> bool:
    for _ in range(60):
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_what_a_step_has_started_ends_with_it(root: Path, store: Store) -> None:
    run(recipe(root, instance("a", wrong="child", resources={"timeout": 1.5})), store)
    child = int((root / "child").read_text())
    assert gone(child)


def test_the_journal_outlives_a_killed_attempt(root: Path, store: Store) -> None:
    whole = recipe(root, instance("a", wrong="once"))
    assert run(whole, store).exit_code == 1
    assert run(whole, store).exit_code == 0
    assert not any((store.path / "work").iterdir())


def test_a_worker_killed_from_outside_is_that_steps_failure(root: Path, store: Store) -> None:
    def kill_it() -> None:
        while not (process := (root / "begun").read_text() if (root / "begun").exists() else ""):
            time.sleep(0.02)
        os.kill(int(process), signal.SIGKILL)

    killer = threading.Thread(target=kill_it)
    killer.start()
    result = run(recipe(root, instance("a", wrong="slow-start"), instance("b")), store)
    killer.join()
    assert result.instances["a"].error is not None
    assert "was killed (SIGKILL)" in result.instances["a"].error["message"]
    assert result.instances["b"].state == "done"


def test_an_input_whose_bytes_are_whole_but_wrong_is_the_steps_failure() -> None:
    """Only damage that the hash shows can be mended by making the artifact again; its place is a key, not a file."""
    from runner.engine.worker import describe
    from runner.errors import ArtifactDamaged

    found = describe(ArtifactDamaged("the counts differ", where="objects/ab/main", remedy="build the index again"))
    assert (found.damaged, found.message, found.remedy) == ("", "objects/ab/main: the counts differ", "build the index again")
    assert describe(ArtifactDamaged("not as it was written", where="ab" * 32)).damaged == "ab" * 32
