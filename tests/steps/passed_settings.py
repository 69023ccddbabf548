"""Settings of a teacher that a step hands to its provider as they are: what it does with them is proved by tests/teachers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runner.errors import StepError

OPENAI = {"provider": "openai", "model": "m"}
LOCAL = {"provider": "local", "path": "m.gguf"}
#: By name: a teacher, and another value of the setting.
_SETTINGS: dict[str, tuple[dict[str, Any], Any]] = {
    "seed": (OPENAI, 7),
    "response_format": (OPENAI, "json_object"),
    "path": (LOCAL, "other.gguf"),
    "id": ({"provider": "local"}, "org/model"),
    "revision": ({"provider": "local", "id": "org/model"}, "0" * 40),
    "context_window": (LOCAL, 512),
}


def passed(teacher: str) -> tuple[str, ...]:
    """Their paths in the Params of a kind that has its teacher in the field ``teacher``."""
    return tuple(f"{teacher}.{name}" for name in _SETTINGS)


def reaches_its_provider(field: str, run: Callable[[dict[str, Any]], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """``run`` runs the step with a teacher: the provider is opened with the setting's value, and with another for another."""
    opened: list[dict[str, Any]] = []

    def capture(provider: str, connection: Any, **settings: Any) -> Any:
        opened.append(settings)
        raise StepError("opened")

    monkeypatch.setattr("runner.teachers.providers.open_teacher", capture)
    name = field.rsplit(".", 1)[-1]
    teacher, value = _SETTINGS[name]
    for each in (teacher, {**teacher, name: value}):
        with pytest.raises(StepError, match="opened"):
            run(each)
    assert str(opened[1][name]).endswith(str(value))
    assert opened[1] != opened[0]
