"""Groups of examples put together by what they are about, so that a test part asks about topics that training has not seen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import regex

from runner.errors import StepError

Example = dict[str, Any]

_TERMS = 8  # shown for a topic
_VOCABULARY = 20_000  # the most frequent words and pairs of characters
_STARTS = 3  # of k-means; the best is taken
#: Words; of scripts that put no spaces between them, runs of characters.
_WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]+|\w\w+")
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")


@dataclass(frozen=True)
class Topic:
    """Places of the examples of a topic, and the words that set it apart from the others, the most telling first."""

    places: Sequence[int]
    terms: Sequence[str]


def topics(examples: Sequence[Example], grouped: Sequence[Sequence[int]], number: int, seed: int = 0) -> list[Topic]:
    """The groups, put together into at most ``number`` topics, in order of first appearance.

    Groups are never torn: each is one text, of the questions and answers in it. Texts are TF-IDF vectors of their words (without
    scikit-learn's English stop words, which tell how is asked and not about what; 1 + log of the count; smoothed IDF; length 1),
    clustered by scikit-learn's k-means (k-means++, best of 3 starts) with ``seed``. Lexical and offline: no model is asked.
    StepError when there are fewer groups than topics.
    """
    if len(grouped) < number:
        raise StepError(
            f"{len(grouped)} groups of examples that share no document cannot make {number} topics",
            where="topics",
            remedy="ask for fewer topics, or add documents",
        )
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
    from threadpoolctl import threadpool_limits

    texts = (" ".join(f"{examples[place]['question']} {examples[place]['answer']}" for place in places) for places in grouped)

    def telling_words(text: str) -> list[str]:
        return [word for word in words(text) if word not in ENGLISH_STOP_WORDS]

    vectorizer = TfidfVectorizer(analyzer=telling_words, sublinear_tf=True, max_features=_VOCABULARY)
    try:
        vectors = vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn's for an empty vocabulary
        raise StepError("the examples hold no words to find topics by", where="group_by", remedy="set `group_by: document`") from None
    # The sums of several threads are added in an order of their own: one thread, so that the machine does not decide.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different texts than topics: fewer topics come out
        means = KMeans(number, n_init=_STARTS, random_state=seed % 2**32).fit(vectors)
    vocabulary = vectorizer.get_feature_names_out()
    telling = means.cluster_centers_ - vectors.mean(axis=0)
    members: dict[int, list[int]] = {}
    for places, label in zip(grouped, means.labels_.tolist(), strict=True):
        members.setdefault(label, []).extend(places)
    return [
        Topic(sorted(places), [str(vocabulary[word]) for word in telling_row.argsort()[::-1][:_TERMS] if telling_row[word] > 0])
        for label, places in members.items()
        for telling_row in [telling[label].A1 if hasattr(telling, "A1") else telling[label]]
    ]


def words(text: str) -> list[str]:
    """Lower-case words of two characters or more; of Chinese, Japanese, Thai and the like each pair of neighbouring characters."""
    found = []
    for word in _WORD.findall(text.casefold()):
        unspaced = _UNSPACED.match(word) and len(word) > 1
        found += [word[start : start + 2] for start in range(len(word) - 1)] if unspaced else [word]
    return found
