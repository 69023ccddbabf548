"""A run's folder as data: docs/run-record.md and docs/artifacts.md, read with patience for what is missing or cut off."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from runner.errors import InputError
from runner.reports.formats import quantity, spaced
from runner.reports.page import Link

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """An output that exists: its instance's record, its name, type and form, and its folder."""

    run: Run
    instance: Json
    name: str
    type: str
    form: str
    folder: Path

    @property
    def label(self) -> str:
        """The instance, and the output where there are several: ``splits.train``."""
        several = len(self.instance.get("outputs") or {}) > 1
        return f"{self.instance['id']}.{self.name}" if several else str(self.instance["id"])

    def json(self, name: str) -> Json:
        """A JSON file of this output; empty when it is missing or unreadable."""
        return read_json(self.folder / name)

    def rows(self, name: str) -> Iterator[Json]:
        """The objects of a ``.jsonl`` file, streamed; nothing when it is missing."""
        return read_rows(self.folder / name)

    def link(self, name: str) -> Link:
        """A link to a file of this output, from the run's folder."""
        path = self.folder / name
        return Link(f"{self.label}/{name}" if name else self.label, self.run.href(path) if path.exists() else "")


@dataclass(frozen=True)
class Run:
    """``folder`` is ``<artifacts>/runs/<recipe>/<time>``; ``record`` is its run.json."""

    folder: Path
    record: Json

    @classmethod
    def open(cls, folder: Path) -> Run:
        path = folder / "run.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError("is no run folder: it holds no run.json", where=str(folder), remedy="`recipe runs` lists the runs") from None
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read: {error}", where=str(path)) from None
        if not isinstance(record, dict) or not isinstance(record.get("instances", []), list):
            raise InputError("is not the record of a run", where=str(path))
        return cls(folder.resolve(), record)

    @property
    def artifacts(self) -> Path:
        """The store's folder, which the records' ``artifact`` paths start from."""
        return self.folder.parent.parent.parent

    @property
    def instances(self) -> Sequence[Json]:
        return self.record.get("instances") or []

    def made(self, *types: str, form: str = "") -> list[Made]:
        """Outputs of these types that exist, in running order; all outputs when no type is named."""
        found = []
        for instance in self.instances:
            if not instance.get("artifact"):
                continue
            for name, output in (instance.get("outputs") or {}).items():
                folder = self.artifacts / instance["artifact"] / name
                wanted = (not types or output.get("type") in types) and (not form or output.get("form") == form)
                if wanted and folder.is_dir():
                    found.append(Made(self, instance, name, output.get("type", ""), output.get("form", ""), folder))
        return found

    def inputs(self, instance: Json, kind: str) -> list[Made]:
        """The outputs of a type that an instance has read."""
        read = {(ref["instance"], ref["output"]) for refs in (instance.get("inputs") or {}).values() for ref in refs}
        return [made for made in self.made(kind) if (made.instance["id"], made.name) in read]

    def href(self, path: Path) -> str:
        """A relative, quoted link from the run's folder to ``path``."""
        return quote(Path(os.path.relpath(path, self.folder)).as_posix())

    def log(self, instance: Json) -> Path:
        """What an instance's libraries have printed; the file is there when it has run."""
        name = str(instance["id"]).replace("%", "%25").replace("/", "%2F")
        return self.folder / "logs" / f"{name}.log"

    def arm(self, axes: Mapping[str, str]) -> str:
        """An arm in words, its axes in the order of the matrix."""
        return " · ".join(str(axes[name]) for name in self.axes([axes])) or "the only arm"

    def axes(self, arms: Sequence[Mapping[str, str]]) -> list[str]:
        """The axes that any of these arms carries, in the order of the matrix."""
        order = list(self.record.get("matrix") or {})
        used = dict.fromkeys(name for axes in arms for name in axes)
        return sorted(used, key=lambda name: (order.index(name) if name in order else len(order), name))


def facts(instance: Json, told: Container[str]) -> list[tuple[str, str]]:
    """What was measured, as labels with texts, but for what is told elsewhere and what is empty. Every step's time and memory are."""
    found = instance.get("facts") or {}
    names = [name for name in found if name not in told and name not in ("seconds", "peak_memory")]
    return [(spaced(name), quantity(*fact(instance, name))) for name in names if fact(instance, name)[0] not in (None, {}, [], "")]


def fact(instance: Json, name: str) -> tuple[Any, str]:
    """A measured fact of an instance and its unit; ``(None, "")`` when there is none."""
    entry = (instance.get("facts") or {}).get(name)
    return (entry.get("value"), entry.get("unit") or "") if isinstance(entry, dict) else (entry, "")


def read_json(path: Path) -> Json:
    """A JSON object; empty when the file is missing, cut off or something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def read_rows(path: Path) -> Iterator[Json]:
    """The objects of a jsonl file; lines that are no objects (a cut-off last one) are passed over."""
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError:
        return
    decode = msgspec.json.Decoder().decode  # several times as fast as json's, and there may be a row for every item of every arm
    with file:
        for line in file:
            try:
                row = decode(line)
            except (msgspec.DecodeError, ValueError):
                continue
            if isinstance(row, dict):
                yield row


def count_rows(path: Path) -> int:
    """Lines of a jsonl file, without parsing them."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError:
        return 0
