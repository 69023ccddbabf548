"""Work on hostile input in processes of its own: what crashes, hangs or bloats on one item is that item's failure alone.

A warm process (:mod:`runner.documents.nursery`) has done the imports and forks a child for each item; it never touches an item
itself. The children's answers lie in files without a name until they are asked for, so that nothing is left behind by a kill,
and an answer of any size waits on the disk.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from runner.errors import StepError

#: Seconds that starting the process may take, which on a busy machine is far more than usual.
_START = 60
#: Seconds between two looks at whether the caller wants to stop.
_TICK = 0.2


@dataclass(frozen=True)
class Failure:
    """Why an item has no answer, in words that fit after the item's name."""

    reason: str


class Isolated:
    """Calls a function on items, each in a process of its own; a context manager.

    ``function`` is ``"module:name"``; it takes an item and returns an answer, both plain JSON data. ``preload`` names modules that it
    imports late: they are imported once for all. ``seconds`` and ``megabytes``
    (of address space) bound the work on one item, ``concurrency`` how many are worked on at once. ``tick`` is called several
    times a second while an answer is awaited; what it raises ends the work. StepError when no process can be started.
    """

    def __init__(
        self,
        function: str,
        *,
        preload: Sequence[str] = (),
        seconds: float = 120,
        megabytes: int = 2048,
        concurrency: int = 4,
        tick: Callable[[], None] | None = None,
    ) -> None:
        self.preload = tuple(preload)
        self.function, self.seconds, self.megabytes, self.concurrency = function, seconds, megabytes, concurrency
        self._tick = tick or (lambda: None)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()  # its children die with it
            self._process.wait()
        self._process = self._channel = None

    def map(self, items: Iterable[Any]) -> Iterator[Any]:
        """The answers in the order of the items, a :class:`Failure` where there is none; a RunnerError that the function raises
        is raised as a StepError. At most a few items are ahead of the
        one that is awaited, so that memory and disk stay bounded."""
        given = enumerate(items)
        waiting: deque[int] = deque()
        answers: dict[int, tuple[str, int]] = {}
        exhausted = False
        try:
            while True:
                while not exhausted and len(waiting) < 3 * self.concurrency:
                    number, item = next(given, (-1, None))
                    exhausted = number < 0
                    if not exhausted:
                        self._start().sendall(json.dumps([number, item]).encode() + b"\n")
                        waiting.append(number)
                if not waiting:
                    return
                while waiting[0] not in answers:
                    number, answer = self._receive()
                    answers[number] = answer
                yield _read(*answers.pop(waiting.popleft()))
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._ended() from error
        finally:
            for _, file in answers.values():
                os.close(file)
            if waiting:  # left early: what is under way must not be taken for the answers of a later call
                self.__exit__(None, None, None)

    def _receive(self) -> tuple[int, tuple[str, int]]:
        """The next answer: the item's number, its outcome, and the descriptor of a file that holds the answer or the reason."""
        channel = self._start()
        self._wait(channel, None)
        data, files, _, _ = socket.recv_fds(channel, 1 << 12, 1)
        if not data:
            raise self._ended()
        number, outcome = json.loads(data)
        return number, (outcome, files[0])

    def _wait(self, channel: socket.socket, seconds: float | None) -> None:
        ready = select.poll()  # unlike select(), it takes descriptors above 1023
        ready.register(channel, select.POLLIN)
        while not ready.poll(_TICK * 1000):
            self._tick()
            if seconds is not None:
                seconds -= _TICK
                if seconds < 0:
                    raise self._ended()

    def _ended(self) -> StepError:
        self.__exit__(None, None, None)
        return StepError(
            "the process that reads files does not run", remedy=f"run `{sys.executable} -m runner.documents.nursery` to see why"
        )

    def _start(self) -> socket.socket:
        if self._channel is None:
            root = str(Path(__file__).resolve().parents[2])
            path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
            self._channel, theirs = socket.socketpair()
            with theirs:
                limits = map(str, (self.seconds, self.megabytes, self.concurrency))
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "runner.documents.nursery", self.function, *limits, *self.preload],
                    stdin=theirs.fileno(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": path},
                )  # fmt: skip
            self._wait(self._channel, _START)
            if not self._channel.recv(1):
                raise self._ended()
        return self._channel


def _read(outcome: str, descriptor: int) -> Any:
    with open(descriptor, "rb") as file:
        file.seek(0)
        answer = json.load(file)
    if outcome == "refused":
        message, remedy = answer
        raise StepError(message, remedy=remedy)
    return answer if outcome == "done" else Failure(answer)
