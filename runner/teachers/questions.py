"""Question-answer pairs out of one sentence, by grammatical patterns. The answer is always a part of the sentence, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from runner.teachers.clauses import Clause, clause, has_verb, in_question, is_condition, is_infinitive
from runner.teachers.sentences import Sentence

_REASON = re.compile(r",?\s+((?:because|since|(?<!, )so that|due to|owing to|in order to)\s.+)$")
_PURPOSE = re.compile(
    r",?\s+(to\s+(?:accelerate|achieve|address|avoid|balance|enable|encourage|ensure|facilitate|guarantee|handle|improve|increase|keep|limit|maximize|"
    r"minimize|mitigate|optimize|overcome|preserve|prevent|protect|reduce|save|simplify|solve|stabilize|support)\s.+)$"
)
_MEANS = re.compile(r",?\s+((?:by\s+(?:\w+ly\s+)?\w+ing|using|via|through|with the help of)\s.+)$")
_LED_BY_PURPOSE = re.compile(r"^((?:In order to|To)\s[a-z][^,]{5,90}),\s+(.+)$")
_CONDITION = re.compile(r"^((?:If|When)\s[^,]{8,110}),\s+(?:then\s+)?(.+)$")
_ACRONYM = re.compile(r"((?:[A-Za-z][\w-]*\s+){2,8})\(([A-Z][A-Za-z]{1,7})\)")
_NUMBER = (
    r"(?:about |around |up to |at least |at most |only |nearly |roughly |over |more than )?"
    r"(?:\d[\d,.]*|two|three|four|five|six|seven|eight|nine|ten|twelve)"
)
_COUNTED = re.compile(rf"^({_NUMBER} ((?:[a-z-]+ ){{0,2}}?[a-z-]+s))(?=$|[ ,:;.])(.*)$")
_PARTICIPLE = re.compile(
    r"^((?:\w+ly )?(?:\w+ed|built|written|given|sent|split|"
    r"drawn|held|known|chosen|kept|made|run|set|shown|taken|frozen|read|bound))\b\s*(.*)$"
)
_THAN = re.compile(
    r"\b(?:more|less|fewer|higher|lower|better|worse|\w{2,}er)\b.*?\bthan\s+"
    r"([^,;.()]{3,50}?)(?=[,;.()]|$| on | in | when | by | because | with | for | at )"
)
#: What stands after "than" and is nothing to compare with.
_NO_PEER = re.compile(
    r"(?:its|their|that|those|what|the (?:same|other)|\d|it|one|two|three|four|five|six|seven|eight|nine|ten|half|twice|usual|"
    r"expected|before)\b"
)
_PRONOUN = re.compile(
    r"\b(?:it|they|them|this|these|those|we|us|here|such|you|your|he|she|itself|themselves|our|ours|former|latter)\b", re.IGNORECASE
)
_BAD = re.compile(r"https?:|\]\(|\$|\\[a-zA-Z(\[]|<[a-z/!]|\||\[\d+|\b(?:Figure|Fig\.|Table|Section|Appendix|Eq\.?|Equation) ?\d|\{|[�￾]")
_GENERIC = re.compile(
    r"^(?:the|a|an|each|every|all|both|these) (?:\w+ )?(?:authors|system|method|model|models|approach|process|"
    r"paper|results?|table|figure|work|user|step|way|one|value|problem|idea|file|"
    r"script|case)$"
)
_VAGUE = re.compile(
    r"^What (?:is|are|does|do|did|was|were|can|must|should|may) (?:the |a |an |each |every |all |both )?(?:\w+ )?"
    r"(?:result|results|example|reason|idea|goal|answer|problem|difference|effect|value|one|way|case|approach|method|paper|table|figure|"
    r"authors)(?: \w+)?\?$"
)
_TERM = re.compile(r"`[^`\n]{2,40}`|\b(?!(?:[KMGT]i?B|UTC|API|OK|CPU|GPU)s?\b)(?:[A-Z][A-Za-z0-9]*[A-Z0-9][\w.-]*|[a-z]{3,}(?:-[a-z]+)+)\b")


@dataclass(frozen=True)
class Candidate:
    """``start`` and ``end`` span the answer in the sentence's text. The higher the score, the better the pair reads."""

    type: str
    question: str
    start: int
    end: int
    score: float


