"""Questions that need two sentences from different places, because both speak of the same named thing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from runner.teachers.extractive.clauses import plain_words
from runner.teachers.extractive.questions import Candidate, candidates, clear
from runner.teachers.extractive.sentences import Sentence, sentences

#: A name as texts on technical things write it: CRAQ, FoundationDB, DeepSeek-R1, `fallocate`.
_NAME = re.compile(r"`[^`\n]{2,40}`|(?<![\w-])(?:[A-Z]|\d[A-Z])[\w.+-]*[A-Z0-9][\w+-]*(?![\w-])")
#: "a bidirectional pipeline algorithm that ...": the kind of thing, as far as it goes without a clause of its own.
_KIND = re.compile(
    r"(?:an?|the) ((?:[\w-]+ ){1,6}?[\w-]+)"
    r"(?= (?:that|which|where|who|for|of|in|on|with|to|by|from|and|designed|used|provided|based|built|"
    r"\w+ed (?:for|in|by|on|with|to|as))\b|[,;(.]|$)"
)
#: A name in mid-question that is written as other words are: Heron, Adam.
_PROPER = re.compile(r"(?<=\s)[A-Z][a-z]{2,}(?![\w-])")
#: "the fastest VM": said of one of many, and only in its place.
_RELATIVE = re.compile(r"\b(?:\w{3,}est|first|last|only|core|main|most|same|original)\b")
_NAMED = re.compile(r"^(?:What|How) (?:is|are|was|were) (?:the |an? )?(.+?)(?: defined)?\?$")
_SHORT = re.compile(r"^What (?:does (.+) stand for|is the full form of (.+)|is (.+) short for)\?$")


@dataclass(frozen=True)
class Hop:
    """``texts`` are the places of the texts that ``first`` and ``second`` stand in."""

    question: str
    texts: tuple[int, int]
    first: Sentence
    second: Sentence
    score: float


@dataclass(frozen=True)
class _Asked:
    """A question about one sentence. ``place`` counts paragraphs through all texts."""

    text: int
    place: int
    sentence: Sentence
    candidate: Candidate

    @property
    def answer(self) -> str:
        return self.sentence.text[self.candidate.start : self.candidate.end]


def hops(texts: Sequence[str]) -> Iterator[Hop]:
    """Questions over pairs of sentences: of two texts, or where there is one text, of two of its paragraphs.

    Where one sentence tells what a name means, the question about the other says the meaning in place of the name: only who knows both
    can answer. Else it asks for two facts about one name.
    """
    asked = list(_asked(texts))
    alone = len(texts) == 1
    for first in asked:
        for second in asked:
            if first.place == second.place or (not alone and first.text == second.text):
                continue
            hop = _bridge(first, second) or (_both(first, second) if first.place < second.place else None)
            if hop and (question := clear(hop.question)):
                yield Hop(question, hop.texts, hop.first, hop.second, hop.score)


def _asked(texts: Sequence[str]) -> Iterator[_Asked]:
    """The best question about each sentence, and the one that tells what a name means."""
    place = 0
    for number, text in enumerate(texts):
        plain, end = plain_words(text), 0
        place += 1
        for sentence in sentences(text):
            place += re.search(r"\n[ \t]*\n", text[end : sentence.start]) is not None
            end = sentence.end
            found = list(candidates(sentence, plain))
            groups = ([one for one in found if (one.type == "definition") is defines] for defines in (True, False))
            kept = [max(group, key=lambda one: one.score) for group in groups if group]
            yield from (_Asked(number, place, sentence, one) for one in kept)


def _bridge(first: _Asked, second: _Asked) -> Hop | None:
    """From "X is a pipeline algorithm." and "Why does the team use X?" comes "Why does the team use the pipeline algorithm?"."""
    if first.candidate.type != "definition" or second.candidate.type == "definition":
        return None
    question = first.candidate.question
    if short := _SHORT.match(question):
        name, meaning = next(part for part in short.groups() if part), first.answer
    elif (
        (named := _NAMED.match(question))
        and (kind := _KIND.match(first.answer))
        and not _RELATIVE.search(kind[1])
        and (_NAME.fullmatch(named[1]) or named[1] in _names(question))
    ):
        name, meaning = named[1], f"the {kind[1]}"
    else:
        return None
    about = second.candidate.question
    if meaning.lower() in second.sentence.text.lower() or not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", about):
        return None
    asked = re.sub(rf"(?:(?<=\s)(?:the|an?) )?(?<![\w-]){re.escape(name)}(?![\w-])", lambda _: meaning, about, count=1)
    return _hop(asked, first, second, 5.0)


def _both(first: _Asked, second: _Asked) -> Hop | None:
    """Two facts about one name, of different kinds."""
    one, other = first.candidate, second.candidate
    shared = _names(one.question) & _names(other.question)
    if first.answer.lower() in second.sentence.text.lower() or second.answer.lower() in first.sentence.text.lower():
        return None  # one sentence tells both
    if not shared or one.question.split()[:2] == other.question.split()[:2] or len(one.question) + len(other.question) > 180:
        return None
    return _hop(f"{one.question.rstrip('?')}, and {other.question[:1].lower()}{other.question[1:]}", first, second, 3.0)


def _names(question: str) -> set[str]:
    return {*_NAME.findall(question), *_PROPER.findall(question)}


def _hop(question: str, first: _Asked, second: _Asked, score: float) -> Hop:
    likes = 0.1 * (first.candidate.score + second.candidate.score)
    return Hop(question, (first.text, second.text), first.sentence, second.sentence, score + likes)
