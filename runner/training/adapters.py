"""LoRA and QLoRA through PEFT: what is made of their settings, and an adapter's files as they are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner.errors import StepError

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class LoftQ:
    """LoftQ (Li et al., 2023): the weights are replaced by quantised ones, and the adapter begins with what was lost."""

    loftq_bits: int
    loftq_iter: int


@dataclass(frozen=True)
class LoRA:
    """Low-rank adaptation (Hu et al., 2021), in the words of ``peft.LoraConfig``. ``target_modules`` None is PEFT's choice."""

    r: int
    lora_alpha: float
    lora_dropout: float
    bias: str
    use_rslora: bool
    init_lora_weights: str
    target_modules: Sequence[str] | str | None
    use_dora: bool = False
    loftq_config: LoftQ | None = None


@dataclass(frozen=True)
class Quantization:
    """The 4-bit layers of QLoRA (Dettmers et al., 2023), in the words of ``transformers.BitsAndBytesConfig``."""

    bnb_4bit_quant_type: str
    bnb_4bit_use_double_quant: bool
    bnb_4bit_compute_dtype: str

    def settings(self) -> dict[str, Any]:
        return asdict(self)


def lora_config(lora: LoRA) -> Any:
    """A ``peft.LoraConfig`` for a causal language model."""
    from peft import LoraConfig

    options: dict[str, Any] = {}
    init: bool | str = True if lora.init_lora_weights == "default" else lora.init_lora_weights
    if lora.loftq_config is not None:
        init, options = "loftq", {"loftq_config": asdict(lora.loftq_config)}
    modules = lora.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        bias=lora.bias,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        init_lora_weights=init,
        target_modules=modules if modules is None or isinstance(modules, str) else list(modules),
        **options,
    )


def check_modules(model: Any, lora: LoRA) -> None:
    """StepError when the model has no linear layer of one of the names, before PEFT adapts the others in silence."""
    if lora.target_modules is None or isinstance(lora.target_modules, str):
        return
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    if missing := [module for module in lora.target_modules if module not in names]:
        linear = sorted({name.rsplit(".", 1)[-1] for name, module in model.named_modules() if "Linear" in type(module).__name__})
        raise StepError(
            f"the model has no module {missing[0]}", where="method.target_modules", remedy=f"its linear layers are {', '.join(linear)}"
        )


def save_adapter(model: Any, folder: Path, *, base: str | None, revision: str | None) -> None:
    """Write PEFT's files so that the same adapter gives the same bytes anywhere.

    PEFT writes the target modules in the order of a hash set, the path that the base was loaded from, and a model card;
    here they are sorted, the hub's id (or null), and left out.
    """
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    config.update(base_model_name_or_path=base, revision=revision)
    file.write_text(json.dumps(_ordered(config), ensure_ascii=False, sort_keys=True, indent=1) + "\n", encoding="utf-8")


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Put the base's tokenizer beside an adapter, byte for byte."""
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            (folder / name).write_bytes((source / name).read_bytes())


def _ordered(config: Mapping[str, Any]) -> dict[str, Any]:
    modules = config.get("target_modules")
    return {**config, "target_modules": sorted(modules) if isinstance(modules, list) else modules}
