"""What the forkserver imports ahead must not touch a GPU: a CUDA context does not survive a fork."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import importlib, pathlib, sys
from runner.steps import KINDS, kind

exists = pathlib.Path.exists
pathlib.Path.exists = lambda path, **rest: {driver} if str(path) == "/dev/nvidiactl" else exists(path, **rest)
for module in sorted({{module for name in KINDS for module in kind(name).preload}}):
    importlib.import_module(module)
print(*(name for name in ("torch", "faiss", "llama_cpp", "bitsandbytes", "sentence_transformers") if name in sys.modules))
"""


def preloaded(*, driver: bool) -> list[str]:
    program = _PROGRAM.format(driver=driver)
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()


def test_bitsandbytes_is_left_to_the_step_where_there_is_a_driver() -> None:
    """It asks the GPU for its abilities as it is imported, and PEFT, TRL and sentence-transformers all import it."""
    assert preloaded(driver=True) == ["torch", "faiss", "llama_cpp"]


def test_without_a_driver_everything_is_warm() -> None:
    assert "sentence_transformers" in preloaded(driver=False)
