"""Trains like tests/training/test_sft.py, and kills its own process at a given step: python -m tests.training.killed MODEL JOURNAL STEP."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from runner.training.listener import Nobody
from runner.training.milestones import Evaluations
from runner.training.sft import Surroundings, fine_tune
from tests.training.tiny import EXAMPLES, LORA, SFT, no_bases


class Killer(Nobody):
    def __init__(self, step: int) -> None:
        self.step = step

    def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
        if unit == "steps" and done == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    model, journal, step = sys.argv[1:]
    fine_tune(
        Path(model), no_bases, EXAMPLES[:8], EXAMPLES[8:],
        lora=LORA, sft=SFT, evaluations=Evaluations(steps=6),
        surroundings=Surroundings(Path(journal), "cpu", save_steps=5, listener=Killer(int(step))),
    )  # fmt: skip
