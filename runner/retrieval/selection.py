"""Which of the passages that a search finds a model is given: by similarity, density, diversity, or a reranker."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runner.errors import InputError, StepError
from runner.retrieval import embedders
from runner.retrieval.index import Hit, Index
from runner.retrieval.settings import CrossEncoder, InformationDensity, MaximalMarginalRelevance, Selection, Similarity

#: Picks at most so many of the hits of each question, best first.
Pick = Callable[[Sequence[str], list[list[Hit]], int], list[list[Hit]]]

_WORD = re.compile(r"\w+")


class Selector:
    """Searches an index and selects from what it finds. Open it once and ask it often: a reranker is loaded, words are counted."""

    def __init__(self, index: Index, selection: Selection, *, folder: Path | None = None, device: str = "auto") -> None:
        """``folder`` holds a reranker that does not come from the hub. StepError when it cannot be loaded."""
        self._index, self._reranker = index, _Reranker(selection, folder, device) if isinstance(selection, CrossEncoder) else None
        self._candidates = 0 if isinstance(selection, Similarity) else selection.candidates
        self._pick = self._reranker or _picker(index, selection)

    def search(self, texts: Sequence[str], k: int) -> list[list[Hit]]:
        """For each text at most ``k`` chunks, best first. The score of a hit is the search's; of a reranker its own, from 0 to 1."""
        found = self._index.search(texts, max(k, self._candidates))
        return self._pick(texts, found, k)

    @property
    def warnings(self) -> list[str]:
        """What is to be said of the searches so far: questions that the embedder cut, pairs that the reranker cut."""
        return [*self._index.warnings, *(self._reranker.warnings if self._reranker else ())]


def _picker(index: Index, selection: Selection) -> Pick:
    match selection:
        case InformationDensity(weight=weight):
            density = densities(index)
            return lambda texts, found, k: [_densest(hits, density, weight)[:k] for hits in found]
        case MaximalMarginalRelevance(lambda_mult=lambda_mult):
            return lambda texts, found, k: [_diverse(index, hits, lambda_mult, k) for hits in found]
        case _:
            return lambda texts, found, k: [hits[:k] for hits in found]


def densities(index: Index) -> list[float]:
    """The information density of every chunk, in bits a word; see :class:`runner.retrieval.settings.InformationDensity`."""
    words = [_WORD.findall(chunk["text"].lower()) for chunk in index.chunks]
    holding = Counter(word for text in words for word in set(text))
    return [sum(math.log2(index.count / holding[word]) for word in sorted(set(text))) / max(1, len(text)) for text in words]


def _densest(hits: list[Hit], density: Sequence[float], weight: float) -> list[Hit]:
    if not hits:
        return []
    similar, dense = scaled([hit.score for hit in hits]), scaled([density[hit.row] for hit in hits])
    values = [(1 - weight) * one + weight * other for one, other in zip(similar, dense, strict=True)]
    return [hits[place] for place in sorted(range(len(hits)), key=lambda place: -values[place])]


def _diverse(index: Index, hits: list[Hit], lambda_mult: float, k: int) -> list[Hit]:
    if not hits:
        return []
    scores = [hit.score for hit in hits]
    relevance = np.array(scores if index.is_cosine else scaled(scores))
    vectors = index.vectors(hits)
    alike = vectors @ vectors.T
    taken: list[int] = []
    while len(taken) < min(k, len(hits)):
        repeated = alike[:, taken].max(axis=1) if taken else np.zeros(len(hits))
        values = lambda_mult * relevance - (1 - lambda_mult) * repeated
        values[taken] = -np.inf
        taken.append(int(values.argmax()))
    return [hits[place] for place in taken]


class _Reranker:
    """Puts what the search found in the order of a cross-encoder, and counts what it cut."""

    def __init__(self, settings: CrossEncoder, folder: Path | None, device: str) -> None:
        self._model, self._batch_size = _load(settings, folder, device), settings.batch_size
        self._read = self._cut = 0

    def __call__(self, texts: Sequence[str], found: list[list[Hit]], k: int) -> list[list[Hit]]:
        pairs = [(text, hit.chunk["text"]) for text, hits in zip(texts, found, strict=True) for hit in hits]
        if not pairs:
            return found
        self._count(pairs)
        # Ranked by what the model gives, for a sigmoid makes large values equal.
        values = self._model.predict(pairs, batch_size=self._batch_size, activation_fn=_as_it_is(), show_progress_bar=False).tolist()
        if not all(map(math.isfinite, values)):
            raise StepError("the reranker gives values that are not numbers", remedy="try another reranker")
        given = iter(values)
        ranked = []
        for hits in found:
            pairs_of = sorted([(next(given), hit) for hit in hits], key=lambda pair: -pair[0])[:k]
            ranked.append([replace(hit, score=_sigmoid(value)) for value, hit in pairs_of])
        return ranked

    @property
    def warnings(self) -> list[str]:
        if not self._cut:
            return []
        return [
            f"{self._cut} of {self._read} pairs of a question and a passage are longer than the {self._model.max_seq_length} tokens that "
            "the reranker reads; it judges them without their ends"
        ]

    def _count(self, pairs: list[tuple[str, str]]) -> None:
        """The library cuts the longer of the two without a word."""
        questions, passages = ([pair[side] for pair in pairs] for side in (0, 1))
        rows = self._model.tokenizer(questions, passages, truncation=False, verbose=False)["input_ids"]
        self._read += len(rows)
        self._cut += sum(len(row) > self._model.max_seq_length for row in rows)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _as_it_is() -> Any:
    import torch

    return torch.nn.Identity()


def _load(settings: CrossEncoder, folder: Path | None, device: str) -> Any:
    if folder is not None and not (folder / "config.json").is_file():
        raise InputError("no reranker lies here", where=settings.model, remedy="name a folder that has config.json")
    with embedders.quiet():
        try:
            model = embedders.library().CrossEncoder(
                str(folder or settings.model),
                revision=settings.revision if folder is None else None,
                device=embedders.device_of(device),
                max_length=settings.max_length,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError, ImportError) as error:
            raise StepError(
                f"the reranker {settings.model} cannot be loaded: {embedders.first_line(error)}",
                remedy="check the name, the revision and the network, and that the model has safetensors weights",
            ) from None
    if model.num_labels != 1:
        raise StepError(
            f"the reranker {settings.model} gives {model.num_labels} scores for a pair, and one is needed",
            remedy="name a model that was trained to rank",
        )
    return model


def scaled(values: Sequence[float]) -> list[float]:
    """Values from 0 (the least) to 1 (the largest); all 1 when they are equal."""
    least, largest = min(values), max(values)
    return [(value - least) / (largest - least) if largest > least else 1.0 for value in values]
