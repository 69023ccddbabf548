"""Merging journals: beside readers and writers, and killed in the middle."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.teachers import AnswerCache, Reply, merging
from runner.teachers.merging import merge
from tests.teachers.test_cache import key, record

ROOT = Path(__file__).parents[2]


def journals(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jsonl"))


def dead(folder: Path, count: int, begin: int = 0) -> None:
    """Journals of processes that ended, each with an answer of its own and one that all have."""
    for number in range(begin, begin + count):
        cache = AnswerCache(folder)
        record(cache, f"k{number}", f"answer {number}")
        record(cache, "all", f"of {number}")
        cache.close()


def answers(folder: Path, count: int) -> list[Reply | None]:
    cache = AnswerCache(folder, write=False)
    return [cache.get(key(f"k{number}")) for number in range(count)]


WANTED = [Reply(f"answer {number}") for number in range(40)]


def test_many_journals_become_one_and_nothing_is_lost(tmp_path: Path) -> None:
    dead(tmp_path, 12)
    same = AnswerCache(tmp_path).get(key("all"))
    assert merge(tmp_path, 4) == 0
    assert len(journals(tmp_path)) == 1
    assert answers(tmp_path, 12) == WANTED[:12]
    assert AnswerCache(tmp_path).get(key("all")) == same, "of several answers still the same one"
    rows = [json.loads(line) for line in next(tmp_path.glob("merged-*")).read_text().splitlines()]
    assert {row["event"] for row in rows} == {"answered"}
    assert rows[0]["prompt"].startswith("prompt of"), "whole lines are kept"


def test_more_journals_than_a_process_may_open_are_merged_by_and_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead(tmp_path, 14)
    monkeypatch.setattr(merging, "AT_ONCE", 6)
    left = []
    while len(journals(tmp_path)) > 4:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 10, hard))
        try:
            assert merge(tmp_path, 4) == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        left.append(len(journals(tmp_path)))
    assert left == [9, 4]
    assert answers(tmp_path, 14) == WANTED[:14]


def test_opening_a_record_merges_when_there_are_too_many(tmp_path: Path) -> None:
    dead(tmp_path, 40)
    assert len(journals(tmp_path)) <= 18
    assert answers(tmp_path, 40) == WANTED


def test_a_journal_that_is_written_is_left_alone(tmp_path: Path) -> None:
    living = AnswerCache(tmp_path)
    record(living, "mine", "before")
    dead(tmp_path, 6)
    merge(tmp_path, 2)
    assert living._name in journals(tmp_path)
    record(living, "mine too", "after")
    again = AnswerCache(tmp_path)
    assert (again.get(key("mine")), again.get(key("mine too"))) == (Reply("before"), Reply("after"))


def test_an_open_reader_finds_its_answers_in_the_merged_journal(tmp_path: Path) -> None:
    dead(tmp_path, 6)
    reader = AnswerCache(tmp_path, write=False)
    merge(tmp_path, 2)
    assert [reader.get(key(f"k{number}")) for number in range(6)] == WANTED[:6]


def test_what_was_dropped_stays_dropped_and_what_was_lost_is_told(tmp_path: Path) -> None:
    dead(tmp_path, 5)
    cache = AnswerCache(tmp_path)
    cache.forget([key("k1")])
    cache.asked(key("gone"))
    cache.asked(key("k2"))  # lost too, though answered elsewhere
    cache.close()
    merge(tmp_path, 2)
    again = AnswerCache(tmp_path)
    assert again.get(key("k1")) is None
    assert again.get(key("k2")) == WANTED[2]
    assert (len(again.lost(key("gone"))), len(again.lost(key("k2"))), len(again.lost(key("k1")))) == (1, 1, 0)


def test_large_journals_are_not_copied_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead(tmp_path, 5)
    merge(tmp_path, 2)
    (large,) = journals(tmp_path)
    dead(tmp_path, 4, begin=5)
    monkeypatch.setattr("runner.teachers.merging.LARGE", (tmp_path / large).stat().st_size)
    merge(tmp_path, 2)
    assert large in journals(tmp_path)
    assert len(journals(tmp_path)) == 2
    assert answers(tmp_path, 9) == WANTED[:9]


def test_damaged_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    dead(tmp_path, 5)
    first = tmp_path / journals(tmp_path)[0]
    first.write_bytes(first.read_bytes() + b"\x00\x00 no JSON\n" + b'{"event": "answered", "call": "zz"}\n')
    assert merge(tmp_path, 2) == 2
    assert answers(tmp_path, 5) == WANTED[:5]
    assert merge(tmp_path, 0) == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from runner.teachers import merging
moment, count = int(sys.argv[2]), 0

def deadly(real):
    def call(*arguments, **named):
        global count
        count += 1
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return call

merging.os.fsync = deadly(os.fsync)
for name in ("rename", "unlink"):
    setattr(merging.Path, name, deadly(getattr(Path, name)))
merging.merge(Path(sys.argv[1]), 2)
"""


def test_a_kill_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    for moment in range(1, 12):
        folder = tmp_path / str(moment)
        folder.mkdir()
        dead(folder, 4)
        cache = AnswerCache(folder)
        cache.forget([key("k0")])
        cache.close()
        done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(moment)], cwd=ROOT)
        if done.returncode == 0:
            break
        assert answers(folder, 4) == [None, *WANTED[1:4]]
        merge(folder, 0)
        assert answers(folder, 4) == [None, *WANTED[1:4]]
        assert len(journals(folder)) == 1
        assert not list(folder.glob(".merged-*")), "what a killed process left is removed"
    assert moment >= 9, "each flush, rename and removal was a moment"


BUSY = """
import random, sys, time
from pathlib import Path
from runner.teachers import AnswerCache, Reply, cache as module
from tests.teachers.test_cache import key
module.MANY = 2
folder, name, chance = Path(sys.argv[1]), sys.argv[2], random.Random(sys.argv[2])
for round in range(12):
    cache = AnswerCache(folder)
    for number in range(round):  # its own answers of earlier rounds are there, wherever they have been moved to
        assert cache.get(key(f"{name}-{number}")) == Reply(f"{number}" * 50), (name, round, number)
        time.sleep(chance.random() / 1000)
    wanted = key(f"{name}-{round}")
    cache.answered(cache.asked(wanted), wanted, Reply(f"{round}" * 50))
    print(round, flush=True)
    cache.close()
"""


def test_readers_writers_and_merges_side_by_side(tmp_path: Path) -> None:
    busy = [
        subprocess.Popen([sys.executable, "-c", BUSY, str(tmp_path), name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in "abcd"
    ]
    victim, chance, said = busy[0], random.Random(1), list[str]()
    assert victim.stdout is not None
    for line in victim.stdout:
        said.append(line)
        if len(said) == chance.randint(4, 8):
            os.kill(victim.pid, signal.SIGKILL)
    for process in busy[1:]:
        process.communicate(timeout=50)
        assert process.returncode == 0
    victim.wait()
    cache = AnswerCache(tmp_path)
    assert all(cache.get(key(f"a-{number}")) for number in range(len(said)))
    assert all(cache.get(key(f"{name}-{number}")) for name in "bcd" for number in range(12))
    assert (cache.damaged, sum(len(cache.lost(key(f"b-{number}"))) for number in range(12))) == (0, 0)
