"""From a question and what was retrieved for it to a prompt that fits the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from runner.answering.answerer import Answerer, Message, Prompt
from runner.errors import StepError

Passage = dict[str, Any]


class Renders(Protocol):
    """A prompt template (``runner.prompts.Template``) with the variables ``question`` and ``passages``."""

    def render(self, **variables: Any) -> str: ...


def passages_of(hits: Sequence[Any]) -> list[Passage]:
    """Search results (``runner.retrieval.Hit``) as a prompt sees them, best first."""
    kept = ("title", "section", "page", "document", "start", "end")
    return [
        {"text": hit.chunk["text"], "score": hit.score, "chunk": hit.chunk["id"], **{name: hit.chunk.get(name) for name in kept}}
        for hit in hits
    ]


def fit(
    answerer: Answerer,
    template: Renders,
    question: str,
    passages: Sequence[Passage],
    *,
    window: int,
    reserve: int,
    overflow: Literal["drop-passages", "fail"] = "drop-passages",
    earlier: Sequence[Message] = (),
) -> tuple[Prompt, int]:
    """The prompt, and how many passages it had to leave out.

    Prompt and ``reserve`` tokens for the answer must fit into ``window`` tokens. Under ``drop-passages`` the worst passages go
    first, until it fits. ``earlier`` are turns of the conversation before the question. StepError when it cannot fit.
    """
    for kept in range(len(passages), -1, -1):
        prompt = answerer.prompt(template.render(question=question, passages=list(passages[:kept])), earlier)
        if len(prompt.tokens) + reserve <= window:
            return prompt, len(passages) - kept
        if overflow == "fail" or not kept:
            break
    raise StepError(
        f"the prompt has {len(prompt.tokens)} tokens with {kept} passages; with {reserve} for the answer that is more than {window}",
        where=question if len(question) <= 80 else question[:79] + "…",
        remedy="lower max_new_tokens or top_k, shorten the prompt, or raise context_window as far as the model allows"
        + (", or set overflow: drop-passages" if overflow == "fail" and passages else ""),
    )
