"""`recipe why`: what made a step run, or would make it run."""

from __future__ import annotations

from dataclasses import dataclass

from runner.engine.history import History
from runner.engine.planner import Plan, State, plan
from runner.engine.store import Store
from runner.recipe.model import Recipe


@dataclass(frozen=True)
class Why:
    """An instance, its state in the plan, and the reasons in words. For a cached one: what made it run when it was computed."""

    instance: str
    state: State
    reasons: tuple[str, ...]


def why(recipe: Recipe, store: Store, step: str) -> list[Why]:
    """Why the instances of a step (or the one instance of that id) would run: the parts of their keys now, against those of
    the artifacts that the newest earlier run had. UsageError for a step that the recipe does not have."""
    planned = plan(recipe, store, until=step)
    history = History(store, recipe.name)
    return [_why(planned, history, name) for name, item in planned.items.items() if step in (name, item.instance.step)]


def _why(planned: Plan, history: History, name: str) -> Why:
    item = planned.items[name]
    if item.state != "cached":
        return Why(name, item.state, tuple(item.why.split("; ")))
    reasons = ["nothing has changed"]
    last = history.last(name)
    if last is not None and last[1].get("state") == "done":
        reasons.append(f"run {last[0]} computed it: {last[1].get('why')}")
    return Why(name, item.state, tuple(reasons))
