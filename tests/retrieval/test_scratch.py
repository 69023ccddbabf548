from __future__ import annotations

from math import log

import pytest

from runner.errors import InputError
from runner.retrieval.scratch import static_embedder

TEXTS = ["The adapter has rank eight.", "The optimiser keeps two moments.", "A block shares one scale.", "the THE the"]


def test_texts_are_as_near_as_the_words_they_share() -> None:
    model = static_embedder(TEXTS, embedding_dim=512)
    near = model.similarity(model.encode(["which SCALE does a block have?"]), model.encode(TEXTS))[0].tolist()
    assert near.index(max(near)) == 2
    assert abs(near[0]) < 0.3


def test_rare_words_weigh_more_and_the_rarest_are_left_out() -> None:
    model = static_embedder(TEXTS, embedding_dim=4096)
    common, rare = (float((model.encode([word]) ** 2).sum()) for word in ("the", "rank"))
    assert common / rare == pytest.approx((log(5 / 3) / log(5)) ** 2, rel=0.1)
    small = static_embedder(TEXTS, vocab_size=3)
    assert small.tokenizer.get_vocab() == {"[UNK]": 0, "the": 1, "a": 2}
    assert not small.encode(["rank, moments."]).any()


def test_a_seed_gives_the_same_vectors() -> None:
    one, same, other = (static_embedder(TEXTS, seed=seed).encode(["rank"]) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_texts_without_a_word_are_refused() -> None:
    with pytest.raises(InputError, match="no word"):
        static_embedder(["", "  "])
