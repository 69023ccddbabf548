"""Questions to a GGUF one after the other, with streamed answers: a conversation, or just one question."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from runner.answering.answerer import Generation, Message, open_answerer
from runner.answering.prompting import Passage, Renders, fit, passages_of
from runner.errors import StepError

_GREEDY = Generation()


@dataclass(frozen=True)
class Reply:
    """``pieces`` is the answer as it is made, and can be read once; ``sources`` are the passages that the prompt holds, best first."""

    pieces: Generator[str, None, None]
    sources: tuple[Passage, ...]
    dropped: int  # passages left out because the prompt did not fit
    forgotten: int = 0  # earlier exchanges of this conversation left out, oldest first, because the prompt did not fit


class Chat:
    """A conversation with the GGUF model artifact in ``model``, with passages from the index artifact in ``index``, if any.

    ``prompt`` is a template with the variables ``question`` and ``passages``. The context is the smaller of ``context_window``
    and the model's own. Every question gets passages of its own; of earlier exchanges the model sees question and answer, without
    their passages. Where that does not fit, the oldest exchanges are left out first, then the worst passages.
    """

    def __init__(
        self,
        model: Path,
        index: Path | None,
        prompt: Renders,
        *,
        top_k: int = 3,
        generation: Generation = _GREEDY,
        context_window: int = 4096,
        device: str = "cpu",
        threads: int = 0,
        gpu_layers: int | None = None,
    ) -> None:
        self._prompt, self._top_k, self._turns = prompt, top_k, list[Message]()
        self._index = None
        if index is not None and top_k:
            from runner.retrieval import open_index

            self._index = open_index(index, device=device)
        self._answerer = open_answerer(model, "gguf", _no_base, device=device, threads=threads, gpu_layers=gpu_layers)
        self._window = min(context_window, self._answerer.limit)
        self._generation = replace(generation, max_new_tokens=min(generation.max_new_tokens, self._window // 2))

    def ask(self, question: str) -> Reply:
        """The next question. The sources are there at once; the answer comes while ``pieces`` is read, and what was read of it is part
        of the conversation from then on. StepError when the question alone does not fit."""
        passages = passages_of(self._index.search([question], self._top_k)[0]) if self._index is not None else []
        shown, reserve = list(self._turns), self._generation.max_new_tokens
        while shown:  # the oldest exchange goes first
            try:
                fitted, dropped = fit(
                    self._answerer, self._prompt, question, passages, window=self._window, reserve=reserve, overflow="fail", earlier=shown
                )
                break
            except StepError:
                shown = shown[2:]
        else:
            fitted, dropped = fit(self._answerer, self._prompt, question, passages, window=self._window, reserve=reserve)

        def pieces() -> Generator[str, None, None]:
            said = ""
            try:
                for piece in self._answerer.stream(fitted, self._generation):
                    said += piece
                    yield piece
            finally:
                self._turns += [{"role": "user", "content": question}, {"role": "assistant", "content": said.strip()}]

        forgotten = (len(self._turns) - len(shown)) // 2
        return Reply(pieces(), tuple(passages[: len(passages) - dropped]), dropped, forgotten)

    @property
    def searches(self) -> bool:
        """Whether questions get passages."""
        return self._index is not None

    def close(self) -> None:
        self._answerer.close()


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
    """Ask one question: see :class:`Chat`. The model is freed when ``pieces`` has been read."""
    chat = Chat(model, index, prompt, top_k=top_k, generation=generation, context_window=context_window, device=device, threads=threads)
    try:
        reply = chat.ask(question)
    except StepError:
        chat.close()
        raise

    def pieces() -> Generator[str, None, None]:
        try:
            yield from reply.pieces
        finally:
            chat.close()

    return replace(reply, pieces=pieces())


def _no_base(ref: str) -> Path:
    raise AssertionError("a GGUF has no base")
