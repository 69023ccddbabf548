from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.options import Format, Formats, Profiles, RecipeFile, Sets
from runner.cli.output import aligned, print_json

if TYPE_CHECKING:
    from runner.recipe.model import Recipe


def command(
    recipe: RecipeFile,
    origin: Annotated[bool, typer.Option("--origin", help="Every value with the place that it came from.")] = False,
    graph: Annotated[bool, typer.Option("--graph", help="The steps as a Mermaid flow chart.")] = False,
    profile: Profiles = [],  # noqa: B006
    set_: Sets = [],  # noqa: B006
    format: Formats = Format.text,
) -> None:
    """Show a recipe as it would run, every overlay applied."""
    from runner.recipe import load, to_yaml

    loaded = load(recipe, profiles=profile, sets=set_)
    if graph:
        _graph(loaded, format)
    elif origin:
        _origins(loaded, format)
    elif format is Format.json:
        print_json(loaded.document)
    else:
        print(to_yaml(loaded.document), end="")


def _origins(recipe: Recipe, format: Format) -> None:
    rows = [(path, value, recipe.origins.get(path, "")) for path, value in _leaves(recipe.document)]
    if format is Format.json:
        print_json([{"path": path, "value": value, "origin": origin} for path, value, origin in rows])
    else:
        shown = [(path, json.dumps(value, ensure_ascii=False), origin) for path, value, origin in rows]
        cut = [(path, text if len(text) <= 60 else text[:57] + "...", origin) for path, text, origin in shown]
        print(aligned([("path", "value", "origin"), *cut]))


def _leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """Dotted paths of all values that are no maps of something."""
    if isinstance(value, dict) and value:
        return [leaf for name, part in value.items() for leaf in _leaves(part, f"{path}.{name}" if path else str(name))]
    return [(path, value)]


def _graph(recipe: Recipe, format: Format) -> None:
    kinds = {instance.step: instance.kind for instance in recipe.instances.values()}
    arms = {step: sum(instance.step == step for instance in recipe.instances.values()) for step in kinds}
    edges: dict[tuple[str, str], list[str]] = {}
    for instance in recipe.instances.values():
        for port, refs in instance.inputs.items():
            for ref in refs:
                ports = edges.setdefault((recipe.instances[ref.instance].step, instance.step), [])
                if port not in ports:
                    ports.append(port)
    if format is Format.json:
        steps = [{"step": step, "kind": kind, "arms": arms[step]} for step, kind in kinds.items()]
        print_json({"steps": steps, "edges": [{"from": a, "to": b, "ports": ports} for (a, b), ports in edges.items()]})
        return
    names = {step: f"s{number}" for number, step in enumerate(kinds)}  # step names may be words that Mermaid keeps to itself
    print("flowchart LR")
    for step, kind in kinds.items():
        count = f" × {arms[step]}" if arms[step] > 1 else ""
        print(f'  {names[step]}["{step}{count}<br><small>{kind}</small>"]')
    for (source, target), ports in edges.items():
        print(f"  {names[source]} -->|{', '.join(ports)}| {names[target]}")
