"""Question-answer pairs out of one sentence, by grammatical patterns. The answer is always a part of the sentence, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from runner.teachers.extractive.patterns import patterns
from runner.teachers.extractive.predicates import Found
from runner.teachers.extractive.sentences import Sentence

_PRONOUN = re.compile(
    r"\b(?:it|they|them|this|these|those|we|us|here|such|you|your|he|she|itself|themselves|our|ours|former|latter)\b", re.IGNORECASE
)
_BAD = re.compile(
    r"https?:|\]\(|\$|\\[a-zA-Z(\[]|<[a-z/!]|\||\[\w*:?\d+|\b(?:Figure|Fig\.|Table|Section|Appendix|Eq\.?|Equation) ?\d|\{|[�￾]"
    r"|\barXiv|\bpreprint\b|\bProceedings\b|\bpp\. ?\d|\bdoi\b|\b(?:ISBN|ISSN)\b|, (?:19|20)\d\d[a-z]?\.?$"
    r"|=|\b\w+\(\)?[^)\s]*\(|\b\w+_\w+_\w+|[∑∏∫√≤≥∈∀∂πθ]|\.\.\.|…|\b(?:described|mentioned|shown|listed|defined) (?:above|below|earlier)\b"
)
_GENERIC = re.compile(
    r"^(?:the|a|an|each|every|all|both|these|some|most|many) (?:\w+ )?(?:authors|system|method|model|models|approach|process|"
    r"paper|results?|tables?|figures?|rows?|columns?|work|user|users|step|way|one|value|problem|idea|file|"
    r"script|case|library|service|example|following|time|type|types|function|element|part|parts|number|difference|reason|feature)$",
    re.IGNORECASE,
)
#: "the library", "a larger value": as an answer it tells nothing where "each storage service" does.
_BARE = re.compile(r"(?:the|an?) (?:\w+er )?\w+$", re.IGNORECASE)
_VAGUE = re.compile(
    r"^What (?:is|are|does|do|did|was|were|can|must|should|may) (?:the |a |an |each |every |all |both )?(?:\w+ )?"
    r"(?:result|results|example|reason|idea|goal|answer|problem|difference|effect|value|one|way|case|approach|method|paper|table|figure|"
    r"authors|users|clients|section|row|column|other|others)(?: \w+)?\?$",
    re.IGNORECASE,
)
#: A thing of the page and not of the subject.
_PAGE = re.compile(
    r"\b(?:figure|table|row|column|section|appendix|paragraph|footnote|caption|equation|algorithm \d|chapter)\b", re.IGNORECASE
)
_TERM = re.compile(
    r"`[^`\n]{2,40}`|\b(?!(?:[KMGT]i?B|UTC|API|OK|CPU|GPU)s?\b)(?:(?:[A-Z]|\d[A-Z])[A-Za-z0-9]*[A-Z0-9][\w.-]*|[a-z]{3,}(?:-[a-z]+)+)\b"
)
#: Characters of a sentence; what is longer holds something else than words.
_LONGEST = 600
#: Below this a question is not clear enough to be asked.
_LEAST = 2.6


@dataclass(frozen=True)
class Candidate:
    """``start`` and ``end`` span the answer in the sentence's text. The higher the score, the better the pair reads."""

    type: str
    question: str
    start: int
    end: int
    score: float


def candidates(sentence: Sentence, plain: frozenset[str] = frozenset()) -> Iterator[Candidate]:
    """Every pair that the patterns find in a sentence, possibly none.

    ``plain`` is handed to :func:`runner.teachers.extractive.clauses.in_question`.
    """
    text = sentence.text
    words = len(text.split())
    if not 6 <= words <= 45 or len(text) > _LONGEST or text.endswith("?") or text[0].islower() or not balanced(text) or _BAD.search(text):
        return
    quality = -0.05 * max(0, words - 25) - 0.2 * sentence.wrapped - 0.5 * ("*" in text)
    for found in patterns(text, plain):
        question = clear(found.question)
        score = found.score + quality + _specific(question)
        if question and score >= _LEAST and _answers(found, text):
            yield Candidate(found.type, question, found.start, found.end, score)


def clear(question: str) -> str:
    """The question without marks of emphasis; empty where it is broken, too long, or points at what only its text could tell."""
    question = re.sub(r"\*+|(?<!\w)_+|_+(?!\w)", "", question)
    question = re.sub(r"\s+", " ", question).replace(" ?", "?").replace(",?", "?")
    words = question.rstrip("?").split()
    if not 3 <= len(words) <= 28 or len(question) > 200 or _PRONOUN.search(question) or _VAGUE.match(question) or _PAGE.search(question):
        return ""
    if any(one.lower() == other.lower() for one, other in pairwise(words)) or not balanced(question):
        return ""
    return "" if re.search(r"\(\d+\)|\b(?:and|or|of|the|a|to be|that|which|each|e\.g\.|i\.e\.)\?$", question) else question


def balanced(text: str) -> bool:
    """Whether every bracket, quotation mark and backtick that is opened is closed."""
    pairs = (("(", ")"), ("[", "]"), ("“", "”"))
    return all(text.count(opened) == text.count(closed) for opened, closed in pairs) and text.count('"') % 2 == text.count("`") % 2 == 0


def _answers(found: Found, text: str) -> bool:
    answer = text[found.start : found.end].strip(" .,;:")
    return (
        bool(answer)
        and balanced(answer)
        and not (_BARE.match(answer) and _GENERIC.match(answer))
        and re.match(r"(?:and|or|but|which|that|such as|we|it|they|this|he|she|you)\b", answer, re.IGNORECASE) is None
    )


def _specific(question: str) -> float:
    """How well a question stands without its text: names and terms help, "the system" does not."""
    subject = re.sub(
        r"^(?:[A-Z][\w ]{0,30}?)\s(?:if|when|unless|once|is|are|was|were|does|do|did|can|must|should|will|may)\s", "", question.rstrip("?")
    )
    bonus = 1.0 if _TERM.search(subject) else 0.0
    head = re.match(r"^((?:the|a|an|each|every|all|both|some|most|many)\s\w+(?:\s\w+)?)", subject)
    if head and not bonus and any(_GENERIC.match(part) for part in (head[1], " ".join(head[1].split()[:2]))):
        bonus -= 2.0
    return bonus + (0.4 if len(subject.split()) >= 4 else -0.6 if len(subject.split()) < 2 and not bonus else 0.0)
