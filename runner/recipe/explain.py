"""Says what is wrong with values that do not convert: msgspec decides, jsonschema finds everything, this puts it into words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec

from runner.recipe.nodes import Node, Path, dotted, locate, undotted
from runner.recipe.overlay import found as in_words
from runner.recipe.overlay import suggest
from runner.recipe.problems import Findings
from runner.recipe.references import spelled
from runner.recipe.shape import Schema, shape

_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "null",
}

_MANY = {"integer": "whole numbers", "number": "numbers", "string": "text", "array": "lists", "object": "maps"}

#: Asked for an unknown key: (path of the map, key) -> where the key belongs, in words, or nothing.
Belongs = Callable[[Path, str], str]

#: Asked for a value's path below the node: the arm, in words, where that value was read from the matrix.
At = Callable[[Path], str]


def convert(
    cls: type[msgspec.Struct], node: Node, path: Path, findings: Findings, belongs: Belongs | None = None, at: At | None = None
) -> Any:
    """The typed value of a node, or None with every problem in the findings.

    ``path`` is the node's place in the recipe.
    """
    data = node.data()
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError as error:
        explain(cls, data, node, path, findings, belongs or (lambda _path, _key: ""), str(error), at or (lambda _path: ""))
        return None


def explain(
    cls: type[msgspec.Struct], data: Any, node: Node, path: Path, findings: Findings, belongs: Belongs, verdict: str, at: At
) -> None:
    """Report everything that is wrong with ``data``; ``verdict`` is msgspec's own message, used where the schema sees nothing."""
    words = _Words(node, path, findings, belongs, at)
    for error in validator(shape(cls)).iter_errors(data):
        words.report(error)
    if not words.spoken:
        message, _, place = verdict.partition(" - at `$")
        inner = undotted(place.rstrip("`").lstrip(".")) if place else ()
        findings.add(locate(node, inner), dotted((*path, *inner)), message.lower().replace("`", ""))


def validator(schema: Schema) -> Any:
    """A JSON Schema validator that has msgspec's idea of numbers: ``3.0`` is no whole number, ``true`` is no number."""
    return _validators()(schema)


@cache
def _validators() -> Any:
    from jsonschema import Draft202012Validator, validators

    checker = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool))
    return validators.extend(Draft202012Validator, type_checker=checker)  # type: ignore[no-untyped-call]


class _Words:
    def __init__(self, node: Node, path: Path, findings: Findings, belongs: Belongs, at: At) -> None:
        self.node, self.path, self.findings, self.belongs, self.at = node, path, findings, belongs, at
        self.spoken = False

    def report(self, error: Any) -> None:
        inner: Path = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            self._unknown(inner, error)
        elif error.validator == "required":
            self._missing(inner, error)
        elif error.parent is not None and error.validator == "propertyNames":
            return
        else:
            if "propertyNames" in error.absolute_schema_path:
                self._key_name(inner, error)
                return
            self._value(inner, error)

    def _unknown(self, inner: Path, error: Any) -> None:
        known = list(error.schema.get("properties", {}))
        for key in error.instance:
            if key in known:
                continue
            at = (*inner, key)
            hint = self.belongs((*self.path, *inner), key) or suggest(key, known)
            self._add(at, "unknown key", hint=hint or (f"known keys: {', '.join(known)}" if len(known) <= 12 else ""), key=True)

    def _missing(self, inner: Path, error: Any) -> None:
        for key in error.validator_value:
            if key not in error.instance:
                part = error.schema.get("properties", {}).get(key, {})
                note = part.get("description")
                self._add((*inner, key), f"missing key `{key}`", "" if note else expectation(part), f"{note}{_unit(part)}" if note else "")

    def _key_name(self, inner: Path, error: Any) -> None:
        self._add((*inner, error.instance), f"`{error.instance}` cannot be a key here", expectation(_at(error)), key=True)

    def _value(self, inner: Path, error: Any) -> None:
        hint = ""
        value = error.instance
        if isinstance(value, str) and (("${" in value and len(self.findings)) or value in self.findings.secrets):
            self.spoken = True
            return  # a reference that could not be filled in, or a secret, and reported as that
        if error.validator == "enum" and isinstance(value, str):
            hint = suggest(value, [option for option in error.validator_value if isinstance(option, str)])
        elif error.validator == "type" and isinstance(value, str):
            wanted = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
            if {"number", "integer"} & set(wanted) and re.fullmatch(r"[-+]?[\d_.]+(e[-+]?\d+)?", value, re.IGNORECASE):
                hint = "with quotes, leading zeros or underscores it is text"
            elif "boolean" in wanted and value.lower() in ("yes", "no", "on", "off", "y", "n"):
                hint = f"`{value}` is text in YAML 1.2; write true or false"
        elif error.validator == "uniqueItems":
            self._add(inner, "holds a value twice", "every value once")
            return
        self._add(inner, found(value, error.validator), expectation(_at(error)), "; ".join(note for note in (hint, self.at(inner)) if note))

    def _add(self, inner: Path, found: str, expected: str = "", hint: str = "", *, key: bool = False) -> None:
        self.spoken = True
        self.findings.add(locate(self.node, inner, key=key), dotted((*self.path, *inner)), found, expected, hint)


