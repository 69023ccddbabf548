"""What an executor is given, and what it gives back: plain data, so that it can travel to another process or machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from runner.contract import Artifact


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of one step instance. Paths are absolute; params and resources are plain data with tags."""

    instance: str
    kind: str
    module: str
    preload: list[str]
    params: Any
    resources: Any
    inputs: dict[str, Any]  # per port: an artifact, a list of them, or None
    sources: dict[str, list[str]]
    missing: list[str]
    work: str
    root: str
    cache: str
    offline: bool
    threads: int  # as many as numerical libraries shall use
    device: str
    timeout: float  # seconds, 0 for none
    preview: int | None = None  # how many items; None for a run


def encode(value: Any) -> bytes:
    """A task, or an artifact within a message, as JSON; paths are text there."""
    return msgspec.json.encode(value, enc_hook=str)


def artifacts(data: Any) -> Any:
    """What :func:`encode` has made of an input: an artifact, a list of artifacts, or None."""
    if data is None:
        return None
    shape: Any = list[Artifact] if isinstance(data, list) else Artifact
    return msgspec.convert(data, shape, dec_hook=lambda kind, value: kind(value))


class Failure(msgspec.Struct, frozen=True):
    """Why an execution has made nothing, in words. ``bug`` is true for what is no user's mistake; ``damaged`` names a key."""

    message: str
    remedy: str = ""
    bug: bool = False
    cancelled: bool = False
    damaged: str = ""


class Ended(msgspec.Struct, frozen=True):
    """The end of an execution; no process of it is left. ``peak_memory`` is in bytes, of the largest of its processes."""

    failure: Failure | None
    peak_memory: int


class Cancel:
    """A request to stop: ``soft`` lets steps end between two items, ``hard`` kills them."""

    def __init__(self) -> None:
        self.soft, self.hard = threading.Event(), threading.Event()


class Executor(Protocol):
    """Runs tasks somewhere. ``execute`` may be called from several threads at once."""

    def execute(
        self,
        task: Task,
        *,
        lock: int,
        log: Path,
        tell: Callable[[Mapping[str, Any]], None],
        open_artifact: Callable[[str], Artifact],
        cancel: Cancel,
    ) -> Ended:
        """Run to the end, whatever that is. ``lock`` is a descriptor that the work must hold as long as it lives; ``tell``
        takes the step's messages; ``open_artifact`` gives a verified artifact, or raises ArtifactDamaged."""
        ...

    def close(self) -> None:
        """Leave no process."""
        ...