def candidates(sentence: Sentence, plain: frozenset[str] = frozenset()) -> Iterator[Candidate]:
    """Every pair that the patterns find in a sentence, possibly none. ``plain``: see :func:`runner.teachers.clauses.in_question`."""
    text = sentence.text
    words = len(text.split())
    if (
        not 6 <= words <= 45
        or text.endswith("?")
        or text[0].islower()
        or _BAD.search(text)
        or text.count("(") != text.count(")")
        or text.count('"') % 2
    ):
        return
    quality = -0.05 * max(0, words - 25) - 1.0 * sentence.wrapped - 0.7 * ("**" in text or "*" in text)
    for candidate in _all(text, plain):
        question = _tidy(candidate.question)
        if _readable(question) and not _VAGUE.match(question):
            yield Candidate(candidate.type, question, candidate.start, candidate.end, candidate.score + quality + _specific(question))


def fallback(sentence: Sentence, title: str, plain: frozenset[str] = frozenset()) -> Candidate | None:
    """A plain question about the first term of a sentence, for texts in which no pattern fits."""
    text = sentence.text
    if len(text.split()) < 5 or text.endswith("?") or text[0].islower() or not has_verb(text):
        return None
    main, term = clause(text, plain), _TERM.search(text)
    about = main.subject if main and main.subject != "the authors" else term[0] if term else ""
    if not about:
        return None
    source = f"“{title}”" if title else "the text"
    unclear = 1.0 * (_PRONOUN.match(text) is not None) + 2.0 * bool(_BAD.search(text))
    return Candidate("factual", f"What does {source} say about {_tidy(about)}?", 0, len(text), -unclear)


def _all(text: str, plain: frozenset[str]) -> Iterator[Candidate]:
    yield from _acronym(text)
    led = _LED_BY_PURPOSE.match(text)
    if led:
        if _PRONOUN.search(led[1]):
            return
        main = clause(led[2][:1].upper() + led[2][1:], plain)
        if main:
            yield Candidate("reason", f"Why {_inverted(main, main.rest)}?", led.start(1), led.end(1), 5)
        return
    condition = _CONDITION.match(text)
    if condition:
        if is_condition(condition[1]) and not re.match(r"(?:it|this|they|we|you)\b", condition[2]) and len(condition[2].split()) >= 4:
            yield Candidate("procedure", f"What happens {in_question(condition[1], plain)}?", condition.start(2), condition.end(2), 4)
        return
    main = clause(text, plain)
    if main is None:
        return
    yield from _comparison(text, main)
    yield from _why_and_how(text, main)
    if main.kind == "be":
        yield from _be(text, main)
    elif main.kind == "modal":
        if main.verb not in ("would", "might", "cannot", "has", "have", "had") and not re.match(r"(?:be|have|not)\b", main.rest):
            yield Candidate("factual", f"What {main.verb} {main.subject} do?", 0, len(text), 2.0)
    else:
        yield from _verb(text, main)


def _acronym(text: str) -> Iterator[Candidate]:
    for match in _ACRONYM.finditer(text):
        words, letters = match[1].split(), match[2].upper().rstrip("S")
        for take in range(2, len(words) + 1):
            tail = words[-take:]
            parts = [part for word in tail for part in word.split("-") if part]
            significant = [part for part in parts if part.lower() not in ("of", "and", "for", "the", "with", "in")]
            if any("".join(part[0] for part in chosen).upper() == letters for chosen in (parts, significant)) and tail[0] not in (
                "the",
                "a",
            ):
                start = match.start(1) + match[1].rindex(" ".join(tail)) if " ".join(tail) in match[1] else -1
                if start >= 0:
                    yield Candidate("definition", f"What does {match[2]} stand for?", start, start + len(" ".join(tail)), 4.5)
                break


