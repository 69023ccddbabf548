"""What the step kinds and their parameters are, as data and as text: ``recipe explain``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import runner.steps
from runner.contract import Kind
from runner.errors import UsageError
from runner.recipe.explain import expectation
from runner.recipe.overlay import suggest
from runner.recipe.references import spelled
from runner.recipe.shape import Schema, shape


def available() -> list[Kind]:
    """The step kinds whose modules can be imported, in the order of the registry."""
    kinds = []
    for name in runner.steps.KINDS:
        try:
            kinds.append(runner.steps.kind(name))
        except ModuleNotFoundError as error:
            if error.name != runner.steps.KINDS[name]:
                raise
    return kinds


def ports(kind: Kind) -> list[dict[str, Any]]:
    """The inputs of a kind, the main one first."""
    return [
        {"name": port.name, "type": port.type, "arity": port.arity, "forms": list(port.forms), "required": port.required}
        | ({"description": port.about} if port.about else {})
        for port in kind.ports
    ]


def describe(topic: str) -> dict[str, Any]:
    """What a step kind or one of its parameters is: ``describe("train")``, ``describe("train.method.r")``.

    Of a kind: ``kind``, ``summary``, ``version``, ``ports``, ``output``, ``params``, ``resources``. Of a parameter: one row of
    those: ``name``, ``type``, ``default``, ``required``, ``unit``, ``description``, ``params`` below it, and in a choice of maps
    ``when``, the shapes that have it. What is another thing in other shapes is listed under ``others``. A shape may be named as
    well: ``describe("train.method.lora")``; so may ``with`` and ``resources``, as recipes do. Raises UsageError.
    """
    name, *path = topic.split(".")
    if name not in runner.steps.KINDS:
        raise UsageError(
            f"there is no step kind `{name}`", remedy=suggest(name, runner.steps.KINDS) or f"one of {', '.join(runner.steps.KINDS)}"
        )
    kind = runner.steps.kind(name)
    params = _rows(shape(kind.params), shape(kind.params))
    resources = _rows(shape(kind.resources), shape(kind.resources))
    if not path:
        return {
            "kind": name,
            "summary": (kind.module.__doc__ or "").strip().partition("\n")[0],
            "version": kind.version,
            "ports": ports(kind),
            "output": _output(kind),
            "params": params,
            "resources": resources,
        }
    rows = [*params, *resources]
    if path[0] in ("with", "resources"):
        part, *path = path
        rows = params if part == "with" else resources
        if not path:
            return {"name": part, "type": "a map", "required": False, "description": "", "params": rows}
    row: dict[str, Any] = {}
    for depth, part in enumerate(path):
        matching = [candidate for candidate in rows if candidate["name"] == part] or _of_shape(rows, part)
        if not matching:
            if depth == 0 and part in [port.name for port in kind.ports]:
                raise UsageError(f"`{part}` is an input of `{name}`, not a parameter", remedy=f"`recipe explain {name}` lists both")
            known = [candidate["name"] for candidate in rows]
            at = ".".join([name, *path[:depth]])
            remedy = suggest(part, known) or (f"one of {', '.join(dict.fromkeys(known))}" if known else "it is no map")
            raise UsageError(f"`{at}` has no parameter `{part}`", remedy=remedy)
        row, *others = _merged(matching)
        if others:
            row["others"] = others
        rows = [below for candidate in matching for below in candidate.get("params", ())]
    return row


def _of_shape(rows: Sequence[Mapping[str, Any]], value: str) -> list[dict[str, Any]]:
    """One shape of a choice of maps, by the value of its tag, as a row of its own."""
    for tag in rows:
        if value in tag.get("shapes", ()):
            when = f"{tag['name']}: {value}"
            below = [{key: part for key, part in row.items() if key != "when"} for row in rows if row.get("when") == when]
            return [
                {"name": value, "type": f"a map with `{when}`", "required": False, "description": tag["shapes"][value], "params": below}
            ]
    return []


def _merged(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one name: one for each different thing that it is, with all shapes where it is that."""
    found: list[dict[str, Any]] = []
    for row in rows:
        plain = {key: value for key, value in row.items() if key != "when"}
        same = next((other for other in found if {key: value for key, value in other.items() if key != "when"} == plain), None)
        if same is None:
            found.append(plain | ({"when": [row["when"]]} if "when" in row else {}))
        else:
            same["when"].append(row["when"])
    return found


def _output(kind: Kind) -> str:
    """What a kind makes, in words. Of one whose outputs depend on its parameters, what its own docstring says."""
    try:
        found = kind.outputs(None)
    except AttributeError:
        return " ".join((kind.module.outputs.__doc__ or "depends on the parameters").split())
    return ", ".join(f"{output.type} ({output.form})" if output.form else output.type for output in found.values())


