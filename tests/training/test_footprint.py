"""Estimates of GPU memory against what the libraries really hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.training import footprint, shapes
from runner.training.footprint import Adapter
from runner.training.shapes import PUBLISHED, Shape

TINY = Shape("qwen2", 64, 160, 3, 4, 2, 600, True)
WIDE = Shape("llama", 96, 128, 2, 3, 1, 500, False)

#: What the makers say of their models: parameters, and those outside of the embeddings, in thousand millions.
SAID = {
    "Qwen2.5-0.5B": (0.49, 0.36),
    "Qwen2.5-1.5B": (1.54, 1.31),
    "Qwen2.5-3B": (3.09, 2.77),
    "Qwen2.5-7B": (7.61, 6.53),
    "Qwen2.5-14B": (14.7, 13.1),
    "Qwen2.5-32B": (32.5, 31.0),
    "Llama-3.2-1B": (1.23, None),
    "Llama-3.2-3B": (3.21, None),
    "Llama-3.1-8B": (8.03, None),
}


def model_of(shape: Shape) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    kind, config = {"qwen2": (Qwen2ForCausalLM, Qwen2Config), "llama": (LlamaForCausalLM, LlamaConfig)}[shape.model_type]
    names = [name for name in Shape.__dataclass_fields__ if name not in ("model_type", "head_dim")]
    return kind(config(**{name: getattr(shape, name) for name in names}))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_shapes_have_the_parameters_that_their_makers_name(name: str) -> None:
    shape, (whole, inner) = PUBLISHED[name], SAID[name]
    assert shape.parameters / 1e9 == pytest.approx(whole, rel=0.01)
    if inner is not None:
        assert (shape.parameters - shape.embedding_parameters) / 1e9 == pytest.approx(inner, rel=0.01)


@pytest.mark.parametrize("shape", [TINY, WIDE])
def test_parameters_are_those_of_transformers(shape: Shape) -> None:
    model = model_of(shape)
    assert shape.parameters == model.num_parameters()
    assert footprint.weights(shape, "bfloat16") == 2 * model.num_parameters()
    named = dict(model.model.layers[0].named_modules())
    for layer, (inputs, outputs) in shape.linear().items():
        (module,) = (module for name, module in named.items() if name.endswith(layer))
        assert (module.in_features, module.out_features) == (inputs, outputs), layer


@pytest.mark.parametrize("modules", [None, "all-linear", ["q_proj", "down_proj"]])
def test_adapters_have_the_parameters_of_peft(modules: Any) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(model_of(TINY), LoraConfig(r=6, target_modules=modules, task_type="CAUSAL_LM"))
    assert Adapter(6, modules).parameters(TINY) == model.get_nb_trainable_parameters()[0]


@pytest.mark.parametrize("double", [False, True])
def test_four_bit_weights_are_as_large_as_those_of_bitsandbytes(double: bool) -> None:
    import torch
    from bitsandbytes.functional import quantize_4bit

    inputs, outputs = 512, 2048
    packed, state = quantize_4bit(torch.randn(outputs, inputs), blocksize=64, quant_type="nf4", compress_statistics=double)
    held = packed.numel() + state.absmax.numel() * state.absmax.element_size()
    if double:
        held += state.state2.absmax.numel() * 4
    flat = Shape("qwen2", 512, 2048, 1, 8, 8, 8, True)
    of_linear = footprint.weights(flat, "float32", double) - 4 * (flat.parameters - flat.linear_parameters)
    assert of_linear / flat.linear_parameters == pytest.approx(held / (inputs * outputs), rel=1e-3)


@pytest.mark.parametrize(
    ("optim", "dtype"),
    [
        ("adamw_torch", "float32"), ("adamw_torch", "bfloat16"), ("paged_adamw_32bit", "bfloat16"), ("adamw_bnb_8bit", "float32"),
        ("sgd", "float32"),
    ],
)  # fmt: skip
def test_optimizer_states_are_as_large_as_the_optimizers_own(optim: str, dtype: str) -> None:
    import torch
    from bitsandbytes.optim import AdamW

    weight = torch.nn.Parameter(torch.randn(256, 1024, dtype=getattr(torch, dtype)))
    made = {
        "adamw_torch": lambda: torch.optim.AdamW([weight]),
        "paged_adamw_32bit": lambda: AdamW([weight], optim_bits=32),
        "adamw_bnb_8bit": lambda: AdamW([weight], optim_bits=8),
        "sgd": lambda: torch.optim.SGD([weight]),
    }[optim]()
    weight.grad = torch.randn_like(weight)
    made.step()
    held = [value for name, value in made.state[weight].items() if torch.is_tensor(value) and "qmap" not in name]
    held = [value for value in held if value.numel() > 1]
    assert footprint.optimizer_states(optim, weight.numel(), dtype) == pytest.approx(
        sum(value.numel() * value.element_size() for value in held), rel=1e-3
    )


def kept_for_backward(shape: Shape, rows: int, length: int) -> int:
    """Bytes of the activations that autograd keeps of a forward pass in float32 through the blocks; weights are not among them."""
    import torch

    model = model_of(shape).train()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(0, shape.vocab_size, (rows, length))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = model.model(ids).last_hidden_state
    assert hidden.requires_grad
    return sum(storages.values())


@pytest.mark.parametrize("shape", [TINY, WIDE])
def test_activations_are_about_what_autograd_keeps(shape: Shape) -> None:
    rows, length = 2, 64

    def estimated(**changed: Any) -> float:
        settings = {"dtype": "float32", "mixed": None, "double_quant": None, "optim": "sgd", "rows": rows, "length": length}
        return footprint.training(shape, None, **{**settings, "gradient_checkpointing": False, **changed}).total / footprint.FRAGMENTS

    activations = estimated() - estimated(rows=0)
    assert 0.7 < activations / kept_for_backward(shape, rows, length) < 1.4
    assert estimated(gradient_checkpointing=True) < estimated()


SEVEN = PUBLISHED["Qwen2.5-7B"]
LORA = Adapter(16, "all-linear")
SETTINGS: dict[str, Any] = {
    "dtype": "bfloat16", "mixed": "bfloat16", "double_quant": True, "optim": "paged_adamw_32bit", "rows": 4, "length": 512,
    "gradient_checkpointing": True,
}  # fmt: skip
FULL = {**SETTINGS, "double_quant": None}


@pytest.mark.parametrize(
    ("adapter", "less", "more"),
    [
        (LORA, {}, {"double_quant": False}),
        (LORA, {"double_quant": False}, {"double_quant": None}),
        (LORA, {}, {"rows": 8}),
        (LORA, {}, {"length": 1024}),
        (LORA, {}, {"dropout": True}),
        (LORA, {}, {"gradient_checkpointing": False}),
        (LORA, {}, {"dtype": "float32", "mixed": None}),
        (None, {**FULL, "optim": "sgd"}, {**FULL, "optim": "paged_adamw_8bit"}),
        (None, {**FULL, "optim": "paged_adamw_8bit"}, FULL),
        (None, FULL, {**FULL, "dtype": "float32"}),
    ],
)
def test_what_takes_more(adapter: Adapter | None, less: dict[str, Any], more: dict[str, Any]) -> None:
    found = [footprint.training(SEVEN, adapter, **{**SETTINGS, **change}).total for change in (less, more)]
    assert found[0] < found[1]


def test_full_fine_tuning_of_7b_is_beyond_24_gb_and_qlora_is_not() -> None:
    full, qlora = (footprint.training(SEVEN, adapter, **{**SETTINGS, **change}) for adapter, change in ((None, FULL), (LORA, {})))
    assert full.total - full.paged > 2 * 2 * SEVEN.parameters > 24e9  # weights and gradients in bfloat16 alone
    assert full.paged == pytest.approx(8 * SEVEN.parameters, rel=0.1)
    assert 5e9 < qlora.total < 16e9
    assert full.bfloat16
    assert not footprint.training(SEVEN, LORA, **{**SETTINGS, "dtype": "float16", "mixed": "float16"}).bfloat16
    unpaged = footprint.training(SEVEN, None, **{**FULL, "optim": "adamw_torch"})
    assert unpaged.paged == 0


def test_answering_holds_weights_and_keys_and_values() -> None:
    few, many = (footprint.answering(SEVEN, dtype="bfloat16", double_quant=None, rows=rows, length=1000) for rows in (1, 17))
    assert few.total > 2 * SEVEN.parameters
    keys_and_values = 16 * 1000 * 2 * 28 * 512 * 2  # 28 layers, 4 heads of 128
    assert many.total - few.total > keys_and_values
    assert footprint.answering(SEVEN, dtype="bfloat16", double_quant=True, rows=1, length=1000).total < few.total / 2


@pytest.mark.parametrize(
    ("id", "found"),
    [
        ("Qwen/Qwen2.5-3B-Instruct", "Qwen2.5-3B"),
        ("unsloth/Qwen2.5-3B", "Qwen2.5-3B"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "Llama-3.1-8B"),
        ("meta-llama/Llama-3.1-8B", "Llama-3.1-8B"),
        ("Qwen/Qwen2.5-3B-Instruct-AWQ", None),
        ("unsloth/Qwen2.5-7B-Instruct-bnb-4bit", None),
        ("Qwen/Qwen2.5-VL-7B-Instruct", None),
        ("Qwen/Qwen2.5-72B", None),
        ("team/other", None),
    ],
)
def test_shapes_by_name(id: str, found: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert shapes.of_hub(id) == (PUBLISHED[found] if found else None)


def test_shapes_by_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache/models--team--qwen2-mine/snapshots/abc"
    model_of(TINY).config.save_pretrained(str(folder))
    (tmp_path / "cache/models--team--qwen2-mine/refs").mkdir()
    (tmp_path / "cache/models--team--qwen2-mine/refs/main").write_text("abc")
    assert shapes.of_folder(folder) == TINY
    assert shapes.of_hub("team/qwen2-mine") == TINY
    assert shapes.of_hub("team/qwen2-other") is None
    config = json.loads((folder / "config.json").read_text())
    assert shapes.of_config({**config, "model_type": "mamba"}) is None
    assert shapes.of_config({**config, "quantization_config": {}}) is None
    assert shapes.of_config({"model_type": "qwen2"}) is None
    assert shapes.of_config({**config, "num_attention_heads": 0}) is None
    assert shapes.of_config({**config, "hidden_size": "64"}) is None
    assert shapes.of_config([config]) is None
    assert shapes.of_folder(tmp_path) is None
