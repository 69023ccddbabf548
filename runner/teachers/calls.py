"""Asking a teacher many things: several at once, patiently, and never the same thing twice."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO

from runner.errors import StepError
from runner.teachers.cache import AnswerCache
from runner.teachers.decoding import Rejected, wrapped
from runner.teachers.interface import Busy, Reply, Request, Teacher, answer_key, repeats_itself, request_digest
from runner.teachers.limits import Closed, Gate
from runner.teachers.spending import BudgetSpent, Purse, Tokens, used
from runner.teachers.tally import Tally
from runner.teachers.tasks import Item, read

#: Nobody waits longer than this for one more try; a server that asks for more (a daily quota) gets its way at once.
LONGEST_WAIT = 300.0
#: After an interruption, calls in flight have this long, in seconds, to come home and be recorded.
GRACE = 5.0
#: Seconds between two looks for the answer that another process waits for.
ANOTHER = 0.2
#: Judgements of the teacher's and not faults of its reply: another try would ask for the same.
_FINAL = ("nothing-to-ask", "unanswerable", "too-long")


@dataclass(frozen=True)
class Outcome:
    """A request and what became of it: ``items``, or the reason why its reply was rejected. ``reply`` is what came back.

    With several attempts ``request`` is the last one, with its sample index, and ``earlier`` tells why those before were rejected.
    """

    request: Request
    reply: Reply
    items: list[Item] = field(default_factory=list)
    rejected: Rejected | None = None
    earlier: tuple[Rejected, ...] = ()

    @property
    def repaired(self) -> bool:
        """Whether the items had to be taken out of a code fence or other words."""
        return bool(self.items) and wrapped(self.reply.text)


class Caller:
    """Asks ``teacher`` with at most ``concurrency`` calls at a time, and no more a minute than is allowed.

    A call that fails for a passing reason is tried again up to ``retries`` times, after what the server asks for or else
    ``backoff`` seconds, doubled each time and shaken by chance; while the server asks for patience, no call goes out.
    ``purse`` holds the budget. ``between`` is called between requests, and may raise to end the work; ``log`` gets what is worth
    knowing. ``replies`` is a file that gets every reply that is used, in the order of the requests, for the provider ``replay``.
    """

    def __init__(
        self,
        teacher: Teacher,
        cache: AnswerCache | None = None,
        *,
        concurrency: int = 4,
        retries: int = 5,
        backoff: float = 1.0,
        requests_per_minute: float = 0,
        tokens_per_minute: float = 0,
        purse: Purse | None = None,
        secrets: Iterable[str] = (),
        between: Callable[[], None] = lambda: None,
        log: Callable[[str], None] = lambda message: None,
        replies: Path | None = None,
    ) -> None:
        self.teacher, self.cache, self.tally = teacher, cache, Tally()
        self._concurrency, self._retries, self._backoff = concurrency, retries, backoff
        self._secrets = tuple(secret for secret in secrets if secret)
        self._between, self._log = between, log
        self._said: deque[str] = deque()  # by the threads that call; told by the one that asks
        self._purse = purse or Purse()
        self._gate = Gate(self._purse, requests_per_minute=requests_per_minute, tokens_per_minute=tokens_per_minute, tell=self._said.append)
        self._lock = threading.Lock()
        self._flying: dict[str, Future[Reply]] = {}  # by key, so that equal requests become one call
        self._lost: dict[str, list[str]] = {}  # calls of killed processes, by key
        self._failure: Exception | None = None  # the first error that ends the work
        self._rejected_keys: list[str] = []
        self._waited = False  # for another process
        self._replies: TextIO | None = None
        if replies is not None:
            replies.parent.mkdir(parents=True, exist_ok=True)
            self._replies = replies.open("w", encoding="utf-8", newline="\n")

    def ask_all(self, requests: Iterable[Request], *, attempts: int = 1) -> Iterator[Outcome]:
        """Yield one outcome per request, in their order. Holds a bounded number of requests and replies.

        A rejected reply is followed by a request with the next sample index, up to ``attempts`` in all; a teacher that repeats itself is
        asked once.

        Errors: BudgetSpent once no further call is paid for; StepError when a call fails for good, or still fails after the last
        retry. What was answered is on record.
        """
        if repeats_itself(self.teacher):
            attempts = 1
        self._gate.open()
        self._failure = None
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="teacher")
        waiting: deque[Future[list[_Try]]] = deque()
        try:
            for request in requests:
                self._pulse()
                waiting.append(pool.submit(self._work, request, attempts))
                if len(waiting) >= 4 * self._concurrency:
                    yield self._next(waiting)
            while waiting:
                yield self._next(waiting)
        except BaseException as error:
            self._gate.close()
            pool.shutdown(wait=False, cancel_futures=True)
            cause = self._failure if isinstance(error, Closed) and self._failure else error
            self._bring_home([future for future in waiting if not future.cancelled()], patient=isinstance(cause, StepError))
            if isinstance(cause, BudgetSpent):
                answers = self.tally.calls + self.tally.cached
                cause = BudgetSpent(f"{cause.message}; {answers} answers of this step are on record", remedy=cause.remedy)
            raise cause from None
        finally:
            pool.shutdown(wait=False)
            self._pulse_quietly()

    def forget_rejected(self) -> None:
        """Have the rejected requests asked again next time."""
        if self.cache is not None:
            self.cache.forget(self._rejected_keys)

    def close(self) -> None:
        """Close the record and the file of replies. The calls that were lost count as told from here on."""
        if self._replies is not None:
            self._replies.close()
        if self.cache is not None:
            for key, calls in self._lost.items():
                self.cache.told(key, calls)
            self.cache.close()

    # in the thread that asks

    def _next(self, waiting: deque[Future[list[_Try]]]) -> Outcome:
        while not wait([waiting[0]], 0.5).done:
            self._pulse()
        self._pulse()
        tries = waiting[0].result()
        waiting.popleft()
        for each in tries:
            self.tally.models[each.reply.model] += 1
            if each.rejected is not None:
                self.tally.rejected[each.rejected.reason] += 1
                self._rejected_keys.append(each.key)
            if self._replies is not None:
                self._replies.write(json.dumps(self._row(each), ensure_ascii=True, sort_keys=True) + "\n")
        last = tries[-1]
        earlier = tuple(each.rejected for each in tries[:-1] if each.rejected)
        outcome = Outcome(last.request, last.reply, last.items, last.rejected, earlier)
        self.tally.repaired += outcome.repaired
        return outcome

    def _row(self, each: _Try) -> dict[str, Any]:
        teacher, request = self.teacher, each.request
        return {
            "request": request_digest(request),
            "id": request.id,
            "sample": request.sample,
            "provider": teacher.provider,
            "model": teacher.model,
            "generation": dict(teacher.generation),
            "reply": each.reply.as_dict(),
        }

    def _pulse(self) -> None:
        self._pulse_quietly()
        self._between()

    def _pulse_quietly(self) -> None:
        while self._said:
            self._log(self._said.popleft())

    def _bring_home(self, flying: list[Future[list[_Try]]], patient: bool) -> None:
        """Calls that are out are paid for: wait for them to be recorded; after an interruption no longer than a moment."""
        while wait(flying, 0.5 if patient else GRACE).not_done and patient:
            self._between()

    # in the threads that call

    def _work(self, request: Request, attempts: int) -> list[_Try]:
        try:
            return self._try(request, attempts)
        except Closed:
            raise
        except Exception as error:
            with self._lock:
                self._failure = self._failure or error
            self._gate.close()  # nobody else shall be sent into the same
            raise

    def _try(self, request: Request, attempts: int) -> list[_Try]:
        """Ask until a reply is taken."""
        tries: list[_Try] = []
        for attempt in range(max(1, attempts)):
            asked = replace(request, sample=request.sample + attempt) if attempt else request
            key = answer_key(self.teacher, asked)
            reply = self._once(asked, key)
            try:
                tries.append(_Try(asked, key, reply, read(reply, asked.task)))
                break
            except Rejected as rejected:
                tries.append(_Try(asked, key, reply, rejected=rejected))
                if rejected.reason in _FINAL:
                    break
        return tries

    def _once(self, request: Request, key: str) -> Reply:
        """The reply to a request, from the record or by a call; equal requests at the same time wait for one call."""
        if self.cache is None:
            reply = self._call(request, key)
            assert reply is not None
            return reply
        with self._lock:
            out = self._flying.get(key)
            if out is None:
                mine = self._flying[key] = Future[Reply]()
        if out is not None:
            reply = out.result()
            self._count(cached=1)
            return reply
        try:
            while (reply := self._recorded(self.cache, key)) is None:
                if self.cache.elsewhere(key):
                    self._await_another()
                elif (reply := self._call(request, key)) is not None:
                    break
            mine.set_result(reply)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flying[key]
        return reply

    def _recorded(self, cache: AnswerCache, key: str) -> Reply | None:
        reply = cache.get(key)
        if reply is None:
            cache.refresh()  # another process may have asked meanwhile
            reply = cache.get(key)
        if lost := cache.lost(key):
            with self._lock:
                self._lost.setdefault(key, lost)
                self.tally.lost = sum(map(len, self._lost.values()))
        if reply is not None:
            self._count(cached=1)
        return reply

    def _await_another(self) -> None:
        """Another process asks the same, and its answer will be ours."""
        with self._lock:
            if not self._waited:
                self._said.append("another run asks the same of this teacher; its answers are waited for, and not paid for twice")
            self._waited = True
        self._gate.pause(ANOTHER)

    def _call(self, request: Request, key: str) -> Reply | None:
        """The reply; None where another process was quicker to ask for it."""
        self._check(request)
        if not self.teacher.recorded:  # costs nothing, and asks nobody
            return self._send(request, key)
        for attempt in range(self._retries + 1):
            expected = self._gate.enter(request.prompt)
            taken: Tokens | None = None
            try:
                reply = self._send(request, key)
                if reply is not None:
                    taken = self._used(request, reply)
                return reply
            except Busy as busy:
                if attempt == self._retries or (busy.wait is not None and busy.wait > LONGEST_WAIT):
                    raise self._gave_up(request, busy, attempt + 1) from None
                asked_for = busy.wait
                if asked_for is not None:
                    self._gate.quiet(asked_for)  # before anybody is let out in this one's place
            finally:
                self._gate.leave(request.prompt, expected, taken)
            self._count(retried=1)
            if asked_for is None:
                self._gate.pause(min(60.0, self._backoff * 2**attempt) * random.uniform(0.5, 1.0))
        raise AssertionError("unreachable")

    def _send(self, request: Request, key: str) -> Reply | None:
        """One try, on record from its beginning to its end. None where another process asks the same."""
        call = "" if self.cache is None else self.cache.claim(key)
        if call is None:
            return None
        begun = time.monotonic()
        try:
            reply = self.teacher.ask(request)
        except Exception as error:
            if self.cache is not None:
                self.cache.failed(call, key, type(error).__name__)
            raise
        reply = replace(self._clean(reply), seconds=time.monotonic() - begun)
        if self.cache is not None:
            about = {"provider": self.teacher.provider, "model": self.teacher.model, "generation": dict(self.teacher.generation)}
            self.cache.answered(call, key, reply, id=request.id, prompt=request.prompt, sample=request.sample, **about)
        self._count_call(request, reply)
        return reply

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

    def _used(self, request: Request, reply: Reply) -> Tokens:
        if not self.teacher.recorded or reply.finish == "too-long":  # sent back unread
            return Tokens()
        return used(request.prompt, reply.text, reply.tokens_in, reply.tokens_out)

    def _count_call(self, request: Request, reply: Reply) -> None:
        tokens = used(request.prompt, reply.text, reply.tokens_in, reply.tokens_out) if self.teacher.recorded else Tokens()
        with self._lock:
            self.tally.add(reply, tokens, self._purse.money(tokens))

    def _count(self, **amounts: int) -> None:
        with self._lock:
            for name, amount in amounts.items():
                setattr(self.tally, name, getattr(self.tally, name) + amount)


@dataclass(frozen=True)
class _Try:
    """One request of an outcome, with what came back."""

    request: Request
    key: str
    reply: Reply
    items: list[Item] = field(default_factory=list)
    rejected: Rejected | None = None
