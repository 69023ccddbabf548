"""The providers: a table of names to modules, imported on first use. A new one is a module with ``open`` and a row here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runner.teachers.interface import Teacher

PROVIDERS: dict[str, str] = {
    "extractive": "runner.teachers.extractive",
    "google-generativeai": "runner.teachers.providers.google_generativeai",
    "gemini": "runner.teachers.providers.gemini",
    "openai": "runner.teachers.providers.openai_chat",
    "local": "runner.teachers.providers.local",
    "replay": "runner.teachers.providers.replay",
}


@dataclass(frozen=True)
class Connection:
    """How a provider is reached, which changes no answer: each uses what it needs.

    ``endpoint`` replaces the provider's own address; ``timeout`` is in seconds a call; ``device`` (auto, cpu, cuda) and ``threads``
    (0: every core that the process may use) are for models on this machine. So is ``between``, which is called all the while such a
    model computes, and may raise to end it.
    """

    api_key: str = ""
    endpoint: str = ""
    timeout: float = 120.0
    device: str = "auto"
    threads: int = 0
    between: Callable[[], None] = lambda: None

    def __repr__(self) -> str:  # the key must not reach a log by way of a repr
        return f"Connection(endpoint={self.endpoint!r}, timeout={self.timeout}, device={self.device!r}, threads={self.threads})"


def open_teacher(provider: str, connection: Connection | None = None, **settings: Any) -> Teacher:
    """Open a teacher: ``open_teacher("google-generativeai", Connection(api_key=...), model="...")``.

    Errors: KeyError for an unknown provider, TypeError for a setting that it does not have, MissingPackage, and StepError for a key,
    an address or a file that cannot be right.
    """
    teacher: Teacher = importlib.import_module(PROVIDERS[provider]).open(connection or Connection(), **settings)
    return teacher


def given(**settings: Any) -> dict[str, Any]:
    """The settings that are set. What is left to the provider is not said to it, and is no part of an answer's key."""
    return {name: value for name, value in settings.items() if value is not None}
