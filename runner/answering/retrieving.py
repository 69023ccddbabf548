"""What is retrieved for a question, by the answer step and in a chat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from runner.answering.answerer import Message
from runner.answering.prompting import Passage, passages_of

_RANK_CONSTANT = 60  # of reciprocal rank fusion, as in its paper


class Searches(Protocol):
    """An opened index: ``runner.retrieval.Index``, or ``runner.retrieval.selection.Selector``."""

    def search(self, texts: Sequence[str], k: int) -> list[list[Any]]: ...


def retrieve(search: Searches, asked: Sequence[tuple[str, Sequence[Message]]], k: int) -> list[list[Passage]]:
    """For each question, with the turns of the conversation before it, at most ``k`` passages, best first.

    A question that follows another is searched for twice: alone, and joined to the one before it, for "And its rank?" alone finds
    little, while a new topic must not find the old one. Passages of both searches are ranked by reciprocal rank fusion (Cormack, Clarke and
    Büttcher, 2009), and keep the score that they have in the first search that found them.
    """
    found = search.search([question for question, _ in asked], k)
    joined = {number: "\n".join([*_before(earlier), question]) for number, (question, earlier) in enumerate(asked) if earlier}
    if joined:
        for number, others in zip(joined, search.search(list(joined.values()), k), strict=True):
            found[number] = _fused([found[number], others])[:k]
    return [passages_of(hits) for hits in found]


def _before(earlier: Sequence[Message]) -> list[str]:
    return [turn["content"] for turn in earlier if turn["role"] == "user"][-1:]


def _fused(rankings: Sequence[Sequence[Any]]) -> list[Any]:
    hits: dict[str, Any] = {}
    scores: dict[str, float] = {}
    for ranking in rankings:
        for place, hit in enumerate(ranking, 1):
            name = hit.chunk["id"]
            hits.setdefault(name, hit)
            scores[name] = scores.get(name, 0.0) + 1 / (_RANK_CONSTANT + place)
    return [hits[name] for name in sorted(scores, key=lambda name: -scores[name])]
