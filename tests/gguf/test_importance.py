"""Calibration: what is measured, that llama.cpp quantises by it to the same bytes, and that it does what it is for."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from runner.errors import StepError
from runner.gguf import importance as module
from runner.gguf.architecture import Architecture
from runner.gguf.export import export
from runner.gguf.importance import Importance, measure
from runner.gguf.quantize import FILE_TYPES, converted, imatrix
from runner.gguf.weights import Weights
from tests.gguf import tiny
from tests.gguf.test_export import tensors


@pytest.fixture(scope="module", params=["qwen2", "llama"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("base"), request.param)


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    tokens = tiny.tokenizer()
    return [tokens(text)["input_ids"] for text in tiny.TEXTS]


def opened(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def measured(base: Path, texts: list[list[int]]) -> Importance:
    return measure(opened(base), texts)


def names(folder: Path) -> dict[str, str]:
    weights = Weights(folder)
    return Architecture(weights.config).names(weights.shapes)


def test_the_sums_are_of_what_each_layer_is_given(base: Path, texts: list[list[int]], measured: Importance) -> None:
    model = opened(base)
    block = model.model.layers[0]
    expected = np.zeros(256)
    down = np.zeros(256)
    with torch.no_grad():
        for text in texts:
            states = model.model(torch.tensor([text]), output_hidden_states=True).hidden_states
            given = block.input_layernorm(states[0])
            expected += given[0].double().square().sum(0).numpy()
            turned = model.model.rotary_emb(states[0], torch.arange(len(text))[None])
            after = states[0] + block.self_attn(given, position_embeddings=turned, attention_mask=None)[0]
            between = block.post_attention_layernorm(after)
            down += (block.mlp.act_fn(block.mlp.gate_proj(between)) * block.mlp.up_proj(between))[0].double().square().sum(0).numpy()
    for name in ("q_proj", "k_proj", "v_proj"):
        np.testing.assert_allclose(measured.sums[f"model.layers.0.self_attn.{name}.weight"], expected, rtol=1e-5)
    np.testing.assert_allclose(measured.sums["model.layers.0.mlp.down_proj.weight"], down, rtol=1e-4)
    assert (measured.texts, measured.tokens) == (4, sum(map(len, texts)))
    assert len(measured.sums) == 2 * 7, "the matrices of the blocks; neither embedding nor output"


@pytest.mark.parametrize("quantization", ["Q4_0", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K"])
def test_the_tensors_are_those_of_llama_cpp_with_the_same_matrix(
    quantization: str, base: Path, measured: Importance, tmp_path: Path
) -> None:
    plain, ours, theirs = tmp_path / "f32.gguf", tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    export(base, plain, quantization="F32")
    report = export(base, ours, quantization=quantization, importance=measured, calibrated_on="four texts")
    params = llama_cpp.llama_model_quantize_default_params()
    matrix = measured.of(names(base))
    params.ftype, params.imatrix = FILE_TYPES[quantization], imatrix(matrix)
    assert llama_cpp.llama_model_quantize(os.fsencode(plain), os.fsencode(theirs), ctypes.byref(params)) == 0
    assert tensors(ours) == tensors(theirs)
    assert report.as_data()["calibration"] == {"texts": 4, "tokens": measured.tokens, "tensors": 14}
    export(base, theirs, quantization=quantization)
    assert tensors(ours) != tensors(theirs)


def test_the_file_is_what_llama_cpps_tools_read(base: Path, measured: Importance, tmp_path: Path) -> None:
    export(base, tmp_path / "model.gguf", importance=measured, calibrated_on="four texts")
    reader = gguf.GGUFReader(tmp_path / "imatrix.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert fields == {
        "general.type": "imatrix",
        "imatrix.datasets": ["four texts"],
        "imatrix.chunk_count": 4,
        "imatrix.chunk_size": round(measured.tokens / 4),
    }
    stored = {tensor.name: tensor.data for tensor in reader.tensors}
    origins = {name: origin for name, origin in names(base).items() if origin in measured.sums}
    assert stored.keys() == {f"{name}.{part}" for name in origins for part in ("in_sum2", "counts")}
    for name, origin in origins.items():
        np.testing.assert_array_equal(stored[f"{name}.in_sum2"], measured.sums[origin].astype(np.float32)[None])
        assert stored[f"{name}.counts"].tolist() == [[measured.tokens]]
    written = gguf.GGUFReader(tmp_path / "model.gguf").fields
    assert written["quantize.imatrix.entries_count"].contents() == 14
    assert written["quantize.imatrix.dataset"].contents() == "four texts"


def test_columns_that_matter_are_rounded_with_more_care() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((64, 256), np.float32)
    matters = np.exp(rng.standard_normal(256) * 2).astype(np.float32)

    def error(importance: NDArray[np.float32] | None) -> float:
        kind = gguf.GGMLQuantizationType.Q4_K
        rounded = gguf.dequantize(converted(weights, kind, 1, importance).reshape(64, -1), kind)
        return float((matters * (rounded - weights) ** 2).sum())

    assert error(matters) < 0.8 * error(None)
    assert error(matters) < 0.8 * error(matters[::-1].copy())


def test_a_measuring_that_was_broken_off_goes_on_to_the_same_sums(
    base: Path, texts: list[list[int]], measured: Importance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT", 1)
    journal, model, seen = tmp_path / "journal" / "importance.npz", opened(base), []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(model, texts, journal=journal, progress=stop)
    again = measure(model, texts, journal=journal, progress=stop)
    assert seen[3:] == [(measured.tokens, measured.tokens)], "only the last text was left to do"
    assert all(np.array_equal(again.sums[name], sums) for name, sums in measured.sums.items())
    journal.write_bytes(journal.read_bytes()[:100])
    seen.clear()
    assert measure(model, texts[:2], journal=journal, progress=stop).texts == 2
    assert len(seen) == 2, "a damaged journal, or one of other texts, is no beginning"


def test_nothing_to_measure_on_is_said(base: Path) -> None:
    with pytest.raises(StepError, match="there is no calibration text"):
        measure(opened(base), [])


@pytest.fixture
def broken(base: Path) -> Any:
    model = opened(base)
    model.model.layers[1].mlp.gate_proj.weight.data[0, 0] = float("inf")
    return model


def test_an_activation_that_is_not_finite_is_said(broken: Any, texts: list[list[int]]) -> None:
    with pytest.raises(StepError, match=r"what model.layers.1.mlp.down_proj.weight is multiplied with is not finite"):
        measure(broken, texts)
