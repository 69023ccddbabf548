"""BM25: words out of texts, their weights by bm25s, and the ranking of chunks by them."""

from __future__ import annotations

import json
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import bm25s
import numpy as np

from runner.errors import ArtifactDamaged, InputError, MissingPackage
from runner.retrieval.embedders import Vectors
from runner.retrieval.searchers import Ranking, normal
from runner.retrieval.settings import Okapi

WORDS = "words.json"
#: bm25s's names of its lists of stop words, where they are not the language's.
_LISTS = {"english": "EN", "english_plus": "EN_PLUS"}

#: Thai, Lao, Burmese, Khmer, kana and Han: written without spaces.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30fa\u30fc-\u30ff\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
#: Accents and vowel signs, which are no letters to `re`.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
#: Of unspaced scripts each pair of neighbours, or a character that stands alone; of others letters, digits and `_` together.
_PATTERN = f"(?=([{_UNSPACED}]{{2}}))[{_UNSPACED}]|(?<![{_UNSPACED}])([{_UNSPACED}])(?![{_UNSPACED}])|((?:[^\\W{_UNSPACED}]|[{_MARKS}])+)"


@dataclass(frozen=True)
class Words:
    """How a text is cut into words. It is saved with an index, so that questions are cut as the chunks were.

    A text in Unicode form NFKC and lower case holds the words that ``pattern`` finds, without ``stopwords``, each cut back to its
    stem by Snowball's ``stemmer``, where there is one.
    """

    pattern: str
    stopwords: tuple[str, ...]
    stemmer: str | None

    @classmethod
    def of(cls, settings: Okapi) -> Words:
        listed: tuple[str, ...] = ()
        if settings.stopwords is not None:
            listed = getattr(bm25s.stopwords, f"STOPWORDS_{_LISTS.get(settings.stopwords, settings.stopwords.upper())}")
        plain = cls(_PATTERN, (), None)  # the lists hold `don't`, and texts `don` and `t`
        cut = (word for entry in listed if not re.search(r"\s", entry) for word in plain.find(entry))
        return cls(_PATTERN, tuple(dict.fromkeys(cut)), settings.stemmer)

    def find(self, text: str) -> list[str]:
        """The words of a text, in its order."""
        parts = self._find(unicodedata.normalize("NFKC", text).lower())
        found = [word for word in map("".join, parts) if word not in self._left_out]
        return found if self._stem is None else self._stem(found)

    @cached_property
    def _find(self) -> Callable[[str], list[tuple[str, ...]]]:
        return re.compile(self.pattern).findall

    @cached_property
    def _left_out(self) -> frozenset[str]:
        return frozenset(self.stopwords)

    @cached_property
    def _stem(self) -> Callable[[list[str]], list[str]] | None:
        if self.stemmer is None:
            return None
        try:
            import Stemmer
        except ImportError:
            raise MissingPackage("stemming needs the package PyStemmer", remedy="pip install PyStemmer") from None
        return Stemmer.Stemmer(self.stemmer).stemWords


@dataclass(frozen=True)
class Weighed:
    """What was built: different words, chunks without any, and bytes on disk."""

    words: int
    wordless: int
    bytes: int


