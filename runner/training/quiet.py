"""Silence for libraries that write to the terminal: their progress bars and advice are not for the reader of a run."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes", "torch", "huggingface_hub")


@contextmanager
def quiet(*libraries: str) -> Iterator[None]:
    """Within it the libraries show errors only, and no progress bars; what was set before is restored after it.

    ``libraries`` are imported at its beginning, in silence too: datasets' progress bars can be switched off only then.
    """
    import transformers.utils.logging as transformers_logging

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        for library in libraries:
            importlib.import_module(library)
        datasets = sys.modules.get("datasets")
        dataset_bars = datasets is not None and not datasets.are_progress_bars_disabled()
        transformers_logging.disable_progress_bar()
        if datasets is not None:
            datasets.disable_progress_bars()
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                transformers_logging.enable_progress_bar()
            if datasets is not None and dataset_bars:
                datasets.enable_progress_bars()
