"""A bug in the runner: its traceback goes to a log file, and a sentence to the user."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence

import runner
from runner.engine.scrub import Scrubber


def report(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the log, and return what the user is told. No secret of the environment gets into the log."""
    text = "\n".join(
        [
            f"recipe {runner.__version__}, Python {sys.version.split()[0]}, {platform.platform()}",
            f"recipe {' '.join(arguments)}",
            "",
            "".join(traceback.format_exception(error)),
        ]
    )
    with tempfile.NamedTemporaryFile("w", prefix="recipe-bug-", suffix=".log", delete=False, encoding="utf-8") as log:
        log.write(Scrubber().text(text))
    return f"error: this is a bug in the runner ({type(error).__name__})\n  its log is {log.name}"
