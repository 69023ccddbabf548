"""Find a figure in a finished run: a metric of an arm, or a fact of a step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any


class Unmeasured(Exception):
    """Why a figure is not there, in words."""


@dataclass(frozen=True)
class Measured:
    """A figure and what it is of. ``low`` and ``high`` are its interval, equal to ``value`` for a fact or a given number."""

    value: float
    low: float
    high: float
    name: str = ""
    unit: str = ""
    step: str = ""
    axes: Mapping[str, str] = field(default_factory=dict)
    scores: Scores | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        if not self.name:
            return number(self.value)
        interval = f" [{number(self.low)}, {number(self.high)}]" if self.low != self.high else ""
        unit = f" {self.unit}" if self.unit and not self.unit.startswith("of ") else ""
        place = ", ".join([self.step, *(f"{axis}={label}" for axis, label in self.axes.items())])
        return f"{self.name} {number(self.value)}{unit}{interval} ({place})"


@dataclass(frozen=True)
class Difference:
    """What was asked about, minus what it is compared with. ``p`` and ``items`` are there where the two are paired by item."""

    low: float
    high: float
    words: str
    value: float
    p: float | None = None
    items: int = 0


class Scores:
    """One committed evaluation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.document: dict[str, Any] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Unmeasured(f"scores.json cannot be read: {error}") from None

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        from runner.evaluation.compare import read_items

        return read_items(self.folder / "items.jsonl")

    def metric(self, name: str) -> dict[str, Any]:
        metrics: dict[str, dict[str, Any]] = {metric["name"]: metric for metric in self.document["metrics"]}
        if name not in metrics:
            raise Unmeasured(f"{name} was not scored, only {', '.join(metrics)}")
        return metrics[name]


