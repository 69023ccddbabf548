"""How much of one part of a data set could be learnt from the others: shared documents, equal and nearly equal questions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from runner.datasets.folding import fold

Example = dict[str, Any]


@dataclass(frozen=True)
class Leakage:
    """Shares (0 to 1) of a part's examples with a counterpart in another part.

    ``document``: one from the same document; ``question``: the same question up to case, punctuation and spaces;
    ``near_question``: a nearly equal one; ``any``: one of these. ``pairs``: up to ten pairs of ids (here, there, why).
    """

    document: float
    question: float
    near_question: float
    any: float
    pairs: Sequence[tuple[str, str, str]] = ()

    def row(self) -> dict[str, Any]:
        return asdict(self)


def leakage(part: Sequence[Example], others: Sequence[Example], near: float = 0.8) -> Leakage:
    """Leakage into ``part`` from ``others``. Questions are nearly equal when the Jaccard similarity of their character
    5-grams is at least ``near``."""
    hits: Counter[str] = Counter()
    pairs: list[tuple[str, str, str]] = []
    for example, found in zip(part, counterparts(part, others, near), strict=True):
        hits.update(found.keys())
        hits["any"] += bool(found)
        if found and len(pairs) < 10:
            kind = next(kind for kind in ("question", "near_question", "document") if kind in found)
            pairs.append((example["id"], found[kind], kind))
    share = {kind: round(hits[kind] / max(1, len(part)), 6) for kind in ("document", "question", "near_question", "any")}
    return Leakage(**share, pairs=pairs)


def counterparts(part: Sequence[Example], others: Sequence[Example], near: float = 0.8) -> list[dict[str, str]]:
    """For each example of ``part``, by kind (document, question, near_question), the id of one in ``others`` that gives it away."""
    documents: dict[str, str] = {}
    questions: dict[str, str] = {}
    for example in others:
        questions.setdefault(fold(example["question"]), example["id"])
        for document in example.get("documents", []):
            documents.setdefault(document, example["id"])
    similar = near_duplicates([example["question"] for example in part], [example["question"] for example in others], near)
    found = []
    for place, example in enumerate(part):
        there = {
            "document": next((documents[name] for name in example.get("documents", []) if name in documents), None),
            "question": questions.get(fold(example["question"])),
            "near_question": others[similar[place]]["id"] if place in similar else None,
        }
        found.append({kind: id for kind, id in there.items() if id is not None})
    return found


def near_duplicates(texts: Sequence[str], others: Sequence[str], near: float) -> Mapping[int, int]:
    """For places in ``texts`` with a nearly equal text in ``others``: the place of the first such text.

    Exact, by prefix filtering: two sets with a Jaccard similarity of at least ``t`` share an element among the
    ``n - ceil(t n) + 1`` rarest elements of each (Chaudhuri et al., 2006; Bayardo et al., 2007).
    """
    grams = [_grams(text) for text in [*texts, *others]]
    counts: Counter[str] = Counter(gram for found in grams for gram in found)
    rare_first = [sorted(found, key=lambda gram: (counts[gram], gram)) for found in grams]
    by_gram: dict[str, list[int]] = defaultdict(list)
    for place in range(len(texts), len(grams)):
        for gram in _prefix(rare_first[place], near):
            by_gram[gram].append(place)
    found: dict[int, int] = {}
    for place in range(len(texts)):
        candidates = sorted({other for gram in _prefix(rare_first[place], near) for other in by_gram.get(gram, ())})
        mine = grams[place]
        for other in candidates:
            shared = len(mine & grams[other])
            if shared >= near * (len(mine) + len(grams[other]) - shared):
                found[place] = other - len(texts)
                break
    return found


def _grams(text: str, length: int = 5) -> frozenset[str]:
    text = fold(text)
    return frozenset(text[start : start + length] for start in range(max(1, len(text) - length + 1)))


def _prefix(grams: Sequence[str], near: float) -> Sequence[str]:
    return grams[: len(grams) - ceil(near * len(grams)) + 1]
