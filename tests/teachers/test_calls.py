"""Asking many things: order, bounds, patience, records."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from runner.errors import Cancelled, StepError
from runner.teachers import AnswerCache, Busy, Caller, Connection, Reply, Request, open_teacher
from runner.teachers import calls as calls_module
from tests.teachers.fake_teacher import FakeTeacher, echo, reply, request
from tests.teachers.gemini_server import error, gemini, says

REQUESTS = [request(f"r{number}") for number in range(30)]
QUESTION = '{"questions": [{"question": "q?", "type": "factual"}]}'


def questions(caller: Caller, requests: list[Request] = REQUESTS) -> list[str]:
    return [outcome.items[0].question if outcome.items else outcome.rejected.reason for outcome in caller.ask_all(requests)]


def test_outcomes_come_in_the_order_of_the_requests() -> None:
    def script(asked: Request) -> Reply:
        time.sleep(0.01 if asked.id.endswith(("0", "3")) else 0)
        return echo(asked)

    assert questions(Caller(FakeTeacher(script), concurrency=8)) == [f"about r{number}?" for number in range(30)]


def test_no_more_calls_at_a_time_than_allowed_and_no_fewer() -> None:
    barrier = threading.Barrier(3, timeout=5)  # passes only when three calls are out at once

    def script(asked: Request) -> Reply:
        barrier.wait()
        return echo(asked)

    assert len(questions(Caller(FakeTeacher(script), concurrency=3))) == 30
    with gemini(says(QUESTION)) as server:
        teacher = open_teacher("google-generativeai", Connection("k", server.url), model="gemini-3.6-flash")
        questions(Caller(teacher, concurrency=3))
        assert server.most_at_once <= 3


def test_requests_are_drawn_as_they_are_needed() -> None:
    drawn = 0

    def endless() -> Iterator[Request]:
        nonlocal drawn
        while True:
            drawn += 1
            yield request(f"r{drawn}")

    outcomes = Caller(FakeTeacher(echo), concurrency=2).ask_all(endless())
    for _ in range(5):
        next(outcomes)
    assert drawn <= 5 + 4 * 2
    outcomes.close()


def test_nothing_recorded_is_asked_again(tmp_path: Path) -> None:
    first, second = FakeTeacher(echo), FakeTeacher(echo)
    one = Caller(first, AnswerCache(tmp_path))
    two = Caller(second, AnswerCache(tmp_path))
    assert questions(one) == questions(two)
    assert (len(first.asked), len(second.asked)) == (30, 0)
    assert (one.tally.calls, one.tally.cached, one.tally.tokens_in, one.tally.tokens_out) == (30, 0, 300, 60)
    assert (two.tally.calls, two.tally.cached, two.tally.tokens_in, two.tally.tokens_out) == (0, 30, 0, 0)


def test_equal_requests_are_one_call(tmp_path: Path) -> None:
    teacher = FakeTeacher(echo)
    same = [request(f"r{number}", "the same prompt") for number in range(20)]
    assert len(set(questions(Caller(teacher, AnswerCache(tmp_path), concurrency=4), same))) == 1
    assert len(teacher.asked) == 1


def test_a_rejection_stays_one_and_is_not_paid_twice(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda asked: Reply("not json", tokens_in=5))
    for _ in range(2):
        caller = Caller(teacher, AnswerCache(tmp_path))
        assert questions(caller, REQUESTS[:3]) == ["fenced"] * 3
        assert caller.tally.rejected == {"fenced": 3}
    assert len(teacher.asked) == 3
    caller.forget_rejected()
    good = FakeTeacher(echo)
    assert questions(Caller(good, AnswerCache(tmp_path)), REQUESTS[:3]) == [f"about r{number}?" for number in range(3)]


def test_a_passing_failure_is_tried_again_with_growing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module.random, "uniform", lambda low, high: high)
    moments: list[float] = []

    def script(asked: Request) -> Reply:
        moments.append(time.monotonic())
        if len(moments) < 4:
            raise Busy("HTTP 503")
        return echo(asked)

    caller = Caller(FakeTeacher(script), retries=3, backoff=0.05)
    assert questions(caller, REQUESTS[:1]) == ["about r0?"]
    waits = [later - earlier for earlier, later in pairwise(moments)]
    for wait, wanted in zip(waits, (0.05, 0.1, 0.2), strict=True):
        assert wanted <= wait < wanted + 20
    assert (caller.tally.retried, caller.tally.calls) == (3, 1)


def test_a_wait_that_the_server_names_quiets_every_call() -> None:
    told = threading.Event()
    early: list[float] = []

    def script(asked: Request) -> Reply:
        begun = time.monotonic()
        if asked.id == "r0" and not told.is_set():
            told.set()
            raise Busy("HTTP 429", 0.5)
        if told.is_set() and caller._quiet_until > begun:
            early.append(begun)
        while not caller._quiet_until:  # the other call was out before the server spoke
            time.sleep(0.001)
        return echo(asked)

    caller = Caller(FakeTeacher(script), concurrency=2, backoff=30)
    begun = time.monotonic()
    assert len(questions(caller, REQUESTS[:8])) == 8
    assert time.monotonic() - begun >= 0.5
    assert len(early) <= 1, "only a call that was already on its way"


def test_retry_after_is_heeded_over_http() -> None:
    with gemini(lambda number, body: error(429, headers={"Retry-After": "1"}) if number == 0 else says(QUESTION)) as server:
        teacher = open_teacher("google-generativeai", Connection("k", server.url), model="gemini-3.6-flash")
        assert questions(Caller(teacher, concurrency=1, backoff=30), REQUESTS[:2]) == ["q?", "q?"]
        first, second, third = (request["time"] for request in server.requests)
        assert 1 <= second - first < 25
        assert third - second < 25


def test_patience_ends_and_keeps_what_was_answered(tmp_path: Path) -> None:
    def script(asked: Request) -> Reply:
        if asked.id == "r5":
            raise Busy("HTTP 500: oh")
        return echo(asked)

    teacher = FakeTeacher(script)
    with pytest.raises(StepError) as caught:
        questions(Caller(teacher, AnswerCache(tmp_path), concurrency=1, retries=2, backoff=0.001))
    assert str(caught.value) == (
        "fake did not answer r5 after 3 tries: HTTP 500: oh\n"
        "  what was answered is kept: run again later, or with a lower resources.concurrency"
    )
    assert teacher.asked.count("r5") == 3
    later = FakeTeacher(echo)
    caller = Caller(later, AnswerCache(tmp_path), concurrency=1)
    assert len(questions(caller)) == 30
    assert not {f"r{number}" for number in range(5)} & set(later.asked)
    assert caller.tally.lost == 0, "a call that failed was not lost"


def test_a_wait_of_hours_ends_the_step_at_once() -> None:
    def script(asked: Request) -> Reply:
        raise Busy("HTTP 429: daily quota", 86_400)

    with pytest.raises(StepError, match="after 1 try: HTTP 429: daily quota, and asks to wait 86400 s"):
        questions(Caller(FakeTeacher(script)))


def test_a_fatal_error_stops_the_other_calls() -> None:
    def script(asked: Request) -> Reply:
        if asked.id == "r0":
            raise StepError("model retired")
        raise Busy("HTTP 503")

    teacher, begun = FakeTeacher(script), time.monotonic()
    with pytest.raises(StepError, match="model retired"):
        questions(Caller(teacher, concurrency=4, backoff=30))
    assert time.monotonic() - begun < 20, "calls that wait for their next try are woken"
    assert len(set(teacher.asked)) <= 17


def test_interruption_ends_between_requests(tmp_path: Path) -> None:
    count = 0

    def between() -> None:
        nonlocal count
        count += 1
        if count > 10:
            raise Cancelled("interrupted")

    teacher = FakeTeacher(echo)
    with pytest.raises(Cancelled):
        questions(Caller(teacher, AnswerCache(tmp_path), concurrency=2, between=between))
    assert len(teacher.asked) <= 11
    again = AnswerCache(tmp_path)
    assert sum(again.get(key) is not None for key in again._answers) == len(teacher.asked), "what came home is on record"


def test_lost_calls_are_counted_and_asked_again(tmp_path: Path) -> None:
    from runner.teachers import answer_key

    teacher = FakeTeacher(echo)
    dead = AnswerCache(tmp_path)
    dead.asked(answer_key(teacher, REQUESTS[0]))
    dead.close()  # as the kernel does for a killed process
    caller = Caller(teacher, AnswerCache(tmp_path))
    questions(caller, REQUESTS[:2])
    assert (caller.tally.lost, caller.tally.calls) == (1, 2)
    later = Caller(teacher, AnswerCache(tmp_path))
    questions(later, REQUESTS[:2])
    assert (later.tally.lost, later.tally.cached) == (0, 2), "a loss is told once"


def test_a_key_in_the_prompt_or_the_reply_reaches_no_file(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda asked: reply("my key is canary-4711"))
    caller = Caller(teacher, AnswerCache(tmp_path), secrets=("canary-4711",))
    assert questions(caller, [request("a")]) == ["secret"]
    with pytest.raises(StepError, match="the prompt for b contains the API key"):
        questions(caller, [request("b", "use canary-4711")])
    assert teacher.asked == ["a"]
    assert all(b"canary-4711" not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_prompt_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="the prompt for a is not valid Unicode"):
        questions(Caller(FakeTeacher(echo), AnswerCache(tmp_path)), [request("a", "\ud800")])
