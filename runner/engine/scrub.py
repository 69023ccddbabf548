"""Keeps the values of secret environment variables out of logs, events, errors, manifests and artifacts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

_SECRET = re.compile(r"(?:^|_)(?:API_?KEY|KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
_SHORTEST = 6  # shorter values would black out ordinary words
_TELLING = 16  # values of this length do not stand in a payload by chance

#: Bytes of a log that grows on and on: it keeps its beginning and what came last.
LARGEST_LOG, BEGINNING = 64 << 20, 16 << 20


class Scrubber:
    """Replaces the values of ``*_KEY``, ``*_TOKEN``, ``*_SECRET`` and ``*_PASSWORD`` variables, and of those added, by their names."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        self._values: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        self._bytes: re.Pattern[bytes] | None = None
        for name in self._environment:
            if _SECRET.search(name):
                self.add(name)

    def add(self, variable: str) -> None:
        """Treat this variable's value as a secret from now on."""
        value = self._environment.get(variable, "")
        if len(value) < _SHORTEST:
            return
        spellings = (value, quote(value, safe=""), json.dumps(value)[1:-1])
        self._values = dict.fromkeys(spellings, variable) | self._values  # a new one: other threads may be reading the old one
        longest_first = sorted(self._values, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        self._bytes = re.compile(b"|".join(re.escape(os.fsencode(value)) for value in longest_first))

    def text(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(lambda match: f"[{self._values[match[0]]}]", text)

    def raw(self, data: bytes) -> bytes:
        return data if self._bytes is None else self._bytes.sub(lambda match: f"[{self._values[os.fsdecode(match[0])]}]".encode(), data)

    def plain(self, value: Any) -> Any:
        """The same plain data with every text scrubbed, keys too."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(name): self.plain(item) for name, item in value.items()}
        return [self.plain(item) for item in value] if isinstance(value, list | tuple) else value

    def needles(self) -> dict[bytes, str]:
        """Values that must stand in no payload, with their variables; short ones may stand there by chance and are left out."""
        return {os.fsencode(value): name for value, name in self._values.items() if len(value) >= _TELLING}

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end of ``data`` may be the beginning of a secret that goes on in what follows."""
        longest = 0
        for value in map(os.fsencode, self._values):
            for size in range(min(len(value) - 1, len(data)), longest, -1):
                if data.endswith(value[:size]):
                    longest = size
                    break
        return longest


class LogFile:
    """A log that no secret gets into, also one that arrives in two pieces, and that does not fill the disk."""

    def __init__(self, path: Any, scrubber: Scrubber) -> None:
        self._file, self._scrubber, self._rest = open(path, "ab", buffering=0), scrubber, b""  # noqa: SIM115
        self._size, self._dropped = self._file.tell(), 0

    def write(self, data: bytes) -> None:
        data = self._rest + data
        end = len(data) - self._scrubber.held_back(data)
        self._rest = data[end:]
        self._put(data[:end])

    def close(self) -> None:
        try:
            self._put(self._rest)
        finally:
            self._file.close()

    def _put(self, data: bytes) -> None:
        if self._size > LARGEST_LOG:
            self._dropped += self._size - BEGINNING
            self._file.truncate(BEGINNING)
            self._size = BEGINNING + self._file.write(f"\n[about {self._dropped >> 20} MiB of this log were left out here]\n".encode())
        self._size += self._file.write(self._scrubber.raw(data))
