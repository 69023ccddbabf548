"""Merging equals PEFT's merge_and_unload, for every way of making a LoRA that train offers and more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from runner.errors import InputError, StepError
from runner.gguf.weights import EMBEDDING, HEAD, Weights
from tests.gguf import tiny


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    folder = tmp_path_factory.mktemp("bases")
    return {tied: tiny.model(folder / str(tied), tie_word_embeddings=tied) for tied in (True, False)}


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "all biases": {"bias": "all"},
    "biases of the adapted layers": {"bias": "lora_only"},
    "bias of B": {"lora_bias": True, "target_modules": ["q_proj", "k_proj"]},
    "patterns": {"rank_pattern": {"q_proj": 2, r"layers\.1\.self_attn\.k_proj": 6}, "alpha_pattern": {"v_proj": 32}},
    "patterns and rslora": {"use_rslora": True, "rank_pattern": {"q_proj": 2}},
    "embedding and head": {"target_modules": ["embed_tokens", "lm_head", "o_proj"]},
    "whole modules": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "whole norm": {"modules_to_save": ["norm"]},
    "gaussian": {"init_lora_weights": "gaussian"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_equals_peft(kind: str, bases: dict[bool, Path], tmp_path: Path) -> None:
    folder, made = tiny.adapter(tmp_path, bases[False], **KINDS[kind])
    before = load_file(bases[False] / "model.safetensors")
    expected = made.merge_and_unload().state_dict()
    weights = Weights(bases[False], folder)
    assert set(weights.shapes) == set(expected)
    for name in weights.shapes:
        torch.testing.assert_close(weights.tensor(name), expected[name], rtol=1e-5, atol=1e-6)
    assert any(not torch.equal(weights.tensor(name), before[name]) for name in before)


def test_a_tied_head_is_untied_only_when_one_side_changes(bases: dict[bool, Path], tmp_path: Path) -> None:
    assert Weights(bases[True]).tied
    plain, _ = tiny.adapter(tmp_path / "plain", bases[True])
    assert Weights(bases[True], plain).tied
    head, _ = tiny.adapter(tmp_path / "head", bases[True], target_modules=["lm_head"])
    weights = Weights(bases[True], head)
    parts = load_file(head / "adapter_model.safetensors")
    delta = parts["base_model.model.lm_head.lora_B.weight"] @ parts["base_model.model.lm_head.lora_A.weight"] * 2
    assert not weights.tied
    torch.testing.assert_close(weights.tensor(HEAD), weights.tensor(EMBEDDING) + delta)
    torch.testing.assert_close(weights.tensor(EMBEDDING), Weights(bases[True]).tensor(EMBEDDING))


def test_shards_and_half_precision_read_the_same(bases: dict[bool, Path], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(bases[False], dtype=torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    weights = Weights(tmp_path)
    for name, value in model.state_dict().items():
        assert torch.equal(weights.tensor(name), value.float())
    next(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(InputError, match="shards are missing: model-0000"):
        Weights(tmp_path)


def _change(folder: Path, **values: Any) -> Path:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init_lora_weights": "pissa_niter_4"}, "an adapter started with init_lora_weights: pissa_niter_4 goes with changed base weights"),
        ({"peft_type": "VERA"}, "this export merges LoRA adapters, not VERA"),
        ({"layer_replication": [[0, 1]]}, "cannot merge an adapter with layer_replication"),
    ],
)
def test_what_cannot_be_merged_is_refused(change: dict[str, Any], message: str, bases: dict[bool, Path], tmp_path: Path) -> None:
    folder, _ = tiny.adapter(tmp_path, bases[False])
    with pytest.raises(StepError, match=message):
        Weights(bases[False], _change(folder, **change))


def test_an_adapter_of_another_model_is_refused(bases: dict[bool, Path], tmp_path: Path) -> None:
    other = tiny.model(tmp_path / "other", hidden_size=128)
    folder, _ = tiny.adapter(tmp_path / "adapter", other)
    with pytest.raises(InputError, match=r"an update of 128 x 256 does not fit a weight of 256 x 256"):
        Weights(bases[False], folder)
    deeper = tiny.model(tmp_path / "deeper", num_hidden_layers=3)
    folder, _ = tiny.adapter(tmp_path / "adapter3", deeper)
    with pytest.raises(InputError, match=r"the adapter changes model\.layers\.2\.\S+, which the base does not have"):
        Weights(bases[False], folder)


def test_damaged_weights_are_named(bases: dict[bool, Path], tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((bases[False] / name).read_bytes())
    data = load_file(tmp_path / "model.safetensors")
    data["model.norm.weight"][3] = float("nan")
    save_file(data, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.norm\.weight holds values that are not finite"):
        Weights(tmp_path).tensor("model.norm.weight")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        Weights(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="only pickled weights, which are never loaded"):
        Weights(tmp_path)
