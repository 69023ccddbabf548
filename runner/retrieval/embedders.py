"""Texts to vectors. Every embedder here is a SentenceTransformer, so that a saved one needs nothing of this project."""

from __future__ import annotations

import json
import logging
import string
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf, log
from pathlib import Path
from typing import Any

import numpy as np

from runner.errors import InputError, StepError
from runner.retrieval.settings import LateInteraction, Lexical, Model

Vectors = np.ndarray[Any, np.dtype[np.float32]]


class TextEmbedder:
    """A loaded embedder that gives each text one vector, together with its settings."""

    def __init__(self, model: Any, settings: Model | Lexical) -> None:
        self.model, self.settings = model, settings
        self.batch_size = 256 if isinstance(settings, Lexical) else settings.batch_size
        self._asked = self._cut = 0

    @property
    def dimension(self) -> int:
        return int(self.model.get_embedding_dimension())

    @property
    def block(self) -> int:
        """Texts embedded by one call: fixed, because texts are padded with their neighbours, which moves last bits."""
        return 8 * self.batch_size

    @property
    def longest(self) -> int | None:
        """Tokens of a passage that are read, special ones included; None when all are."""
        return self._limit

    @property
    def longest_query(self) -> int | None:
        """Tokens of a question that are read, special ones included; None when all are."""
        return self._limit

    def passages(self, texts: list[str]) -> Vectors:
        """(number of texts, dimension), float32, not normalised."""
        return _finite(self._encode(self.model.encode_document, texts, "passage_prompt"))

    def queries(self, texts: list[str]) -> Vectors:
        """(number of texts, dimension), float32, not normalised. Those that are cut are counted in ``warnings``."""
        self._count(texts)
        return _finite(self._encode(self.model.encode_query, texts, "query_prompt"))

    @property
    def warnings(self) -> list[str]:
        """What is to be said of the questions embedded so far."""
        if not self._cut:
            return []
        return [
            f"{self._cut} of {self._asked} questions are longer than the {self.longest_query} tokens that the embedder reads; "
            "their ends are not searched for"
        ]

    def truncated(self, texts: list[str]) -> int:
        """How many of the passages are longer than what the model reads; it would cut them without a word."""
        return self._longer(texts, self.longest, "passage_prompt", ("document", "passage", "corpus"))

    def truncated_queries(self, texts: list[str]) -> int:
        """How many of the questions are longer than what the model reads."""
        return self._longer(texts, self.longest_query, "query_prompt", ("query",))

    def _count(self, questions: list[str]) -> None:
        self._asked += len(questions)
        self._cut += self.truncated_queries(questions)

    def _longer(self, texts: list[str], longest: int | None, given: str, own: tuple[str, ...]) -> int:
        """The prompt is the one given, else the model's own, chosen as encode_query and encode_document choose it."""
        if longest is None or not texts:
            return 0
        prompt = getattr(self.settings, given, None)
        if prompt is None:
            prompt = next((self.model.prompts[name] for name in own if name in self.model.prompts), "")
        rows = self.model.tokenizer([prompt + text for text in texts], truncation=False, verbose=False)["input_ids"]
        return sum(len(row) > longest for row in rows)

    @property
    def _limit(self) -> int | None:
        """A bag of words and a table of static word vectors read everything."""
        longest = self.model.max_seq_length
        return None if longest is None or longest == inf else int(longest)

    def set_prompts(self, query: str | None, passage: str | None) -> None:
        """Make these the model's own prompts, saved with it; None keeps what it has."""
        for name, prompt in (("query", query), ("document", passage)):
            if prompt is not None:
                self.model.prompts[name] = prompt

    def save(self, folder: Path) -> None:
        """Write the embedder to ``folder``, without the library versions: the same embedder gives the same bytes."""
        with quiet():
            self.model.save(str(folder), create_model_card=False)
        path = folder / "config_sentence_transformers.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("__version__", None)
        path.write_text(json.dumps(config, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8", newline="\n")

    def _encode(self, encode: Any, texts: list[str], prompt: str) -> Any:
        return encode(
            texts, prompt=getattr(self.settings, prompt, None), batch_size=self.batch_size, show_progress_bar=False, convert_to_numpy=True
        )


class TokenEmbedder(TextEmbedder):
    """A loaded ColBERT: a vector for every token of a text, and by :meth:`passages` and :meth:`queries` their means."""

    @property
    def longest(self) -> int | None:
        return self.model[0].document_length or self._limit

    @property
    def longest_query(self) -> int | None:
        expansion = self.model[0].query_expansion
        if expansion is not None and expansion["strategy"] == "fixed":
            return int(expansion["length"])
        return self.model[0].query_length or self._limit

    def passage_tokens(self, texts: list[str]) -> list[Vectors]:
        """Of each text (number of its tokens, dimension), float32; punctuation is left out where the model is made so."""
        return [_finite(tokens) for tokens in self._encode(self.model.encode_document, texts, "passage_prompt")]

    def query_tokens(self, texts: list[str]) -> list[Vectors]:
        """Of each text (number of its tokens, with those that the model adds to expand it; dimension), float32."""
        self._count(texts)
        return [_finite(tokens) for tokens in self._encode(self.model.encode_query, texts, "query_prompt")]

    def passages(self, texts: list[str]) -> Vectors:
        return np.stack([tokens.mean(axis=0) for tokens in self.passage_tokens(texts)])

    def queries(self, texts: list[str]) -> Vectors:
        return np.stack([tokens.mean(axis=0) for tokens in self.query_tokens(texts)])


def load(settings: Model, folder: Path | None = None, *, device: str = "auto", dtype: str = "auto") -> TextEmbedder:
    """Load an embedder from the hub's cache, from the hub, or from ``folder`` where one is given; ``dtype`` auto: as it was saved."""
    if folder is None and settings.model is None:
        raise InputError("no embedder is named, and no folder is given")
    if folder is not None and not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise InputError(
            "no sentence-transformers model lies here", where=settings.model or str(folder), remedy="name a folder that has modules.json"
        )
    late = isinstance(settings, LateInteraction)
    with quiet():
        try:
            model = getattr(library(), "MultiVectorEncoder" if late else "SentenceTransformer")(
                str(folder or settings.model),
                revision=settings.revision if folder is None else None,
                device=device_of(device),
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": dtype},
            )
        except (OSError, ValueError, ImportError) as error:
            raise StepError(
                f"the embedder {settings.model or folder} cannot be loaded: {first_line(error)}",
                remedy="check the name, the revision and the network, and that the model has safetensors weights",
            ) from None
    model.eval()
    if settings.max_seq_length is not None:
        if late:
            model[0].document_length = settings.max_seq_length
        else:
            model.max_seq_length = settings.max_seq_length
    return TokenEmbedder(model, settings) if late else TextEmbedder(model, settings)


def bag_of_words(settings: Lexical, texts: Iterable[str]) -> TextEmbedder:
    """Build a lexical embedder from the chunks' texts, read once.

    Words are cut as sentence-transformers' WhitespaceTokenizer cuts them: at white space, without the punctuation
    around them, in lower case. Ties in frequency go by the alphabet, so that the vocabulary is the same everywhere.
    """
    frequency: Counter[str] = Counter()
    count = 0
    for text in texts:
        frequency.update({word for token in text.split() if (word := token.strip(string.punctuation).lower())})
        count += 1
    kept = sorted(((-df, word) for word, df in frequency.items() if df >= settings.min_df))[: settings.max_features]
    if not kept:
        raise InputError(
            f"no word stands in {settings.min_df} or more of the {count} chunks", remedy="lower embedder.min_df, or give more text"
        )
    vocabulary = sorted(word for _, word in kept)
    weights = {word: log((1 + count) / (1 + frequency[word])) + 1 if settings.use_idf else 1.0 for word in vocabulary}
    sentence_transformers = library()
    from sentence_transformers.sentence_transformer.modules import BoW

    words = BoW(vocabulary, word_weights=weights, cumulative_term_frequency=settings.cumulative_term_frequency)
    return TextEmbedder(sentence_transformers.SentenceTransformer(modules=[words], device="cpu"), settings)


def reopen(settings: Model | Lexical, folder: Path, device: str = "auto") -> TextEmbedder:
    """The embedder of an index: from ``folder`` when it was saved there, else by the name in its settings."""
    if not isinstance(settings, Lexical):
        return load(settings, folder if folder.is_dir() else None, device=device)
    return TextEmbedder(library().SentenceTransformer(str(folder), device="cpu"), settings)


def _finite(vectors: Any) -> Vectors:
    if not np.isfinite(vectors).all():
        raise StepError("the embedder gives values that are not numbers", remedy="try another embedder, or float32 weights")
    return np.asarray(vectors, dtype=np.float32)


def device_of(name: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``: a GPU when there is one."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def library() -> Any:
    """sentence-transformers, without the warning that importing bitsandbytes gives on an optional package."""
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import sentence_transformers
    finally:
        logger.setLevel(level)
    return sentence_transformers


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the loading bars of Transformers off the terminal."""
    from transformers import logging as transformers

    shown = transformers.is_progress_bar_enabled()
    transformers.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.enable_progress_bar()


def first_line(error: Exception) -> str:
    """What a library says of its error, without the lines that it adds."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
