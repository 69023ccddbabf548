"""Answers from a GGUF by llama.cpp, several at a time: a finished answer makes room for the next question."""

from __future__ import annotations

import codecs
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runner.answering.answerer import NONE, Done, Generated, Generation, Message, Prompt
from runner.answering.sampling import choose, draws
from runner.errors import StepError
from runner.gguf.llama import Model, Session, offloads
from runner.training.chat import conversation
from runner.training.stored import read_record

_ANY = 0  # a token that stands for those of an answer that is kept
_SCORED = 64  # tokens of a reference scored at once: their logits are as wide as the vocabulary


@dataclass
class _Answer:
    """One answer on its way. With ``kept`` it is there already, and goes along for as many steps as it took to make."""

    number: int
    prompt: Prompt
    reference: list[int]
    random: np.random.Generator
    kept: Generated | None = None
    tokens: list[int] = field(default_factory=list)
    stopped: bool = False
    loss: float | None = None
    seconds: float = 0.0

    @property
    def position(self) -> int:
        return len(self.prompt.tokens) + len(self.tokens)


class GgufAnswerer:
    """``model.gguf`` of a model artifact. Every call starts from an empty cache, so that it depends on its arguments alone."""

    def __init__(self, folder: Path, *, device: str = "cpu", threads: int = 0, gpu_layers: int | None = None) -> None:
        self._system_prompt: str | None = read_record(folder).get("system_prompt")
        if device == "cuda" and not offloads():
            raise StepError(
                "resources.device is cuda, but llama-cpp-python was built without it",
                remedy='set resources.device to auto or cpu, or build it with CMAKE_ARGS="-DGGML_CUDA=on"',
            )
        self._model = Model(folder / "model.gguf", gpu_layers=0 if device == "cpu" else gpu_layers)
        self._threads = threads
        self.limit = self._model.context_length

    def prompt(self, message: str, earlier: Sequence[Message] = ()) -> Prompt:
        text = self._model.render(conversation(message, self._system_prompt, earlier=earlier))
        return Prompt(message, text, tuple(self._model.tokenize(text)), tuple(earlier))

    def answer(
        self,
        prompts: Sequence[Prompt],
        generation: Generation,
        references: Sequence[str | None] | None = None,
        progress: Callable[[float], None] | None = None,
        *,
        batch_size: int = 16,
        first: int = 0,
        kept: Mapping[int, Generated] = NONE,
        done: Done | None = None,
    ) -> list[Generated]:
        answers = [
            _Answer(number, prompt, self._completion(prompt, reference), draws(generation, first + number), kept.get(number))
            for number, (prompt, reference) in enumerate(zip(prompts, references or [None] * len(prompts), strict=True))
        ]
        finished = dict(kept)

        def finish(answer: _Answer) -> None:
            finished[answer.number] = self._generated(answer)
            if done:
                done(answer.number, finished[answer.number])

        if len(finished) < len(answers):
            batch = _Batch(self._model, generation, answers, min(batch_size, len(answers)), self._threads, finish)
            batch.run(progress or (lambda share: None))
        return [finished[number] for number in range(len(answers))]

    def stream(self, prompt: Prompt, generation: Generation) -> Iterator[str]:
        decoder, random = codecs.getincrementaldecoder("utf-8")("replace"), draws(generation, 0)
        with self._model.session(len(prompt.tokens) + generation.max_new_tokens, threads=self._threads) as session:
            logits = session.decode(_positions(prompt.tokens, 0, 0))
            for step in range(generation.max_new_tokens):
                token = choose(logits[-1], generation, random)
                if self._model.ends(token):
                    break
                if piece := decoder.decode(self._model.piece(token)):
                    yield piece
                if step + 1 < generation.max_new_tokens:
                    logits = session.decode([(token, len(prompt.tokens) + step, 0, True)])
        if rest := decoder.decode(b"", final=True):
            yield rest

    def close(self) -> None:
        self._model.close()

    def _completion(self, prompt: Prompt, reference: str | None) -> list[int]:
        """The tokens of the reference in the assistant's turn, with what the template puts after it, as far as the model goes."""
        if not reference:
            return []
        whole = self._model.render(conversation(prompt.message, self._system_prompt, reference, prompt.earlier), generation_prompt=False)
        tokens = self._model.tokenize(whole)
        if tuple(tokens[: len(prompt.tokens)]) == prompt.tokens:
            tokens = tokens[len(prompt.tokens) :]
        else:
            tokens = self._model.tokenize(whole.removeprefix(prompt.text))
        return tokens[: self.limit - len(prompt.tokens)]

    def _generated(self, answer: _Answer) -> Generated:
        return Generated(
            text=self._model.text(answer.tokens).strip(),
            prompt_tokens=len(answer.prompt.tokens),
            answer_tokens=len(answer.tokens),
            finish="stop" if answer.stopped else "length",
            reference_loss=answer.loss,
            reference_tokens=len(answer.reference) if answer.loss is not None else None,
            seconds=answer.seconds,
        )


