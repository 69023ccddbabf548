from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli.options import Artifacts, Format, Formats, Profiles, RecipeFile, Sets, open_store
from runner.cli.output import aligned, print_json
from runner.errors import BAD_RECIPE, texts
from runner.reports.formats import arms_together
from runner.steps import kind

if TYPE_CHECKING:
    from runner.engine import Plan
    from runner.engine.planner import Planned, State
    from runner.recipe.model import Recipe

Only = Annotated[
    list[str],
    typer.Option(
        "--only",
        metavar="STEP",
        help="Run this step alone; what it reads must be there. STEP[AXIS=LABEL]: these arms of it.",
        show_default=False,
    ),
]
Until = Annotated[
    list[str],
    typer.Option("--until", metavar="STEP", help="Run this step, or these arms of it, and all that it needs.", show_default=False),
]
Force = Annotated[
    list[str], typer.Option("--force", metavar="STEP", help="Run this step although its artifact is there.", show_default=False)
]
Offline = Annotated[bool, typer.Option("--offline", help="Refuse steps that need the network.")]
Unpinned = Annotated[bool, typer.Option("--unpinned", help="Take what a hub gives today where no revision is pinned.")]


def command(
    recipe: RecipeFile,
    profile: Profiles = [],  # noqa: B006
    set_: Sets = [],  # noqa: B006
    only: Only = [],  # noqa: B006
    until: Until = [],  # noqa: B006
    force: Force = [],  # noqa: B006
    offline: Offline = False,
    unpinned: Unpinned = False,
    artifacts: Artifacts = None,
    format: Formats = Format.text,
) -> int:
    """Show which steps a run would run, and why."""
    from runner.engine import plan
    from runner.recipe import load

    loaded = load(recipe, profiles=profile, sets=set_)
    store = open_store(artifacts, loaded.root)
    return show(loaded, plan(loaded, store, only=only, until=until, force=force, offline=offline, unpinned=unpinned), format)


def show(recipe: Recipe, planned: Plan, format: Format) -> int:
    """Print a plan; exit code 2 when something forbids the run."""
    from runner.cli import footprints

    items, problems = list(planned.items.values()), planned.problems()
    memories = [kind(item.instance.kind).memory(item.instance.params, item.instance.upstream, recipe.root) for item in items]
    if format is Format.json:
        rows = [
            {
                "id": item.instance.id,
                "step": item.instance.step,
                "axes": dict(item.instance.axes),
                "state": item.state,
                "why": item.why,
                "key": item.key,
                "network": list(kind(item.instance.kind).network(item.instance.params)),
                "hub": [{"kind": use.kind, "id": use.id, "revision": use.revision} for use in item.hub],
                "gpu_memory": None if memory is None else asdict(memory),
            }
            for item, memory in zip(items, memories, strict=True)
        ]
        print_json(
            {"recipe": recipe.name, "overlays": list(recipe.overlays), "instances": rows, "problems": [str(error) for error in problems]}
        )
        return BAD_RECIPE if problems else 0
    for overlay in recipe.overlays:
        print(f"with {overlay}")
    arms = arm_columns([item.instance.axes for item in items])
    rows_ = [(item.instance.step, arm, item.state, arms_together(item.why)) for item, arm in zip(items, arms, strict=True)]
    print(aligned([("step", "arm", "state", "why"), *rows_]))
    counts = Counter(item.state for item in items)
    print("\n" + ", ".join(f"{counts[state]} {words}" for state, words in STATES.items() if counts[state]))
    fetched = {
        f"{use.kind} {use.id}" + (f" at {use.revision[:12]}" if use.revision else "") + ("" if use.pinned else ", not pinned"): None
        for item in items
        for use in item.hub
    }
    if fetched:
        print("from a hub, unless they are on this machine already:")
        print("\n".join(f"  {use}" for use in fetched))
    if asked := _asked(items):
        print("asked over the network:")
        print("\n".join(f"  {line}" for line in asked))
    if needed := footprints.lines(list(zip(items, memories, strict=True))):
        print("\n".join(needed))
    for text in texts(problems):
        print(f"error: {text}")
    return BAD_RECIPE if problems else 0


def _asked(items: Sequence[Planned]) -> list[str]:
    """The services that the steps that are to run talk to, and the keys for these that the environment lacks."""
    asked: dict[tuple[str, str], dict[str, None]] = {}
    for item in items:
        for service in kind(item.instance.kind).network(item.instance.params) if item.state != "cached" else ():
            variable = str(getattr(item.instance.resources, "api_key_env", None) or "")
            asked.setdefault((service, variable), {})[item.instance.step] = None
    return [
        f"{service}, by {', '.join(names)}" + (f"; {variable} is not set" if variable and not os.environ.get(variable) else "")
        for (service, variable), names in asked.items()
    ]


STATES: dict[State, str] = {"cached": "cached", "run": "to run", "depends": "dependent on them", "blocked": "blocked"}


def arm_columns(arms: Sequence[Mapping[str, str]]) -> list[str]:
    """Arms as ``axis=label`` parts, each axis in a column of its own."""
    maps = [dict(arm) for arm in arms]
    axes = list(dict.fromkeys(axis for arm in maps for axis in arm))
    widths = {axis: max(len(f"{axis}={arm[axis]}") for arm in maps if axis in arm) for axis in axes}
    return [
        "  ".join((f"{axis}={arm[axis]}" if axis in arm else "").ljust(widths[axis]) for axis in axes).rstrip() if arm else ""
        for arm in maps
    ]
