"""Asking about a clause by its predicate: what something is, does or has, how many, how much, where and when."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from runner.teachers.extractive.clauses import Clause, has_second_verb, is_infinitive, lead

_FIGURE = r"\d[\d,.]*(?:[eE]-?\d+)?(?:[-–]\d[\d,.]*)?"
_UNITS = (
    r"(?:%|×|x|[kKMGT]i?B(?:/s)?|[kMG]?bps|ms|µs|us|ns|s|seconds?|minutes?|hours?|days?|GHz|MHz|percent|points?|TFLOPS|GFLOPS|"
    r"IOPS|billion|million|[KMB])"
)
_QUANTITY = (
    rf"(?:about |around |up to |at least |at most |only |nearly |roughly |over |more than |approximately )?{_FIGURE}(?: ?{_UNITS}(?![\w]))?"
)
_NUMBER = (
    r"(?:about |around |up to |at least |at most |only |nearly |roughly |over |more than )?"
    r"(?:\d[\d,.]*|two|three|four|five|six|seven|eight|nine|ten|twelve)"
)
_COUNTED = re.compile(rf"^({_NUMBER} ((?:[a-z-]+ ){{0,2}}?[a-z-]+s))(?=$|[ ,:;.])(.*)$")
_BY_HOW_MUCH = re.compile(rf"\s(by (?:a factor of )?{_QUANTITY}(?: to {_QUANTITY})?(?: times)?)(?=[ ,;.]|$)")
_FROM_TO = re.compile(rf"\s(from {_QUANTITY} to {_QUANTITY})(?=[ ,;.]|$)")
_MEASURED = re.compile(rf"^(?:(?:an? |the )((?:[a-z-]+ ){{1,4}})of )?({_QUANTITY})(?=[ ,;.]|$)(.*)$")
_PARTICIPLE = re.compile(
    r"^((?:\w+ly )?(?:\w+ed|built|written|given|sent|split|"
    r"drawn|held|known|chosen|kept|made|run|set|shown|taken|frozen|read|bound))\b\s*(.*)$"
)
#: "expected to be": what follows is something to do.
_TO_DO = frozenset(("expected", "authorized", "authorised", "required", "allowed", "supposed", "designed", "forced", "intended", "trained"))
_PERFECT = re.compile(r"(?:just|been|\w+ed)\b")
_COMPONENT = re.compile(
    r"(?:the|each|every) (?:[\w-]+ ){0,2}(?:service|manager|server|client|module|engine|layer|scheduler|controller|router|unit|daemon|"
    r"kernel|monitor|compiler|interpreter|allocator|optimizer|encoder|decoder|buffer|cache|network|head|block)$"
)
#: What is said of these verbs' subjects is no object that "what" could ask for.
_NO_OBJECT = frozenset(("remain", "become", "fit", "stay", "let", "run", "work", "start", "differ", "vary", "compete", "suffice", "seem"))
_NOT_AN_OBJECT = re.compile(
    r"(?:place |well\b|better\b|worse\b|best\b|more\b|less\b|faster\b|slower\b|\w+ly\b|\w+ing (?!the\b)|by\b|at\b|over\b|into\b|"
    r"back\b)"
)
_EFFECTS = frozenset(("cause", "enable", "prevent", "trigger", "lead", "result"))
_MEANINGS = frozenset(("mean", "denote", "refer"))


@dataclass(frozen=True)
class Found:
    """A question of a type, the span of its answer in the sentence, and how well such questions tend to read."""

    type: str
    question: str
    start: int
    end: int
    score: float


def asked_of(word: str, main: Clause, rest: str) -> str:
    """The clause as a question, with ``rest`` in place of what followed its verb: "Why does the cache hold keys?".

    Empty where ``rest`` has a verb of its own, which would have to change too ("the goal is to keep keys" among them).
    """
    if has_second_verb(rest) or (main.kind == "be" and rest.startswith("to ")):
        return ""
    verb = f"{main.verb} {main.subject}" if main.kind in ("be", "modal") else f"{main.do} {main.subject} {main.base}"
    return f"{word} {verb} {rest.strip()}?"


def vary(key: str, *forms: str) -> str:
    """One of some forms of words that ask the same, always the same one for a key."""
    return forms[zlib.crc32(key.encode(errors="surrogatepass")) % len(forms)]


def by_how_much(text: str, main: Clause) -> Iterator[Found]:
    found = _BY_HOW_MUCH.search(f" {main.rest}") or _FROM_TO.search(f" {main.rest}")
    if found:
        before = main.rest[: max(0, found.start() - 1)]
        if len(before.split()) <= 10 and not re.search(r"[,;:]", before):
            start = text.rindex(main.rest) + found.start(1) - 1
            yield Found("numeric", asked_of("By how much", main, before), start, start + len(found[1]), 5)


def be(text: str, main: Clause) -> Iterator[Found]:
    rest, at = main.rest, text.rindex(main.rest)
    if re.match(r"(?:an?|the|one of) \w", rest) and not main.past and len(rest.split()) >= 4:
        yield Found("definition", f"What {main.verb} {main.subject}?", at, at + len(rest), 5 if len(main.subject.split()) <= 4 else 3.5)
        return
    counted = re.match(rf"^(?:set to |limited to |fixed at |equal to )?({_QUANTITY}|{_NUMBER})((?: [a-z-]+){{0,2}})$", rest)
    if counted:
        yield Found("numeric", f"What {main.verb} {main.subject}?", at, at + len(rest), 4.5)
        return
    passive = _PARTICIPLE.match(rest)
    if not passive or not passive[2]:
        return
    done, remainder = passive[1], passive[2]
    answer = at + len(rest) - len(remainder)
    span = (answer, answer + len(remainder))
    if measured := re.match(rf"(to|at|for|on|with|by|over|into|from) ({_NUMBER}) ((?:[a-z-]+ ){{0,2}}?[a-z-]+s)(?=$|[ ,;])", remainder):
        asked = f"{measured[1].capitalize()} how many {measured[3]} {main.verb} {main.subject} {done}?"
        yield Found("numeric", asked, answer, answer + measured.end(3), 5)
    elif value := re.match(rf"(to|at) ({_QUANTITY})(?=$|[ ,;])", remainder):
        yield Found("numeric", f"{value[1].capitalize()} what value {main.verb} {main.subject} {done}?", answer, answer + value.end(2), 5)
    elif done == "used" and re.match(r"(?:to|for|as)\s", remainder):
        yield Found("factual", f"What {main.verb} {main.subject} used {'as' if remainder[:2] == 'as' else 'for'}?", *span, 4.5)
    elif done in ("called", "named") or (done in ("known", "defined") and remainder.startswith("as ")):
        yield Found(
            "definition",
            f"{'How' if done == 'defined' else 'What'} {main.verb} {main.subject} {done}{' as' if done == 'known' else ''}?",
            *span,
            4,
        )
    elif re.match(r"in (?:19|20)\d\d\b", remainder):
        yield Found("factual", f"When {main.verb} {main.subject} {done}?", answer, answer + 7, 4)
    elif re.match(
        r"(?:in|on|at|inside|across)\s(?!order|general|practice|this|which|parallel|advance|total|average)\S", remainder
    ) and re.match(r"(?:\w+ly )?(?:stored|kept|held|placed|located|written|cached|recorded|hosted|allocated|deployed|saved)$", done):
        yield Found("factual", f"Where {main.verb} {main.subject} {done}?", *span, 4.5)
    elif re.match(r"by\s+(?!\w+ing\b)\S", remainder) and len(remainder.split()) <= 14:
        whom = re.match(r"by (?:[A-Z]\w+ (?:et al|and [A-Z])|researchers)", remainder) is not None
        yield Found("factual", f"By {'whom' if whom else 'what'} {main.verb} {main.subject} {done}?", *span, 2.8)
    elif re.match(r"(?:to|into|with|from|over|under|between)\s", remainder):
        preposition, _, object_ = remainder.partition(" ")
        bound = preposition == "to" and (done in _TO_DO or object_.split()[0] in ("be", "have", "do") or is_infinitive(object_.split()[0]))
        if 1 <= len(object_.split()) <= 14 and not bound:
            yield Found("factual", f"{preposition.capitalize()} what {main.verb} {main.subject} {done}?", *span, 3)


def verb(text: str, main: Clause) -> Iterator[Found]:
    rest, at = main.rest, text.rindex(main.rest)
    counted = _COUNTED.match(rest)
    if counted and not counted[2].endswith(("ss", "times")):
        tail = re.split(r"[,:;.]| and ", counted[3])[0]
        tail = tail if len(tail.split()) <= 8 else ""
        yield Found("numeric", f"How many {counted[2]} {main.do} {main.subject} {main.base}{tail}?", at, at + len(counted[1]), 5)
    elif measured := _MEASURED.match(rest):
        what = (measured[1] or "").strip()
        tail = re.split(r"[,:;.]| and ", measured[3])[0]
        if (
            len(tail.split()) <= 8
            and re.match(r"(?: (?:on|in|of|at|for|per|to|with|from|by|across|over|during|after)\b|$)", tail)
            and (what or re.search(rf"{_UNITS}$", measured[2]))
        ):
            asked = f"{f'What {what}' if what else 'How much'} {main.do} {main.subject} {main.base}{tail}?"
            yield Found("numeric", asked, at + measured.start(2), at + measured.end(2), 4.2)
    if many := re.match(rf"(of|on|to|for|from|with|in|over|across) ({_NUMBER}) ((?:[a-z-]+ ){{0,2}}?[a-z-]+s)(?=$|[ ,;])", rest):
        asked = f"{many[1].capitalize()} how many {many[3]} {main.do} {main.subject} {main.base}?"
        yield Found("numeric", asked, at, at + many.end(3), 5)
    preposition = re.match(r"(of|on|to|for|from|as|with|in)\s+(?!order\b)(\S+)", rest)
    if preposition and main.base in ("need", "have", "help") and preposition[1] == "to":
        return
    if preposition and preposition[1] == "to" and re.match(r"(?:be|have)\b", preposition[2]):
        return
    words = len(rest.split())
    kind = "analytical" if main.base in _EFFECTS else "definition" if main.base in _MEANINGS else "factual"
    span = (at, at + len(rest)) if kind != "factual" else (lead(text), len(text))
    if preposition and preposition[1] == "to" and is_infinitive(preposition[2]):
        yield Found("factual", f"What {main.do} {main.subject} {main.base} to do?", lead(text), len(text), 3)
        return
    if words < 3:
        return
    if preposition:
        fits = preposition[1] in ("of", "on", "to", "from", "for", "as") or (preposition[1], main.base) == ("in", "result")
        if fits and main.base not in _NO_OBJECT:
            form = vary(text, "What {do} {s} {b} {p}?", "{P} what {do} {s} {b}?")
            question = form.format(do=main.do, s=main.subject, b=main.base, p=preposition[1], P=preposition[1].capitalize())
            yield Found(kind, question, *span, 4)
    elif main.base not in _NO_OBJECT and not _NOT_AN_OBJECT.match(rest) and not (main.base == "have" and _PERFECT.match(rest)):
        weak = main.base in ("have", "make", "take", "mean", "give", "need", "keep", "find", "call", "show", "do")
        yield Found(kind, f"What {main.do} {main.subject} {main.base}?", *span, 2.5 if weak else 4 if kind != "factual" else 3.5)
    if not main.plural and not main.past and words <= 14 and len(main.subject.split()) <= 6 and not re.search(r"[,;:]", rest):
        start = text.find(main.subject_text)
        if start >= 0:
            asks = "Which component" if _COMPONENT.match(main.subject) else "What"
            yield Found("factual", f"{asks} {main.verb.lower()} {rest}?", start, start + len(main.subject_text), 3.2)
