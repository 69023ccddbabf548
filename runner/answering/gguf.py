"""Answers from a GGUF by llama.cpp, several at a time over one key-value cache."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runner.answering.answerer import Generated, Generation, Prompt
from runner.errors import StepError
from runner.gguf.llama import Model, Session, offloads
from runner.training.chat import conversation
from runner.training.stored import read_record

_SCORED = 64  # tokens of a reference scored at once: their logits are as wide as the vocabulary
_CELLS = 256  # llama.cpp rounds a cache up to this many tokens


@dataclass
class _Sequence:
    """One answer on its way."""

    prompt: Prompt
    random: np.random.Generator
    tokens: list[int] = field(default_factory=list)
    stopped: bool = False
    loss: float | None = None
    reference: list[int] = field(default_factory=list)

    @property
    def position(self) -> int:
        return len(self.prompt.tokens) + len(self.tokens)


class GgufAnswerer:
    """``model.gguf`` of a model artifact. Every call starts from an empty cache, so that it depends on its arguments alone."""

    def __init__(self, folder: Path, *, device: str = "cpu", threads: int = 0) -> None:
        self._system_prompt: str | None = read_record(folder).get("system_prompt")
        if device == "cuda" and not offloads():
            raise StepError(
                "resources.device is cuda, but llama-cpp-python was built without it",
                remedy='set resources.device to auto or cpu, or build it with CMAKE_ARGS="-DGGML_CUDA=on"',
            )
        self._model = Model(folder / "model.gguf", gpu=device != "cpu")
        self._threads = threads
        self.limit = self._model.context_length

    def prompt(self, message: str) -> Prompt:
        text = self._model.render(conversation(message, self._system_prompt))
        return Prompt(message, text, tuple(self._model.tokenize(text)))

    def answer(
        self,
        prompts: Sequence[Prompt],
        generation: Generation,
        references: Sequence[str | None] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> list[Generated]:
        sequences = [_Sequence(prompt, np.random.default_rng([generation.seed, index])) for index, prompt in enumerate(prompts)]
        for sequence, reference in zip(sequences, references or (), strict=False):
            if reference:
                sequence.reference = self._completion(sequence.prompt, reference)[: self.limit - len(sequence.prompt.tokens)]
        needed = sum(len(s.prompt.tokens) + max(generation.max_new_tokens, len(s.reference)) for s in sequences)
        capacity = -(-(needed + len(sequences)) // _CELLS) * _CELLS
        with self._model.session(capacity, sequences=len(sequences), threads=self._threads) as session:
            logits: Sequence[NDArray[np.float32]] = self._read(session, sequences)
            for step in range(generation.max_new_tokens):
                if progress:
                    progress(step / generation.max_new_tokens)
                live = [index for index, sequence in enumerate(sequences) if not sequence.stopped]
                if not live:
                    break
                asked = []
                for index, row in zip(live, logits, strict=True):
                    sequence = sequences[index]
                    token = choose(row, generation, sequence.random)
                    sequence.stopped = self._model.ends(token)
                    if not sequence.stopped:
                        asked.append((token, sequence.position, index, True))
                        sequence.tokens.append(token)
                if asked and step + 1 < generation.max_new_tokens:
                    logits = list(session.decode(asked))
        return [self._generated(sequence) for sequence in sequences]

    def stream(self, prompt: Prompt, generation: Generation) -> Iterator[str]:
        decoder, random = codecs.getincrementaldecoder("utf-8")("replace"), np.random.default_rng([generation.seed, 0])
        with self._model.session(len(prompt.tokens) + generation.max_new_tokens + _CELLS, threads=self._threads) as session:
            logits = session.decode(_positions(prompt.tokens, 0, 0))
            for step in range(generation.max_new_tokens):
                token = choose(logits[-1], generation, random)
                if self._model.ends(token):
                    break
                if piece := decoder.decode(self._model.piece(token)):
                    yield piece
                logits = session.decode([(token, len(prompt.tokens) + step, 0, True)])
        if rest := decoder.decode(b"", final=True):
            yield rest

    def close(self) -> None:
        self._model.close()

    def _read(self, session: Session, sequences: Sequence[_Sequence]) -> list[NDArray[np.float32]]:
        """Read the prompts, and the references after them; the logits after each prompt.

        What all prompts begin with (the system prompt, the instructions) is read once and shared.
        """
        shortest = min(len(sequence.prompt.tokens) for sequence in sequences)
        columns = zip(*(sequence.prompt.tokens for sequence in sequences), strict=False)
        common = min(sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns)), shortest - 1)
        session.decode(_positions(sequences[0].prompt.tokens[:common], 0, 0, last=False))
        for index in range(1, len(sequences)):
            session.share(0, index)
        logits = []
        for index, sequence in enumerate(sequences):
            last = session.decode(_positions(sequence.prompt.tokens[common:], common, index))[-1]
            logits.append(last)
            if sequence.reference:
                sequence.loss = _loss(session, index, sequence, last)
        return logits

    def _completion(self, prompt: Prompt, reference: str) -> list[int]:
        """The tokens of the reference in the assistant's turn, with what the template puts after it."""
        whole = self._model.render(conversation(prompt.message, self._system_prompt, reference), generation_prompt=False)
        tokens = self._model.tokenize(whole)
        if tuple(tokens[: len(prompt.tokens)]) == prompt.tokens:
            return tokens[len(prompt.tokens) :]
        return self._model.tokenize(whole.removeprefix(prompt.text))

    def _generated(self, sequence: _Sequence) -> Generated:
        return Generated(
            text=self._model.text(sequence.tokens).strip(),
            prompt_tokens=len(sequence.prompt.tokens),
            answer_tokens=len(sequence.tokens),
            finish="stop" if sequence.stopped else "length",
            reference_loss=sequence.loss,
            reference_tokens=len(sequence.reference) if sequence.loss is not None else None,
        )


