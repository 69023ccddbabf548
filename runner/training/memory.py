"""How much memory a piece of work took, and what to say when there was too little."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def reset_peak(device: str) -> None:
    """Start measuring: forget the peak so far, where the system allows it."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak resident set starts again from the present one
        except OSError:
            return


def peak(device: str) -> tuple[int, str]:
    """Bytes at the peak, and what they count: the GPU allocator's, or the resident memory of this process."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated()), "GPU allocator"
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024, "resident memory of the process"
    except OSError:
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "resident memory of the process"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch failed for want of memory, on a GPU or in the system."""
    import torch

    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in str(error) or "out of memory" in str(error).lower())
    )
