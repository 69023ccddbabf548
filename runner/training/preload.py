"""Imported ahead by the forkserver, so that each step starts warm.

On a machine with an NVIDIA driver the last part is left to the step: PEFT and Transformers' Trainer import bitsandbytes, which asks the
GPU for its abilities as it is imported, and a GPU that was touched before a fork is of no use after it.
"""

from __future__ import annotations

from pathlib import Path

import accelerate  # noqa: F401
import datasets  # noqa: F401
import torch  # noqa: F401

from runner.training.quiet import quiet

if not Path("/dev/nvidiactl").exists():
    with quiet():
        import peft  # noqa: F401
        import transformers.models.qwen2.modeling_qwen2  # noqa: F401
        from trl import SFTTrainer  # noqa: F401
