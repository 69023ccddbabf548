"""Several runs at once with one record of answers: what one of them is asking, no other one asks."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runner.errors import StepError
from runner.teachers import AnswerCache, Caller, Reply, Request, answer_key
from tests.teachers.fake_teacher import FakeTeacher, echo, request

REQUESTS = [request(f"r{number}") for number in range(12)]
TEACHER = FakeTeacher(echo)
KEY = answer_key(TEACHER, REQUESTS[0])


def slow(asked: Request) -> Reply:
    time.sleep(0.05)
    return echo(asked)


def test_runs_at_the_same_time_ask_each_prompt_once(tmp_path: Path) -> None:
    asked, start = Counter[str](), threading.Barrier(3)

    def script(each: Request) -> Reply:
        asked[each.id] += 1
        return slow(each)

    def run(number: int) -> tuple[list[str], Caller]:
        said: list[str] = []
        caller = Caller(FakeTeacher(script), AnswerCache(tmp_path), concurrency=4, log=said.append)
        start.wait(5)
        questions = [outcome.items[0].question for outcome in caller.ask_all(REQUESTS)]
        caller.close()
        assert questions == [f"about {each.id}?" for each in REQUESTS]
        return said, caller

    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(run, range(3)))
    assert asked == {each.id: 1 for each in REQUESTS}
    assert sum(caller.tally.calls for _, caller in runs) == len(REQUESTS)
    assert sum(caller.tally.cached for _, caller in runs) == 2 * len(REQUESTS)
    assert sum(caller.tally.lost for _, caller in runs) == 0
    assert all(len(said) <= 1 for said, _ in runs)
    assert "another run asks the same of this teacher" in str([said for said, _ in runs])


def test_of_many_that_claim_a_call_at_once_one_gets_it(tmp_path: Path) -> None:
    caches, start = [AnswerCache(tmp_path) for _ in range(8)], threading.Barrier(8)

    def claim(cache: AnswerCache) -> str | None:
        start.wait(5)
        return cache.claim(KEY)

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(claim, caches))
    (winner,) = [place for place, call in enumerate(claims) if call is not None]
    call = claims[winner]
    assert call is not None
    assert all(cache.elsewhere(KEY) is (place != winner) for place, cache in enumerate(caches) if cache.refresh() is None)
    caches[winner].answered(call, KEY, Reply("yes"))
    assert [cache.claim(KEY) for cache in caches] == [None] * 8, "it is on record"


@pytest.mark.parametrize("end", ["failed", "killed"])
def test_a_call_that_another_run_did_not_bring_home_is_made(tmp_path: Path, end: str) -> None:
    other, ours = AnswerCache(tmp_path), AnswerCache(tmp_path)
    call = other.claim(KEY)
    assert call is not None
    ours.refresh()
    caller = Caller(TEACHER, ours)

    def finish() -> None:
        time.sleep(0.3)
        if end == "failed":
            other.failed(call, KEY, "Busy")
        else:
            other.close()  # as the kernel does for a killed process

    thread = threading.Thread(target=finish)
    thread.start()
    begun = time.monotonic()
    assert [outcome.items[0].question for outcome in caller.ask_all(REQUESTS[:1])] == ["about r0?"]
    assert time.monotonic() - begun >= 0.25
    assert (caller.tally.calls, caller.tally.lost) == (1, int(end == "killed"))
    thread.join()
    caller.close()


def test_waiting_for_another_run_ends_with_an_interruption(tmp_path: Path) -> None:
    other, ours = AnswerCache(tmp_path), AnswerCache(tmp_path)
    other.claim(KEY)
    ours.refresh()
    stop = threading.Event()

    def between() -> None:
        if stop.is_set():
            raise StepError("interrupted")

    timer = threading.Timer(0.2, stop.set)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(StepError, match="interrupted"):
        list(Caller(TEACHER, ours, between=between).ask_all(REQUESTS[:1]))
    assert time.monotonic() - begun < 3
    timer.join()
