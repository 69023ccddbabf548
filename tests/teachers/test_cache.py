"""The record of answers: threads, processes, SIGKILL and damage."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.errors import StepError
from runner.teachers import AnswerCache, Reply, answer_key
from tests.teachers.fake_teacher import FakeTeacher, echo, request

ROOT = Path(__file__).parents[2]


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def record(cache: AnswerCache, name: str, text: str) -> None:
    cache.answered(cache.asked(key(name)), key(name), Reply(text), prompt=f"prompt of {name}")


def test_an_answer_is_found_again_by_another_cache(tmp_path: Path) -> None:
    first = AnswerCache(tmp_path)
    record(first, "k", "text ☃ \ud800")  # a lone surrogate must not break the journal
    assert AnswerCache(tmp_path).get(key("k")) == Reply("text ☃ \ud800")
    assert AnswerCache(tmp_path).get(key("other")) is None


def test_the_prompt_is_kept_with_the_answer(tmp_path: Path) -> None:
    record(AnswerCache(tmp_path), "k", "text")
    (journal,) = tmp_path.glob("*.jsonl")
    asked, answered = map(json.loads, journal.read_text().splitlines())
    assert (asked["event"], answered["event"], answered["prompt"]) == ("asked", "answered", "prompt of k")
    assert asked["call"] == answered["call"]


def test_two_open_caches_see_each_other(tmp_path: Path) -> None:
    one, two = AnswerCache(tmp_path), AnswerCache(tmp_path)
    record(one, "k", "from one")
    two.refresh()
    assert two.get(key("k")) == Reply("from one")
    record(two, "j", "from two")
    one.refresh()
    assert one.get(key("j")) == Reply("from two")
    assert len(list(tmp_path.glob("*.jsonl"))) == 2, "each writes a file of its own"


def test_a_partial_last_line_is_dropped(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    record(cache, "k", "kept")
    record(cache, "j", "cut")
    cache.close()
    (journal,) = tmp_path.glob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-5])
    again = AnswerCache(tmp_path)
    assert again.get(key("k")) == Reply("kept")
    assert again.get(key("j")) is None
    assert (len(again.lost(key("k"))), len(again.lost(key("j")))) == (0, 1)
    assert again.damaged == 0


def test_what_is_recorded_after_closing_spoils_nothing(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    record(cache, "k", "before")
    cache.close()
    cache.close()
    record(cache, "j", "after")
    for each in (cache, AnswerCache(tmp_path)):
        assert (each.get(key("k")), each.get(key("j"))) == (Reply("before"), Reply("after"))


def test_a_damaged_line_is_a_miss_and_is_counted(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    record(cache, "k", "one")
    record(cache, "j", "two")
    cache.close()
    (journal,) = tmp_path.glob("*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[1] = b"\x00" * (len(lines[1]) - 1) + b"\n"
    journal.write_bytes(b"".join(lines))
    again = AnswerCache(tmp_path)
    assert again.get(key("k")) is None
    assert again.get(key("j")) == Reply("two")
    assert again.damaged == 1


def test_of_several_answers_always_the_same_is_given(tmp_path: Path) -> None:
    caches = [AnswerCache(tmp_path) for _ in range(4)]
    for number, cache in enumerate(caches):
        record(cache, "k", str(number))
    assert len({AnswerCache(tmp_path).get(key("k")) for _ in range(3)}) == 1


def test_what_is_forgotten_is_asked_again_and_the_new_answer_counts(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    record(cache, "k", "old")
    cache.forget([key("k"), key("unknown")])
    assert AnswerCache(tmp_path).get(key("k")) is None
    record(cache, "k", "new")
    assert AnswerCache(tmp_path).get(key("k")) == Reply("new")


def test_a_failed_call_is_not_lost(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.failed(cache.asked(key("k")), key("k"), "StepError")
    cache.close()
    assert len(AnswerCache(tmp_path).lost(key("k"))) == 0


def test_a_call_of_a_living_process_is_not_lost(tmp_path: Path) -> None:
    living = AnswerCache(tmp_path)
    living.asked(key("k"))
    other = AnswerCache(tmp_path)
    assert len(other.lost(key("k"))) == 0
    living.close()
    assert len(other.lost(key("k"))) == 1


def test_a_loss_counts_until_it_is_told(tmp_path: Path) -> None:
    dead = AnswerCache(tmp_path)
    call = dead.asked(key("k"))
    dead.close()
    one, two = AnswerCache(tmp_path), AnswerCache(tmp_path)
    record(one, "k", "asked again")
    assert one.lost(key("k")) == two.lost(key("k")) == [call]
    one.told(key("k"), [call])
    two.refresh()
    assert one.lost(key("k")) == two.lost(key("k")) == AnswerCache(tmp_path).lost(key("k")) == []


def test_a_record_that_is_only_read_is_not_written(tmp_path: Path) -> None:
    record(AnswerCache(tmp_path / "there"), "k", "text")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for folder in ("there", "missing"):
        cache = AnswerCache(tmp_path / folder, write=False)
        record(cache, "j", "new")
        cache.forget([key("k")])
        assert cache.get(key("k")) == (Reply("text") if folder == "there" else None)
        cache.close()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_full_disk_is_one_clear_error_and_spoils_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = AnswerCache(tmp_path)
    record(cache, "k", "kept")
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if b"big" in data:
            real(descriptor, data[:20])
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StepError, match="the record of answers cannot be written: No space left on device"):
        record(cache, "j", "big")
    record(cache, "m", "small")
    again = AnswerCache(tmp_path)
    assert (again.get(key("k")), again.get(key("j")), again.get(key("m"))) == (Reply("kept"), None, Reply("small"))
    assert again.damaged == 0


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    threads = [threading.Thread(target=lambda n=n: [record(cache, f"{n}-{i}", "x" * 5000) for i in range(20)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = AnswerCache(tmp_path)
    assert all(again.get(key(f"{n}-{i}")) == Reply("x" * 5000) for n in range(8) for i in range(20))
    assert again.damaged == 0


WRITER = """
import sys
from pathlib import Path
from runner.teachers import AnswerCache, Reply
from tests.teachers.test_cache import key
cache, name = AnswerCache(Path(sys.argv[1])), sys.argv[2]
number = 0
while True:
    wanted = key(f"{name}-{number}")
    cache.answered(cache.asked(wanted), wanted, Reply("t" * 20_000), prompt="p" * 20_000)
    print(number, flush=True)
    number += 1
