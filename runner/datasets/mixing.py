"""Several sets of examples made one: shares and limits per set, duplicates dropped and counted."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.datasets.folding import asked, background, fold
from runner.datasets.near_duplicates import NearDuplicates, Progress
from runner.errors import StepError

Example = dict[str, Any]
Duplicates = Literal["keep", "exact", "normalised", "question", "near", "near_question"]


@dataclass
class Count:
    """What became of one set: examples given, dropped as duplicates, left out by limit or weight, and taken."""

    given: int = 0
    duplicates: int = 0
    left_out: int = 0
    taken: int = 0


@dataclass
class Mixed:
    """The examples, in the order of the sets, and the count for each set."""

    examples: list[Example]
    counts: dict[str, Count] = field(default_factory=dict)


def mix(
    sets: Mapping[str, Iterable[Example]],
    *,
    duplicates: Duplicates = "normalised",
    limits: Mapping[str, int] | None = None,
    weights: Mapping[str, float] | None = None,
    seed: int = 0,
    near: float = 0.8,
    progress: Progress | None = None,
) -> Mixed:
    """One set out of several.

    ``duplicates`` tells which examples count as one, the first of which stays: ``exact`` (same question, history, context and
    answer), ``normalised`` (the same up to case, punctuation and spaces), ``question`` (the same but for the answer), ``near`` and
    ``near_question`` (nearly the same, after the same history and with the same context: a Jaccard similarity of at least ``near``,
    see ``near_duplicates``), or none (``keep``). The one that stays is then of the documents of all, so that a split by document sees
    them. ``limits`` caps sets. ``weights`` gives the wanted proportions of sets; as many examples are taken as these allow, and of
    sets without a weight all. What is left out is drawn with ``seed``. Ids that clash get a suffix. ``progress`` is called with the
    texts compared so far and their number.
    """
    given = [(name, {**example, "documents": list(example.get("documents", []))}) for name, rows in sets.items() for example in rows]
    twins = _twins([example for _, example in given], duplicates, near, progress)
    counts = {name: Count() for name in sets}
    kept: dict[str, list[Example]] = {name: [] for name in sets}
    for place, (name, example) in enumerate(given):
        counts[name].given += 1
        if place in twins:
            counts[name].duplicates += 1
            stays = given[twins[place]][1]
            stays["documents"] = list(dict.fromkeys([*stays["documents"], *example["documents"]]))
        else:
            kept[name].append(example)
    for name, number in _sizes(kept, limits or {}, weights or {}).items():
        chosen = sorted(random.Random(f"{seed}/{name}").sample(range(len(kept[name])), number))
        counts[name].left_out = len(kept[name]) - number
        counts[name].taken = number
        kept[name] = [kept[name][place] for place in chosen]
    return Mixed(_distinct(example for examples in kept.values() for example in examples), counts)


def identity(example: Example, duplicates: Literal["exact", "normalised", "question"]) -> object:
    """What two examples share that count as one."""
    question, answer = asked(example), example["answer"]
    match duplicates:
        case "exact":
            return question, answer
        case "normalised":
            return fold(question), fold(answer)
        case "question":
            return fold(question)


def _twins(examples: list[Example], duplicates: Duplicates, near: float, progress: Progress | None) -> Mapping[int, int]:
    """For each example that is a duplicate: the place of the one that stays for it."""
    match duplicates:
        case "keep":
            return {}
        case "near" | "near_question":
            answered = duplicates == "near"
            texts = (f"{example['question']}\n{example['answer']}" if answered else example["question"] for example in examples)
            return NearDuplicates(texts, near, progress, within=map(background, examples)).repeats()
        case _:
            first: dict[object, int] = {}
            stays = [first.setdefault(identity(example, duplicates), place) for place, example in enumerate(examples)]
            return {place: twin for place, twin in enumerate(stays) if twin != place}


def _sizes(kept: Mapping[str, list[Example]], limits: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, int]:
    sizes = {name: min(len(examples), limits.get(name, len(examples))) for name, examples in kept.items()}
    weighted = {name: weight for name, weight in weights.items() if weight > 0}
    empty = [name for name in weighted if not sizes[name]]
    if empty:
        raise StepError(
            f"`{empty[0]}` has a weight and no examples that are not duplicates", where="weights", remedy="drop its weight, or fill it"
        )
    unit = min((sizes[name] / weight for name, weight in weighted.items()), default=0.0)  # examples per weight of 1
    for name, weight in weights.items():
        sizes[name] = min(sizes[name], round(unit * weight))
    return sizes


def _distinct(examples: Iterable[Example]) -> list[Example]:
    """Give every example an id of its own: the second ``a`` becomes ``a-2``."""
    found: list[Example] = []
    taken: set[str] = set()
    for example in examples:
        name, number = example["id"], 2
        while name in taken:
            name, number = f"{example['id']}-{number}", number + 1
        taken.add(name)
        found.append({**example, "id": name})
    return found
