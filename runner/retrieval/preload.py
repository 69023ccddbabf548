"""Imported ahead by the forkserver, so that each step starts warm.

On a machine with an NVIDIA driver sentence-transformers is left to the step: it imports bitsandbytes, which asks the GPU for its
abilities as it is imported, and a GPU that was touched before a fork is of no use after it.
"""

from __future__ import annotations

from pathlib import Path

import bm25s  # noqa: F401
import faiss  # noqa: F401
import torch  # noqa: F401

from runner.retrieval.embedders import library

if not Path("/dev/nvidiactl").exists():
    library()
