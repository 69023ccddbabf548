"""Cosine of the embeddings of an answer and its reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from runner.evaluation.aggregates import Array
from runner.evaluation.metric import References, TextMetric, paired

#: Texts to vectors (n, dimension), not normalised.
Embed = Callable[[list[str]], Any]


class EmbeddingSimilarity(TextMetric):
    """``model`` names the embedder. An empty answer has 0; every text is embedded once."""

    key, title = "embedding_similarity", "Embedding similarity"
    source = "Reimers and Gurevych, 2019: Sentence-BERT; package sentence-transformers"

    def __init__(self, embed: Embed, model: str) -> None:
        self._embed, self._known = embed, dict[str, Array]()
        self.normalisation = (  # type: ignore[misc]
            f"cosine of the vectors of answer and reference by {model}, times 100, not cut below 0; figures of two embedders do not compare"
        )
        super().__init__()

    def items(self, *, predictions: Sequence[str], references: References) -> tuple[Array, Array]:
        pairs = paired(predictions, references)
        self._learn([text for answer, wanted in pairs if wanted for text in (answer, *wanted)])
        values = np.array([self._best(answer, wanted) for answer, wanted in pairs], dtype=np.float64)
        return values, values[:, None]

    def _best(self, answer: str, wanted: list[str]) -> float:
        if not wanted:
            return float("nan")
        if not answer.strip():
            return 0.0
        # Six digits: the last bits of a vector depend on the texts that it is padded with.
        return max(round(100 * float(self._known[answer] @ self._known[text]), 4) for text in wanted)

    def _learn(self, texts: Sequence[str]) -> None:
        new = [text for text in dict.fromkeys(texts) if text.strip() and text not in self._known]
        if not new:
            return
        vectors = np.asarray(self._embed(new), dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._known.update(zip(new, vectors / np.where(lengths > 0, lengths, 1), strict=True))
