"""Asking many things: order, bounds, patience, records."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from runner.errors import Cancelled, StepError
from runner.teachers import AnswerCache, BudgetSpent, Busy, Caller, Connection, Outcome, Purse, Reply, Request, Tally, open_teacher
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
        assert questions(caller, REQUESTS[:3]) == ["malformed"] * 3
        assert caller.tally.rejected == {"malformed": 3}
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
        if told.is_set() and caller._gate._quiet_until > begun:
            early.append(begun)
        while not caller._gate._quiet_until:  # the other call was out before the server spoke
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
    assert sum(again.get(key.hex()) is not None for key in again._answers) == len(teacher.asked), "what came home is on record"


def test_lost_calls_are_counted_and_asked_again(tmp_path: Path) -> None:
    from runner.teachers import answer_key

    teacher = FakeTeacher(echo)
    dead = AnswerCache(tmp_path)
    dead.asked(answer_key(teacher, REQUESTS[0]))
    dead.close()  # as the kernel does for a killed process
    killed = Caller(teacher, AnswerCache(tmp_path))  # ends like the first one: nobody hears what it has found out
    questions(killed, REQUESTS[:2])
    assert (killed.tally.lost, killed.tally.calls) == (1, 2)
    caller = Caller(teacher, AnswerCache(tmp_path))
    questions(caller, REQUESTS[:2])
    assert (caller.tally.lost, caller.tally.cached) == (1, 2)
    caller.close()
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


# several attempts


def refusing(times: int) -> FakeTeacher:
    """Refuses the first samples of every prompt."""
    return FakeTeacher(lambda asked: echo(asked) if asked.sample >= times else Reply("", "safety", detail=f"sample {asked.sample}"))


def test_a_rejected_reply_is_followed_by_the_next_sample(tmp_path: Path) -> None:
    teacher = refusing(2)
    caller = Caller(teacher, AnswerCache(tmp_path), concurrency=3)
    outcomes = list(caller.ask_all(REQUESTS[:5], attempts=3))
    assert [outcome.items[0].question for outcome in outcomes] == [f"about r{number}?" for number in range(5)]
    assert {outcome.request.sample for outcome in outcomes} == {2}
    assert [[rejected.detail for rejected in outcome.earlier] for outcome in outcomes] == [["sample 0", "sample 1"]] * 5
    assert (caller.tally.calls, caller.tally.rejected) == (15, {"safety": 10})
    again = Caller(teacher, AnswerCache(tmp_path))
    assert list(map(unmeasured, again.ask_all(REQUESTS[:5], attempts=3))) == list(map(unmeasured, outcomes))
    assert (again.tally.calls, again.tally.cached) == (0, 15)


def test_attempts_end(tmp_path: Path) -> None:
    (outcome,) = Caller(refusing(2)).ask_all(REQUESTS[:1], attempts=2)
    assert (outcome.request.sample, outcome.rejected.reason, len(outcome.earlier)) == (1, "safety", 1)


def test_a_judgement_is_not_asked_for_twice() -> None:
    teacher = FakeTeacher(lambda asked: Reply('{"questions": []}'))
    (outcome,) = Caller(teacher).ask_all(REQUESTS[:1], attempts=5)
    assert outcome.rejected.reason == "nothing-to-ask"
    assert len(teacher.asked) == 1


def test_what_was_wrapped_is_counted() -> None:
    fenced = FakeTeacher(lambda asked: Reply(f"Here it is:\n```json\n{echo(asked).text}\n```"))
    caller = Caller(fenced)
    assert [outcome.repaired for outcome in caller.ask_all(REQUESTS[:3])] == [True] * 3
    assert caller.tally.repaired == 3


# budget, money, time


def test_a_spent_budget_ends_the_step_and_the_next_run_goes_on(tmp_path: Path) -> None:
    teacher = FakeTeacher(echo)  # 12 tokens a call
    rounds, done = 0, 0
    while done < 30:
        rounds += 1
        caller = Caller(teacher, AnswerCache(tmp_path), concurrency=4, purse=Purse(budget_tokens=600))
        outcomes: list[Outcome] = []
        with suppress(BudgetSpent):
            outcomes += caller.ask_all(REQUESTS)
        assert caller.tally.tokens_in + caller.tally.tokens_out <= 600
        done = max(done, len(outcomes))
        assert rounds < 10
    assert len(teacher.asked) == len(set(teacher.asked)) == 30, "nothing is paid twice"


def test_calls_that_are_out_when_the_budget_is_spent_come_home(tmp_path: Path) -> None:
    def slow(asked: Request) -> Reply:
        time.sleep(0.05 if asked.id == "r1" else 0)
        return replace(echo(asked), tokens_in=400)

    teacher = FakeTeacher(slow)
    with pytest.raises(BudgetSpent):
        questions(Caller(teacher, AnswerCache(tmp_path), concurrency=2, purse=Purse(budget_tokens=3000)))
    again = AnswerCache(tmp_path)
    assert len(teacher.asked) == sum(again.get(key.hex()) is not None for key in again._answers) == 7


def test_what_is_on_record_costs_nothing(tmp_path: Path) -> None:
    questions(Caller(FakeTeacher(echo), AnswerCache(tmp_path)))
    caller = Caller(FakeTeacher(echo), AnswerCache(tmp_path), purse=Purse(budget_tokens=0, price_input=1, price_output=1))
    assert len(questions(caller)) == 30
    assert caller.tally.money is None


def test_money_and_time_are_counted(tmp_path: Path) -> None:
    def script(asked: Request) -> Reply:
        time.sleep(0.1 if asked.id == "r3" else 0.01)
        return replace(echo(asked), model="fake-1" if asked.id != "r0" else "other")

    caller = Caller(FakeTeacher(script), AnswerCache(tmp_path), purse=Purse(price_input=1000, price_output=10_000))
    outcomes = list(caller.ask_all(REQUESTS[:10]))
    tally = caller.tally
    assert tally.money == pytest.approx(10 * (10 * 1000 + 2 * 10_000) / 1e6)
    assert tally.usage == {
        "other": {"calls": 1, "tokens_in": 10, "tokens_out": 2},
        "fake-1": {"calls": 9, "tokens_in": 90, "tokens_out": 18},
    }
    assert 0.01 <= tally.latency(50) < 0.1 <= tally.latency(100)
    assert tally.latency(50) in {outcome.reply.seconds for outcome in outcomes}
    assert Tally().latency(50) == 0


def test_tokens_that_nobody_counts_are_estimated_lest_the_budget_never_ends(tmp_path: Path) -> None:
    teacher = FakeTeacher(lambda asked: replace(echo(asked), tokens_in=0, tokens_out=0))
    prompts = [request(f"r{number}", f"{number:2}" + "p" * 398) for number in range(30)]
    caller = Caller(teacher, AnswerCache(tmp_path), concurrency=1, purse=Purse(budget_tokens=1000))
    with pytest.raises(BudgetSpent):
        questions(caller, prompts)
    assert caller.tally.uncounted == caller.tally.calls == 8, "100 tokens of prompt and 16 of reply each"


def test_a_teacher_that_costs_nothing_knows_no_limits() -> None:
    teacher = FakeTeacher(echo, recorded=False)
    caller = Caller(teacher, requests_per_minute=1, purse=Purse(budget_tokens=0, price_input=1, price_output=1))
    assert len(questions(caller)) == 30
    assert (caller.tally.calls, caller.tally.tokens_in, caller.tally.money) == (30, 0, 0)


def test_a_limit_is_told_and_kept(tmp_path: Path) -> None:
    said: list[str] = []
    moments: list[float] = []

    def script(asked: Request) -> Reply:
        moments.append(time.monotonic())
        return echo(asked)

    questions(Caller(FakeTeacher(script), concurrency=4, requests_per_minute=240, log=said.append), REQUESTS[:5])
    assert moments[-1] - moments[0] >= 0.99
    caller = Caller(FakeTeacher(script), concurrency=4, tokens_per_minute=60, log=said.append, between=lambda: stop(said))
    with pytest.raises(Cancelled):
        questions(caller)
    assert said == ["calls wait for their turn: resources.tokens_per_minute is 60"]


def stop(said: list[str]) -> None:
    if said:
        raise Cancelled("interrupted")


def test_a_caller_whose_outcomes_were_not_all_wanted_can_be_asked_again() -> None:
    caller = Caller(FakeTeacher(echo))
    outcomes = caller.ask_all(REQUESTS)
    next(outcomes)
    outcomes.close()
    assert len(questions(caller)) == 30


# the replies that were used


def test_replies_are_written_down_for_a_replay(tmp_path: Path) -> None:
    file = tmp_path / "provenance" / "replies.jsonl"
    caller = Caller(refusing(1), AnswerCache(tmp_path / "cache"), replies=file)
    outcomes = list(caller.ask_all(REQUESTS[:4], attempts=2))
    caller.close()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["id"], row["sample"]) for row in rows] == [(f"r{n}", sample) for n in range(4) for sample in (0, 1)]
    teacher = open_teacher("replay", path=str(file))
    replayed = Caller(teacher)
    assert list(map(unmeasured, replayed.ask_all(REQUESTS[:4], attempts=2))) == list(map(unmeasured, outcomes))
    assert (replayed.tally.tokens_in, replayed.tally.money) == (0, None)


def unmeasured(outcome: Outcome) -> Outcome:
    return replace(outcome, reply=replace(outcome.reply, seconds=0), earlier=tuple(map(str, outcome.earlier)))


def test_memory_does_not_grow_with_the_number_of_requests(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        cache = AnswerCache(tmp_path / str(count))
        caller = Caller(FakeTeacher(echo, asked=deque(maxlen=1)), cache, concurrency=2)
        prompts = (request(f"r{number}", f"{number} " + "p" * 10_000) for number in range(count))
        tracemalloc.start()
        for _ in caller.ask_all(prompts):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(200), peak(1000)
    assert many - few < 800 * 1500, "an index entry a request, and not its prompt of 10,000 characters"
