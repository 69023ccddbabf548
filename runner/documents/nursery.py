"""The process behind :mod:`runner.documents.isolated`: forks a child for each item, with the kernel's limits on it, and reaps it.

Run as ``python -m runner.documents.nursery MODULE:FUNCTION SECONDS MEGABYTES CONCURRENCY [MODULE...]`` with a socket as standard input.
It sends a byte when it is ready, takes ``[number, item]`` as lines of JSON and answers each with ``[number, outcome]`` and an open file:
``done`` and the answer, ``refused`` and ``[message, remedy]`` of a RunnerError, ``failed`` and the reason, all as JSON. Linux ends the
children when this process dies, and it ends when its socket closes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runner.errors import RunnerError

_PR_SET_PDEATHSIG = 1
#: How a child says what became of its item; any other status, 0 as well, is the doing of a library.
_DONE, _NO_MEMORY, _FAILED, _REFUSED = 70, 71, 72, 73


@dataclass
class _Child:
    number: int
    process: int
    answer: BinaryIO
    deadline: float
    late: bool = False


class _Nursery:
    def __init__(self, function: Callable[[Any], Any], seconds: float, megabytes: int, concurrency: int) -> None:
        self.function, self.seconds, self.megabytes, self.concurrency = function, seconds, megabytes, concurrency
        self.channel = socket.socket(fileno=0)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.channel, selectors.EVENT_READ)
        self.jobs: deque[tuple[int, Any]] = deque()
        self.children: dict[int, _Child] = {}  # by the pipe that closes when the child ends
        self.rest = b""

    def run(self) -> None:
        self.channel.sendall(b"\n")
        while True:
            for key, _ in self.selector.select(self._pause()):
                if key.fd in self.children:
                    self._reap(key.fd)
                elif not self._take():
                    return
            now = time.monotonic()
            for child in self.children.values():
                if now > child.deadline and not child.late:
                    child.late = True
                    os.kill(child.process, signal.SIGKILL)
            while self.jobs and len(self.children) < self.concurrency:
                self._fork(*self.jobs.popleft())

    def _pause(self) -> float | None:
        deadlines = [child.deadline for child in self.children.values() if not child.late]
        return max(0.0, min(deadlines) - time.monotonic()) + 0.01 if deadlines else None

    def _take(self) -> bool:
        data = self.channel.recv(1 << 20)
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.jobs += [tuple(json.loads(line)) for line in lines]
        return bool(data)

    def _fork(self, number: int, item: Any) -> None:
        ended, alive = os.pipe()
        answer = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the child is reaped)
        parent = os.getpid()
        process = os.fork()
        if not process:
            status = _FAILED
            try:
                self.channel.close()
                status = self._child(item, answer, parent)
            finally:
                os._exit(status)
        os.close(alive)
        self.selector.register(ended, selectors.EVENT_READ)
        self.children[ended] = _Child(number, process, answer, time.monotonic() + self.seconds)

    def _child(self, item: Any, answer: BinaryIO, parent: int) -> int:
        """In the child. The limits are the kernel's, so that they hold inside of any library."""
        with contextlib.suppress(AttributeError, OSError):  # not on Linux
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("1000")  # when the machine runs out of memory, this process is the one to go
        if os.getppid() != parent:
            return _FAILED
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (self.megabytes << 20, self.megabytes << 20))
        try:
            made = self.function(item)
            answer.write(json.dumps(made, ensure_ascii=False).encode("utf-8", "surrogatepass"))
            answer.flush()
        except MemoryError:
            return _NO_MEMORY
        except RunnerError as error:  # no fault of the item's
            answer.write(json.dumps([error.message, error.remedy]).encode())
            answer.flush()
            return _REFUSED
        except (NameError, ImportError) as error:  # no fault of the item's either, and not to be taken for one
            where = traceback.extract_tb(error.__traceback__)[-1]
            remedy = f"this is a bug in the runner or a library below it ({Path(where.filename).name}, line {where.lineno})"
            answer.write(json.dumps([f"{type(error).__name__}: {error}", remedy]).encode())
            answer.flush()
            return _REFUSED
        except Exception as error:  # whatever a damaged file makes a library raise
            answer.write(f"{type(error).__name__}: {error}"[:500].encode("utf-8", "replace"))
            answer.flush()
            return _FAILED
        return _DONE

    def _reap(self, ended: int) -> None:
        child = self.children.pop(ended)
        self.selector.unregister(ended)
        os.close(ended)
        _, status, usage = os.wait4(child.process, 0)
        status = os.waitstatus_to_exitcode(status)
        with child.answer as answer:
            outcome = {_DONE: "done", _REFUSED: "refused"}.get(status, "failed")
            if outcome == "failed":
                reason = self._why(child, status, usage.ru_maxrss >> 10)
                answer.seek(0)
                answer.truncate()
                answer.write(json.dumps(reason).encode())
                answer.flush()
            # Every message carries a file, which also keeps it apart from the next.
            socket.send_fds(self.channel, [json.dumps([child.number, outcome]).encode()], [answer.fileno()])

    def _why(self, child: _Child, status: int, megabytes: int) -> str:
        if child.late:
            return f"reading it takes more than {self.seconds:g} s"
        # A library that does not check for memory crashes without it.
        if status == _NO_MEMORY or (status < 0 and megabytes > self.megabytes // 2):
            return f"reading it takes more than {self.megabytes} MB"
        if status == _FAILED:
            child.answer.seek(0)
            return f"reading it failed: {child.answer.read().decode() or 'for an unknown reason'}"
        return f"reading it crashed ({signal.Signals(-status).name})" if status < 0 else f"reading it ended with status {status}"


def main(function: str, seconds: str, megabytes: str, concurrency: str, *preload: str) -> None:
    module, _, name = function.partition(":")
    found = getattr(importlib.import_module(module), name)
    for late in preload:
        with contextlib.suppress(ImportError):  # the function says what it misses
            importlib.import_module(late)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches the whole group; the caller decides
    gc.freeze()  # what is imported stays shared with the children
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _Nursery(found, float(seconds), int(megabytes), int(concurrency)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
