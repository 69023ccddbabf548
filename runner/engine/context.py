"""How a step in a worker speaks with the engine: the Context of runner.contract, over a socket."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.contract import Artifact, Template
from runner.errors import Cancelled, StepError

_PAUSE = 0.1  # seconds between two progress events


class WorkerContext:
    """``send`` takes messages to the runner, ``ask`` waits for the answer to a question, ``cancelled`` tells of ^C."""

    preview: int | None = None

    def __init__(
        self,
        *,
        root: Path,
        resources: Any,
        sources: Mapping[str, Sequence[Path]],
        journal: Path,
        cache: Path,
        offline: bool,
        missing: Sequence[str],
        send: Callable[..., None],
        ask: Callable[[str], Artifact],
        cancelled: Callable[[], bool],
    ) -> None:
        self.root, self.resources, self.sources, self.journal, self.offline = root, resources, sources, journal, offline
        self.missing = list(missing)  # ids of arms that a gathering step has to do without
        self._cache, self._send, self._ask, self._cancelled = cache, send, ask, cancelled
        self._last_progress = -math.inf
        self._unsent: dict[str, Any] | None = None

    def prompt(self, file: str) -> Template:
        from runner.prompts import load

        return load(self.root, file)

    def cache(self, name: str) -> Path:
        path = self._cache / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def artifact(self, ref: str) -> Artifact:
        return self._ask(ref)

    def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
        self.check_cancelled()
        message = {"done": _number(done) or 0.0, "total": None if total is None else _number(total), "unit": str(unit)}
        now = time.monotonic()
        if now - self._last_progress < _PAUSE and done != total:
            self._unsent = message
            return
        self._last_progress, self._unsent = now, None
        self._send("progress", **message)

    def flush(self) -> None:
        """Send the last progress if it was held back."""
        if self._unsent is not None:
            self._send("progress", **self._unsent)
            self._unsent = None

    def metrics(self, step: int, **values: float) -> None:
        self._send("metrics", step=int(step), values={name: None if value is None else _number(value) for name, value in values.items()})

    def fact(self, name: str, value: Any, unit: str = "") -> None:
        self._send("fact", name=str(name), value=tame(value), unit=str(unit))

    def log(self, message: str) -> None:
        self._send("log", message=str(message))

    def warn(self, message: str) -> None:
        self._send("warning", message=str(message))

    def secret(self, variable: str) -> str:
        self._send("secret", name=variable)  # first, so that the runner keeps it out of the log
        value = os.environ.get(variable, "")
        if not value:
            raise StepError(f"the environment variable {variable} is not set", remedy=f"export {variable}=... before the run")
        return value

    def check_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled("the run was interrupted")


class PreviewContext(WorkerContext):
    """That of a preview: ``folder`` takes the prompts as they are rendered, and whatever the step would add to a cache."""

    def __init__(self, preview: int, folder: Path, **rest: Any) -> None:
        super().__init__(**rest)
        self.preview, self._folder = preview, folder

    def prompt(self, file: str) -> Template:
        return _Kept(super().prompt(file), file, self._folder / "prompts.jsonl")

    def cache(self, name: str) -> Path:
        """A folder that shows what the cache holds by links, but for what is unfinished (``*.part``), and keeps what is added to itself."""
        path = self._folder / "cache" / name
        if not path.exists():
            path.mkdir(parents=True)
            shared = self._cache / name
            for folder, _, files in os.walk(shared):
                here = path / os.path.relpath(folder, shared)
                here.mkdir(exist_ok=True)
                for file in (file for file in files if not file.endswith(".part")):
                    (here / file).symlink_to(os.path.join(folder, file))
        return path


class _Kept:
    """A template that writes down what it renders."""

    def __init__(self, template: Template, file: str, record: Path) -> None:
        self._template, self._file, self._record = template, file, record

    def __getattr__(self, name: str) -> Any:
        return getattr(self._template, name)

    def render(self, **variables: Any) -> str:
        text = self._template.render(**variables)
        line = json.dumps({"file": self._file, "text": text}).encode() + b"\n"
        with open(self._record, "ab", buffering=0) as record:  # one write a line: prompts may be rendered in several threads
            record.write(line)
        return text


def _number(value: Any) -> float | None:
    """A number of any library as Python's own, None for NaN and infinities; ValueError or TypeError for what is no number."""
    number = float(value)
    return number if math.isfinite(number) else None


def tame(value: Any) -> Any:
    """Numbers of numerical libraries as Python's own; NaN and infinities as None, which JSON knows."""
    if isinstance(value, Mapping):
        return {str(name): tame(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [tame(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if not isinstance(value, float) and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str) else str(value)
