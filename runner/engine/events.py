"""The one stream of a run: the live view, the plain log, ``events.jsonl`` and the report are readers of it.

``t`` is seconds since the run began. JSON as in docs/run-record.md.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

State = Literal["waiting", "running", "hit", "done", "failed", "blocked", "cancelled"]
Status = Literal["running", "done", "failed", "interrupted"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """Anything that happens in a run."""

    t: float = 0.0
    instance: ClassVar[str] = ""


class RunStarted(Event, frozen=True, kw_only=True, tag="run-started"):
    recipe: str
    run: str


class Planned(Event, frozen=True, kw_only=True, tag="planned"):
    """The instances of this run, in running order: ``hit`` or ``waiting``."""

    states: dict[str, State]


class Started(Event, frozen=True, kw_only=True, tag="started"):
    """An instance begins to run, and why."""

    instance: str  # type: ignore[misc]
    why: str = ""


class Progress(Event, frozen=True, kw_only=True, tag="progress"):
    """How far an instance is; ``total`` is null where it is not known."""

    instance: str  # type: ignore[misc]
    done: float
    total: float | None
    unit: str


class Metrics(Event, frozen=True, kw_only=True, tag="metrics"):
    """A point of a live curve."""

    instance: str  # type: ignore[misc]
    step: int
    values: dict[str, float | None]


class Log(Event, frozen=True, kw_only=True, tag="log"):
    instance: str  # type: ignore[misc]
    message: str


class Warned(Event, frozen=True, kw_only=True, tag="warning"):
    """Something that the report must show."""

    instance: str  # type: ignore[misc]
    message: str


class Fact(Event, frozen=True, kw_only=True, tag="fact"):
    """A measured thing about an execution."""

    instance: str  # type: ignore[misc]
    name: str
    value: Any
    unit: str


#: What a running step tells.
Told = Progress | Metrics | Log | Warned | Fact


class Finished(Event, frozen=True, kw_only=True, tag="finished"):
    """An instance has come to its end in this run; ``error`` says why it failed."""

    instance: str  # type: ignore[misc]
    state: State
    seconds: float
    error: str | None = None


class RunFinished(Event, frozen=True, kw_only=True, tag="run-finished"):
    status: Status
    seconds: float
