"""The gate: limits a minute, turns, patience. The clock is the test's own wherever time is measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import StepError
from runner.teachers.limits import Gate, Meter
from runner.teachers.spending import BudgetSpent, Purse, Tokens


class Clock:
    """Time that passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def passages(meter: Meter, clock: Clock, amounts: Iterator[float], until: float) -> list[tuple[float, float]]:
    """When each amount passes, with somebody always waiting."""
    passed, end = [], clock.now + until
    while clock.now < end:
        while (wait := meter.wait()) > 0:
            clock.now += wait
        amount = next(amounts)
        meter.take(amount)
        passed.append((clock.now, amount))
    return passed


def forever(amount: float) -> Iterator[float]:
    while True:
        yield amount


@pytest.mark.parametrize("per_minute", [1, 7, 60, 240, 1000, 6000])
def test_no_minute_holds_more_than_the_limit_and_none_much_less(per_minute: int) -> None:
    clock = Clock()
    moments = [moment for moment, _ in passages(Meter(per_minute, clock), clock, forever(1), 300)]
    for begin in moments[:: max(1, len(moments) // 40)]:
        held = sum(begin <= moment < begin + 60 - 1e-6 for moment in moments)
        assert held <= per_minute
    assert len(moments) >= 5 * per_minute * 0.99


@settings(deadline=None)
@given(st.integers(100, 100_000), st.lists(st.floats(1, 5000), min_size=1, max_size=20))
def test_tokens_keep_their_limit_but_for_the_last_call(per_minute: int, sizes: list[float]) -> None:
    clock = Clock()

    def amounts() -> Iterator[float]:
        while True:
            yield from sizes

    passed = passages(Meter(per_minute, clock), clock, amounts(), 90)
    begin = passed[0][0]
    held = [amount for moment, amount in passed if begin <= moment < begin + 60 - 1e-6]
    assert sum(held[:-1]) <= per_minute * (1 + 1e-9)


def test_an_idle_minute_is_not_saved_up() -> None:
    clock = Clock()
    meter = Meter(60, clock)
    meter.take(1)
    clock.now += 600
    assert meter.wait() == 0
    meter.take(1)
    assert meter.wait() == pytest.approx(1.0)


def test_a_correction_gives_back_or_takes_more() -> None:
    clock = Clock()
    meter = Meter(60, clock)
    meter.take(10)
    assert meter.wait() == pytest.approx(10)
    meter.take(-8)
    assert meter.wait() == pytest.approx(2)
    meter.take(5)
    assert meter.wait() == pytest.approx(7)


def test_no_limit_is_no_wait() -> None:
    meter = Meter(0, Clock())
    meter.take(1e9)
    assert meter.wait() == 0


def through(gate: Gate, count: int, threads: int, used: Tokens | None = None, prompt: str = "p" * 40) -> list[float]:
    """Moments at which ``count`` calls of so many threads went out."""
    moments: list[float] = []
    lock, left = threading.Lock(), iter(range(count))

    def work() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            expected = gate.enter(prompt)
            moments.append(time.monotonic())
            gate.leave(prompt, expected, used or Tokens(10, 0))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sorted(moments)


def test_threads_keep_the_limit_in_real_time() -> None:
    moments = through(Gate(requests_per_minute=240), 6, 4)
    assert 1.25 <= moments[-1] - moments[0] + 0.01 < 20, "five calls after the first one, 250 ms apart"
    assert all(later - earlier > 0.15 for earlier, later in pairwise(moments)), "no burst"


def test_tokens_are_corrected_by_what_the_replies_used() -> None:
    # expected are 10 + 500 tokens for the first call, and it used 10: the others wait for tens, not for hundreds
    moments = through(Gate(tokens_per_minute=6000), 6, 3)
    assert moments[-1] - moments[0] < 20
    begun = time.monotonic()
    through(Gate(tokens_per_minute=6000), 3, 1, Tokens(0, 60))
    assert time.monotonic() - begun >= 0.9, "two waits for 60 tokens at 100 a second, but for a quarter of a second"


def test_turns_are_taken_in_the_order_of_arrival() -> None:
    gate, order = Gate(requests_per_minute=600), list[int]()
    gate.leave("", gate.enter(""))
    workers = []
    for number in range(5):
        workers.append(threading.Thread(target=lambda n=number: (gate.enter(""), order.append(n))))
        workers[-1].start()
        while len(gate._queue) <= number and len(order) <= number:
            time.sleep(0.001)
    for worker in workers:
        worker.join()
    assert order == [0, 1, 2, 3, 4]


def test_whoever_waits_is_woken_when_the_gate_closes() -> None:
    said: list[str] = []
    gate, refused = Gate(requests_per_minute=0.1, tell=said.append), list[str]()
    gate.enter("")

    def work() -> None:
        try:
            gate.enter("")
        except StepError as error:
            refused.append(str(error))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    while len(gate._queue) < 4:
        time.sleep(0.001)
    begun = time.monotonic()
    gate.close()
    for worker in workers:
        worker.join()
    assert refused == ["interrupted"] * 4
    assert time.monotonic() - begun < 20
    assert said == ["calls wait for their turn: resources.requests_per_minute is 0.1"], "told once"
    with pytest.raises(StepError, match="interrupted"):
        gate.pause(60)


def test_patience_holds_everybody_and_is_told() -> None:
    said: list[str] = []
    clock = Clock()
    gate = Gate(tell=said.append, clock=clock)
    gate.quiet(30)
    gate.quiet(3)
    assert gate._wait() == 30
    clock.now += 29
    assert gate._wait() == 1
    assert said[0] == "the server asks for 30 s of patience; no call goes out before that"


def test_the_budget_is_kept_by_calls_that_are_out_together() -> None:
    purse = Purse(budget_tokens=1000)
    gate = Gate(purse)
    prompt = "p" * 400
    gate.leave(prompt, gate.enter(prompt), Tokens(100, 100))  # from here on 200 tokens are expected of a call
    out = [gate.enter(prompt) for _ in range(4)]
    refused: list[BaseException] = []

    def fifth() -> None:
        try:
            gate.enter(prompt)
        except BudgetSpent as error:
            refused.append(error)

    waits = threading.Thread(target=fifth)
    waits.start()
    waits.join(0.2)
    assert waits.is_alive(), "the calls that are out may turn out cheaper"
    for expected in out:
        gate.leave(prompt, expected, Tokens(100, 99))
    waits.join()
    assert purse.spent.total == 996
    assert str(refused[0]) == (
        "the budget of tokens is spent: 996 of 1,000 in 5 calls, and the next one is expected to take 199\n"
        "  what was answered is kept: run again to go on with as much again, or raise resources.budget_tokens"
    )


def test_a_call_that_failed_gives_back_what_was_set_aside() -> None:
    purse = Purse(budget_tokens=600)
    gate = Gate(purse)
    for _ in range(5):
        gate.leave("p" * 40, gate.enter("p" * 40))
    assert purse.spent.total == 0