def _comparison(text: str, main: Clause) -> Iterator[Candidate]:
    than = _THAN.search(main.rest)
    if than is None or main.subject == "the authors" or _NO_PEER.match(than[1]):
        return
    before = main.rest[: than.start()]
    if len(before.split()) <= 4 and not re.search(r"[,;(]|^to ", before):
        do = "do" if main.plural else "does"
        yield Candidate("comparison", f"How {do} {main.subject} compare with {than[1].strip()}?", 0, len(text), 5)


def _why_and_how(text: str, main: Clause) -> Iterator[Candidate]:
    reason = _REASON.search(main.rest)
    purpose = _PURPOSE.search(main.rest)
    means = _MEANS.search(main.rest)
    for kind, word, found, score in (("reason", "Why", reason or purpose, 5.0), ("procedure", "How", means, 4.5)):
        if found is None or len(found[1].split()) < 3 or (len(found[1].split()) < 6 and _PRONOUN.search(found[1])):
            continue
        before = main.rest[: found.start()]
        if (
            len(before.split()) < 1
            or len(before) > 110
            or re.search(r"[,;:]", before)
            or re.search(
                r"\b(?:used|able|designed|need|allow\w*|order|that|difficult|hard|easy|easier|harder|possible|impossible|likely|unlikely|free|ready)$",
                before,
            )
        ):
            continue
        start = text.rindex(found[1])
        yield Candidate(kind, f"{word} {_inverted(main, before)}?", start, start + len(found[1]), score - 0.02 * max(0, len(before) - 50))


def _be(text: str, main: Clause) -> Iterator[Candidate]:
    rest = main.rest
    if re.match(r"(?:an?|the|one of) \w", rest) and not main.past and len(rest.split()) >= 4:
        yield Candidate("definition", f"What {main.verb} {main.subject}?", 0, len(text), 5 if len(main.subject.split()) <= 4 else 3.5)
        return
    counted = re.match(rf"^{_NUMBER}(?: ?%| [a-z-]+)?$", rest)
    if counted:
        yield Candidate("numeric", f"What {main.verb} {main.subject}?", _place(text, rest), _place(text, rest) + len(rest), 4.5)
        return
    passive = _PARTICIPLE.match(rest)
    if not passive or not passive[2]:
        return
    done, remainder = passive[1], passive[2]
    answer = _place(text, rest) + len(rest) - len(remainder)
    span = (answer, answer + len(remainder))
    if done == "used" and re.match(r"(?:to|for|as)\s", remainder):
        yield Candidate("factual", f"What {main.verb} {main.subject} used {'as' if remainder[:2] == 'as' else 'for'}?", *span, 4.5)
    elif done in ("called", "named") or (done == "known" and remainder.startswith("as ")):
        yield Candidate("definition", f"What {main.verb} {main.subject} {done}{' as' if done == 'known' else ''}?", 0, len(text), 3)
    elif re.match(
        r"(?:in|on|at|inside|across)\s(?!order|general|practice|this|which|parallel|advance|total|average)\S", remainder
    ) and re.match(r"(?:\w+ly )?(?:stored|kept|held|placed|located|written|cached|recorded|hosted|allocated|deployed|saved)$", done):
        yield Candidate("factual", f"Where {main.verb} {main.subject} {done}?", *span, 4.5)
    elif re.match(r"by\s+(?!\w+ing\b)\S", remainder) and len(remainder.split()) <= 14:
        yield Candidate("factual", f"By what {main.verb} {main.subject} {done}?", *span, 2.5)
    elif re.match(r"(?:to|into|with|from|over|under|between)\s", remainder):
        preposition, _, object_ = remainder.partition(" ")
        if 1 <= len(object_.split()) <= 14:
            yield Candidate("factual", f"What {main.verb} {main.subject} {done} {preposition}?", *span, 3)