def build(settings: Okapi, texts: Iterable[str], folder: Path, progress: Callable[[int], None] = lambda done: None) -> Weighed:
    """Weigh the words of ``texts`` and write them to ``folder``: bm25s's own files, and how texts are cut in ``words.json``.

    It takes some 40 bytes of memory for each different word of each text while building. ``progress`` is called now and then with
    the number of texts read. InputError when there is no word at all.
    """
    rule, vocabulary = Words.of(settings), dict[str, int]()
    numbers: list[Any] = []
    for text in texts:
        numbers.append(array("i", [vocabulary.setdefault(word, len(vocabulary)) for word in rule.find(text)]))
        if len(numbers) % 1024 == 0:
            progress(len(numbers))
    if not vocabulary:
        raise InputError(f"no word stands in any of the {len(numbers)} chunks", remedy="look at the chunks: is there any text?")
    model = bm25s.BM25(k1=settings.k1, b=settings.b, delta=settings.delta, method=settings.method, backend="numpy")
    model.index((numbers, vocabulary), create_empty_token=False, show_progress=False)
    model.save(folder, show_progress=False)
    (folder / WORDS).write_text(json.dumps(asdict(rule)), encoding="utf-8")
    for file in folder.glob("*.json"):  # the same bytes whichever version and JSON package wrote them
        data = json.loads(file.read_text(encoding="utf-8"))
        if file.name == "params.index.json":
            del data["version"]
        file.write_text(json.dumps(data, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
    return Weighed(len(vocabulary), sum(not row for row in numbers), sum(file.stat().st_size for file in folder.iterdir()))


class ByWords:
    """By BM25, exhaustively; a chunk without any word of the question is no hit."""

    warnings: Sequence[str] = ()

    def __init__(self, model: Any, words: Words) -> None:
        self._model, self._words = model, words
        self._weights, self._rows, self._starts = (model.scores[name] for name in ("data", "indices", "indptr"))

    @property
    def count(self) -> int:
        return int(self._model.scores["num_docs"])

    @property
    def dimension(self) -> int:
        """How many different words there are."""
        return len(self._starts) - 1

    def search(self, texts: Sequence[str], k: int) -> list[Ranking]:
        return [self._rank(self._model.get_tokens_ids(self._words.find(text)), k) for text in texts]

    def vectors(self, rows: Sequence[int]) -> Vectors:
        """The weights of the words that these chunks hold (rows, words), each row of length 1."""
        weights = self._by_row[list(rows)]
        return normal(weights[:, np.unique(weights.indices)].toarray(), True)

    def _rank(self, words: list[int], k: int) -> Ranking:
        if not words:
            return []
        holds = np.zeros(self.count, dtype=bool)
        for word in words:
            holds[self._rows[self._starts[word] : self._starts[word + 1]]] = True
        held, scores = np.flatnonzero(holds), self._model.get_scores_from_ids(words)[holds]
        if len(held) > k:  # sort no more than the best, with those that equal the last of them
            among = scores >= np.partition(scores, -k)[-k]
            held, scores = held[among], scores[among]
        best = np.lexsort((held, -scores))[:k]
        return [(int(held[place]), float(scores[place])) for place in best if scores[place] != 0]

    @cached_property
    def _by_row(self) -> Any:
        from scipy.sparse import csc_matrix

        return csc_matrix((self._weights, self._rows, self._starts), shape=(self.count, self.dimension)).tocsr()


def open_words(folder: Path, remedy: str = "") -> ByWords:
    """Open what :func:`build` wrote. ArtifactDamaged when files are missing, unreadable, or do not belong together."""
    try:
        saved = json.loads((folder / WORDS).read_text(encoding="utf-8"))
        words = Words(saved["pattern"], tuple(saved["stopwords"]), saved["stemmer"])
        model = bm25s.BM25.load(folder, backend="numpy", show_progress=False)
        data, rows, starts = (model.scores[name] for name in ("data", "indices", "indptr"))
        counts = [len(data), len(rows), int(starts[-1])]
        ids = sorted(model.vocab_dict.values())
    except (OSError, ValueError, EOFError, KeyError, TypeError, IndexError) as error:
        raise ArtifactDamaged(f"the weights of the words cannot be read: {error}", where=str(folder), remedy=remedy) from None
    if len(set(counts)) > 1 or ids != list(range(len(starts) - 1)) or rows.max(initial=0) >= model.scores["num_docs"]:
        raise ArtifactDamaged(
            f"the weights do not belong together: {counts[0]} weights, {counts[1]} chunks that they are of, {counts[2]} by the starts of "
            f"the words; {len(ids)} words, {len(starts) - 1} starts",
            where=str(folder),
            remedy=remedy,
        )
    return ByWords(model, words)