"""


def test_killed_writers_lose_at_most_the_call_in_flight(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    said = {}
    for name, writer in zip("abc", writers, strict=True):
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) >= 8:
                break
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        said[name] = int(rest[-1]) if rest else 8
    cache = AnswerCache(tmp_path)
    for name, last in said.items():
        assert all(cache.get(key(f"{name}-{number}")) == Reply("t" * 20_000) for number in range(last + 1))
        assert len(cache.lost(key(f"{name}-{last + 1}"))) + (cache.get(key(f"{name}-{last + 1}")) is not None) <= 1
        assert len(cache.lost(key(f"{name}-{last + 2}"))) == 0
    assert cache.damaged == 0


KEY_CASES = {
    "provider": (FakeTeacher(echo, provider="other"), request("a")),
    "model": (FakeTeacher(echo, model="fake-2"), request("a")),
    "generation": (FakeTeacher(echo, generation={"temperature": 0.5}), request("a")),
    "prompt": (FakeTeacher(echo), request("a", "another prompt")),
    "sample": (FakeTeacher(echo), request("a", sample=1)),
}


@pytest.mark.parametrize("case", KEY_CASES)
def test_everything_that_shapes_an_answer_is_in_its_key(case: str) -> None:
    assert answer_key(*KEY_CASES[case]) != answer_key(FakeTeacher(echo), request("a"))


def test_the_name_of_a_request_is_not_in_its_key() -> None:
    assert answer_key(FakeTeacher(echo), request("a", "p")) == answer_key(FakeTeacher(echo), request("b", "p"))
