"""What each arm took: figures of the steps that made its model and its answers, found by following what they read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.reports.record import Json, Made, Run, fact
from runner.training.stored import weight_bytes


@dataclass(frozen=True)
class Took:
    """An arm's measures; None where nobody measured. Bytes, seconds, joules, parameters, tokens; ``money`` in that of the recipe's prices.

    ``training_*`` are those of the last training behind its model, times and energy of all of them. ``model_bytes`` are the weights that
    answering reads: the GGUF, or the model's files, an adapter's with its base's. ``money`` is of every step that the answers rest on.
    """

    seconds: float | None = None
    seconds_low: float | None = None
    seconds_high: float | None = None
    seconds_p50: float | None = None
    seconds_p95: float | None = None
    prompt_tokens: float | None = None
    answer_tokens: float | None = None
    answering_memory: float | None = None
    answering_memory_of: str = ""
    model_bytes: float | None = None
    trained_parameters: float | None = None
    trained_percent: float | None = None
    training_rate: float | None = None
    training_memory: float | None = None
    training_memory_of: str = ""
    training_seconds: float | None = None
    training_energy: float | None = None
    money: float | None = None


def is_scored(arm: Json, name: str) -> bool:
    """Whether an arm has a figure of this metric."""
    return (arm["values"].get(name) or {}).get("mean") is not None


def spread(arm: Json, name: str) -> tuple[float, float, float]:
    """An arm's figure and the ends of its interval, which are the figure itself where there is none."""
    value = arm["values"][name]
    low, high = (value["mean"] if value.get(end) is None else value[end] for end in ("low", "high"))
    return float(value["mean"]), float(low), float(high)


def took(run: Run, scores: Made, arms: Sequence[Json]) -> list[Took]:
    """The measures of each of the arms of ``scores.json``, in their order."""
    steps: dict[str, Json] = {str(instance["id"]): instance for instance in run.instances}
    outputs: dict[str, dict[str, Made]] = {}
    for made in run.made():
        outputs.setdefault(str(made.instance["id"]), {})[made.name] = made
    answers = [instance for instance in _read(scores.instance, steps) if "answers" in _types(instance).values()]
    latency: Sequence[Json] = fact(scores.instance, "seconds_per_answer")[0] or []
    found = []
    for arm in arms:
        axes, tokens = arm["axes"], arm.get("tokens") or {}
        answered = [instance for instance in answers if axes.items() <= (instance.get("axes") or {}).items()]
        seconds = next((row for row in latency if row.get("axes") == axes), {})
        measures = _made_by(answered[0], steps, outputs) if len(answered) == 1 else {}
        found.append(
            Took(
                **measures,
                seconds=_number(seconds.get("mean")),
                seconds_low=_number(seconds.get("low")),
                seconds_high=_number(seconds.get("high")),
                seconds_p50=_number(seconds.get("p50")),
                seconds_p95=_number(seconds.get("p95")),
                prompt_tokens=_number(tokens.get("prompt_tokens")),
                answer_tokens=_number(tokens.get("answer_tokens")),
            )
        )
    return found


def _made_by(answered: Json, steps: Mapping[str, Json], outputs: Mapping[str, Mapping[str, Made]]) -> dict[str, Any]:
    models = list(_models(answered, steps))
    trainings = [instance for instance, _ in models if fact(instance, "trainable_parameters")[0] is not None]
    measures: dict[str, Any] = {
        "answering_memory": _fact(answered, "peak_memory"),
        "answering_memory_of": _of(answered),
        "model_bytes": _weights(models, outputs),
        "money": _sum(_fact(instance, "money") for instance in _everything(answered, steps)),
    }
    if trainings:
        last = trainings[0]
        measures |= {
            "trained_parameters": _fact(last, "trainable_parameters"),
            "trained_percent": _fact(last, "trainable_percent"),
            "training_rate": _fact(last, "tokens_per_second"),
            "training_memory": _fact(last, "peak_memory"),
            "training_memory_of": _of(last),
            "training_seconds": _sum(_fact(each, "train_seconds") or _fact(each, "seconds") for each in trainings),
            "training_energy": _sum(_fact(each, "energy") for each in trainings),
        }
    return measures


def _read(instance: Json, steps: Mapping[str, Json]) -> Iterator[Json]:
    for refs in (instance.get("inputs") or {}).values():
        yield from (steps[ref["instance"]] for ref in refs if ref["instance"] in steps)


def _everything(instance: Json, steps: Mapping[str, Json]) -> list[Json]:
    """An instance and all that it rests on, each once."""
    found: dict[str, Json] = {}
    waiting = [instance]
    while waiting:
        each = waiting.pop()
        if each["id"] not in found:
            found[each["id"]] = each
            waiting.extend(_read(each, steps))
    return list(found.values())


def _models(instance: Json, steps: Mapping[str, Json]) -> Iterator[tuple[Json, str]]:
    """The instances that made the model which this one reads, the last first, with the output that is read."""
    seen = set[str]()
    while True:
        refs = [ref for refs in (instance.get("inputs") or {}).values() for ref in refs if ref["instance"] in steps]
        ref = next((ref for ref in refs if _types(steps[ref["instance"]]).get(ref["output"]) == "model"), None)
        if ref is None or ref["instance"] in seen:
            return
        seen.add(ref["instance"])
        instance = steps[ref["instance"]]
        yield instance, str(ref["output"])


def _types(instance: Json) -> dict[str, str]:
    """Types by output."""
    return {name: str(output.get("type")) for name, output in (instance.get("outputs") or {}).items()}


def _weights(models: Sequence[tuple[Json, str]], outputs: Mapping[str, Mapping[str, Made]]) -> float | None:
    """Bytes of the weights; None where some of them lie elsewhere, and nobody measured them."""
    total = 0.0
    for instance, name in models:
        made = outputs.get(str(instance["id"]), {}).get(name)
        own = _fact(instance, "file_bytes") or (weight_bytes(made.folder) if made else 0)
        if not made or not own:
            return None
        total += own
        if made.form != "adapter":
            return total
    return None


def _of(instance: Json) -> str:
    return str(fact(instance, "peak_memory_of")[0] or "")


def _fact(instance: Json, name: str) -> float | None:
    return _number(fact(instance, name)[0])


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _sum(values: Iterator[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
