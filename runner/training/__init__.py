"""Models and training: loading what the runner stores, building small models, and tuning with PEFT and TRL.

Importing this package imports nothing heavy; ``load`` and what trains import torch when they are called.
"""

from __future__ import annotations

from runner.training.chat import conversation
from runner.training.loading import Loaded, device_of, load, load_tokenizer
from runner.training.stored import ModelInfo, describe

__all__ = ["Loaded", "ModelInfo", "conversation", "describe", "device_of", "load", "load_tokenizer"]
