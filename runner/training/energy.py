"""Energy that a GPU used, by NVIDIA's own counter (NVML)."""

from __future__ import annotations


def joules(device: str) -> float | None:
    """What the GPU that torch uses has drawn since its driver was loaded, in joules; a difference of two readings is what lay between.

    It counts the whole board, whoever uses it. None on a CPU, without NVML, and where the GPU has no such counter (before Volta).
    """
    if device != "cuda":
        return None
    import pynvml
    import torch

    try:
        pynvml.nvmlInit()
        try:
            # NVML numbers the GPUs of the machine, torch those that CUDA_VISIBLE_DEVICES shows: the UUID is the same in both
            handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}")
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000  # it counts millijoules
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return None
