"""The record of every answer that a teacher gave, shared by all recipes and runs that use one folder.

Each process appends to a journal file of its own, one JSON object a line, written through to the system at once and locked
for as long as the process lives. So a killed process leaves at most a partial last line, which readers drop; and a call that was
asked, is not answered, and stands in a journal that nobody locks any more is known to be lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.teachers.interface import Reply


@dataclass
class _Journal:
    """A file as far as it has been read. ``open`` holds the asks in it that have no end yet, by call id."""

    path: Path
    read: int = 0
    open: dict[str, str] = field(default_factory=dict)  # call -> key


class AnswerCache:
    """Answers by key (:func:`runner.teachers.interface.answer_key`). Safe under threads, processes and SIGKILL.

    ``damaged`` counts complete lines that could not be read; they are misses.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.damaged = 0
        self._journals: dict[str, _Journal] = {}
        self._answers: dict[str, dict[str, tuple[str, int]]] = {}  # key -> call -> (file name, offset of the line)
        self._forgotten: set[str] = set()  # calls
        self._own: int | None = None
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._lock = threading.RLock()
        self.refresh()

    def refresh(self) -> None:
        """Read what this and other processes have added since the last look."""
        with self._lock:
            for path in sorted(self.folder.glob("*.jsonl")):
                journal = self._journals.setdefault(path.name, _Journal(path))
                if path.stat().st_size > journal.read:
                    self._read(journal)

    def get(self, key: str) -> Reply | None:
        """The recorded reply, or None. With several, always the same one."""
        with self._lock:
            found = sorted(place for call, place in self._answers.get(key, {}).items() if call not in self._forgotten)
            if not found:
                return None
            name, offset = found[0]
            with (self.folder / name).open("rb") as file:
                file.seek(offset)
                return Reply(**json.loads(file.readline())["reply"])

    def asked(self, key: str, **about: Any) -> str:
        """Record that a call goes out; ``about`` (the prompt, the model) is kept with it. Returns the call's id."""
        call = secrets.token_hex(8)
        self._write({"event": "asked", "call": call, "key": key, **about})
        return call

    def answered(self, call: str, key: str, reply: Reply) -> None:
        self._write({"event": "answered", "call": call, "key": key, "reply": reply.as_dict()})

    def failed(self, call: str, key: str, why: str) -> None:
        """The call ended without an answer."""
        self._write({"event": "failed", "call": call, "key": key, "why": why})

    def forget(self, keys: Iterable[str]) -> None:
        """Drop the answers recorded so far, so that these are asked again."""
        with self._lock:
            for key in keys:
                for call in self._answers.get(key, {}).keys() - self._forgotten:
                    self._write({"event": "forgotten", "call": call, "key": key})

    def lost(self, key: str) -> int:
        """Calls with this key that were in flight when their process died."""
        with self._lock:
            return sum(
                list(journal.open.values()).count(key)
                for journal in self._journals.values()
                if key in journal.open.values() and not self._alive(journal)
            )

    def close(self) -> None:
        with self._lock:
            if self._own is not None:
                os.close(self._own)
                self._own = None

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, sort_keys=True).encode() + b"\n"  # ASCII: lone surrogates must not break the journal
        with self._lock:
            if self._own is None:
                self._own = os.open(self.folder / self._name, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o644)
                fcntl.flock(self._own, fcntl.LOCK_EX)
            written = 0
            while written < len(line):
                written += os.write(self._own, line[written:])
            self.refresh()

    def _read(self, journal: _Journal) -> None:
        with journal.path.open("rb") as file:
            file.seek(journal.read)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written, or the last words of a killed process
                offset, journal.read = journal.read, journal.read + len(line)
                try:
                    record = json.loads(line)
                    event, call, key = record["event"], record["call"], record["key"]
                except (ValueError, KeyError, TypeError):
                    self.damaged += 1
                    continue
                if event == "asked":
                    journal.open[call] = key
                elif event == "forgotten":
                    self._forgotten.add(call)
                else:
                    journal.open.pop(call, None)
                    if event == "answered":
                        self._answers.setdefault(key, {})[call] = (journal.path.name, offset)

    def _alive(self, journal: _Journal) -> bool:
        if journal.path.name == self._name:
            return True
        with journal.path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
            return False
