"""JSON Schema of one msgspec type: tightened so that every mistake has its own error, and never a bare ``anyOf``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

Schema = dict[str, Any]

_OPTIONS = {"boolean": [True, False]}

#: A whole value, or a part of a text, that is read from elsewhere in the recipe.
REFERENCE: Schema = {"type": "string", "pattern": r"\$\{"}


@cache
def shape(cls: type[msgspec.Struct]) -> Schema:
    """The schema of values after substitution: ``$ref`` to the type, ``$defs`` for it and all below it."""
    (root,), components = msgspec.json.schema_components([cls], ref_template="#/$defs/{name}")
    classes = {struct.__name__: struct for struct in structs(cls)}
    for name, component in components.items():
        if name in classes:
            _add_defaults(component, classes[name])
    return {"$ref": root["$ref"], "$defs": {name: tighten(component) for name, component in components.items()}}


@cache
def structs(cls: type[msgspec.Struct]) -> tuple[type[msgspec.Struct], ...]:
    """The struct types that a type is made of, itself first."""
    found: dict[type[msgspec.Struct], None] = {}

    def visit(info: Any) -> None:
        if isinstance(info, inspect.StructType):
            if info.cls in found:
                return
            found[info.cls] = None
            for field in info.fields:
                visit(field.type)
        elif isinstance(info, inspect.UnionType):
            for member in info.types:
                visit(member)
        elif isinstance(info, inspect.Metadata):
            visit(info.type)
        else:
            for name in ("item_type", "key_type", "value_type"):
                if (below := getattr(info, name, None)) is not None:
                    visit(below)
            for below in getattr(info, "item_types", ()):
                visit(below)

    visit(inspect.type_info(cls))
    return tuple(found)


def _add_defaults(component: Schema, cls: type[msgspec.Struct]) -> None:
    """msgspec leaves out defaults that are made by a factory, or are structs."""
    for field in msgspec.structs.fields(cls):
        target = component["properties"].get(field.encode_name)
        if target is None or "default" in target:
            continue
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        elif field.default is not msgspec.NODEFAULT:
            default = field.default
        else:
            continue
        value = msgspec.to_builtins(default)
        if "$ref" in target:
            component["properties"][field.encode_name] = {"allOf": [dict(target)], "default": value}
        else:
            target["default"] = value


def tighten(schema: Any) -> Any:
    """``anyOf`` as a choice by JSON type, or by the tag that tells maps apart: so that only the branch meant is judged."""
    if isinstance(schema, list):
        return [tighten(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "anyOf" not in schema:
        return {key: value if key in ("default", "enum") else tighten(value) for key, value in schema.items()}
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "discriminator")}
    branches, tag = _flatten(schema)
    by_type: dict[str, list[Schema]] = {}
    for branch in branches:
        for kind in _types(branch):
            by_type.setdefault(kind, []).append(tighten(branch))
    if "number" in by_type:
        by_type.pop("integer", None)
    allowed: list[Schema] = []
    for kind, members in by_type.items():
        if kind == "object" and tag is not None:
            allowed.append({"if": {"type": "object"}, "then": _tagged(tag)})
        elif members != [{"type": kind}] and members != [{"enum": [None]}]:
            allowed.append({"if": {"type": kind}, "then": members[0]})
    result = {**rest, "type": list(by_type) if len(by_type) > 1 else next(iter(by_type))}
    if allowed:
        result["allOf"] = allowed
    return result


def _flatten(schema: Schema) -> tuple[list[Schema], Schema | None]:
    branches, tag = [], schema.get("discriminator")
    for branch in schema["anyOf"]:
        if "anyOf" in branch:
            below, inner = _flatten(branch)
            branches += below
            tag = tag or inner
        else:
            branches.append(branch)
    return branches, tag


def _tagged(discriminator: Schema) -> Schema:
    name, mapping = discriminator["propertyName"], discriminator["mapping"]
    return {
        "properties": {name: {"enum": list(mapping)}},
        "required": [name],
        "allOf": [{"if": _has(name, tag), "then": {"$ref": target}} for tag, target in mapping.items()],
        "x-tag": name,
    }


def _has(name: str, value: Any) -> Schema:
    return {"properties": {name: {"const": value}}, "required": [name]}


def _types(branch: Schema) -> Iterable[str]:
    if "$ref" in branch:
        return ["object"]
    if "type" in branch:
        return [branch["type"]] if isinstance(branch["type"], str) else list(branch["type"])
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    return dict.fromkeys(names[type(value)] for value in branch.get("enum", ()))


def authored(schema: Any) -> Any:
    """The same with ``${...}`` allowed in place of any value: what an editor checks while a recipe is written."""
    return _properties(schema, lambda value: _unless(REFERENCE, authored(value)))


def overlay(schema: Any) -> Any:
    """The same with nothing required and null allowed everywhere: what may stand in a profile, or beside ``like``."""
    relaxed = _properties(schema, lambda value: _unless({"type": "null"}, _unless(REFERENCE, overlay(value))))
    return {key: value for key, value in relaxed.items() if key != "required" or "if" in schema} if isinstance(relaxed, dict) else relaxed


def _properties(schema: Any, change: Any) -> Any:
    if isinstance(schema, list):
        return [_properties(part, change) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: change(part) for name, part in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            result[key] = change(value)
        elif key == "prefixItems":
            result[key] = [change(part) for part in value]
        elif key == "allOf":
            result[key] = [
                {**part, "then": _properties(part["then"], change)} if "then" in part else _properties(part, change) for part in value
            ]
        elif key == "$defs":
            result[key] = {name: _properties(part, change) for name, part in value.items()}
        else:
            result[key] = value
    return result


def _unless(exception: Schema, schema: Schema) -> Schema:
    """``schema``, except where the exception holds. What describes the value stays outside, where editors look for it."""
    if not isinstance(schema, dict) or set(schema) <= {"description", "default", "x-unit", "title"}:
        return schema
    outside: Schema = {key: schema[key] for key in ("title", "description", "default", "x-unit") if key in schema}
    inside = {key: value for key, value in schema.items() if key not in outside}
    if options := schema.get("enum") or _OPTIONS.get(str(schema.get("type"))):
        outside["examples"] = [option for option in options if option is not None]  # what editors offer; they look no deeper
    return {**outside, "if": exception, "else": inside}
