"""Claims and checks: every figure that they name must be one that the recipe measures, at exactly one arm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from runner.recipe.language import Claim, Document, Equals, Measure
from runner.recipe.matrix import agree, called, in_words
from runner.recipe.nodes import Node, Path, dotted, locate
from runner.recipe.overlay import suggest
from runner.recipe.references import spelled
from runner.recipe.wire import Draft, Wiring

_COMPARISONS = ("greater_than", "less_than", "equals")


def check(document: Document, node: Node, produced: Sequence[tuple[Draft, Any]], wiring: Wiring, *, overlaid: bool) -> None:
    """Report what claims and checks name and the recipe does not have.

    Claims are those of the recipe as published: an overlay may drop an arm, and its claims are then not measured, so
    they are looked up only where there is no overlay. Checks hold in any run.
    """
    look = _Look(document, node, produced, wiring)
    for section, entries in (("claims", document.claims), ("checks", document.checks)):
        for index, claim in enumerate(entries):
            look.claim((section, index), claim, arms=section == "checks" or not overlaid)


class _Look:
    def __init__(self, document: Document, node: Node, produced: Sequence[tuple[Draft, Any]], wiring: Wiring) -> None:
        self.document, self.node, self.produced, self.wiring = document, node, produced, wiring

    def claim(self, path: Path, claim: Claim, *, arms: bool) -> None:
        given = [name for name in _COMPARISONS if getattr(claim, name) is not None]
        if len(given) != 1:
            found = "compares with nothing" if not given else f"compares by {' and '.join(given)}"
            self._add(path, found, "exactly one of greater_than, less_than and equals", key=True)
        if claim.margin and "equals" in given:
            self._add((*path, "margin"), "`equals` has a tolerance of its own", "`greater_than` or `less_than` with a margin", key=True)
        measures: list[tuple[Path, Measure | Equals]] = [((*path, "measure"), claim.measure)]
        for name in given:
            other = getattr(claim, name)
            if isinstance(other, Measure):
                measures.append(((*path, name), other))
            elif isinstance(other, Equals):
                if (other.value is None) == (other.step is None):
                    self._add(
                        (*path, name),
                        "names no figure" if other.step is None else "names two figures",
                        "one of `value` and `step`",
                        key=True,
                    )
                if other.step is not None:
                    measures.append(((*path, name), other))
        for at, measure in measures:
            if (measure.metric is None) == (measure.fact is None):
                found = "measures nothing" if measure.metric is None else "measures two things"
                self._add(at, found, "exactly one of `metric` and `fact`", key=True)
            elif arms:
                self._arm(at, measure)

    def _arm(self, path: Path, measure: Measure | Equals) -> None:
        step = measure.step or ""
        if step not in self.document.steps:
            self._add((*path, "step"), f"there is no step `{step}`", hint=suggest(step, self.document.steps))
            return
        instances = [(draft, params) for draft, params in self.produced if draft.step.name == step]
        arms = [arm for draft, _ in instances for arm in (_gathered(draft) if measure.metric is not None else [draft.axes])]
        if not arms or not self.wiring.whole(step):
            return  # what it is or reads is not sound, and said to be so
        if measure.metric is not None and not self._measured(path, step, measure.metric, instances):
            return
        wanted = {axis: spelled(label) for axis, label in measure.at.items()}
        carried = {axis: None for arm in arms for axis in arm}
        labels = {axis: [label for label in listed if any(arm.get(axis) == label for arm in arms)] for axis, listed in self._axes()}
        for axis, label in wanted.items():
            if axis not in carried:
                if axis in labels and len(self.wiring.findings):
                    return  # whatever was to read the axis may be what is wrong
                known = f"its arms carry {', '.join(carried)}" if carried else "it has just one arm"
                self._add((*path, "at", axis), f"`{step}` has no axis `{axis}`", hint=suggest(axis, carried) or known, key=True)
                return
            if label not in labels[axis]:
                hint = suggest(label, labels[axis]) or f"labels: {', '.join(labels[axis])}"
                self._add((*path, "at", axis), f"`{step}` has no arm {axis}={label}", hint=hint)
                return
        matching = [arm for arm in arms if wanted.items() <= arm.items()]
        if len(matching) == 1:
            return
        what = in_words(wanted) or "the step"
        if not matching:
            self._add((*path, "at"), f"`{step}` has no arm {what}", key=True)
            return
        more = [axis for axis in carried if axis not in wanted and len({arm.get(axis) for arm in matching}) > 1]
        listed = ", ".join(called("", arm) or "the one without axes" for arm in matching[:4]) + (", ..." if len(matching) > 4 else "")
        hint = f"name {' and '.join(more)} too: {listed}" if more else listed
        self._add((*path, "at") if measure.at else path, f"matches {len(matching)} arms of `{step}`", "exactly one", hint, key=True)

    def _axes(self) -> Iterable[tuple[str, Iterable[str]]]:
        return self.wiring.matrix.values.items()

    def _measured(self, path: Path, step: str, metric: str, instances: Sequence[tuple[Draft, Any]]) -> bool:
        kind = instances[0][0].step.kind
        known = list(dict.fromkeys(name for _, params in instances for name in (kind.measures(params) if kind is not None else ())))
        if metric in known:
            return True
        hint = suggest(metric, known) or (f"it measures {', '.join(known)}" if known else "name a step that evaluates, or a `fact`")
        self._add((*path, "metric"), f"`{step}` does not measure `{metric}`", hint=hint)
        return False

    def _add(self, path: Path, found: str, expected: str = "", hint: str = "", *, key: bool = False) -> None:
        self.wiring.findings.add(locate(self.node, path, key=key), dotted(path), found, expected, hint)


def _gathered(draft: Draft) -> list[dict[str, str]]:
    """The arms whose figures an instance holds: those that it gathers, or itself where it gathers none."""
    arms = [
        {**draft.axes, **producer.axes}
        for links in draft.inputs.values()
        for link, producer, _ in links
        if link.port.arity == "gather" and agree(draft.axes, producer.axes)
    ]
    return arms or [draft.axes]
