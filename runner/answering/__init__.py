"""Asking models, whatever their form: full weights, an adapter on its base, or a GGUF. Importing this imports nothing heavy.

``open_answerer`` gives one interface for the three; ``answer_all`` runs a list of questions through one, with retrieval, and can
be resumed; ``ask`` answers a single question as a stream, and ``Chat`` one after the other.
"""

from __future__ import annotations

from runner.answering.answerer import Answerer, Generated, Generation, Prompt, open_answerer
from runner.answering.ask import Chat, Reply, ask
from runner.answering.batch import Sums, answer_all
from runner.answering.fitting import Fitted, Rule, fit, fit_all
from runner.answering.prompting import passages_of
from runner.answering.retrieving import retrieve
from runner.answering.summaries import Summaries

__all__ = [
    "Answerer",
    "Chat",
    "Fitted",
    "Generated",
    "Generation",
    "Prompt",
    "Reply",
    "Rule",
    "Summaries",
    "Sums",
    "answer_all",
    "ask",
    "fit",
    "fit_all",
    "open_answerer",
    "passages_of",
    "retrieve",
]
