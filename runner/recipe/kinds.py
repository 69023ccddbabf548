"""Step kinds as the language needs them: looked up by name, and asked where a misplaced key belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

import runner.steps
from runner.contract import Kind
from runner.recipe.explain import Belongs
from runner.recipe.nodes import Node, Path, follow
from runner.recipe.shape import structs

_SECRETS = ("api_key", "apikey", "key", "token", "password", "secret")


def find_kind(step: Node) -> Kind | None:
    """The kind that a step uses; None when it names none, or one that does not exist."""
    uses = step.get("uses")
    return kind_named(uses.value) if uses is not None else None


def kind_named(name: Any) -> Kind | None:
    return runner.steps.kind(name) if isinstance(name, str) and name in runner.steps.KINDS else None


def fields(cls: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(cls)]


def belongs(document: Node, kinds: Mapping[str, Kind | None]) -> Belongs:
    """A guess where an unknown key belongs: elsewhere in the step, to another shape of the map, or to another step kind."""

    def guess(path: Path, key: str) -> str:
        kind = kinds.get(str(path[1])) if len(path) >= 2 and path[0] == "steps" else None
        if kind is None:
            return _top_level(path, key, kinds)
        where = path[2] if len(path) > 2 else ""
        if where != "with" and key in fields(kind.params):
            return "it belongs under `with`"
        if where != "resources" and key in fields(kind.resources):
            return "it belongs under `resources`"
        if where == "with" and (shape := _other_shape(kind, key, follow(document, path))):
            return shape
        if key.lower() in _SECRETS and "api_key_env" in fields(kind.resources):
            return "secrets are no values: name the environment variable in `resources.api_key_env`"
        if where not in ("with", "resources"):
            return ""
        if len(path) == 3:
            return _other_kind(kind, key, str(where))
        return ""

    return guess


def _top_level(path: Path, key: str, kinds: Mapping[str, Kind | None]) -> str:
    if not path and key in ("with", "from", "uses", "like", "resources", "each"):
        return "it belongs to a step"
    steps = [name for name, kind in kinds.items() if not path and kind is not None and key in fields(kind.params)]
    return f"it belongs under `{' or '.join(f'steps.{name}.with' for name in steps[:3])}`" if steps else ""


def _other_shape(kind: Kind, key: str, node: Node | None) -> str:
    """Among the tagged shapes of a map: those that have the key."""
    for name in ("kind", "provider"):
        chosen = node.get(name) if node is not None else None
        if chosen is None:
            continue
        tags = [
            str(struct.__struct_config__.tag)
            for struct in structs(kind.params)
            if struct.__struct_config__.tag_field == name and key in fields(struct)
        ]
        if tags and chosen.value not in tags:
            return "it belongs to " + " or ".join(f"`{name}: {tag}`" for tag in tags)
    return ""


def _other_kind(kind: Kind, key: str, section: str) -> str:
    from runner.recipe.overlay import suggest

    own = fields(kind.params if section == "with" else kind.resources)
    if near := suggest(key, own):
        return near
    for name in runner.steps.KINDS:
        try:
            other = runner.steps.kind(name)
        except ModuleNotFoundError:
            continue
        if key in fields(other.params):
            return f"it belongs to step kind `{name}`"
    return ""
