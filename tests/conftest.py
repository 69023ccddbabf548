"""For every test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# `make test` tries the same examples every time, so that a change that fails is the change that broke it; `make test-all` draws new ones.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("new", deadline=None)
settings.load_profile("same")

SHARED = Path(__file__).resolve().parents[2] / "shared/data"


def pytest_configure() -> None:
    """Programs that tests start must hear signals also when pytest runs under nohup or in the background.

    An ignored signal stays ignored in a child; one with a handler is back at its default there.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real data skip where it is missing, saying so; in CI it must be there."""
    if os.environ.get("CI") and not SHARED.is_dir() and any(item.get_closest_marker("shared") for item in items):
        raise pytest.UsageError(f"CI must have the shared data, which the tests marked `shared` read: {SHARED} is missing")