def _verb(text: str, main: Clause) -> Iterator[Candidate]:
    rest = main.rest
    counted = _COUNTED.match(rest)
    if counted and not counted[2].endswith(("ss", "times")):
        tail = re.split(r"[,:;.]| and ", counted[3])[0]
        start = _place(text, rest)
        yield Candidate(
            "numeric",
            f"How many {counted[2]} {main.do} {main.subject} {main.base}{tail if len(tail.split()) <= 8 else ''}?",
            start,
            start + len(counted[1]),
            5,
        )
    preposition = re.match(r"(of|on|to|for|from|as|with|in)\s+(?!order\b)(\S+)", rest)
    if preposition and main.base in ("need", "have", "help") and preposition[1] == "to":
        return
    if preposition and preposition[1] == "to" and re.match(r"(?:be|have)\b", preposition[2]):
        return
    words = len(rest.split())
    if preposition and preposition[1] == "to" and is_infinitive(preposition[2]):
        yield Candidate("factual", f"What {main.do} {main.subject} {main.base} to do?", 0, len(text), 3)
        return
    if preposition and words >= 3 and main.subject != "the authors":
        if preposition[1] in ("of", "on", "to", "from", "for", "as") and main.base not in ("run", "work", "remain", "stay", "start"):
            yield Candidate("factual", f"What {main.do} {main.subject} {main.base} {preposition[1]}?", 0, len(text), 4)
    elif words >= 3 and not preposition and main.subject != "the authors" and main.base != "let" and not rest.startswith("place "):
        weak = main.base in ("have", "make", "take", "mean", "give", "need", "keep", "find", "call")
        yield Candidate("factual", f"What {main.do} {main.subject} {main.base}?", 0, len(text), 2.5 if weak else 3.5)
    if (
        not main.plural
        and not main.past
        and 3 <= words <= 14
        and len(main.subject.split()) <= 6
        and main.subject != "the authors"
        and not re.search(r"[,;:]", rest)
    ):
        start = text.find(main.subject_text)
        if start >= 0:
            yield Candidate("factual", f"What {main.verb} {rest}?", start, start + len(main.subject_text), 3.2)


def _inverted(main: Clause, rest: str) -> str:
    if main.kind in ("be", "modal"):
        return f"{main.verb} {main.subject} {rest.strip()}"
    return f"{main.do} {main.subject} {main.base} {rest.strip()}"


def _place(text: str, rest: str) -> int:
    return text.rindex(rest)


def _tidy(question: str) -> str:
    question = re.sub(r"\*+|(?<!\w)_+|_+(?!\w)", "", question)
    return re.sub(r"\s+", " ", question).replace(" ?", "?").replace(",?", "?")


def _readable(question: str) -> bool:
    words = question.rstrip("?").split()
    if not 3 <= len(words) <= 26 or len(question) > 190 or _PRONOUN.search(question):
        return False
    return question.count("(") == question.count(")") and not re.search(r"\b(?:and|or|of|the|a|to be)\?$", question)


def _specific(question: str) -> float:
    """How well a question stands without its text: names and terms help, "the system" does not."""
    subject = re.sub(
        r"^(?:What|How many \w+|How|Why|Where|By what)\s(?:happens (?:if|when)|is|are|was|were|does|do|did|can|must|should|will|may)\s",
        "",
        question.rstrip("?"),
    )
    bonus = 1.0 if _TERM.search(subject) else 0.0
    head = re.match(r"^((?:the|a|an|each|every|all|both)\s\w+(?:\s\w+)?)", subject)
    if head and any(_GENERIC.match(part) for part in (head[1], " ".join(head[1].split()[:2]))):
        bonus -= 1.5
    return bonus + (0.4 if len(subject.split()) >= 4 else -0.6 if len(subject.split()) < 2 and not bonus else 0.0)
