"""From a question and what was retrieved for it to a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Passage = dict[str, Any]


class Renders(Protocol):
    """A prompt template (``runner.prompts.Template``)."""

    def render(self, **variables: Any) -> str: ...


def passages_of(hits: Sequence[Any]) -> list[Passage]:
    """Search results (``runner.retrieval.Hit``) as a prompt sees them, best first."""
    kept = ("title", "section", "page", "document", "start", "end")
    return [
        {"text": hit.chunk["text"], "score": hit.score, "chunk": hit.chunk["id"], **{name: hit.chunk.get(name) for name in kept}}
        for hit in hits
    ]


def render(template: Renders, question: str, passages: Sequence[Passage]) -> str:
    """The user's message."""
    return template.render(question=question, passages=[passage | {"text": shown(passage)} for passage in passages])


def shown(passage: Passage) -> str:
    """What a prompt shows of a passage: the ``summary`` if it has one, else the ``text``."""
    return str(passage.get("summary", passage["text"]))