def choose(logits: NDArray[np.float32], generation: Generation, random: np.random.Generator) -> int:
    """The next token: the likeliest at temperature 0, else drawn from the nucleus (Holtzman et al. 2020)."""
    if generation.temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) / generation.temperature
    weights = np.exp(scaled - scaled.max())
    order = np.argsort(-weights, kind="stable")
    weights = weights[order] / weights.sum()
    kept = int(np.searchsorted(np.cumsum(weights), generation.top_p)) + 1
    weights = weights[:kept] / weights[:kept].sum()
    return int(order[random.choice(len(weights), p=weights)])


def _loss(session: Session, index: int, sequence: _Sequence, first: NDArray[np.float32]) -> float:
    """The mean loss of the reference after its prompt, whose last logits are ``first``; the cache is left as it was."""
    begin, reference = len(sequence.prompt.tokens), sequence.reference
    losses = [_negative_log_likelihood(first[None], reference[:1])]
    for start in range(0, len(reference) - 1, _SCORED):
        part = reference[start : min(start + _SCORED, len(reference) - 1)]
        rows = session.decode([(token, begin + start + n, index, True) for n, token in enumerate(part)])
        losses.append(_negative_log_likelihood(rows, reference[start + 1 : start + 1 + len(part)]))
    session.forget(index, begin)
    return float(np.concatenate(losses).mean())


def _positions(tokens: Sequence[int], start: int, sequence: int, *, last: bool = True) -> list[tuple[int, int, int, bool]]:
    end = len(tokens) - 1
    return [(token, start + index, sequence, last and index == end) for index, token in enumerate(tokens)]


def _negative_log_likelihood(logits: NDArray[np.float32], tokens: Sequence[int]) -> NDArray[np.float64]:
    rows = logits.astype(np.float64)
    top = rows.max(axis=1)
    total = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
    return np.asarray(total - rows[np.arange(len(tokens)), list(tokens)])
