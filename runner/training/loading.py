"""Loading a stored model, whatever its form and wherever its weights lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import StepError
from runner.training.quiet import quiet
from runner.training.stored import ModelInfo, Resolve, describe


@dataclass(frozen=True)
class Loaded:
    """A model ready to be asked: in evaluation mode, on its device, with its tokenizer."""

    model: Any  # transformers.PreTrainedModel or peft.PeftModel
    tokenizer: Any  # transformers.PreTrainedTokenizerBase
    system_prompt: str | None


def device_of(name: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``. StepError for ``cuda`` where torch finds no GPU."""
    if name == "cpu":
        return "cpu"
    import torch

    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise StepError("resources.device is cuda, but torch finds no GPU", remedy="set resources.device to auto or cpu")
    return "cuda" if found else "cpu"


def load(folder: Path, resolve: Resolve, *, device: str = "cpu", dtype: str = "float32", as_trained: bool = True) -> Loaded:
    """Load the full model or adapter stored in ``folder``; an adapter is put on its base (``resolve`` finds that by its ref).

    ``dtype`` is the type of the weights (``float32``, ``bfloat16``, ``float16``). An adapter that was trained by QLoRA gets its
    base in the same 4-bit layers, so that it is judged on what it learnt on; ``as_trained=False`` loads that base in ``dtype`` too.
    A GGUF is not for this function.
    """
    info = describe(folder, resolve)
    if info.form == "gguf":
        raise StepError(f"{folder} holds a GGUF model", remedy="a GGUF is read by llama.cpp, not by Transformers")
    quantization = info.record.get("quantization") if as_trained else None
    with quiet():
        source = describe(info.base, resolve) if info.base is not None else info
        model = load_weights(source, device=device, dtype=dtype, quantization=quantization)
        if info.form == "adapter":
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(info.weights), is_trainable=False)
        return Loaded(model.eval(), load_tokenizer(folder, resolve), info.system_prompt)


def load_weights(info: ModelInfo, *, device: str, dtype: str, quantization: dict[str, Any] | None = None) -> Any:
    """A full model's weights, as Transformers' AutoModelForCausalLM. Safetensors only, and no code from the model's folder."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {}
    if quantization is not None:
        settings = {**quantization, "bnb_4bit_compute_dtype": getattr(torch, quantization["bnb_4bit_compute_dtype"])}
        options = {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, **settings), "device_map": {"": device}}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            str(info.weights), dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False, local_files_only=True, **options
        )
    except (OSError, ValueError) as error:
        raise _refused(info, error) from error
    if quantization is None:
        return model.to(device)
    _keep_trainable(model)
    return model


def _keep_trainable(model: Any) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on CPUs with AVX512-BF16.

    It does so at the first evaluation and never undoes it, and the packed product has no gradient: an evaluation before or
    during training would end the training, or quietly cut the gradients of every layer below. It rounds differently, too.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def load_tokenizer(folder: Path, resolve: Resolve) -> Any:
    """The tokenizer of a stored model, with its chat template and a padding token."""
    from transformers import AutoTokenizer

    info = describe(folder, resolve)
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(info.tokenizer), trust_remote_code=False, local_files_only=True)
        except (OSError, ValueError) as error:
            raise _refused(info, error) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _refused(info: ModelInfo, error: Exception) -> StepError:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    where = str(info.record.get("hub", {}).get("id") or info.weights)
    if "trust_remote_code" in str(error) or "auto_map" in info.config:
        return StepError(f"the model {where} wants to run code of its own", remedy="only architectures that Transformers knows are loaded")
    if "safetensors" in str(error) or "pytorch_model" in str(error):
        return StepError(
            f"the model {where} has no safetensors: {text}", remedy="pickled weights are refused; use a revision with safetensors"
        )
    return StepError(f"the model {where} cannot be loaded: {text}")
