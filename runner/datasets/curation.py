"""Rules that tell a good question-answer pair from a poor one, each named, and the sorting by them.

    kept, sorting = curate(examples, {"length": lambda left: length(min_answer=3), "near_duplicates": near_duplicates})

A rule is a function of an example that says what is wrong with it, or None. :data:`UNCHECKED` says that it cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.datasets.folding import background
from runner.datasets.leakage import Leaks
from runner.datasets.mixing import identity
from runner.datasets.near_duplicates import NearDuplicates
from runner.datasets.standalone import dangling
from runner.datasets.support import support
from runner.errors import InputError

Example = dict[str, Any]
Rule = Callable[[Example], str | None]
#: What a rule answers about an example that it cannot judge; the example stays, and is counted.
UNCHECKED = "\0unchecked"


@dataclass
class Count:
    """What a rule did: examples that came to it, that it could judge, and that it dropped."""

    given: int = 0
    checked: int = 0
    dropped: int = 0


@dataclass
class Sorting:
    """The counts by rule, and the victims: (rule, what is wrong, example)."""

    counts: dict[str, Count] = field(default_factory=dict)
    victims: list[tuple[str, str, Example]] = field(default_factory=list)

    def judge(self, rule: str, examples: Iterable[Example], wrong: Rule) -> Iterator[Example]:
        """The examples in which ``wrong`` finds nothing wrong."""
        count = self.counts.setdefault(rule, Count())
        for example in examples:
            count.given += 1
            found = wrong(example)
            count.checked += found != UNCHECKED
            if found is None or found == UNCHECKED:
                yield example
            else:
                count.dropped += 1
                self.victims.append((rule, found, example))


def curate(
    examples: Iterable[Example],
    rules: Mapping[str, Callable[[list[Example]], Rule]],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Example], Sorting]:
    """The examples that break no rule, and what became of the others: an example is the victim of the first rule that it breaks.

    ``rules`` are made one after the other, each for the examples that are left. ``progress`` is called with the judgements made so far,
    and with how many there will be if nothing else is dropped.
    """
    sorting, kept, done = Sorting(), list(examples), 0

    def counted(given: list[Example], rules_after: int) -> Iterator[Example]:
        for number, example in enumerate(given, 1):
            yield example
            progress(done + number, done + len(given) * (1 + rules_after))

    for number, (name, make) in enumerate(rules.items(), 1):
        given = kept
        kept = list(sorting.judge(name, counted(given, len(rules) - number), make(given)))
        done += len(given)
    return kept, sorting


def schema(require: Sequence[str] = (), types: Sequence[str] | None = None) -> Rule:
    """Question and answer are texts, each field in ``require`` holds something, and ``type``, where there is one, is of ``types``."""

    def rule(example: Example) -> str | None:
        for name in ("id", "question", "answer"):
            if not isinstance(example.get(name), str) or not example[name].strip():
                return f"`{name}` holds no text"
        missing = [name for name in require if example.get(name) in (None, "", [], {})]
        if missing:
            return f"`{missing[0]}` is missing or empty"
        if types is not None and example.get("type") not in (None, *types):
            return f"its type is {example['type']}"
        return None

    return rule


def length(
    unit: Literal["characters", "words"] = "characters",
    *,
    min_question: int = 0,
    max_question: int | None = None,
    min_answer: int = 0,
    max_answer: int | None = None,
) -> Rule:
    """Question and answer have lengths within these limits, which are included."""
    limits = {"question": (min_question, max_question), "answer": (min_answer, max_answer)}

    def rule(example: Example) -> str | None:
        for name, (least, most) in limits.items():
            found = len(example[name].split()) if unit == "words" else len(example[name])
            if found < least:
                return f"the {name} has {found} {unit}, fewer than {least}"
            if most is not None and found > most:
                return f"the {name} has {found} {unit}, more than {most}"
        return None

    return rule


def language(allowed: Sequence[str], min_confidence: float = 0.8) -> Rule:
    """Question and answer together are not surely in a language other than ``allowed`` (ISO 639-1 codes), by py3langid.

    An example is dropped when another language is found with at least ``min_confidence`` (0 to 1): formulas, names and numbers, of
    which no language can be told, pass unchecked. InputError for a code that the library does not know.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    unknown = sorted(set(allowed) - set(identifier.labels))
    if unknown:
        raise InputError(
            f"`{unknown[0]}` is no language that can be told", where="language.allowed", remedy=", ".join(sorted(identifier.labels))
        )

    def rule(example: Example) -> str | None:
        found, confidence = identifier.classify(f"{example['question']}\n{example['answer']}")
        if confidence < min_confidence:
            return UNCHECKED
        return None if found in allowed else f"it is in `{found}` (confidence {confidence:.2f})"

    return rule


