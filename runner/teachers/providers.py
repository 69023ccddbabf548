"""The providers: a table of names to modules, imported on first use. A new one is a module with ``open`` and a row here."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from runner.teachers.interface import Teacher

PROVIDERS: dict[str, str] = {
    "extractive": "runner.teachers.extractive",
    "google-generativeai": "runner.teachers.google_generativeai",
}


@dataclass(frozen=True)
class Connection:
    """How a remote provider is reached. ``endpoint`` replaces the provider's own address; ``timeout`` is in seconds a call."""

    api_key: str = ""
    endpoint: str = ""
    timeout: float = 120.0

    def __repr__(self) -> str:  # the key must not reach a log by way of a repr
        return f"Connection(endpoint={self.endpoint!r}, timeout={self.timeout})"


def open_teacher(provider: str, connection: Connection | None = None, **settings: Any) -> Teacher:
    """Open a teacher: ``open_teacher("google-generativeai", Connection(api_key=...), model="...")``.

    Errors: KeyError for an unknown provider, TypeError for a setting that it does not have, MissingPackage.
    """
    teacher: Teacher = importlib.import_module(PROVIDERS[provider]).open(connection or Connection(), **settings)
    return teacher
