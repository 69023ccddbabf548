"""The peak is the highest point since the measuring began, not where it ended and not what was there before."""

from __future__ import annotations

import mmap
import sys

import pytest
import torch

from runner.training import memory

MB = 2**20


def held(size: int) -> mmap.mmap:
    """Memory of its own from the system, which goes back to it when it is closed."""
    block = mmap.mmap(-1, size)
    for start in range(0, size, mmap.PAGESIZE):
        block[start] = 1
    return block


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process forget its peak")
def test_memory_that_was_given_back_counts_and_what_came_before_does_not() -> None:
    held(512 * MB).close()
    memory.reset_peak("cpu")
    before, what = memory.peak("cpu")
    held(128 * MB).close()
    assert 100 * MB < memory.peak("cpu")[0] - before < 300 * MB
    assert what == "resident memory of the process"


def test_a_gpus_peak_is_its_allocators(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten: list[bool] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: forgotten.append(True))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 7 * MB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 3 * MB)
    memory.reset_peak("cuda")
    assert (memory.peak("cuda"), forgotten) == ((7 * MB, "GPU allocator"), [True])
