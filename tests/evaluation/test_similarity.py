from __future__ import annotations

import numpy as np
import pytest

from runner.evaluation.metrics import EmbeddingSimilarity

ANSWERS = ["a cat", "the dog barks", "", "rank 16", "a cat"]
REFERENCES = [["the cat"], ["a cat", "dogs bark"], ["x"], [], ["a cat"]]


def vectors(texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
    """Letters counted, less three: of any length, and some cosines below 0."""
    return np.array([[text.count(letter) - 3.0 * (letter == "x") for letter in "abcdegkotx"] for text in texts])


def test_it_is_the_cosine_of_sentence_transformers() -> None:
    from sentence_transformers.util import cos_sim

    scores, _ = EmbeddingSimilarity(vectors, "letters").items(predictions=ANSWERS, references=REFERENCES)
    for score, answer, wanted in zip(scores, ANSWERS, REFERENCES, strict=True):
        if answer and wanted:
            assert score == pytest.approx(100 * float(cos_sim(vectors([answer]), vectors(wanted)).max()), abs=1e-4)
    assert scores[2] == 0  # an empty answer
    assert np.isnan(scores[3])
    assert scores[4] == 100


def test_a_cosine_below_zero_is_kept_and_every_text_is_embedded_once() -> None:
    asked: list[str] = []

    def embed(texts: list[str]) -> np.ndarray:  # type: ignore[type-arg]
        asked.extend(texts)
        return np.array([[-2.0 if text == "no" else 1.0] for text in texts])

    metric = EmbeddingSimilarity(embed, "sign")
    assert metric.compute(predictions=["no", "no", "yes"], references=["yes", "yes", "yes"]) == {
        "embedding_similarity": pytest.approx(-100 / 3)
    }
    assert sorted(asked) == ["no", "yes"]
    assert "by sign, times 100" in metric.describe()["normalisation"]
