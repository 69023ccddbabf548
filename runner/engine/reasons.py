"""`recipe why`: what made a step run, or would make it run."""

from __future__ import annotations

from dataclasses import dataclass

from runner.engine.history import History
from runner.engine.planner import Plan, Planned, State, matching, plan
from runner.engine.store import Store
from runner.recipe.model import Recipe

#: Steps above an instance whose reasons are told.
_MOST = 5


@dataclass(frozen=True)
class Why:
    """An instance, its state in the plan, and the reasons in words. For a cached one: what made it run when it was computed."""

    instance: str
    state: State
    reasons: tuple[str, ...]


def why(recipe: Recipe, store: Store, step: str) -> list[Why]:
    """Why the instances of a step (or those of its arms that are named) would run: the parts of their keys now, against those of
    the artifacts that the newest earlier run had. UsageError for a step that the recipe does not have."""
    planned = plan(recipe, store, until=step)
    history = History(store, recipe.name)
    return [_why(planned, history, name) for name in matching(recipe, step)]


def _roots(planned: Plan, item: Planned) -> list[str]:
    """What makes the steps run that an instance waits for: those above it that would run, or cannot, of themselves."""
    waiting, above = [item], dict[str, Planned]()
    while waiting:
        for refs in waiting.pop().instance.inputs.values():
            found = {ref.instance: planned.items[ref.instance] for ref in refs if ref.instance not in above}
            above |= found
            waiting += found.values()
    own = [f"{name}: {up.why}" for name, up in planned.items.items() if name in above and (up.state == "run" or up.error is not None)]
    return own if len(own) <= _MOST else [*own[:_MOST], f"and {len(own) - _MOST} more"]


def _why(planned: Plan, history: History, name: str) -> Why:
    item = planned.items[name]
    if item.state != "cached":
        return Why(name, item.state, (*item.why.split("; "), *_roots(planned, item)))
    reasons = ["nothing has changed"]
    last = history.last(name)
    if last is not None and last[1].get("state") == "done":
        reasons.append(f"run {last[0]} computed it: {last[1].get('why')}")
    return Why(name, item.state, tuple(reasons))
