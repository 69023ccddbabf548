"""What happens in a worker: one step is run, then the process ends. The runner commits afterwards, when no writer is left."""

from __future__ import annotations

import errno
import faulthandler
import importlib
import json
import os
import queue
import re
import signal
import socket
import sys
import threading
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from runner.contract import Artifact, Kind
from runner.engine.context import PreviewContext, WorkerContext
from runner.engine.task import Failure, Task, artifacts
from runner.errors import ArtifactDamaged, Cancelled, RunnerError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS")


def work(channel: socket.socket) -> None:
    """Read a task from the channel, run it, tell its end. Does not return. The channel's closing ends the process."""
    line = Line(channel)
    task = msgspec.json.decode(line.first(), type=Task)
    threading.Thread(target=line.listen, daemon=True).start()
    faulthandler.enable(all_threads=False)
    try:
        _prepare(task)
        failure = _run(task, line)
    except BaseException as error:
        failure = describe(error)
    line.send("ended", failure=None if failure is None else msgspec.to_builtins(failure))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # no teardown of libraries: what it frees is freed anyway, and it has been seen to crash


class Line:
    """The channel to the runner: JSON, one object a line, both ways."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel, self._reader = channel, channel.makefile("rb")
        self._sending, self._asking = threading.Lock(), threading.Lock()
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.cancelled = False

    def first(self) -> bytes:
        return self._reader.readline()

    def listen(self) -> None:
        """Read what the runner says until it is gone; then nothing is left to work for."""
        try:
            for line in self._reader:
                message = json.loads(line)
                if message["is"] == "cancel":
                    self.cancelled = True
                else:
                    self._answers.put(message)
        finally:
            os.killpg(0, signal.SIGKILL)

    def send(self, what: str, **values: Any) -> None:
        # Half a character (of a file name that is no UTF-8, say) would make every file of the run's record unreadable.
        data = json.dumps({"is": what, **values}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with self._sending:
            self._channel.sendall(data)

    def ask(self, ref: str) -> Artifact:
        with self._asking:
            self.send("open", ref=ref)
            answer = self._answers.get()
        if answer["is"] == "opened":
            opened: Artifact = artifacts(answer["artifact"])
            return opened
        raise ArtifactDamaged(answer["message"], where=answer["key"])


def _prepare(task: Task) -> None:
    os.chdir(Path(task.work) / "scratch")  # what a library drops in the current folder is thrown away with the attempt
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(task.threads)
    if task.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if "numpy" in sys.modules or "torch" in sys.modules:  # loaded before the variables were set: say it again by function
        try:
            import threadpoolctl  # type: ignore[import-untyped,unused-ignore]

            threadpoolctl.threadpool_limits(task.threads)
        except ImportError:
            pass
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(task.threads)


def _run(task: Task, line: Line) -> Failure | None:
    kind = Kind(task.kind, importlib.import_module(task.module))
    params = msgspec.convert(task.params, kind.params)
    kind_of_context = WorkerContext if task.preview is None else partial(PreviewContext, task.preview, Path(task.work))
    context = kind_of_context(
        root=Path(task.root),
        resources=msgspec.convert(task.resources, kind.resources),
        sources={name: [Path(path) for path in paths] for name, paths in task.sources.items()},
        journal=Path(task.work) / "journal",
        cache=Path(task.cache),
        offline=task.offline,
        missing=task.missing,
        send=line.send,
        ask=line.ask,
        cancelled=lambda: line.cancelled,
    )
    inputs = {port: artifacts(found) for port, found in task.inputs.items()}
    try:
        kind.module.run(params, inputs, Path(task.work) / "out", context)
    finally:
        context.flush()
    return None


def describe(error: BaseException) -> Failure:
    """An exception in words; its traceback goes to the log unless it is somebody's to mend."""
    if isinstance(error, Cancelled):
        return Failure("interrupted", cancelled=True)
    if isinstance(error, ArtifactDamaged) and re.fullmatch("[0-9a-f]{64}", error.where):  # a key: found by its hash, and made again
        return Failure(error.message, error.remedy, damaged=error.where)
    if isinstance(error, RunnerError):
        return Failure(f"{error.where}: {error.message}" if error.where else str(error.message), str(error.remedy))
    traceback.print_exception(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failure(f"out of memory: {error}".rstrip(": "), "take a smaller batch, length or model, or a machine with more")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Failure(f"the disk is full ({error.filename or os.getcwd()})", "free some space and run again; finished steps are kept")
    if isinstance(error, SystemExit):
        return Failure(f"the step ended the process itself (exit {error.code})", bug=True)
    try:
        text = (str(error).strip().splitlines() or [""])[0]
    except Exception:
        text = "it cannot be put in words"
    return Failure(
        f"{type(error).__name__}: {text}".rstrip(": "),
        "this is a bug in the step or a library below it; the traceback is in its log",
        bug=True,
    )
