"""Asking a teacher many things: several at once, patiently, and never the same thing twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from runner.errors import StepError
from runner.teachers.cache import AnswerCache
from runner.teachers.decoding import Rejected
from runner.teachers.interface import Busy, Reply, Request, Teacher, answer_key
from runner.teachers.tasks import Item, read

#: Nobody waits longer than this for one more try; a server that asks for more (a daily quota) gets its way at once.
LONGEST_WAIT = 300.0
#: After an error or an interruption, calls in flight have this long to come home and be recorded.
GRACE = 5.0


@dataclass(frozen=True)
class Outcome:
    """A request and what became of it: ``items``, or the reason why its reply was rejected. ``reply`` is what came back."""

    request: Request
    reply: Reply
    items: list[Item] = field(default_factory=list)
    rejected: Rejected | None = None


@dataclass
class Tally:
    """Counts over all requests. ``calls`` were made now, ``cached`` were on record; tokens are those of ``calls``."""

    calls: int = 0
    cached: int = 0
    retried: int = 0
    lost: int = 0  # calls in flight when an earlier process was killed, which are asked again
    tokens_in: int = 0
    tokens_out: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)  # as the replies report them


class Caller:
    """Asks ``teacher`` with at most ``concurrency`` calls at a time.

    A call that fails for a passing reason is tried again up to ``retries`` times, after what the server asks for or else
    ``backoff`` seconds, doubled each time and shaken by chance; while the server asks for patience, no call goes out.
    """

    def __init__(
        self,
        teacher: Teacher,
        cache: AnswerCache | None = None,
        *,
        concurrency: int = 4,
        retries: int = 5,
        backoff: float = 1.0,
        secrets: Iterable[str] = (),
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.teacher, self.cache, self.tally = teacher, cache, Tally()
        self._concurrency, self._retries, self._backoff = concurrency, retries, backoff
        self._secrets = tuple(secret for secret in secrets if secret)
        self._between = between  # called between requests; may raise to end the work
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._quiet_until = 0.0  # no call before this moment (monotonic): the server asked for patience
        self._rejected_keys: list[str] = []

    def ask_all(self, requests: Iterable[Request]) -> Iterator[Outcome]:
        """Yield one outcome per request, in their order. Holds a bounded number of requests and replies.

        Errors: StepError when a call fails for good, or still fails after the last retry. What was answered is on record.
        """
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="teacher")
        waiting: deque[tuple[Request, str, Future[Reply]]] = deque()
        flying: dict[str, Future[Reply]] = {}  # by key, so that equal requests become one call
        try:
            for request in requests:
                self._between()
                key = answer_key(self.teacher, request)
                if key not in flying:
                    flying[key] = pool.submit(self._answer, request, key)
                waiting.append((request, key, flying[key]))
                if len(waiting) >= 4 * self._concurrency:
                    yield self._next(waiting, flying)
            while waiting:
                self._between()
                yield self._next(waiting, flying)
        except BaseException:
            self._stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            wait([future for _, _, future in waiting if not future.cancelled()], GRACE)
            raise
        finally:
            pool.shutdown(wait=False)

    def forget_rejected(self) -> None:
        """Have the rejected requests asked again next time."""
        if self.cache is not None:
            self.cache.forget(self._rejected_keys)

    def _next(self, waiting: deque[tuple[Request, str, Future[Reply]]], flying: dict[str, Future[Reply]]) -> Outcome:
        request, key, future = waiting[0]
        while not wait([future], 0.5).done:
            self._between()
        reply = future.result()
        waiting.popleft()
        if all(other != key for _, other, _ in waiting):
            del flying[key]
        self.tally.models[reply.model] += 1
        try:
            return Outcome(request, reply, read(reply, request.task))
        except Rejected as rejected:
            self.tally.rejected[rejected.reason] += 1
            self._rejected_keys.append(key)
            return Outcome(request, reply, rejected=rejected)

    def _answer(self, request: Request, key: str) -> Reply:
        if self.cache is None:
            return self._call(request)
        self.cache.refresh()
        recorded = self.cache.get(key)
        if recorded is not None:
            self._count(cached=1)
            return recorded
        self._check(request)
        self._count(lost=self.cache.lost(key))
        teacher = self.teacher
        call = self.cache.asked(
            key,
            id=request.id,
            provider=teacher.provider,
            model=teacher.model,
            generation=dict(teacher.generation),
            prompt=request.prompt,
            sample=request.sample,
        )
        try:
            reply = self._clean(self._call(request))
        except Exception as error:
            self.cache.failed(call, key, type(error).__name__)
            raise
        self.cache.answered(call, key, reply)
        return reply

    def _call(self, request: Request) -> Reply:
        for attempt in range(self._retries + 1):
            self._pause_until_quiet_ends()
            try:
                reply = self.teacher.ask(request)
            except Busy as busy:
                if attempt == self._retries:
                    raise self._gave_up(request, busy, attempt + 1) from None
                if busy.wait is not None and busy.wait > LONGEST_WAIT:
                    raise self._gave_up(request, busy, attempt + 1) from None
                self._count(retried=1)
                if busy.wait is not None:
                    with self._lock:
                        self._quiet_until = max(self._quiet_until, time.monotonic() + busy.wait)
                else:
                    delay = min(60.0, self._backoff * 2**attempt)
                    self._sleep(delay * random.uniform(0.5, 1.0))
                continue
            self._count(calls=1, tokens_in=reply.tokens_in, tokens_out=reply.tokens_out)
            return reply
        raise AssertionError("unreachable")

    def _gave_up(self, request: Request, busy: Busy, attempts: int) -> StepError:
        asked = f", and asks to wait {busy.wait:.0f} s" if busy.wait and busy.wait > LONGEST_WAIT else ""
        times = "1 try" if attempts == 1 else f"{attempts} tries"
        return StepError(
            f"{self.teacher.provider} did not answer {request.id} after {times}: {busy.reason}{asked}",
            remedy="what was answered is kept: run again later, or with a lower resources.concurrency",
        )

    def _check(self, request: Request) -> None:
        if any(secret in request.prompt for secret in self._secrets):
            raise StepError(
                f"the prompt for {request.id} contains the API key", remedy="take the key out of the documents or the prompt file"
            )
        try:
            request.prompt.encode()
        except UnicodeEncodeError as error:
            raise StepError(f"the prompt for {request.id} is not valid Unicode: {error.reason}", remedy="clean the document") from None

    def _clean(self, reply: Reply) -> Reply:
        if any(secret in reply.text or secret in reply.detail for secret in self._secrets):
            return Reply("", "secret", reply.model, reply.tokens_in, reply.tokens_out, "the reply repeated the API key and was not kept")
        return reply

    def _pause_until_quiet_ends(self) -> None:
        while (left := self._quiet_until - time.monotonic()) > 0:
            self._sleep(left)
        if self._stop.is_set():
            raise StepError("interrupted")

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise StepError("interrupted")

    def _count(self, **amounts: Any) -> None:
        with self._lock:
            for name, amount in amounts.items():
                setattr(self.tally, name, getattr(self.tally, name) + amount)