class _Batch:
    """Some answers over ``size`` sequences of one decoding context. Sequence n belongs to ``self._live[n]``, and none lies between them
    unused: llama.cpp decodes sequences without a gap in one go. One more sequence holds what all prompts begin with (the system
    prompt, the instructions), which is read once and copied.

    The last bits of an answer depend on how many rows are decoded with its own, and not on what they hold. So an answer that is kept
    takes its sequence for as many steps as it took, with any token in an otherwise empty cache; where only such answers are live, nothing
    is decoded."""

    def __init__(
        self, model: Model, generation: Generation, answers: Sequence[_Answer], size: int, threads: int, finish: Callable[[_Answer], None]
    ) -> None:
        self._model, self._generation, self._size, self._threads, self._finish = model, generation, size, threads, finish
        self._count, self._waiting = len(answers), deque(answers)
        self._live: list[_Answer] = []
        self._common = answers[0].prompt.tokens[: _common([answer.prompt.tokens for answer in answers])] if len(answers) > 1 else ()
        self._capacity = max(
            len(answer.prompt.tokens) + max(generation.max_new_tokens, len(answer.reference)) for answer in answers
        )  # tokens

    def run(self, progress: Callable[[float], None]) -> None:
        """Complete every answer. ``progress`` gets the share that is done, often, and may raise to stop."""
        self._progress = progress
        with self._model.session(self._capacity, sequences=self._size + bool(self._common), threads=self._threads) as self._session:
            if self._common:
                self._session.decode(_positions(self._common, 0, self._size, last=False))
            while len(self._live) < self._size and (answer := self._next(len(self._live))):
                self._live.append(answer)
            while self._live:
                self._tell()
                complete = [slot for slot, done in enumerate(self._step()) if done]
                for slot in reversed(complete):
                    self._free(slot)

    def _step(self) -> list[bool]:
        """The next token of every live answer; which of them are complete with it."""
        begun = time.perf_counter()
        rows: Sequence[NDArray[np.float32] | None] = [None] * len(self._live)
        if not all(answer.kept for answer in self._live):
            for slot, answer in enumerate(self._live):
                if answer.kept:
                    self._session.forget(slot)
            asked = [(answer.tokens[-1], answer.position - 1, slot, True) for slot, answer in enumerate(self._live)]
            rows = list(self._session.decode(asked))
        complete = [self._take(answer, row) for answer, row in zip(self._live, rows, strict=True)]
        seconds = (time.perf_counter() - begun) / len(self._live)
        for answer, whole in zip(self._live, complete, strict=True):
            answer.seconds += seconds
            if whole and not answer.kept:
                self._finish(answer)
        return complete

    def _free(self, slot: int) -> None:
        """Give the sequence to the next question; without one, the last sequence moves there."""
        if answer := self._next(slot):
            self._live[slot] = answer
            return
        moved = self._live.pop()
        if slot < len(self._live):
            self._session.copy(len(self._live), slot)
            self._live[slot] = moved

    def _next(self, slot: int) -> _Answer | None:
        """Read the next question whose answer does not end with its first token."""
        while self._waiting:
            self._tell()
            answer = self._waiting.popleft()
            begun = time.perf_counter()
            whole = self._take(answer, None if answer.kept else self._read(answer, slot))
            answer.seconds += time.perf_counter() - begun
            if not whole:
                return answer
            if not answer.kept:
                self._finish(answer)
        return None

    def _read(self, answer: _Answer, slot: int) -> NDArray[np.float32]:
        """Read a prompt, and its reference after it; the logits after the prompt."""
        self._session.forget(slot)
        if self._common:
            self._session.copy(self._size, slot)
        start = len(self._common)
        last = self._session.decode(_positions(answer.prompt.tokens[start:], start, slot))[-1]
        if answer.reference:
            answer.loss = _loss(self._session, slot, answer, last)
        return last

    def _take(self, answer: _Answer, logits: NDArray[np.float32] | None) -> bool:
        """Add the next token; whether the answer is complete. There are no logits for an answer that is kept."""
        if answer.kept:
            answer.tokens.append(_ANY)
            return len(answer.tokens) == answer.kept.answer_tokens + (answer.kept.finish == "stop")
        assert logits is not None
        if not np.isfinite(logits.max()):
            raise StepError("the model computes values that are not numbers", remedy="export it with a quantisation of more bits")
        token = choose(logits, self._generation, answer.random)
        answer.stopped = self._model.ends(token)
        if not answer.stopped:
            answer.tokens.append(token)
        return answer.stopped or len(answer.tokens) == self._generation.max_new_tokens

    def _tell(self) -> None:
        under_way = sum(len(answer.tokens) for answer in self._live) / self._generation.max_new_tokens
        self._progress((self._count - len(self._waiting) - len(self._live) + under_way) / self._count)


def _common(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all prompts begin with, but for the last of the shortest: its logits are asked for."""
    least, most = min(prompts), max(prompts)
    shortest = min(len(prompt) for prompt in prompts)
    return next((number for number in range(shortest - 1) if least[number] != most[number]), shortest - 1)


def _loss(session: Session, slot: int, answer: _Answer, first: NDArray[np.float32]) -> float:
    """The mean loss of the reference after its prompt, whose last logits are ``first``; the cache is left as it was."""
    begin, reference = len(answer.prompt.tokens), answer.reference
    losses = [_negative_log_likelihood(first[None], reference[:1])]
    for start in range(0, len(reference) - 1, _SCORED):
        part = reference[start : min(start + _SCORED, len(reference) - 1)]
        rows = session.decode([(token, begin + start + n, slot, True) for n, token in enumerate(part)])
        losses.append(_negative_log_likelihood(rows, reference[start + 1 : start + 1 + len(part)]))
    session.forget(slot, begin)
    return float(np.concatenate(losses).mean())


def _positions(tokens: Sequence[int], start: int, sequence: int, *, last: bool = True) -> list[tuple[int, int, int, bool]]:
    end = len(tokens) - 1
    return [(token, start + index, sequence, last and index == end) for index, token in enumerate(tokens)]


def _negative_log_likelihood(logits: NDArray[np.float32], tokens: Sequence[int]) -> NDArray[np.float64]:
    rows = logits.astype(np.float64)
    top = rows.max(axis=1)
    total = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
    return np.asarray(total - rows[np.arange(len(tokens)), list(tokens)])