def _at(error: Any) -> Schema:
    """The part of a schema that speaks about the failing keyword."""
    schema: Schema = error.schema if isinstance(error.schema, dict) else {}
    if error.validator == "enum":
        return {"enum": error.validator_value}
    return schema


def found(value: Any, keyword: str = "") -> str:
    """A value in words, as the failing keyword sees it."""
    if isinstance(value, list) and keyword in ("minItems", "maxItems"):
        return f"is a list of {len(value)}"
    words = in_words(value)
    return words if keyword == "type" else words.replace("is the text ", "is ", 1)


def expectation(schema: Schema) -> str:
    """What a schema asks for, in words: ``a whole number, at least 1``."""
    if "enum" in schema:
        options = ["null" if value is None else f"`{spelled(value)}`" for value in schema["enum"]]
        return options[0] if len(options) == 1 else f"one of {', '.join(options)}"
    if "const" in schema:
        return f"`{spelled(schema['const'])}`"
    kinds = schema.get("type", [])
    if isinstance(kinds, str) and "allOf" not in schema:
        return ", ".join([_of_type(kinds, schema), *_bounds(schema)]) + _unit(schema)
    branches = {part["if"]["type"]: part["then"] for part in schema.get("allOf", ()) if "type" in part.get("if", {})}
    words = []
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        branch = branches.get(kind, {})
        words.append(expectation(branch) if "type" in branch or "enum" in branch else _of_type(kind, branch))
    joined = (", or " if any(", " in word for word in words[:-1]) else " or ").join(words)
    return ", ".join([*([joined] if words else ()), *_bounds(schema)]) + _unit(schema)


def _of_type(kind: str, schema: Schema) -> str:
    """A type in words, with what its lists and maps hold."""
    if kind == "array":
        return f"a list{_of(schema.get('items'))}"
    if kind == "object":
        return f"a map with `{schema['x-tag']}`" if "x-tag" in schema else f"a map{_of(schema.get('additionalProperties'))}"
    return _TYPES[kind]


def _of(part: Any) -> str:
    """What the elements of a list, or the values of a map, are."""
    if not isinstance(part, dict) or not part:
        return ""
    if "enum" in part:
        return f" of {', '.join(f'`{spelled(value)}`' for value in part['enum'])}"
    kind = part.get("type", "object" if "$ref" in part else "")
    return f" of {_MANY[kind]}" if isinstance(kind, str) and kind in _MANY else ""


def _bounds(schema: Schema) -> Iterable[str]:
    for keyword, word in (
        ("minimum", "at least"),
        ("exclusiveMinimum", "more than"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "less than"),
    ):
        if keyword in schema:
            yield f"{word} {schema[keyword]:g}" if isinstance(schema[keyword], float) else f"{word} {schema[keyword]}"
    if "multipleOf" in schema:
        yield f"a multiple of {schema['multipleOf']}"
    if schema.get("minLength") or schema.get("minItems") or schema.get("minProperties"):
        least = schema.get("minLength") or schema.get("minItems") or schema.get("minProperties")
        yield "not empty" if least == 1 else f"at least {least} long"
    if "maxLength" in schema or "maxItems" in schema:
        yield f"at most {schema.get('maxItems', schema.get('maxLength'))} long"
    if "x-form" in schema:
        yield schema["x-form"]
    elif "pattern" in schema:
        yield f"of the form {schema['pattern']}"


def _unit(schema: Schema) -> str:
    return f" ({schema['x-unit']})" if schema.get("x-unit") else ""
