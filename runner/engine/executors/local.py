"""The executor of this machine: workers forked from a forkserver that is started with the first task."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import msgspec

from runner.contract import Artifact
from runner.engine.executors.forkserver import kill
from runner.engine.scrub import LogFile, Scrubber
from runner.engine.task import Cancel, Ended, Failure, Task, encode
from runner.errors import ArtifactDamaged, RunnerError

GRACE = 10.0  # seconds that a step has to end by itself after ^C
_TICK = 0.1
_LEFT = 64  # reads that empty what a worker has left in the pipe; what it has started may write on and on
_TAIL = 1 << 16  # bytes at a log's end in which its last lines are looked for
# OpenMP's threads spin while they wait, which costs nothing on an idle machine and most of the speed on a busy one.
_DEFAULTS = {"OMP_WAIT_POLICY": "PASSIVE"}
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
_START = "import sys; sys.path[:] = {path!r}; from runner.engine.executors.forkserver import serve; serve({descriptor})"


class Worker:
    """A worker as the runner knows it: its process, once it is forked, and how it ended."""

    def __init__(self) -> None:
        self.process = 0
        self.status: int | None = None
        self.memory = 0
        self.last_words = ""  # of the forkserver, when it was lost
        self.begun, self.ended = threading.Event(), threading.Event()

    def kill(self) -> None:
        if self.begun.is_set() and not self.ended.is_set() and self.process:
            kill(self.process)
            with suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGKILL)


class _Server:
    """A forkserver that runs, and what it prints."""

    def __init__(self, offline: bool) -> None:
        environment = _DEFAULTS | os.environ | {"PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"} | (_OFFLINE if offline else {})
        path = [os.path.abspath(place) for place in sys.path]  # workers change the current folder
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115 - read when the server is gone
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START.format(path=path, descriptor=theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._printed,
                stderr=self._printed,
                start_new_session=True,  # ^C of the terminal reaches the runner alone, which tells the workers
            )

    def bury(self) -> str:
        """Leave nothing of it; returns the last line that it has printed."""
        self.process.kill()
        self.process.wait()
        self.control.close()
        with self._printed:
            self._printed.seek(max(0, self._printed.seek(0, os.SEEK_END) - 2000))
            said = self._printed.read().decode(errors="replace").strip()
        return said.splitlines()[-1] if said else ""


class LocalExecutor:
    """Thread-safe. ``offline`` tells the hub libraries, which read it when they are imported."""

    def __init__(self, scrubber: Scrubber, *, offline: bool = False) -> None:
        self.scrubber, self.offline = scrubber, offline
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._listener: threading.Thread | None = None
        self._workers: dict[int, Worker] = {}
        self._count = 0
        self._closed = False

    def execute(
        self,
        task: Task,
        *,
        lock: int,
        log: Path,
        tell: Callable[[Mapping[str, Any]], None],
        open_artifact: Callable[[str], Artifact],
        cancel: Cancel,
    ) -> Ended:
        with ExitStack() as opened:
            written = opened.enter_context(closing(LogFile(log, self.scrubber)))
            channel, theirs = map(opened.enter_context, socket.socketpair())
            output, their_output = (opened.enter_context(open(end, "rb", buffering=0)) for end in os.pipe())
            worker = self._fork(task, theirs.fileno(), their_output.fileno(), lock)
            theirs.close()
            their_output.close()
            conversation = _Conversation(channel, output.fileno(), written, self.scrubber, tell, open_artifact)
            try:
                stopped = conversation.hold(task, worker, cancel, self.kill)
            finally:
                worker.kill()
        return Ended(_verdict(conversation.end, worker, stopped, task, log), worker.memory)

    def kill(self) -> None:
        """Kill every worker now, and the forkserver, which may be importing what a worker is to be forked with."""
        for worker in list(self._workers.values()):
            worker.kill()
        server = self._server
        if server is not None:
            server.process.kill()

    def close(self) -> None:
        self._closed = True
        self.kill()
        if self._listener is not None:
            self._listener.join()

    def _fork(self, task: Task, *descriptors: int) -> Worker:
        worker = Worker()
        with self._lock:
            if self._closed:
                worker.ended.set()
                return worker
            if self._server is None:
                self._server = _Server(self.offline)
                self._listener = threading.Thread(target=self._listen, args=(self._server,), daemon=True)
                self._listener.start()
            self._count += 1
            self._workers[self._count] = worker
            request = json.dumps({"number": self._count, "preload": task.preload}).encode()
            try:
                socket.send_fds(self._server.control, [request], list(descriptors))
            except OSError:
                self._server.process.kill()  # if it is not dead already; the listener tells the worker's end
        return worker

    def _listen(self, server: _Server) -> None:
        with suppress(OSError):
            while data := server.control.recv(4096):
                message = json.loads(data)
                worker = self._workers[message["number"]]
                if "process" in message:
                    worker.process = message["process"]
                    worker.begun.set()
                else:
                    worker.status, worker.memory = message["status"], message["memory"]
                    worker.ended.set()
                    del self._workers[message["number"]]
        with self._lock:  # the server is gone, and its workers die with it; the next task starts another
            self._server = None
            said = self.scrubber.text(server.bury())
            for number, worker in list(self._workers.items()):
                worker.kill()
                worker.last_words = said
                worker.ended.set()
                del self._workers[number]


class _Conversation:
    """What passes between the runner and one worker, until the worker is gone."""

    def __init__(
        self,
        channel: socket.socket,
        output: int,
        log: LogFile,
        scrubber: Scrubber,
        tell: Callable[[Mapping[str, Any]], None],
        open_artifact: Callable[[str], Artifact],
    ) -> None:
        self.channel, self.output, self.log, self.scrubber = channel, output, log, scrubber
        self.tell, self.open_artifact = tell, open_artifact
        self.end: dict[str, Any] | None = None
        self._rest = b""
        self._open = {channel.fileno(), output}
        os.set_blocking(output, False)

    def hold(self, task: Task, worker: Worker, cancel: Cancel, kill_all: Callable[[], None]) -> str:
        """Talk until the worker has ended. Returns why it was stopped: ``""``, ``cancel`` or ``timeout``."""
        stopped, told = "", False
        deadline = began = float("inf")
        self._send(encode(task))
        while not worker.ended.is_set():
            if self._open:
                self._listen(_TICK)
            else:
                worker.ended.wait(_TICK)
            now = time.monotonic()
            if worker.begun.is_set() and began == float("inf"):  # waiting for imports of the forkserver is no time of the step
                began = now
                deadline = now + task.timeout if task.timeout else deadline
            if cancel.soft.is_set() and not told:
                told, stopped, deadline = True, "cancel", min(deadline, now + GRACE)
                self._send(b'{"is":"cancel"}')
            if cancel.hard.is_set():
                stopped = "cancel"
                kill_all()
            elif now > deadline:
                stopped = stopped or "timeout"
                worker.kill()
        for _ in range(_LEFT):
            if not self._open or not self._listen(0):
                break
        return stopped

    def _send(self, data: bytes) -> None:
        self.channel.setblocking(True)
        with suppress(OSError):
            self.channel.sendall(data + b"\n")

    def _listen(self, seconds: float) -> bool:
        """Wait for the worker and take what it has to say. False when nothing came."""
        ready, _, _ = select.select(list(self._open), [], [], seconds)
        printed = b""
        if self.output in ready:
            printed = self._read(self.output, lambda: os.read(self.output, 1 << 16))
        # After the output and before it is written: a secret is announced before it can be printed.
        if self.channel.fileno() in self._open:
            self._messages()
        self.log.write(printed)
        return bool(ready)

    def _messages(self) -> None:
        self._rest += self._read(self.channel.fileno(), lambda: self.channel.recv(1 << 18, socket.MSG_DONTWAIT))
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["is"] == "secret":
                self.scrubber.add(message["name"])
            elif message["is"] == "open":
                self._answer(message["ref"])
            elif message["is"] == "ended":
                self.end = self.scrubber.plain(message)
            else:
                self.tell(self.scrubber.plain(message))

    def _answer(self, ref: str) -> None:
        try:
            answer: dict[str, Any] = {"is": "opened", "artifact": self.open_artifact(ref)}
        except ArtifactDamaged as error:
            answer = {"is": "damaged", "key": error.where, "message": error.message}
        except RunnerError as error:
            answer = {"is": "damaged", "key": "", "message": str(error)}
        self._send(encode(answer))

    def _read(self, descriptor: int, read: Callable[[], bytes]) -> bytes:
        try:
            data = read()
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self._open.discard(descriptor)
        return data


def _verdict(end: Mapping[str, Any] | None, worker: Worker, stopped: str, task: Task, log: Path) -> Failure | None:
    """How it went, from what the worker said last and how its process ended."""
    if end is not None:
        said = None if end["failure"] is None else msgspec.convert(end["failure"], Failure)
        if said is None or stopped != "cancel":
            return said
    if stopped == "cancel":
        return Failure("interrupted", cancelled=True)
    if stopped == "timeout":
        return Failure(f"took longer than its timeout of {task.timeout:g} s", "raise resources.timeout, or give it less to do")
    return Failure(f"{_death(worker)}{_last_lines(log)}", "its log is complete up to that moment", bug=True)


def _death(worker: Worker) -> str:
    peak = f"; it had used {worker.memory / 2**30:.2f} GiB" if worker.memory else ""
    if worker.status is None:
        words = f": {worker.last_words}" if worker.last_words else ""
        return f"the process that starts the workers ended, and this worker with it{words}"
    if worker.status >= 0:
        return f"the worker ended itself with exit status {worker.status}"
    name = _signal(-worker.status)
    if name == "SIGKILL":
        return f"the worker was killed (SIGKILL), most likely because the machine ran out of memory{peak}"
    crashes = {"SIGSEGV": "a segmentation fault", "SIGABRT": "an abort", "SIGBUS": "a bus error", "SIGFPE": "an arithmetic fault"}
    return f"the worker crashed with {crashes[name]} ({name})" if name in crashes else f"the worker was ended by {name}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of the real-time signals only the first and the last have names
        return f"signal {number}"


def _last_lines(log: Path, count: int = 6) -> str:
    """What the log says last: the top of a crash's stack, which Python prints the wrong way round, or simply the last lines."""
    with suppress(OSError):
        with open(log, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            text = file.read().decode(errors="replace").rstrip()
        crash = text.rfind("Fatal Python error")
        lines = text[crash:].splitlines()[:count] if crash >= 0 else text.splitlines()[-count:]
        lines = [line for line in lines if line.strip()]
        return "; the last lines of its log:" + "".join(f"\n  | {line[:200]}" for line in lines) if lines else ""
    return ""
