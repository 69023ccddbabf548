"""What a sentence can be asked about, for each type of question: a clause of it that answers, and the words that ask for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from runner.teachers.extractive.clauses import Clause, clause, has_second_verb, has_verb, in_question, is_condition, is_infinitive, lead
from runner.teachers.extractive.predicates import Found, asked_of, be, by_how_much, vary, verb

_REASON = re.compile(r",?\s+((?:because|since|(?<!, )so that|due to|owing to|in order to|thanks to)\s.+)$")
_PURPOSES = (
    "accelerate|achieve|address|avoid|balance|enable|encourage|ensure|facilitate|guarantee|handle|improve|increase|keep|limit|maximize|"
    "minimize|mitigate|optimize|overcome|preserve|prevent|protect|reduce|save|simplify|solve|stabilize|support|speed up|lower|hide|control"
)
_PURPOSE = re.compile(rf",?\s+(to\s+(?:{_PURPOSES})\s.+)$")
_MEANS = re.compile(r",?\s+((?:(?:by|through)\s+(?:\w+ly\s+)?\w+ing|using|via|with the help of)\s.+)$")
_LED_BY_PURPOSE = re.compile(r"^((?:In order to|To)\s([a-z][^,]{5,90})),\s+(.+)$")
_LED_BY_REASON = re.compile(r"^((?:Because|Since|Due to|Owing to)\s[^,]{8,110}),\s+(.+)$")
_HENCE = re.compile(r"^([^,;]{15,120}),\s+(?:so(?: that)?|and therefore|and thus|and hence)\s+(.{12,})$")
_CONDITION = re.compile(r"^((?:If|When|Once|Unless|Without|In case of)\s[^,]{6,110}),\s+(?:then\s+)?(.+)$")
_CONDITION_AFTER = re.compile(r"^([^,]{12,110}?)(,?\s+(?:only )?((?:if|unless|when|once)\s[^,]{8,90}))$")
_SETTING = re.compile(
    r"^((?:At|For|In|With|During|After|Before|On|Under|Within|Among|Across|From)\s(?!order\b|addition\b|fact\b|general\b|example\b)[^,]{3,50}),"
    r"\s+(.+)$"
)
_UNLIKE = re.compile(r"^((?:Unlike|Compared (?:to|with)|In contrast to|In comparison (?:to|with))\s([^,]{2,60})),\s+(.+)$")
_WHEREAS = re.compile(r"^(.{10,110}?),?\s+(?:whereas|while)\s+(.{10,110})$")
_BETTER = re.compile(r"^((?!than\b)[^,;()]{2,60}?)(?=[,;()]|$| on | in | when | by | because | with | for | at | across | and )")
_INSTEAD = re.compile(r",?\s+(?:instead of|rather than)\s+(\w[^,;]{3,60})$")
_APPOSITION = re.compile(r"(?:^|(?<=\s))((?:[A-Z][\w.+-]*\s?){1,3}|`[^`]+`),\s+((?:an?|the)\s[^,;:()]{8,90}),\s")
_ACRONYM = re.compile(r"((?:[A-Za-z][\w-]*\s+){2,8})\(([A-Z][A-Za-z]{1,7})\)")
_THAN = re.compile(
    r"\b(?:more|less|fewer|higher|lower|better|worse|\w{2,}er)\b.*?\bthan\s+"
    r"([^,;.()]{3,50}?)(?=[,;.()]|$| on | in | when | by | because | with | for | at | used )"
)
#: What stands after "than" and is nothing to compare with.
_NO_PEER = re.compile(
    r"(?:its|their|that|those|what|the (?:same|other)|\d|it|one|two|three|four|five|six|seven|eight|nine|ten|half|twice|usual|"
    r"expected|before|all|other|previous|any)\b"
)
_OUTPERFORMS = frozenset(("outperform", "exceed", "surpass"))


def patterns(text: str, plain: frozenset[str]) -> Iterator[Found]:
    """Everything that a sentence can be asked. ``plain``: see :func:`runner.teachers.extractive.clauses.in_question`."""
    return (found for found in _all(text, plain) if found.question)


def _all(text: str, plain: frozenset[str]) -> Iterator[Found]:
    yield from _acronym(text)
    yield from _apposition(text)
    led = [*_led(text, plain)]
    if led or re.match(r"(?:If|When|Once|Unless|Because|Since|As|Although|While|Unlike|To|In order to|Without)\b", text):
        yield from led
        return
    yield from _whereas(text, plain)
    yield from _hence(text, plain)
    main = clause(text, plain)
    if main is not None:
        yield from _about(text, main, plain)
    elif (setting := _SETTING.match(text)) and not has_verb(setting[1]) and (main := _main_of(setting[2], plain)):
        where = in_question(setting[1], plain)
        for found in _about(text, main, plain):
            question = f"{found.question.removesuffix('?')} {where[:1].lower()}{where[1:]}?" if found.question else ""
            yield replace(found, question=question, start=found.start or text.index(setting[2]), score=found.score - 0.3)


def _about(text: str, main: Clause, plain: frozenset[str]) -> Iterator[Found]:
    """What the main clause of a sentence can be asked."""
    yield from _condition_after(text, main, plain)
    yield from _comparison(text, main)
    yield from _why_and_how(text, main)
    yield from by_how_much(text, main)
    if main.kind == "be":
        yield from be(text, main)
    elif main.kind == "modal":
        does = re.match(r"([a-z]+) ((?:the|an?|all|each|one|two|both|any)\b|[a-z]+s\b|[A-Z`])", main.rest)
        if does and is_infinitive(does[1]) and main.verb in ("can", "could", "must", "should", "will", "may"):
            yield Found("factual", f"What {main.verb} {main.subject} {does[1]}?", lead(text), len(text), 3.0)
    else:
        yield from verb(text, main)


def _main_of(text: str, plain: frozenset[str]) -> Clause | None:
    return clause(text[:1].upper() + text[1:], plain)


def _led(text: str, plain: frozenset[str]) -> Iterator[Found]:
    """Sentences that begin with a purpose, a reason, a condition or a comparison, and go on with the main clause."""
    if led := _LED_BY_PURPOSE.match(text):
        main = _main_of(led[3], plain)
        if main and not re.search(r"\b(?:it|this|they|we|our|their|its)\b", led[1]):
            yield Found("analytical", asked_of(_why(text), main, main.rest), led.start(1), led.end(1), 5)
            if main.kind == "verb" and is_infinitive(led[2].split()[0]):
                yield Found("procedure", f"How {main.do} {main.subject} {led[2]}?", led.start(3), led.end(3), 4.5)
    elif led := _LED_BY_REASON.match(text):
        main = _main_of(led[2], plain)
        if main and len(main.rest) < 120:
            yield Found("analytical", asked_of(_why(text), main, main.rest), led.start(1), led.end(1), 5)
    elif led := _CONDITION.match(text):
        yield from _condition(text, led, plain)
    elif led := _UNLIKE.match(text):
        main = _main_of(led[3], plain)
        if main:
            do = "do" if main.plural else "does"
            differ = "differ from" if led[1].startswith(("Unlike", "In contrast")) else "compare with"
            yield Found("comparative", f"How {do} {main.subject} {differ} {led[2]}?", led.start(3), led.end(3), 5)


def _condition(text: str, led: re.Match[str], plain: frozenset[str]) -> Iterator[Found]:
    first, rest = led[1].split()[0], led[2]
    noun = first in ("Without", "In")
    if not (noun or is_condition(led[1])) or re.match(r"(?:it|this|they|we|you|these|there|that)\b", rest) or len(rest.split()) < 4:
        return
    if is_infinitive(rest.split()[0]) or (not has_verb(f"x {rest}") and _main_of(rest, plain) is None):
        return  # an order to the reader
    condition = in_question(led[1], plain)
    condition = condition[:1].lower() + condition[1:] if first in ("Without", "In", "Once", "Unless") else condition
    asks = vary(text, "What happens", "What happens", "What follows", "What is the outcome")
    yield Found("hypothetical", f"{asks} {condition}?", led.start(2), led.end(2), 4)
    main = _main_of(rest, plain)
    if main and first in ("If", "When", "Once") and len(main.rest) < 90:
        when = "When" if first != "If" else "Under what condition"
        yield Found("hypothetical", asked_of(when, main, main.rest), led.start(1), led.end(1), 3.6)


def _condition_after(text: str, main: Clause, plain: frozenset[str]) -> Iterator[Found]:
    found = _CONDITION_AFTER.match(text.rstrip("."))
    if not found or not is_condition(found[3][:1].upper() + found[3][1:]):
        return
    before = _main_of(found[1], plain)
    if before is None or re.search(r"\b(?:that|which|whether|how)\b", found[1]):
        return
    if re.search(r"\b(?:determine|check|decide|see|whether|know|verify|say|ask|even|especially|as)$", found[1]):
        return
    if found[3].startswith(("if", "unless")):
        yield Found("hypothetical", f"What happens {found[3]}?", found.start(1), found.end(1), 3.8)
    asks = "Under what condition" if found[3].startswith("if") else "When"
    if not found[3].startswith("unless"):
        yield Found("hypothetical", asked_of(asks, before, before.rest), found.start(3), found.end(3), 4)


def _acronym(text: str) -> Iterator[Found]:
    for match in _ACRONYM.finditer(text):
        words, letters = match[1].split(), match[2].upper().rstrip("S")
        for take in range(2, len(words) + 1):
            tail = words[-take:]
            parts = [part for word in tail for part in word.split("-") if part]
            significant = [part for part in parts if part.lower() not in ("of", "and", "for", "the", "with", "in")]
            spelled = any("".join(part[0] for part in chosen).upper() == letters for chosen in (parts, significant))
            if spelled and tail[0].lower() not in ("the", "a", "an", "of", "and"):
                if (at := match[1].rfind(" ".join(tail))) >= 0:
                    asks = vary(match[2], "What does {} stand for?", "What is the full form of {}?", "What is {} short for?")
                    yield Found("definition", asks.format(match[2]), match.start(1) + at, match.start(1) + at + len(" ".join(tail)), 4)
                break


def _apposition(text: str) -> Iterator[Found]:
    for match in _APPOSITION.finditer(text):
        if has_verb(match[2]) and not re.search(r"\b(?:that|which|who)\b", match[2]):
            continue
        name = match[1].strip()
        if len(name) > 2 and re.search(r"[A-Z].*[A-Z0-9]|`", name):
            yield Found("definition", f"What is {name}?", match.start(2), match.end(2), 4)


def _whereas(text: str, plain: frozenset[str]) -> Iterator[Found]:
    found = _WHEREAS.match(text.rstrip("."))
    if not found:
        return
    one, other = _main_of(found[1], plain), _main_of(found[2], plain)
    subjects = (one.subject, other.subject) if one and other else ()
    if one and other and one.subject != other.subject and not any(" and " in name for name in subjects):
        asks = vary(text, "How do {} and {} differ?", "What is the difference between {} and {}?", "In what do {} and {} differ?")
        yield Found("comparative", asks.format(one.subject, other.subject), lead(text), len(text), 5)


def _hence(text: str, plain: frozenset[str]) -> Iterator[Found]:
    found = _HENCE.match(text.rstrip("."))
    main = _main_of(found[2], plain) if found else None
    if found and main and has_verb(found[1]) and not re.match(r"(?:Now|Here|So|It|This|We)\b", found[1]):
        yield Found("analytical", asked_of(_why(text), main, main.rest), found.start(1), found.end(1), 4.5)


def _comparison(text: str, main: Clause) -> Iterator[Found]:
    do = "do" if main.plural else "does"
    than = _THAN.search(main.rest)
    if than and not _NO_PEER.match(than[1]) and main.rest[than.end(1) :][:2] != " (":
        before = main.rest[: than.start()]
        if len(before.split()) <= 8 and not re.search(r"[,;(]|^to |\b(?:that|which|who)\b", before):
            yield Found("comparative", f"How {do} {main.subject} compare with {than[1].strip()}?", lead(text), len(text), 5)
    elif main.base in _OUTPERFORMS and (peer := _BETTER.match(main.rest)) and not _NO_PEER.match(peer[1]):
        tail = re.match(r"( (?:on|in|at|across) [^,;()]{2,50})?", main.rest[peer.end() :])
        yield Found(
            "comparative",
            f"How {do} {main.subject} compare with {peer[1]}{tail[0] if tail and not has_second_verb(tail[0]) else ''}?",
            lead(text),
            len(text),
            5,
        )
    elif main.kind == "be" and (
        like := re.match(r"(?:very |quite )?(similar|comparable|equivalent|identical) to ([^,;()]{3,60})", main.rest)
    ):
        yield Found(
            "comparative", f"What {main.verb} {main.subject} {like[1]} to?", text.rindex(like[2]), text.rindex(like[2]) + len(like[2]), 4
        )
    instead = _INSTEAD.search(main.rest)
    if instead and main.kind == "verb" and re.match(r"\w+ing\b", instead[1]):
        start = text.find(main.subject_text)
        end = text.rindex(main.rest) + instead.start()
        yield Found("comparative", f"What {main.do} {main.subject} do instead of {instead[1]}?", start, end, 4.5)


def _why_and_how(text: str, main: Clause) -> Iterator[Found]:
    reason = _REASON.search(main.rest)
    purpose = _PURPOSE.search(main.rest)
    means = _MEANS.search(main.rest)
    for kind, word, found, score in (("analytical", _why(text), reason or purpose, 5.0), ("procedure", "How", means, 4.5)):
        if found is None or len(found[1].split()) < 3 or (len(found[1].split()) < 6 and re.search(r"\b(?:it|this|they|them)\b", found[1])):
            continue
        before = main.rest[: found.start()]
        if _hangs_on(before) or len(before.split()) < 1 or len(before) > 110:
            continue
        start = text.rindex(found[1])
        yield Found(kind, asked_of(word, main, before), start, start + len(found[1]), score - 0.02 * max(0, len(before) - 50))
        if found is purpose and main.kind == "verb":
            aim = re.split(r"[,;]", found[1][3:])[0].rstrip(".")
            begin = text.find(main.subject_text)
            if not re.search(r"\b(?:it|its|this|they|them|their)\b", aim):
                yield Found("procedure", f"How {main.do} {main.subject} {aim}?", begin, start - len(found[0]) + len(found[1]), 4.2)


def _hangs_on(before: str) -> bool:
    """Whether what follows belongs to the last word ("able to ...", "easy to ..."), or the clause is not one alone."""
    return bool(
        re.search(r"[,;:]", before)
        or re.search(
            r"\b(?:used|able|designed|need|allow\w*|order|that|difficult|hard|easy|easier|harder|possible|impossible|likely|unlikely|free|ready|"
            r"aim\w*|attempt\w*|tr(?:y|ies)|ability|opportunity|way|ways|mechanisms?|how|necessary|required|sufficient|enough|and|or|caused|given|generated)$",
            before,
        )
    )


def _why(text: str) -> str:
    return vary(text, "Why", "Why", "For what reason")
