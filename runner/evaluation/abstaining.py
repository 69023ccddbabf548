"""Whether a model says so when it cannot know: abstention on unanswerable questions, and on answerable ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from runner.evaluation.aggregates import Array
from runner.evaluation.metric import References, TextMetric, paired

_TEXT = r"(?:passages?|texts?|contexts?|documents?|papers?|sources?|information|excerpts?)"
_NOT = r"(?:\s+not|n['’]t|not)"
_GIVEN = r"(?:mentioned|stated|specified|provided|given|answered|discussed|described)"
_ENDS = r"(?=\s*(?:[.,;:!]|$)|\s+(?:in|by|within|anywhere|here|there|at\s+all|explicitly|directly|or|and|but)\b)"
_ABSTAINS = re.compile(
    rf"""(?ix)
    \b(?:i|we)\s+(?:do|can|could){_NOT}\s+(?:know|answer|determine|tell|find\s+(?:an|any|the|that)\s+(?:answer|information))\b
    |\b(?:i|we)(?:\s+am|['’]m|\s+are|['’]re)\s+(?:unable|not\s+able|not\s+sure)\b
    |\b(?:can|could){_NOT}\s+be\s+(?:answered|determined|found|inferred|known)\b
    |\bun(?:answerable|known)\b(?=\W*$)
    |\b(?:no|not\s+enough|insufficient)\s+(?:information|answer|context)\b
     (?:\s+(?:(?:is|was)\s+)?(?:{_GIVEN}|available|found|included)\b|\s+(?:to|about|on|for|regarding|concerning|that)\b|{_ENDS})
    |\b(?:no|not\s+enough|insufficient)\s+evidence\s+(?:in|within)\s+(?:the|this|these|any)\s+{_TEXT}\b
    |\b{_TEXT}\s+(?:do|does){_NOT}\s+(?:say|mention|state|contain|provide|specify|give|include|answer|discuss|tell)\b
    |\b(?:is|are|was|were){_NOT}\s+(?:explicitly\s+|directly\s+)?{_GIVEN}\b{_ENDS}
    """
)
_SENTENCE = re.compile(r"(?<=[.!?])\s")


def abstains(answer: str, phrases: Sequence[re.Pattern[str]] = ()) -> bool:
    """Whether an answer is empty, or its first sentence says in English, or by one of ``phrases``, that it gives none."""
    first = _SENTENCE.split(answer.strip(), maxsplit=1)[0]
    return not first or _ABSTAINS.search(first) is not None or any(phrase.search(first) for phrase in phrases)


class Abstention(TextMetric):
    """A question is unanswerable when it has no reference, or every reference itself abstains."""

    key, title = "abstention", "Abstention"
    normalisation = (
        "over unanswerable questions: those without a reference, or whose reference itself abstains; an answer abstains when it is empty "
        "or its first sentence says that it does not know, or that the text does not say (patterns, English)"
    )
    source = "share of unanswerable questions that are declined"
    lacks = ("unanswerable questions", "add questions without a reference, or leave the metric out")
    _of_unanswerable = True

    def __init__(self, phrases: Sequence[str] = ()) -> None:
        super().__init__()
        self._phrases = [re.compile(phrase, re.IGNORECASE) for phrase in phrases]

    def items(self, *, predictions: Sequence[str], references: References) -> tuple[Array, Array]:
        def score(answer: str, wanted: list[str]) -> float:
            unanswerable = all(abstains(reference, self._phrases) for reference in wanted)
            return 100.0 * abstains(answer, self._phrases) if unanswerable is self._of_unanswerable else np.nan

        values = np.array([score(answer, wanted) for answer, wanted in paired(predictions, references)], dtype=np.float64)
        return values, values[:, None]

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        return lambda answer, references: float(abstains(answer, self._phrases))


class FalseAbstention(Abstention):
    key, title, higher_is_better = "false_abstention", "False abstention", False
    normalisation = Abstention.normalisation.replace("over unanswerable questions: ", "over all questions but the unanswerable: ", 1)
    source = "share of answerable questions that are declined"
    lacks = ("answerable questions", "add questions with a reference, or leave the metric out")
    _of_unanswerable = False
