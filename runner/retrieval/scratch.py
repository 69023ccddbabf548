"""A small embedder built on the spot: a vector for every word, and their mean for a text. It needs no download, and can be tuned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Any

from runner.errors import InputError

_UNKNOWN = "[UNK]"


def static_embedder(texts: Sequence[str], *, embedding_dim: int = 256, vocab_size: int = 8192, seed: int = 0) -> Any:
    """A SentenceTransformer over the ``vocab_size`` words that stand in the most of ``texts``.

    Word vectors are drawn from a normal distribution and multiplied by the word's inverse document frequency, so that before any
    tuning two texts are as near as the words that they share (a random projection of a bag of words). Case is folded and
    punctuation left out; all other words share one vector, which begins at zero. InputError when the texts hold no word.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    splitter = pre_tokenizers.Split(Regex(r"\W+"), "removed")
    spread: Counter[str] = Counter()
    for text in texts:
        spread.update({word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))})
    words = [word for word, _ in sorted(spread.items(), key=lambda entry: (-entry[1], entry[0]))[: vocab_size - 1]]
    if not words:
        raise InputError("there is no word to build an embedder from", remedy="bind chunks that hold text")
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate([_UNKNOWN, *words])}, unk_token=_UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    vectors = torch.randn(len(words) + 1, embedding_dim, generator=torch.Generator().manual_seed(seed))
    weights = [0.0, *(log((1 + len(texts)) / spread[word]) for word in words)]
    return SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=vectors * torch.tensor(weights)[:, None])], device="cpu"
    )
