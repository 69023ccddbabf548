"""Questions to a GGUF one after the other, with streamed answers: a conversation, or just one question."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.answering.answerer import Generation, Message, open_answerer
from runner.answering.fitting import Rule, fit
from runner.answering.prompting import Passage, Renders
from runner.answering.retrieving import Searches, retrieve
from runner.errors import RunnerError

_GREEDY = Generation()


@dataclass(frozen=True)
class Reply:
    """``pieces`` is the answer as it is made, and can be read once; ``prompt`` is what the model sees, in its chat template; ``sources``
    are the passages that it holds, best first (those that are cut or summarised too: see :class:`runner.answering.fitting.Fitted`)."""

    pieces: Generator[str, None, None]
    prompt: str
    sources: tuple[Passage, ...]
    dropped: int  # passages left out because the prompt did not fit
    forgotten: int = 0  # earlier exchanges of this conversation left out, oldest first, because the prompt did not fit


class Chat:
    """A conversation with the GGUF model artifact in ``model``, with passages from ``search``, if any.

    ``prompt`` is a template with the variables ``question`` and ``passages``. The context has ``context_window`` tokens; None, or more
    than the model has: as many as that. Every question gets passages of its own (see :func:`runner.answering.retrieve`); of earlier
    exchanges the model sees question and answer, without their passages. Where that does not fit, the oldest exchanges are left out
    first, and then ``overflow`` is the rule.
    """

    def __init__(
        self,
        model: Path,
        search: Searches | None,
        prompt: Renders,
        *,
        top_k: int = 3,
        generation: Generation = _GREEDY,
        context_window: int | None = None,
        overflow: Rule = "drop-passages",
        device: str = "cpu",
        threads: int = 0,
        gpu_layers: int | None = None,
    ) -> None:
        self._search, self._prompt, self._top_k, self._overflow, self._turns = search, prompt, top_k, overflow, list[Message]()
        self._answerer = open_answerer(model, "gguf", _no_base, device=device, threads=threads, gpu_layers=gpu_layers)
        self._window = min(context_window or self._answerer.limit, self._answerer.limit)
        longest = generation.max_new_tokens if generation.max_new_tokens < self._window else self._window // 2
        self._generation = replace(generation, max_new_tokens=longest)

    def ask(self, question: str) -> Reply:
        """The next question. The sources are there at once; the answer comes while ``pieces`` is read, and what was read of it is part
        of the conversation from then on. StepError when the question alone does not fit."""
        earlier = tuple(self._turns)
        passages = retrieve(self._search, [(question, earlier)], self._top_k)[0] if self._search else []
        fitted = fit(
            self._answerer,
            self._prompt,
            question,
            passages,
            window=self._window,
            reserve=self._generation.max_new_tokens,
            overflow=self._overflow,
            earlier=earlier,
        )

        def pieces() -> Generator[str, None, None]:
            said = ""
            try:
                for piece in self._answerer.stream(fitted.prompt, self._generation):
                    said += piece
                    yield piece
            finally:
                self._turns += [{"role": "user", "content": question}, {"role": "assistant", "content": said.strip()}]

        return Reply(pieces(), fitted.prompt.text, fitted.passages, fitted.dropped, fitted.forgotten)

    @property
    def searches(self) -> bool:
        """Whether questions get passages."""
        return self._search is not None

    def close(self) -> None:
        self._answerer.close()


def ask(model: Path, search: Searches | None, question: str, prompt: Renders, **options: Any) -> Reply:
    """Ask one question: see :class:`Chat`, whose options these are. The model is freed when ``pieces`` has been read."""
    chat = Chat(model, search, prompt, **options)
    try:
        reply = chat.ask(question)
    except RunnerError:
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
