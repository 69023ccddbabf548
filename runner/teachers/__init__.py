"""Teachers: who writes question-answer pairs, and how they are asked.

teacher = open_teacher("extractive")
caller = Caller(teacher)
for outcome in caller.ask_all([Request("doc", prompt, WritePairs(text, ("definition", "analytical")))]):
    print(outcome.items or outcome.rejected)

What is named here is imported on first use: the step kinds read only the settings, and are to be read fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.teachers.cache import AnswerCache
    from runner.teachers.calls import Caller, Outcome
    from runner.teachers.decoding import Rejected
    from runner.teachers.interface import Busy, Reply, Request, Teacher, answer_key, request_digest
    from runner.teachers.opening import open_caller
    from runner.teachers.providers import PROVIDERS, Connection, open_teacher
    from runner.teachers.spending import BudgetSpent, Purse, Tokens
    from runner.teachers.tally import Tally
    from runner.teachers.tasks import (
        QUESTION_TYPES,
        AnswerFrom,
        Compare,
        Grade,
        Preference,
        QuestionType,
        Score,
        WriteMultiHop,
        WritePairs,
        WriteQuestions,
        read,
    )

_HOMES = {
    "cache": ("AnswerCache",),
    "calls": ("Caller", "Outcome"),
    "decoding": ("Rejected",),
    "interface": ("Busy", "Reply", "Request", "Teacher", "answer_key", "request_digest"),
    "opening": ("open_caller",),
    "providers": ("PROVIDERS", "Connection", "open_teacher"),
    "spending": ("BudgetSpent", "Purse", "Tokens"),
    "tally": ("Tally",),
    "tasks": (
        "QUESTION_TYPES",
        "AnswerFrom",
        "Compare",
        "Grade",
        "Preference",
        "QuestionType",
        "Score",
        "WriteMultiHop",
        "WritePairs",
        "WriteQuestions",
        "read",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


__all__ = [
    "PROVIDERS",
    "QUESTION_TYPES",
    "AnswerCache",
    "AnswerFrom",
    "BudgetSpent",
    "Busy",
    "Caller",
    "Compare",
    "Connection",
    "Grade",
    "Outcome",
    "Preference",
    "Purse",
    "QuestionType",
    "Rejected",
    "Reply",
    "Request",
    "Score",
    "Tally",
    "Teacher",
    "Tokens",
    "WriteMultiHop",
    "WritePairs",
    "WriteQuestions",
    "answer_key",
    "open_caller",
    "open_teacher",
    "read",
    "request_digest",
]