def supported(evidence: Callable[[Example], str | None], min_share: float = 0.6, numbers: bool = True) -> Rule:
    """The text that ``evidence`` gives for an example holds ``min_share`` of the answer's words, and with ``numbers`` each of its
    numbers; see :func:`runner.datasets.support.support`. Without a text an example passes unchecked."""

    def rule(example: Example) -> str | None:
        text = evidence(example)
        if text is None:
            return UNCHECKED
        found = support(example["answer"], text)
        if numbers and found.numbers:
            return f"its text does not hold {', '.join(found.numbers)}"
        return None if found.share >= min_share else f"its text holds {found.share:.0%} of the answer's words"

    return rule


def standalone(also: Sequence[str] = ()) -> Rule:
    """The question can be understood without its text; see :func:`runner.datasets.standalone.dangling`.

    One that follows others in a conversation passes unchecked: what it means is said there. ``also`` are further patterns (Python's
    ``re``, case ignored). InputError for one that is none.
    """
    patterns = []
    for pattern in also:
        try:
            patterns.append(re.compile(pattern, re.I))
        except re.error as error:
            raise InputError(f"{pattern!r} is no regular expression: {error}", where="standalone.also") from None
    return lambda example: UNCHECKED if example.get("history") else dangling(example["question"], patterns)


def duplicates(compare: Literal["exact", "normalised", "question"] = "normalised") -> Rule:
    """No earlier example is the same by :func:`runner.datasets.mixing.identity`. The rule remembers: use it for one pass.

    The one that stays is then of the documents of all, so that a split by document sees them.
    """
    first: dict[object, Example] = {}

    def rule(example: Example) -> str | None:
        twin = first.setdefault(identity(example, compare), example)
        return None if twin is example else _same(twin, example)

    return rule


def near_duplicates(examples: Sequence[Example], near: float = 0.8, compare: Literal["question", "pair"] = "pair") -> Rule:
    """No earlier example that stays is nearly equal, in its question or in question and answer; for these very examples, in one pass.

    Questions of another context or history are not compared. ``near`` is the least Jaccard similarity, see
    :class:`runner.datasets.near_duplicates.NearDuplicates`.
    """
    texts = (example["question"] if compare == "question" else f"{example['question']}\n{example['answer']}" for example in examples)
    twins = NearDuplicates(texts, near, within=map(background, examples)).repeats()
    place = {id(example): number for number, example in enumerate(examples)}

    def rule(example: Example) -> str | None:
        twin = twins.get(place[id(example)])
        return None if twin is None else _same(examples[twin], example, "nearly ")

    return rule


def unseen(examples: Sequence[Example], held_out: Sequence[tuple[str, Example]], near: float = 0.8) -> Rule:
    """No example of ``held_out``, which are given with their names, asks the same or nearly so; for these very examples.

    ``near`` is the least Jaccard similarity of two questions with the same context, see :class:`runner.datasets.leakage.Leaks`.
    """
    found = Leaks(examples, near, shown=held_out).counterparts(range(len(examples)), ())
    place = {id(example): number for number, example in enumerate(examples)}

    def rule(example: Example) -> str | None:
        twin = found[place[id(example)]].get("shown")
        return None if twin is None else f"its question, or nearly so, is held out as {twin}"

    return rule


def _same(twin: Example, example: Example, nearly: str = "") -> str:
    twin["documents"] = list(dict.fromkeys([*twin.get("documents", []), *example.get("documents", [])]))
    return f"{nearly}the same as {twin['id']}"
