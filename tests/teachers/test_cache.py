"""The record of answers: threads, processes, SIGKILL and damage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.teachers import AnswerCache, Reply, answer_key
from tests.teachers.fake_teacher import FakeTeacher, echo, request


def record(cache: AnswerCache, key: str, text: str) -> None:
    cache.answered(cache.asked(key, prompt=f"prompt of {key}"), key, Reply(text))


def test_an_answer_is_found_again_by_another_cache(tmp_path: Path) -> None:
    first = AnswerCache(tmp_path)
    record(first, "k", "text ☃ \ud800")  # a lone surrogate must not break the journal
    assert AnswerCache(tmp_path).get("k") == Reply("text ☃ \ud800")
    assert AnswerCache(tmp_path).get("other") is None


def test_the_prompt_is_kept_with_the_answer(tmp_path: Path) -> None:
    record(AnswerCache(tmp_path), "k", "text")
    (journal,) = tmp_path.glob("*.jsonl")
    asked, answered = map(json.loads, journal.read_text().splitlines())
    assert (asked["event"], asked["prompt"], answered["event"]) == ("asked", "prompt of k", "answered")
    assert asked["call"] == answered["call"]


def test_two_open_caches_see_each_other(tmp_path: Path) -> None:
    one, two = AnswerCache(tmp_path), AnswerCache(tmp_path)
    record(one, "k", "from one")
    two.refresh()
    assert two.get("k") == Reply("from one")
    record(two, "j", "from two")
    one.refresh()
    assert one.get("j") == Reply("from two")
    assert len(list(tmp_path.glob("*.jsonl"))) == 2, "each writes a file of its own"


def test_a_partial_last_line_is_dropped(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    record(cache, "k", "kept")
    record(cache, "j", "cut")
    cache.close()
    (journal,) = tmp_path.glob("*.jsonl")
    journal.write_bytes(journal.read_bytes()[:-5])
    again = AnswerCache(tmp_path)
    assert again.get("k") == Reply("kept")
    assert again.get("j") is None
    assert (again.lost("k"), again.lost("j")) == (0, 1)
    assert again.damaged == 0


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
    assert again.get("k") is None
    assert again.get("j") == Reply("two")
    assert again.damaged == 1


def test_of_several_answers_always_the_same_is_given(tmp_path: Path) -> None:
    caches = [AnswerCache(tmp_path) for _ in range(4)]
    for number, cache in enumerate(caches):
        record(cache, "k", str(number))
    assert len({AnswerCache(tmp_path).get("k") for _ in range(3)}) == 1


def test_what_is_forgotten_is_asked_again_and_the_new_answer_counts(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    record(cache, "k", "old")
    cache.forget(["k", "unknown"])
    assert AnswerCache(tmp_path).get("k") is None
    record(cache, "k", "new")
    assert AnswerCache(tmp_path).get("k") == Reply("new")


def test_a_failed_call_is_not_lost(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    cache.failed(cache.asked("k"), "k", "StepError")
    cache.close()
    assert AnswerCache(tmp_path).lost("k") == 0


def test_a_call_of_a_living_process_is_not_lost(tmp_path: Path) -> None:
    living = AnswerCache(tmp_path)
    living.asked("k")
    other = AnswerCache(tmp_path)
    assert other.lost("k") == 0
    living.close()
    assert other.lost("k") == 1


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    threads = [threading.Thread(target=lambda n=n: [record(cache, f"{n}-{i}", "x" * 5000) for i in range(20)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = AnswerCache(tmp_path)
    assert all(again.get(f"{n}-{i}") == Reply("x" * 5000) for n in range(8) for i in range(20))
    assert again.damaged == 0


WRITER = """
import sys
from pathlib import Path
from runner.teachers import AnswerCache, Reply
cache, name = AnswerCache(Path(sys.argv[1])), sys.argv[2]
number = 0
while True:
    key = f"{name}-{number}"
    call = cache.asked(key, prompt="p" * 20_000)
    cache.answered(call, key, Reply("t" * 20_000))
    print(number, flush=True)
    number += 1
"""


def test_killed_writers_lose_at_most_the_call_in_flight(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name], stdout=subprocess.PIPE, text=True) for name in ("a", "b", "c")
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
        assert all(cache.get(f"{name}-{number}") == Reply("t" * 20_000) for number in range(last + 1))
        assert cache.lost(f"{name}-{last + 1}") + (cache.get(f"{name}-{last + 1}") is not None) <= 1
        assert cache.lost(f"{name}-{last + 2}") == 0
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
