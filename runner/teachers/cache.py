"""The record of every answer that a teacher gave, shared by all recipes and runs that use one folder.

Each process appends to a journal file of its own, one JSON object a line, handed to the system at once and locked for as long as
the process lives. So a killed process leaves at most a partial last line, which readers drop. A call that was asked and is not
answered is on its way while its journal is locked, and nobody else makes it; once nobody locks it any more, the call is known to be
lost. Journals are flushed to the disk once a second and when they are closed: a power cut costs the answers of the last second. What
dead processes left is merged now and then (:mod:`runner.teachers.merging`).

In memory stands only where each answer lies: about 350 bytes an answer.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from runner.errors import StepError
from runner.teachers.interface import Reply
from runner.teachers.merging import Head, head_of, merge, names

#: Seconds between two flushes to the disk.
FLUSH = 1.0
#: Journals of dead processes that are too many: opening the record merges them.
MANY = 16


class _Place(NamedTuple):
    """Where an answer lies. The smallest call counts, so that all readers take the same one of several."""

    call: bytes
    journal: _Journal
    offset: int


@dataclass(eq=False)
class _Journal:
    """A file, and the bytes of it that have been read."""

    path: Path
    read: int = 0

    def __lt__(self, other: _Journal) -> bool:
        return self.path.name < other.path.name


class AnswerCache:
    """Answers by key (:func:`runner.teachers.interface.answer_key`). Safe under threads, processes and SIGKILL.

    ``damaged`` counts complete lines that could not be read; they are misses. With ``write=False`` the folder is only read, and need
    not exist.
    """

    def __init__(self, folder: Path, *, write: bool = True) -> None:
        self.folder = folder
        self.damaged = 0
        self._write_down = write
        self._journals: dict[str, _Journal] = {}
        self._answers: dict[bytes, tuple[_Place, ...]] = {}
        self._open: dict[bytes, tuple[bytes, _Journal]] = {}  # call -> key and place of an ask that has no end yet
        self._forgotten: set[bytes] = set()  # calls, answered or lost, that count no more
        self._lock = threading.RLock()
        self._flushing = threading.Lock()
        self._name = _fresh()
        self._own: int | None = None
        self._size = 0  # of the own journal
        self._flushed = time.monotonic()
        if write:
            folder.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # a full disk is to be told when an answer is in danger
                self.damaged += merge(folder, MANY)
        self.refresh()

    def refresh(self) -> None:
        """Read what this and other processes have added since the last look."""
        with self._lock:
            while not self._read_all():
                pass  # journals were merged while we read

    def get(self, key: str) -> Reply | None:
        """The recorded reply, or None. With several, always the same one."""
        with self._lock:
            while True:
                places = self._answers.get(bytes.fromhex(key), ())
                place = min((place for place in places if place.call not in self._forgotten), default=None)
                if place is None:
                    return None
                try:
                    return self._reply(place)
                except FileNotFoundError:  # merged into another
                    self._drop(place.journal)
                    self.refresh()

    def asked(self, key: str) -> str:
        """Record that a call goes out. Returns its id."""
        call = secrets.token_hex(8)
        self._write({"event": "asked", "call": call, "key": key})
        return call

    def claim(self, key: str) -> str | None:
        """Like :meth:`asked`, but None where nobody needs to ask: the answer is on record by now, or another process is out for it."""
        if not self._write_down:
            return self.asked(key)
        with self._lock, self._turn():
            self.refresh()
            return None if self.elsewhere(key) or self.get(key) is not None else self.asked(key)

    def elsewhere(self, key: str) -> bool:
        """Whether another process, one that lives, has a call with this key in flight."""
        with self._lock:
            return any(journal.path.name != self._name and self._alive(journal) for _, journal in self._in_flight(key))

    def answered(self, call: str, key: str, reply: Reply, **about: Any) -> None:
        """Record the answer; ``about`` (the prompt, the model) is kept with it."""
        self._write({"event": "answered", "call": call, "key": key, "reply": reply.as_dict(), **about})

    def failed(self, call: str, key: str, why: str) -> None:
        """The call ended without an answer."""
        self._write({"event": "failed", "call": call, "key": key, "why": why})

    def forget(self, keys: Iterable[str]) -> None:
        """Drop the answers recorded so far, so that these are asked again."""
        with self._lock:
            for key in keys:
                for place in self._answers.get(bytes.fromhex(key), ()):
                    if place.call not in self._forgotten:
                        self._write({"event": "forgotten", "call": place.call.hex(), "key": key})

    def lost(self, key: str) -> list[str]:
        """Calls with this key that were in flight when their process died, and that nobody has been told of (:meth:`told`)."""
        with self._lock:
            return [call.hex() for call, journal in self._in_flight(key) if not self._alive(journal)]

    def told(self, key: str, calls: Iterable[str]) -> None:
        """Do not count these lost calls again."""
        for call in calls:
            self._write({"event": "forgotten", "call": call, "key": key})

    def close(self) -> None:
        """Flush and let go of the own journal. What is recorded after that begins another one."""
        with self._flushing, self._lock:
            if self._own is not None:
                os.fsync(self._own)
                os.close(self._own)
                self._own, self._name, self._size = None, _fresh(), 0

    def _in_flight(self, key: str) -> list[tuple[bytes, _Journal]]:
        """Calls with this key that have no end on record, whoever made them, but for those that were told as lost."""
        wanted = bytes.fromhex(key)
        return [(call, journal) for call, (asked, journal) in self._open.items() if asked == wanted and call not in self._forgotten]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process at a time looks and writes, so that no two find each that the other has not asked."""
        try:
            descriptor = os.open(self.folder / "asking.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _unwritable(self, error: OSError) -> StepError:
        return StepError(
            f"the record of answers cannot be written: {error.strerror} ({self.folder.name})",
            remedy="free some space and run again; what was recorded before is kept",
        )

    def _write(self, record: dict[str, Any]) -> None:
        if not self._write_down:
            return
        line = json.dumps(record, sort_keys=True).encode() + b"\n"  # ASCII: lone surrogates must not break the journal
        with self._lock:
            try:
                self._append(line)
            except OSError as error:
                raise self._unwritable(error) from None
            journal = self._journals.setdefault(self._name, _Journal(self.folder / self._name))
            self._take(journal, Head(record["event"], record["call"], record["key"]), self._size)
            self._size += len(line)
            journal.read = self._size
        self._flush()

    def _append(self, line: bytes) -> None:
        if self._own is None:
            aside = self.folder / f".{self._name}"
            self._own = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._own, fcntl.LOCK_EX)
            aside.rename(self.folder / self._name)  # nobody sees it unlocked, and takes it for a dead one's
        try:
            written = 0
            while written < len(line):
                written += os.write(self._own, line[written:])
        except OSError:
            os.ftruncate(self._own, self._size)  # half a line would spoil the next one
            raise

    def _flush(self) -> None:
        """To the disk, at most once a second and by one thread, while the others go on."""
        if time.monotonic() - self._flushed < FLUSH or not self._flushing.acquire(blocking=False):
            return
        try:
            self._flushed = time.monotonic()
            if self._own is not None:
                os.fdatasync(self._own)
        finally:
            self._flushing.release()

    def _read_all(self) -> bool:
        """Read what is new. False when a journal is gone meanwhile: what it held stands in another."""
        for name, size in sorted(names(self.folder).items()):
            journal = self._journals.setdefault(name, _Journal(self.folder / name))
            if size > journal.read:
                try:
                    self._read(journal)
                except FileNotFoundError:
                    del self._journals[name]
                    return False
        return True

    def _read(self, journal: _Journal) -> None:
        with journal.path.open("rb") as file:
            file.seek(journal.read)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written, or the last words of a killed process
                offset, journal.read = journal.read, journal.read + len(line)
                try:
                    self._take(journal, head_of(line), offset)
                except ValueError:
                    self.damaged += 1

    def _take(self, journal: _Journal, head: Head, offset: int) -> None:
        call, key = bytes.fromhex(head.call), bytes.fromhex(head.key)
        if head.event == "asked":
            self._open[call] = key, journal
        elif head.event == "forgotten":
            self._forgotten.add(call)
        else:
            self._open.pop(call, None)
            if head.event == "answered":
                others = tuple(place for place in self._answers.get(key, ()) if place.call != call)
                self._answers[key] = (*others, _Place(call, journal, offset))

    def _reply(self, place: _Place) -> Reply:
        with place.journal.path.open("rb") as file:
            file.seek(place.offset)
            return Reply(**json.loads(file.readline())["reply"])

    def _drop(self, gone: _Journal) -> None:
        """Forget what was read from a journal that is no more; what it held stands in another."""
        self._journals.pop(gone.path.name, None)
        kept = {key: tuple(place for place in places if place.journal is not gone) for key, places in self._answers.items()}
        self._answers = {key: places for key, places in kept.items() if places}

    def _alive(self, journal: _Journal) -> bool:
        if journal.path.name == self._name:
            return True
        try:
            with journal.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def _fresh() -> str:
    """A name that no other journal has."""
    return f"{os.getpid()}-{secrets.token_hex(8)}.jsonl"
