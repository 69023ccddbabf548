"""The registry: a table of step-kind names to modules, resolved on first use. Adding a kind is one module and one row."""

from __future__ import annotations

import importlib
from functools import cache

from runner.contract import Kind

KINDS: dict[str, str] = {
    "ingest": "runner.steps.ingest",
    "chunk": "runner.steps.chunk",
    "dataset": "runner.steps.dataset",
    "synthesize": "runner.steps.synthesize",
    "mix": "runner.steps.mix",
    "curate": "runner.steps.curate",
    "split": "runner.steps.split",
    "model": "runner.steps.model",
    "train": "runner.steps.train",
    "export": "runner.steps.export",
    "tune-embedder": "runner.steps.tune_embedder",
    "index": "runner.steps.index",
    "answer": "runner.steps.answer",
    "evaluate": "runner.steps.evaluate",
}


def kind(name: str) -> Kind:
    """The step kind of that name. KeyError when there is none; callers say it with a did-you-mean."""
    return Kind(name, _module(KINDS[name]))


@cache
def _module(path: str) -> object:
    return importlib.import_module(path)
