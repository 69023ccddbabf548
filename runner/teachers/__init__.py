"""Teachers: who writes question-answer pairs, and how they are asked.

teacher = open_teacher("extractive")
caller = Caller(teacher)
for outcome in caller.ask_all([Request("doc", prompt, WritePairs(text, ("definition", "reason")))]):
    print(outcome.items or outcome.rejected)
"""

from __future__ import annotations

from runner.teachers.cache import AnswerCache
from runner.teachers.calls import Caller, Outcome, Tally
from runner.teachers.decoding import Rejected
from runner.teachers.interface import Busy, Reply, Request, Teacher, answer_key
from runner.teachers.providers import PROVIDERS, Connection, open_teacher
from runner.teachers.tasks import QUESTION_TYPES, AnswerFrom, Grade, QuestionType, Score, WritePairs, WriteQuestions, read

__all__ = [
    "PROVIDERS",
    "QUESTION_TYPES",
    "AnswerCache",
    "AnswerFrom",
    "Busy",
    "Caller",
    "Connection",
    "Grade",
    "Outcome",
    "QuestionType",
    "Rejected",
    "Reply",
    "Request",
    "Score",
    "Tally",
    "Teacher",
    "WritePairs",
    "WriteQuestions",
    "answer_key",
    "open_teacher",
    "read",
]
