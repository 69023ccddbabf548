"""The kernel's file locks: one per key. A lock is held by an open descriptor, so that it ends with the last process that has it."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType


class Lock:
    """An exclusive lock on a path. Workers inherit ``descriptor``; the file is removed while the lock is held."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path, -1

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock. False when another process, or another Lock here, holds it and ``wait`` is false."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                return False
            # The holder before us has removed the file that we waited on: what is locked is no longer what the path names.
            if self._is_current(descriptor):
                self.descriptor = descriptor
                return True
            os.close(descriptor)

    def release(self) -> None:
        """Remove the file, then let go."""
        if self.descriptor >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self.descriptor)
            self.descriptor = -1

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except FileNotFoundError:
            return False

    def __enter__(self) -> Lock:
        self.acquire(wait=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


class Gate:
    """A lock that many may pass together (``shared``) or one alone; for the moments in which artifacts must not be removed."""

    def __init__(self, path: Path, *, shared: bool) -> None:
        self.path, self.mode = path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self.descriptor = -1

    def __enter__(self) -> Gate:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self.descriptor, self.mode)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.descriptor)


class Lease:
    """What a live run uses: a locked file that lists keys. `clean` removes none of them while the run lives."""

    def __init__(self, folder: Path) -> None:
        self.gate = folder / "gate"
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"lease-{os.getpid()}-{os.urandom(4).hex()}"
        self._lock = Lock(self.path)
        with Gate(self.gate, shared=True):
            self._lock.acquire(wait=True)  # another run may be asking whether this one lives
        self._keys: set[str] = set()

    def add(self, key: str) -> None:
        """Protect a key from now on. Look the artifact up afterwards, not before."""
        if key not in self._keys:
            self._keys.add(key)
            with Gate(self.gate, shared=True):
                os.write(self._lock.descriptor, f"{key}\n".encode())

    def close(self) -> None:
        self._lock.release()


def leased(folder: Path) -> set[str]:
    """Keys that live runs use; files of dead runs are removed. Inside an exclusive :class:`Gate` no more can be added."""
    keys: set[str] = set()
    for path in folder.glob("lease-*"):
        lock = Lock(path)
        if lock.acquire():
            lock.release()
        else:
            with suppress(FileNotFoundError):
                keys.update(path.read_text(encoding="ascii", errors="replace").split())
    return keys
