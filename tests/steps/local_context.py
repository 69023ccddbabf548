"""A Context that runs a step in the test's own process, without the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.contract import Artifact, Output, Resources
from runner.errors import StepError


class LocalContext:
    """Records what a step says; keeps journal and caches under ``folder``."""

    def __init__(
        self,
        folder: Path,
        root: Path,
        resources: Resources | None = None,
        sources: Mapping[str, Sequence[Path]] | None = None,
        artifacts: Mapping[str, Artifact] | None = None,
        secrets: Mapping[str, str] | None = None,
        preview: int | None = None,
    ) -> None:
        self.root, self.resources, self.sources = root, resources or Resources(), sources or {}
        self.journal = folder / "journal"
        self.journal.mkdir(parents=True, exist_ok=True)
        self.offline, self.preview = True, preview
        self.folder = folder
        self.artifacts, self.secrets = dict(artifacts or {}), dict(secrets or {})
        self.facts: dict[str, Any] = {}
        self.curve: list[dict[str, float]] = []
        self.messages: list[str] = []
        self.warnings: list[str] = []
        self.last_progress: tuple[float, float | None, str] | None = None

    def prompt(self, file: str) -> Any:
        from runner.prompts import load

        return load(self.root, file)

    def cache(self, name: str) -> Path:
        path = self.folder / "cache" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def artifact(self, ref: str) -> Artifact:
        return self.artifacts[ref]

    def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
        self.last_progress = (done, total, unit)

    def metrics(self, step: int, **values: float) -> None:
        self.curve.append({"step": step, **values})

    def fact(self, name: str, value: Any, unit: str = "") -> None:
        self.facts[name] = value

    def log(self, message: str) -> None:
        self.messages.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def secret(self, variable: str) -> str:
        if variable not in self.secrets:
            raise StepError(f"the environment variable {variable} is not set")
        return self.secrets[variable]

    def check_cancelled(self) -> None:
        return None


def artifact(folder: Path, output: Output | str, step: str = "made", axes: Mapping[str, str] | None = None) -> Artifact:
    """Wrap a folder that a test (or a step's run) has filled as a committed artifact."""
    kind = output if isinstance(output, Output) else Output(output)
    return Artifact(
        ref=f"{step}-key/{folder.name}", type=kind.type, form=kind.form, path=folder, digest="0" * 64, step=step, axes=axes or {}
    )
