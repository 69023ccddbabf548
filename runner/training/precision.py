"""Number types that a device cannot serve, said before anything is loaded."""

from __future__ import annotations

from runner.errors import StepError


def check(device: str, *, dtype: str = "float32", bf16: bool = False, fp16: bool = False, compute_dtype: str | None = None) -> None:
    """StepError naming the setting that ``device`` (``cpu`` or ``cuda``) has no arithmetic for.

    ``bf16`` and ``fp16`` ask for mixed precision, ``dtype`` is that of the base's weights, ``compute_dtype`` the one that 4-bit weights are
    multiplied in. bfloat16 needs a GPU of compute capability 8.0 or more; PyTorch emulates it on older ones (T4, V100), many times slower.
    """
    if device == "cpu":
        if fp16:
            raise StepError("fp16 mixed precision needs a GPU", where="fp16", remedy="set fp16 to false, or bf16 to true")
        return
    import torch

    if torch.cuda.is_bf16_supported(including_emulation=False):
        return
    name = torch.cuda.get_device_name()
    for where, asked, remedy in (
        ("bf16", bf16, "set bf16 to false and fp16 to true"),
        ("dtype", dtype == "bfloat16", "set dtype to float16"),
        ("method.bnb_4bit_compute_dtype", compute_dtype == "bfloat16", "set method.bnb_4bit_compute_dtype to float16"),
    ):
        if asked:
            raise StepError(f"this GPU, {name}, has no bfloat16", where=where, remedy=remedy)