def _rows(schema: Schema, root: Schema, when: str = "") -> list[dict[str, Any]]:
    """The parameters of a map, one row each; of a choice of maps, those of every shape with the tag that they need."""
    schema = _followed(schema, root)
    rows = []
    tag = schema.get("x-tag")
    if tag:
        shapes = {}
        for part in schema["allOf"]:
            value = part["if"]["properties"][tag]["const"]
            shapes[value] = " ".join(_followed(part["then"], root).get("description", "").partition("\n\n")[0].split())
            rows += _rows(part["then"], root, f"{tag}: {value}")
        about = {"type": expectation(schema["properties"][tag]), "required": True, "description": "which of the shapes"}
        return [{"name": tag, **about, "shapes": shapes}, *rows]
    for name, part in schema.get("properties", {}).items():
        if when and name == when.partition(":")[0]:
            continue
        below = [row for inner in _maps(part, root) for row in _rows(inner, root)]
        row: dict[str, Any] = {
            "name": name,
            "type": _type(part, root),
            "required": name in schema.get("required", ()),
            "description": part.get("description", ""),
        }
        row |= {"default": part["default"]} if "default" in part else {}
        row |= {"unit": part["x-unit"]} if "x-unit" in part else {}
        row |= {"when": when} if when else {}
        row |= {"params": below} if below else {}
        rows.append(row)
    return rows


def _followed(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def _maps(part: Schema, root: Schema) -> list[Schema]:
    """The maps that a parameter may hold."""
    if "$ref" in part:
        return [_followed(part, root)]
    if part.get("type") == "array":
        return _maps(part.get("items") or {}, root)
    found = [rest for rest in part.get("allOf", ()) if "$ref" in rest]
    found += [rest["then"] for rest in part.get("allOf", ()) if rest.get("if", {}).get("type") == "object"]
    return [below for rest in found for below in ([rest] if "x-tag" in rest else _maps(rest, root) or [rest])]


def _type(part: Schema, root: Schema) -> str:
    if "$ref" in part or any("$ref" in rest for rest in part.get("allOf", ())):
        return "a map"
    return expectation({key: value for key, value in part.items() if key != "x-unit"}) or "anything"


def explain_text(about: Mapping[str, Any]) -> str:
    """What :func:`describe` returns, as text for people."""
    if "kind" not in about:
        lines = []
        for row in (about, *about.get("others", ())):
            lines.append(f"{row['name']}: {row['type']}{_notes(row)}")
            lines += [f"  {row['description']}"] if row["description"] else []
            lines += [f"  ({', '.join(row['when'])})"] if "when" in row else []
            lines += [f"  {value}: {summary}" for value, summary in row.get("shapes", {}).items() if summary]
            lines += _table(row.get("params", ()), 1)
        return "\n".join(lines)
    lines = [f"{about['kind']} (version {about['version']})", f"  {about['summary']}", ""]
    lines += ["from"] * bool(about["ports"])
    for index, port in enumerate(about["ports"]):
        forms = f" ({' or '.join(port['forms'])})" if port["forms"] else ""
        notes = [note for note, holds in (("main", index == 0), ("optional", not port["required"])) if holds]
        arity = {"one": "", "many": ", a list", "gather": ", every arm"}[port["arity"]]
        lines.append(f"  {port['name']}: {port['type']}{forms}{arity}{' - ' if notes else ''}{', '.join(notes)}")
        lines += [f"      {port['description']}"] if port.get("description") else []
    lines += ["gives", f"  {about['output']}", "with", *_table(about["params"], 1), "resources", *_table(about["resources"], 1)]
    return "\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]], depth: int) -> list[str]:
    lines, pad, when = [], "  " * depth, ""
    for row in rows:
        if row.get("when", "") != when:
            when = row.get("when", "")
            lines.append(f"{pad}{when}")
        indent = pad + ("  " if when else "")
        lines.append(f"{indent}{row['name']}: {row['type']}{_notes(row)}")
        if row["description"]:
            lines.append(f"{indent}    {row['description']}")
        lines += [f"{indent}    {value}: {summary}" for value, summary in row.get("shapes", {}).items() if summary]
        lines += _table(row.get("params", ()), depth + (2 if when else 1))
    return lines


def _notes(row: Mapping[str, Any]) -> str:
    unit = f" [{row['unit']}]" if row.get("unit") else ""
    if row.get("required"):
        return f"{unit}, required"
    if "default" not in row:
        return unit
    default = row["default"]
    shown = "null" if default is None else json.dumps(default, ensure_ascii=False) if isinstance(default, dict | list) else spelled(default)
    return f"{unit} = {shown}" if shown else f'{unit} = ""'