class Reader:
    """Reads figures of one run. Every method raises :class:`Unmeasured` where there is nothing to read."""

    def __init__(self, run_record: Mapping[str, Any], artifacts_folder: Path) -> None:
        self._instances: Sequence[Mapping[str, Any]] = run_record.get("instances") or ()
        self._artifacts = artifacts_folder
        self._opened: dict[Path, Scores] = {}

    def read(self, measure: Mapping[str, Any]) -> Measured:
        """The figure at ``{step, metric | fact, at: {axis: label}}``."""
        step, at = str(measure["step"]), {str(axis): str(label) for axis, label in (measure.get("at") or {}).items()}
        instances = [instance for instance in self._instances if instance["step"] == step]
        if not instances:
            raise Unmeasured(f"this run has no step {step}")
        if measure.get("metric") is not None:
            return self._metric(str(measure["metric"]), step, at, instances)
        return self._fact(str(measure["fact"]), step, at, instances)

    def target(self, wanted: Any) -> Measured:
        """What a figure is compared with: a number, ``{value}``, or another figure."""
        if isinstance(wanted, Mapping):
            if "measure" in wanted:
                return self.read(wanted["measure"])
            if "step" in wanted:
                return self.read(wanted)
            wanted = wanted["value"]
        return Measured(float(wanted), float(wanted), float(wanted))

    def difference(self, first: Measured, second: Measured) -> Difference:
        """Paired by item where both are arms of one evaluation, else from the two intervals."""
        value = first.value - second.value
        if first.scores is not None and first.scores is second.scores and first.name == second.name:
            low, high, p, n = self._paired(first, second)
            return Difference(
                low, high, f"paired difference {number(value)} [{number(low)}, {number(high)}] over {n} items, p = {p:.2g}", value, p, n
            )
        low, high = first.low - second.high, first.high - second.low
        words = f"difference {number(value)}"
        if first.low != first.high and second.low != second.high:
            words += ", not paired: the figures come from different evaluations or metrics"
        return Difference(low, high, words, value)

    def _paired(self, first: Measured, second: Measured) -> tuple[float, float, float, int]:
        scores = first.scores
        assert scores is not None
        if first.axes == second.axes:
            return 0.0, 0.0, 1.0, 0
        for row in scores.document.get("not_comparable") or ():
            if row["metric"] == first.name and first.axes in row["arms"] and second.axes in row["arms"]:
                raise Unmeasured(f"{first.name} of these arms is not comparable: {row['reason']}")
        for row in scores.document["paired"]:
            if row["metric"] == first.name and row["arm"] == first.axes and row["baseline"] == second.axes:
                return row["low"], row["high"], row["p"], row["n"]
            if row["metric"] == first.name and row["arm"] == second.axes and row["baseline"] == first.axes:
                return -row["high"], -row["low"], row["p"], row["n"]
        from runner.evaluation.bootstrap import Resampling
        from runner.evaluation.compare import compare

        metric, how = scores.metric(first.name), scores.document["bootstrap"]
        found = compare(
            scores.items,
            first.axes,
            second.axes,
            first.name,
            aggregation=metric["aggregation"],
            higher_is_better=metric["higher_is_better"],
            resampling=Resampling(how["samples"], how["confidence"], how["seed"]),
        )
        return found.low, found.high, found.p, found.n

    def _metric(self, name: str, step: str, at: Mapping[str, str], instances: Sequence[Mapping[str, Any]]) -> Measured:
        evaluations = [instance for instance in instances if _scores_output(instance)]
        if not evaluations:
            raise Unmeasured(f"step {step} is no evaluation, so it has no metric {name}")
        failures, found, seen = [], [], []
        for instance in evaluations:
            own = dict(instance.get("axes") or {})
            if any(at.get(axis, label) != label for axis, label in own.items()):
                continue  # the evaluation of another group
            if not instance.get("artifact"):
                failures.append(_why(instance))
                continue
            scores = self._scores(instance)
            for arm in scores.document["arms"]:
                axes = {**own, **arm["axes"]}
                seen.append(_place(arm["axes"]))
                if at.items() <= axes.items():
                    found.append((arm, scores))
            failures += [f"{arm} failed" for arm in scores.document.get("missing_arms") or () if _names(str(arm), at)]
        if not found:
            raise Unmeasured("; ".join(failures) or f"step {step} has no arm at {_place(at)}; it has {'; '.join(seen) or 'none'}")
        if len(found) > 1:
            raise Unmeasured(f"{len(found)} arms of {step} match {_place(at)}: {'; '.join(_place(arm['axes']) for arm, _ in found)}")
        arm, scores = found[0]
        metric = scores.metric(name)
        value = arm["values"].get(name)
        if value is None:
            raise Unmeasured(f"{name} has no value at {_place(at)}")
        return Measured(value["mean"], value["low"], value["high"], name, metric.get("unit", ""), step, arm["axes"], scores)

    def _fact(self, name: str, step: str, at: Mapping[str, str], instances: Sequence[Mapping[str, Any]]) -> Measured:
        matching = [instance for instance in instances if at.items() <= dict(instance.get("axes") or {}).items()]
        if len(matching) != 1:
            listed = "; ".join(str(instance["id"]) for instance in matching or instances)
            raise Unmeasured(f"{len(matching) or 'no'} arms of {step} match {_place(at)}: {listed}")
        instance = matching[0]
        facts = instance.get("facts") or {}
        if name not in facts:
            if instance["state"] not in ("done", "hit"):
                raise Unmeasured(_why(instance))
            raise Unmeasured(f"{instance['id']} recorded no fact {name}, only {', '.join(facts) or 'none at all'}")
        value, unit = facts[name].get("value"), facts[name].get("unit") or ""
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise Unmeasured(f"the fact {name} of {instance['id']} is no number: {value!r}")
        return Measured(float(value), float(value), float(value), name, unit, step, dict(instance.get("axes") or {}))

    def _scores(self, instance: Mapping[str, Any]) -> Scores:
        folder = self._artifacts / instance["artifact"] / _scores_output(instance)
        if folder not in self._opened:
            self._opened[folder] = Scores(folder)
        return self._opened[folder]


def _scores_output(instance: Mapping[str, Any]) -> str:
    outputs: Mapping[str, Mapping[str, str]] = instance.get("outputs") or {}
    return next((name for name, output in outputs.items() if output.get("type") == "scores"), "")


def _why(instance: Mapping[str, Any]) -> str:
    state = str(instance["state"])
    words = {"failed": "failed", "cancelled": "was cancelled"}.get(state, f"is {state}")
    reason = (instance.get("error") or {}).get("message") or instance.get("why")
    return f"{instance['id']} {words}" + (f": {reason}" if reason else "")


def _names(instance_id: str, at: Mapping[str, str]) -> bool:
    labels = set(instance_id.partition("[")[2].rstrip("]").split(","))
    return {f"{axis}={label}" for axis, label in at.items()} <= labels


def _place(axes: Mapping[str, str]) -> str:
    return ", ".join(f"{axis}={label}" for axis, label in axes.items()) or "no axis"


def number(value: float) -> str:
    """A figure in a sentence: whole where it is large, else four digits."""
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
