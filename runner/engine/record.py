"""The folder of a run: ``run.json``, ``recipe.yaml``, ``events.jsonl``, ``logs/``, ``steps/`` as in docs/run-record.md."""

from __future__ import annotations

import datetime
import os
import platform
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from runner.engine import durable
from runner.engine.canonical import plain
from runner.engine.events import Event, State, Status
from runner.engine.history import run_folders
from runner.engine.locks import Gate, Lock
from runner.engine.manifest import Manifest
from runner.engine.store import Store
from runner.errors import UsageError
from runner.recipe.model import Instance, Recipe

_DISTRIBUTION = "recipe-runner"


class InstanceRecord(msgspec.Struct, kw_only=True):
    """An instance in a run; the fields are those of docs/run-record.md."""

    id: str
    step: str
    axes: dict[str, str]
    kind: str
    state: State = "waiting"
    why: str = ""
    key: str | None = None
    seconds: float = 0.0
    artifact: str | None = None
    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)
    error: dict[str, str] | None = None
    inputs: dict[str, list[dict[str, str]]]
    outputs: dict[str, dict[str, str]]
    params: dict[str, Any]

    @classmethod
    def of(cls, instance: Instance) -> InstanceRecord:
        return cls(
            id=instance.id,
            step=instance.step,
            axes=dict(instance.axes),
            kind=instance.kind,
            inputs={port: [{"instance": ref.instance, "output": ref.output} for ref in refs] for port, refs in instance.inputs.items()},
            outputs={name: {"type": output.type, "form": output.form} for name, output in instance.outputs.items()},
            params=plain(instance.params),
        )


class RunRecord:
    """A run's folder, written by one thread. The folder is locked as long as the run lives."""

    def __init__(self, recipe: Recipe, store: Store, instances: Mapping[str, Instance], *, unpinned: bool) -> None:
        self.store = store
        with Gate(store.locks / "gate", shared=True):  # `clean` sees the folder locked, or not at all
            self.folder, now = _new_folder(store.runs / recipe.name)
            self._lock = Lock(self.folder / ".lock")
            self._lock.acquire()
        self.instances = {name: InstanceRecord.of(instance) for name, instance in instances.items()}
        document = recipe.document
        self._about: dict[str, Any] = {
            "format": 1,
            "recipe": recipe.name,
            "title": recipe.title,
            "file": os.path.relpath(recipe.file, recipe.root),
            "run": self.folder.name,
            "started": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "finished": None,
            "status": "running",
            "seconds": 0.0,
            "overlays": list(recipe.overlays),
            "unpinned": unpinned,
            **{name: document.get(name, empty) for name, empty in (("source", {}), ("stated", []), ("deviations", []))},
            **{name: document.get(name, []) for name in ("assumptions", "claims", "checks")},
            "matrix": {axis: list(labels) for axis, labels in recipe.axes.items()},
            "environment": environment(),
        }
        for name in ("logs", "steps"):
            (self.folder / name).mkdir()
        self._events = open(self.folder / "events.jsonl", "ab", buffering=0)  # noqa: SIM115
        self._write_recipe(recipe)
        self.save()
        durable.link(self.folder.name, self.folder.parent / "latest")

    def log(self, instance: str) -> Path:
        return self.folder / "logs" / f"{file_name(instance)}.log"

    def event(self, event: Event) -> None:
        self._events.write(msgspec.json.encode(event) + b"\n")

    def save(self) -> None:
        """Rewrite run.json, whole."""
        data = self._about | {"instances": list(self.instances.values())}
        durable.write(self.folder / "run.json", msgspec.json.encode(data) + b"\n", sync=False)

    def artifact(self, instance: str, manifest: Manifest) -> None:
        """Record and link the artifact of an instance."""
        record, folder = self.instances[instance], self.store.folder(manifest.key)
        record.key, record.artifact = manifest.key, folder.relative_to(self.store.path).as_posix()
        record.params, record.facts, record.warnings = manifest.params, dict(manifest.facts), list(manifest.warnings)
        link = self.folder / "steps" / file_name(instance)
        durable.link(os.path.relpath(folder, link.parent), link)

    def finish(self, status: Status, seconds: float) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self._about |= {"status": status, "seconds": seconds, "finished": now.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        self.save()

    def close(self) -> None:
        self._events.close()
        self._lock.release()

    def _write_recipe(self, recipe: Recipe) -> None:
        from runner.recipe import to_yaml

        durable.write(self.folder / "recipe.yaml", to_yaml(recipe.document).encode(), sync=False)


def file_name(instance: str) -> str:
    """An instance's id as a file name: slashes are spelt ``%2F``; a very long id is cut and told apart by its hash."""
    name = instance.replace("%", "%25").replace("/", "%2F")
    if len(os.fsencode(name)) <= 200:
        return name
    from runner.engine.canonical import digest

    return f"{os.fsencode(name)[:180].decode(errors='ignore')}~{digest(instance)[:12]}"


def _new_folder(recipe: Path) -> tuple[Path, datetime.datetime]:
    """A folder of the present time, whose name is greater than those of all earlier runs even if the clock went back."""
    started = moment = datetime.datetime.now(datetime.UTC)
    step = datetime.timedelta(milliseconds=1)
    try:
        recipe.mkdir(parents=True, exist_ok=True)
        newest = next((folder.name for folder in run_folders(recipe)), "")
        if newest >= _spell(moment):
            moment = datetime.datetime.strptime(newest, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=datetime.UTC) + step
        while True:
            try:
                (recipe / _spell(moment)).mkdir()
                return recipe / _spell(moment), started
            except FileExistsError:
                moment += step
    except (OSError, ValueError) as error:
        raise UsageError(f"no run folder could be made in {recipe}: {error}", remedy="look at what lies there") from error


def _spell(moment: datetime.datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z"


def environment() -> dict[str, Any]:
    """The machine and the versions of what this package depends on, without importing any of it."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": _first("/proc/cpuinfo", r"model name\s*:\s*(.+)") or platform.machine(),
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": [_first(path, r"Model:\s*(.+)") for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))],
        "libraries": libraries(),
    }


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@cache
def libraries() -> dict[str, str]:
    """Versions of this package's dependencies as installed."""
    versions: dict[str, str] = {}
    try:
        names = [
            re.split(r"[\s;<>=!~\[(]", text, maxsplit=1)[0] for text in metadata.requires(_DISTRIBUTION) or () if "extra ==" not in text
        ]
    except metadata.PackageNotFoundError:
        return versions
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _first(path: str | Path, pattern: str) -> str:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    return found[1].strip() if found else ""
