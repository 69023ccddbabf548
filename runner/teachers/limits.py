"""The gate that every call to a teacher passes: limits a minute, the server's wish for patience, and the budget."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from runner.errors import StepError
from runner.teachers.spending import Forecast, Purse, Tokens

#: A wait that is shorter than this, in seconds, is not worth a word.
_WORTH_TELLING = 2.0


class Closed(StepError):
    """The gate was closed before this call went out."""


class Meter:
    """Lets ``per_minute`` pass in any minute, evenly and not in bursts: servers measure in shorter spans than they state.

    Whatever passes is paid for afterwards: the next has to wait until what passed is made up for. A quarter of a second's worth
    may come at once, so that the tremble of the clock costs no throughput. 0 is no limit.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._slack = max(0.0, per_minute / 240 - 1)
        self._rate = (per_minute - self._slack) / 60
        self._clock, self._level, self._at = clock, self._slack, clock()

    def wait(self) -> float:
        """Seconds until the next may pass."""
        if not self._rate:
            return 0.0
        now = self._clock()
        self._level = min(self._slack, self._level + (now - self._at) * self._rate)
        self._at = now
        wait = -self._level / self._rate
        return wait if wait > 1e-6 else 0.0  # less is the rounding of the sums above

    def take(self, amount: float) -> None:
        """Let ``amount`` pass; a negative one corrects what was taken too much."""
        self._level -= amount


class Gate:
    """Lets calls out one by one, in the order in which they come; whoever waits sleeps until it is its turn.

    ``tell`` gets a sentence, once for each reason, when calls have to wait for longer than a moment.
    """

    def __init__(
        self,
        purse: Purse | None = None,
        *,
        requests_per_minute: float = 0,
        tokens_per_minute: float = 0,
        tell: Callable[[str], None] = lambda sentence: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.purse = purse or Purse()
        self._forecast = Forecast()
        self._requests, self._tokens = Meter(requests_per_minute, clock), Meter(tokens_per_minute, clock)
        self._reasons = {
            "requests": f"calls wait for their turn: resources.requests_per_minute is {requests_per_minute:g}",
            "tokens": f"calls wait for their turn: resources.tokens_per_minute is {tokens_per_minute:g}",
        }
        self._tell, self._clock = tell, clock
        self._told: set[str] = set()
        self._door = threading.Condition()
        self._queue: deque[object] = deque()
        self._quiet_until = 0.0
        self._closed = threading.Event()
        self._calls = 0

    def enter(self, prompt: str) -> Tokens:
        """Wait until a call with this prompt may go out. Returns what it is expected to take, for :meth:`leave`.

        Errors: BudgetSpent, and Closed once the gate is.
        """
        ticket = object()
        with self._door:
            self._queue.append(ticket)
            try:
                while True:
                    if self._closed.is_set():
                        raise Closed("interrupted")
                    if self._queue[0] is not ticket:
                        self._door.wait()
                        continue
                    expected = self._forecast.expect(prompt)
                    allowed = self.purse.allows(expected)
                    if allowed is False:
                        raise self.purse.refusal(self._calls, expected)
                    wait = self._wait() if allowed else None
                    if wait == 0:
                        break
                    self._door.wait(wait)
                self.purse.set_aside(expected)
                self._requests.take(1)
                self._tokens.take(expected.total)
                return expected
            finally:
                self._queue.remove(ticket)
                self._door.notify_all()

    def leave(self, prompt: str, expected: Tokens, used: Tokens | None = None) -> None:
        """The call is over; None where it failed, and is not known to have used anything."""
        with self._door:
            self.purse.settle(expected, used or Tokens())
            self._tokens.take((used or Tokens()).total - expected.total)
            if used is not None:
                self._calls += 1
                self._forecast.learn(prompt, used)
            self._door.notify_all()

    def quiet(self, seconds: float) -> None:
        """Let nobody out for so long: the server asks for patience."""
        with self._door:
            self._quiet_until = max(self._quiet_until, self._clock() + seconds)
            if seconds >= _WORTH_TELLING:
                self._tell(f"the server asks for {seconds:.0f} s of patience; no call goes out before that")

    def pause(self, seconds: float) -> None:
        """Sleep, unless the gate is closed meanwhile (Closed)."""
        if self._closed.wait(seconds):
            raise Closed("interrupted")

    def open(self) -> None:
        """Let calls out again after :meth:`close`. What was spent stays spent."""
        self._closed.clear()

    def close(self) -> None:
        """Let nobody out any more, and wake all who wait."""
        with self._door:
            self._closed.set()
            self._door.notify_all()

    def _wait(self) -> float:
        quiet = self._quiet_until - self._clock()
        requests, tokens = self._requests.wait(), self._tokens.wait()
        why = "requests" if requests >= tokens else "tokens"
        if max(requests, tokens) >= _WORTH_TELLING and why not in self._told:
            self._told.add(why)
            self._tell(self._reasons[why])
        return max(0.0, quiet, requests, tokens)
