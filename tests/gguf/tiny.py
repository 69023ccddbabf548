"""Tiny models with real tokenizers, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXTS = [
    "Low-rank adaptation freezes the weights of a model and trains two small matrices instead.",
    "The attention of a query over keys is softmax(QK/√d), and its values are averaged.",
    "def f(x):\n    return x + 1  # 1,234 spaces    and tabs\t\n\nIt's they'll we've don't.",
    "Größe, naïve, 注意力机制, внимание. Quantisation stores weights in 4 bits; a block shares a scale.",
]


def tokenizer(vocabulary: int = 400) -> Any:
    from runner.training.tokenizer import train_tokenizer

    return train_tokenizer(TEXTS, vocabulary, context=512)


def model(folder: Path, architecture: str = "qwen2", *, dtype: str = "float32", seed: int = 1, **options: Any) -> Path:
    """A full model artifact (random weights, large enough to make the logits differ)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    tokens = tokenizer()
    classes = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    config_class, model_class = classes[architecture]
    settings = {
        "vocab_size": len(tokens) + 3,  # more rows than tokens, as real models have
        "hidden_size": 256,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "eos_token_id": tokens.eos_token_id,
        "bos_token_id": None,
        "pad_token_id": tokens.pad_token_id,
        "initializer_range": 0.08,
    }
    torch.manual_seed(seed)
    made = model_class(config_class(**(settings | options)))
    for name, parameter in made.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    made.to(getattr(torch, dtype)).save_pretrained(folder)
    tokens.save_pretrained(folder)
    record(folder, form="full", architecture=architecture, system_prompt="Answer briefly.")
    return folder


def adapter(folder: Path, base: Path, *, seed: int = 2, ref: str = "base-key/main", **options: Any) -> tuple[Path, Any]:
    """An adapter artifact on ``base`` with random A and B; also the PEFT model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj", "v_proj", "down_proj"], "task_type": "CAUSAL_LM"}
    torch.manual_seed(seed)
    made = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), LoraConfig(**(settings | options)))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_" in name and "magnitude" not in name:
                parameter.normal_(std=0.1)
            elif parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    made.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    record(folder, form="adapter", architecture="qwen2", base=ref, system_prompt="Answer briefly.")
    return folder, made


def record(folder: Path, **fields: Any) -> None:
    (folder / "model.json").write_text(json.dumps(fields), encoding="utf-8")
