"""How much memory a piece of work took, and what to say when there was too little."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.errors import StepError


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


@contextmanager
def explained(sft: Mapping[str, Any], method: str) -> Iterator[None]:
    """Within it, memory that runs out is a StepError that says what to lower first.

    ``sft`` are values of SFTConfig by name, ``method`` is full, lora or qlora.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise StepError("memory ran out while training", remedy=_what_to_lower(sft, method)) from error


def _what_to_lower(sft: Mapping[str, Any], method: str) -> str:
    """What changes the result least comes first."""
    batch, accumulation = int(sft.get("per_device_train_batch_size", 8)), int(sft.get("gradient_accumulation_steps", 1))
    if batch > 1:
        lower, higher = f"from {batch} to {(batch + 1) // 2}", f"from {accumulation} to {accumulation * 2}"
        return f"lower per_device_train_batch_size {lower} and raise gradient_accumulation_steps {higher}"
    if not sft.get("gradient_checkpointing", True):
        return "set gradient_checkpointing to true"
    if method == "full" and "8bit" not in str(sft.get("optim", "")):
        return "set optim to paged_adamw_8bit, or use the method lora"
    if sft.get("max_length") is None or int(sft["max_length"]) > 256:
        return f"lower max_length from {sft.get('max_length')}"
    return {"full": "use the method lora", "lora": "use the method qlora, or dtype bfloat16"}.get(method, "use a smaller model")
