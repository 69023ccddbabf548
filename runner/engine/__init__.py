"""Plans and runs recipes: keys, the store, locks, workers, events. Knows no step by name and no machine learning.

The names are imported on first use, so that a worker loads what it needs and no more.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.engine.events import Event
    from runner.engine.planner import Plan, Planned, plan
    from runner.engine.previews import Preview, preview
    from runner.engine.reasons import Why, why
    from runner.engine.scheduler import RunResult, run
    from runner.engine.store import Cleaned, Damage, Store

__all__ = ["Cleaned", "Damage", "Event", "Plan", "Planned", "Preview", "RunResult", "Store", "Why", "plan", "preview", "run", "why"]

_HOMES = {
    "events": ("Event",),
    "planner": ("Plan", "Planned", "plan"),
    "previews": ("Preview", "preview"),
    "scheduler": ("RunResult", "run"),
    "store": ("Cleaned", "Damage", "Store"),
    "reasons": ("Why", "why"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"runner.engine.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
