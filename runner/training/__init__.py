"""Models and training: loading what the runner stores, building small models, and tuning with PEFT and TRL.

Importing this package imports nothing heavy; ``load`` and what trains import torch when they are called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.training.chat import conversation
    from runner.training.loading import Loaded, device_of, load, load_tokenizer
    from runner.training.stored import ModelInfo, describe

__all__ = ["Loaded", "ModelInfo", "conversation", "describe", "device_of", "load", "load_tokenizer"]

_MODULES = {"conversation": "chat", "ModelInfo": "stored", "describe": "stored"}


def __getattr__(name: str) -> Any:
    """The names above are imported on use: checking a recipe needs ``architectures`` alone, and is to be fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'loading')}"), name)
