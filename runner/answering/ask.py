"""One question to one model, as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from runner.answering.answerer import Generation, open_answerer
from runner.answering.prompting import Passage, Renders, fit, passages_of

_GREEDY = Generation()


@dataclass(frozen=True)
class Reply:
    """``pieces`` is the answer as it is made, and can be read once; ``sources`` are the passages that the prompt holds, best first."""

    pieces: Iterator[str]
    sources: tuple[Passage, ...]
    dropped: int  # passages left out because the prompt did not fit


def ask(
    model: Path,
    index: Path | None,
    question: str,
    prompt: Renders,
    *,
    top_k: int = 3,
    generation: Generation = _GREEDY,
    context_window: int = 4096,
    device: str = "cpu",
    threads: int = 0,
) -> Reply:
    """Ask the GGUF model artifact in ``model``, with passages from the index artifact in ``index``, if any.

    ``prompt`` is a template with the variables ``question`` and ``passages``. The context is the smaller of ``context_window``
    and the model's own. Sources are there at once; the answer comes while ``pieces`` is read, and the model is freed after it.
    """
    passages: list[Passage] = []
    if index is not None and top_k:
        from runner.retrieval import open_index

        passages = passages_of(open_index(index, device=device).search([question], top_k)[0])
    answerer = open_answerer(model, "gguf", _no_base, device=device, threads=threads)
    window = min(context_window, answerer.limit)
    generation = replace(generation, max_new_tokens=min(generation.max_new_tokens, window // 2))
    fitted, dropped = fit(answerer, prompt, question, passages, window=window, reserve=generation.max_new_tokens)

    def pieces() -> Iterator[str]:
        try:
            yield from answerer.stream(fitted, generation)
        finally:
            answerer.close()

    return Reply(pieces(), tuple(passages[: len(passages) - dropped]), dropped)


def _no_base(ref: str) -> Path:
    raise AssertionError("a GGUF has no base")
