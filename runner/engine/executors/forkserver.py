"""A small process that imports heavy libraries once and forks a worker for every step.

It is reached by a Unix socket: a request carries the worker's channel, its log and the lock of its key as descriptors; the
answers tell when a worker began and how it ended. When the socket closes, the runner is gone: every worker is killed and the
process ends. It is single-threaded and touches no GPU, so that forking is safe.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_LARGEST = 1 << 16  # bytes of a request


def serve(descriptor: int) -> None:
    """Serve requests until the socket closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    workers: dict[int, int] = {}  # process -> number of the request
    ready = selectors.DefaultSelector()
    ready.register(control, selectors.EVENT_READ)
    ready.register(wake, selectors.EVENT_READ)
    try:
        while True:
            for key, _ in ready.select():
                if key.fileobj is wake:
                    with suppress(BlockingIOError):
                        wake.recv(4096)
                elif not _fork(control, workers, (wake, woken)):
                    return
            _reap(control, workers)
    except (ConnectionError, BrokenPipeError):
        pass
    finally:
        for worker in workers:
            kill(worker)
        for worker in workers:
            with suppress(ChildProcessError):
                os.waitpid(worker, 0)


def _fork(control: socket.socket, workers: dict[int, int], others: tuple[socket.socket, ...]) -> bool:
    """Take one request. False when the socket has closed."""
    data, descriptors, _, _ = socket.recv_fds(control, _LARGEST, 3)
    if not data:
        return False
    request = json.loads(data)
    _preload(request["preload"])
    parent = os.getpid()
    worker = os.fork()
    if worker == 0:
        try:
            signal.set_wakeup_fd(-1)
            for end in (control, *others):
                end.close()
            _become_worker(parent, *descriptors)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(70)
    for descriptor in descriptors:
        os.close(descriptor)
    workers[worker] = request["number"]
    _answer(control, number=request["number"], process=worker)
    return True


def _preload(modules: list[str]) -> None:
    """Import what the next step needs and is not yet here; what cannot be imported is the step's to explain."""
    missing = [name for name in modules if name not in sys.modules]
    if not missing:
        return
    # Imports take seconds, in which nobody listens to the socket; the kernel watches over the runner meanwhile.
    _die_with_parent(signal.SIGKILL)
    for name in missing:
        try:
            importlib.import_module(name)
        except Exception:
            traceback.print_exc()
    _die_with_parent(0)
    gc.collect()
    gc.freeze()  # the collector shall not touch, and so copy, pages that workers share


def _become_worker(parent: int, channel: int, log: int, lock: int) -> None:
    os.setsid()  # a group of its own, so that it can be ended with all that it has started
    _die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(70)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target in (1, 2):
        os.dup2(log, target)
    os.close(log)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    del lock  # it stays open, and locked, as long as this process lives
    from runner.engine.worker import work

    work(socket.socket(fileno=channel))


def _reap(control: socket.socket, workers: dict[int, int]) -> None:
    for worker in list(workers):
        ended, status, usage = os.wait4(worker, os.WNOHANG)
        if ended:
            kill(worker)  # what it has started, if anything is left
            memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            _answer(control, number=workers.pop(worker), status=os.waitstatus_to_exitcode(status), memory=memory)


def _answer(control: socket.socket, **values: int) -> None:
    control.sendall(json.dumps(values).encode())


def kill(worker: int) -> None:
    """Kill a worker and all of its group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)


def _die_with_parent(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
