"""What a step instance's result depends on, and the key hashed from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from runner.contract import Artifact, HubUse, Kind, Struct
from runner.engine.canonical import digest, plain
from runner.engine.sources import Source, Sources
from runner.errors import RunnerError, UsageError
from runner.recipe.model import Instance, Recipe
from runner.recipe.pins import fill


@dataclass(frozen=True)
class Parts:
    """All that an instance's result depends on but its input artifacts, which are known when they are there."""

    kind: Kind
    params: Struct  # with pinned revisions filled in
    sources: Mapping[str, Sequence[Source]]
    prompts: Mapping[str, Mapping[str, str]]  # template -> file -> SHA-256
    prompt_digests: Mapping[str, str]
    hub: Sequence[HubUse]  # revisions filled in; None where nothing pins one
    axes: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def own(self) -> dict[str, Any]:
        """The parts as plain data, without the inputs. Equal values mean the same work on the same inputs."""
        return {
            "kind": self.kind.name,
            "version": self.kind.version,
            "params": plain(self.params, defaults=False),
            "axes": dict(self.axes),
            "sources": {name: {s.name: s.sha256 for s in found} for name, found in self.sources.items()},
            "prompts": {file: {"digest": self.prompt_digests[file], "files": dict(files)} for file, files in self.prompts.items()},
            "revisions": {f"{use.kind} {use.id}": use.revision for use in self.hub},
        }

    def whole(self, inputs: Mapping[str, Sequence[Artifact]], missing: Sequence[str] = ()) -> dict[str, Any]:
        """The parts with the inputs: what a step can see of an artifact but for where it lies."""
        seen = {
            port: [
                {
                    "step": a.step,
                    "axes": dict(a.axes),
                    "output": a.ref.partition("/")[2],
                    "type": a.type,
                    "form": a.form,
                    "digest": a.digest,
                }
                for a in artifacts
            ]
            for port, artifacts in inputs.items()
        }
        return self.own | {"inputs": seen, "missing": list(missing)}


def key_of(parts: Mapping[str, Any]) -> str:
    """The key: SHA-256 of the parts' typed canonical JSON."""
    return digest(parts)


def parts_of(recipe: Recipe, instance: Instance, kind: Kind, sources: Sources) -> Parts:
    """Read what an instance depends on: source files, prompt templates, pinned revisions. No network.

    UsageError naming the instance's place in the recipe when a file is missing or a value cannot be keyed by.
    """
    try:
        params, hub = pinned(kind, instance.params, recipe.pins)
        closures, digests = {}, {}
        for file in sorted({use.file for use in kind.prompts(params)}):
            closures[file], digests[file] = _template(recipe, file)
        found = sources.find(kind.sources(params))
        parts = Parts(kind, params, found, closures, digests, hub, instance.axes)
        digest(parts.own)
    except RunnerError as error:
        place = f"steps.{instance.step}.with.{error.where}" if error.where else f"steps.{instance.step}"
        raise UsageError(error.message, where=f"{instance.where}  {place}", remedy=error.remedy) from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"a value cannot be part of a key: {error}",
            where=f"{instance.where}  steps.{instance.step}",
            remedy="NaN and infinities are refused",
        ) from error
    return parts


def pinned(kind: Kind, params: Struct, pins: Mapping[str, str]) -> tuple[Struct, list[HubUse]]:
    """The parameters with the revisions that the lock file gives, and what they fetch from a hub."""
    params = fill(kind, params, pins)
    return params, list(kind.hub(params))


def _template(recipe: Recipe, file: str) -> tuple[dict[str, str], str]:
    """The files of a template's closure with their hashes, and the template's digest."""
    from runner.prompts import load

    template = load(recipe.root, file)
    names = [str(name) for name in template.files]
    hashed = Sources(recipe.root, names).find({file: names})[file]
    return {source.name: source.sha256 for source in hashed}, template.digest
