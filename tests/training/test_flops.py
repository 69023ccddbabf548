"""The formula of a training's arithmetic, held to what PyTorch counts while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from runner.training import load
from runner.training.adapters import lora_config
from runner.training.flops import training_flops
from runner.training.quiet import quiet
from tests.training.tiny import LORA, no_bases, write_model

LENGTHS = (40, 7, 25)


def counted(model: Any, lengths: Sequence[int]) -> int:
    """One pass over each sequence by itself. Eager attention: the whole square of the mask, product by product."""
    model.set_attn_implementation("eager")
    model.train()
    with FlopCounterMode(display=False) as counter:
        for length in lengths:
            ids = torch.arange(length)[None]
            model(input_ids=ids, labels=ids).loss.backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("changes", [{"tie_word_embeddings": True}, {"architecture": "llama", "tie_word_embeddings": False}])
def test_a_model_trained_as_a_whole(tmp_path: Path, changes: dict[str, Any]) -> None:
    model = load(write_model(tmp_path / "model", **changes), no_bases).model
    assert training_flops(model, LENGTHS) == counted(model, LENGTHS)


@pytest.mark.parametrize("modules", ["all-linear", ["q_proj", "down_proj"]])
def test_an_adapter_on_a_frozen_base(tiny_model: Path, modules: Any) -> None:
    from peft import get_peft_model

    with quiet():
        base = load(tiny_model, no_bases).model
        model = get_peft_model(base, lora_config(replace(LORA, lora_dropout=0.0, target_modules=modules)))
    model.enable_input_require_grads()  # as gradient checkpointing does, or the first layer would leave out what lies below its adapter
    assert training_flops(model, LENGTHS) == counted(model, LENGTHS)


def test_weights_in_4_bits_are_counted_one_by_one(tiny_model: Path) -> None:
    from runner.training.loading import load_weights
    from runner.training.stored import describe

    four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "float32"}
    packed = load_weights(describe(tiny_model, no_bases), device="cpu", dtype="float32", quantization=four)
    plain = load(tiny_model, no_bases).model
    for model in (packed, plain):
        model.requires_grad_(False)
    assert training_flops(packed, LENGTHS) == training_flops(plain, LENGTHS)


def test_a_shape_that_does_not_tell() -> None:
    from transformers import MixtralConfig, MixtralForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    experts = MixtralForCausalLM(MixtralConfig(vocab_size=32, num_hidden_layers=1, num_local_experts=2, **sizes))
    assert training_flops(experts, LENGTHS) is None
