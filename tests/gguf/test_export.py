"""The file that is written: the same numbers as llama.cpp's own tools, the same tokens and texts as the original."""

from __future__ import annotations

import ctypes
import json
import os
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
import pytest

from runner.errors import InputError, StepError
from runner.gguf.check import same_tokens, verify
from runner.gguf.export import export
from runner.gguf.llama import Model
from runner.gguf.quantize import FILE_TYPES
from runner.gguf.vocab import Vocabulary
from tests.gguf import tiny

SHARED = Path(__file__).parents[3] / "shared" / "data" / "models"
shared = pytest.mark.shared


def needs(folder: Path) -> Path:
    if not folder.exists():
        pytest.skip(f"../shared/data/models/{folder.name} is missing")
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.model(tmp_path_factory.mktemp("base"))


def tensors(path: Path) -> dict[str, tuple[str, bytes]]:
    return {tensor.name: (tensor.tensor_type.name, tensor.data.tobytes()) for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize(
    ("quantization", "pure"),
    [("Q4_K_M", True), *((name, False) for name in ("Q4_0", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16"))],
)
def test_the_tensors_are_those_of_llama_cpp(quantization: str, pure: bool, base: Path, tmp_path: Path) -> None:
    plain, ours, theirs = tmp_path / "f32.gguf", tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    export(base, plain, quantization="F32")
    report = export(base, ours, quantization=quantization, pure=pure)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.pure = FILE_TYPES[quantization], pure
    assert llama_cpp.llama_model_quantize(os.fsencode(plain), os.fsencode(theirs), ctypes.byref(params)) == 0
    assert tensors(ours) == tensors(theirs)
    assert report.file_bytes == ours.stat().st_size
    reader = gguf.GGUFReader(ours)
    bits, weights = 8 * sum(int(t.n_bytes) for t in reader.tensors), sum(int(t.n_elements) for t in reader.tensors)
    assert report.bits_per_weight == pytest.approx(bits / weights, abs=1e-4)
    assert int(reader.fields["general.file_type"].parts[-1][0]) == FILE_TYPES[quantization]
    verify(ours, report.tensor_count, base, threads=1)


def test_the_report_counts_types_and_bytes(base: Path, tmp_path: Path) -> None:
    report = export(base, tmp_path / "model.gguf").as_data()
    assert {kind: entry["count"] for kind, entry in report["tensors"].items()} == {"F32": 11, "Q4_K": 12, "Q6_K": 3}
    assert report["fallbacks"] == []
    assert 4.5 < report["bits_per_weight"] < 6
    assert export(base, tmp_path / "pure.gguf", pure=True).as_data()["tensors"].keys() == {"F32", "Q4_K", "Q6_K"} - {"Q6_K"}
    assert not list(tmp_path.glob("*.header"))


def test_the_same_input_gives_the_same_bytes_with_any_number_of_threads(base: Path, tmp_path: Path) -> None:
    for threads in (1, 3):
        export(base, tmp_path / f"{threads}.gguf", threads=threads)
    assert (tmp_path / "1.gguf").read_bytes() == (tmp_path / "3.gguf").read_bytes()


def test_a_fall_back_fails_by_name_unless_it_is_allowed(tmp_path: Path) -> None:
    narrow = tiny.model(tmp_path / "narrow", intermediate_size=320)
    with pytest.raises(StepError) as caught:
        export(narrow, tmp_path / "model.gguf")
    assert str(caught.value) == (
        "2 of 26 tensors cannot have the types of Q4_K_M: "
        "blk.0.ffn_down.weight: 320 columns are not divisible by 256, Q5_0 instead of Q4_K; "
        "blk.1.ffn_down.weight: 320 columns are not divisible by 256, Q8_0 instead of Q6_K\n"
        "  give the model widths that the divisor divides, choose Q8_0 or F16, or set allow_fallback: true"
    )
    assert list(tmp_path.glob("*.gguf")) == []
    report = export(narrow, tmp_path / "model.gguf", allow_fallback=True)
    assert [entry["tensor"] for entry in report.as_data()["fallbacks"]] == ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"]
    verify(tmp_path / "model.gguf", report.tensor_count, narrow, threads=1)


def test_progress_counts_parameters_to_the_end(base: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = export(base, tmp_path / "model.gguf", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (report.parameters, report.parameters)
    assert len(seen) == report.tensor_count


@shared
@pytest.mark.parametrize("quantization", ["F32", "F16"])
def test_a_real_model_goes_on_as_it_is_known_to(quantization: str, tmp_path: Path) -> None:
    folder = needs(SHARED / "stories260K-hf")
    report = export(folder, tmp_path / "model.gguf", quantization=quantization, allow_fallback=True)
    verify(tmp_path / "model.gguf", report.tensor_count, folder, threads=1)
    tokens = [1]
    with Model(tmp_path / "model.gguf") as model, model.session(256, threads=1) as session:
        for position in range(200):
            logits = session.decode([(tokens[-1], position, 0, True)])
            tokens.append(int(logits[0].argmax()))
        assert model.tokenize("", bos=True) == [1]
        assert model.text(tokens).strip() == (folder / "expected_greedy_200_tokens.txt").read_text().strip()


@shared
def test_the_vocabulary_is_that_of_the_known_file_of_the_same_model(tmp_path: Path) -> None:
    folder, known = needs(SHARED / "stories260K-hf"), SHARED / "gguf" / "stories260K.f32.gguf"
    export(folder, tmp_path / "model.gguf", quantization="F32")
    text = 'Once upon a time, there was a little girl named Lily.\nShe said: "Über-😀!"  two  spaces'
    with Model(tmp_path / "model.gguf") as ours, Model(known) as theirs:
        assert ours.tokenize(text, bos=True) == theirs.tokenize(text, bos=True)


@shared
@pytest.mark.parametrize(("name", "vectors"), [("qwen2.5", "qwen2"), ("llama3", "llama-bpe")])
def test_tokens_are_those_of_llama_cpps_vectors_and_of_hugging_face(name: str, vectors: str, tmp_path: Path) -> None:
    folder, known = needs(SHARED / "tokenizers" / name), SHARED / "tokenizers" / "test_vectors"
    vocabulary_only(folder, tmp_path / "vocab.gguf")
    texts = (known / f"ggml-vocab-{vectors}.gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    rows = (known / f"ggml-vocab-{vectors}.gguf.out").read_text().split("\n")
    with Model(tmp_path / "vocab.gguf", vocab_only=True) as model:
        assert len(texts) == 47
        for text, row in zip(texts, rows, strict=True):
            assert model.tokenize(text) == [int(token) for token in row.split()], text
        same_tokens(model, folder)


def vocabulary_only(folder: Path, target: Path, size: int = 151_936) -> None:
    writer = gguf.GGUFWriter(target, "qwen2")
    Vocabulary(folder, size).write(writer, {})
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def test_special_tokens_and_the_template_come_along(base: Path, tmp_path: Path) -> None:
    export(base, tmp_path / "model.gguf")
    with Model(tmp_path / "model.gguf") as model:
        tokens = tiny.tokenizer()
        assert int(model.metadata["tokenizer.ggml.eos_token_id"]) == tokens.eos_token_id
        assert model.metadata["tokenizer.ggml.add_bos_token"] == "false"
        assert model.metadata["tokenizer.chat_template"] == tokens.chat_template
        assert model.ends(tokens.eos_token_id)
        assert not model.ends(20)
        assert model.vocab_size == len(tokens) + 3
        assert model.tokenize("<|im_start|>user")[0] == tokens.convert_tokens_to_ids("<|im_start|>")
        assert model.text([tokens.eos_token_id]) == ""


def test_a_tokenizer_that_llama_cpp_splits_otherwise_is_refused(base: Path, tmp_path: Path) -> None:
    data = json.loads((base / "tokenizer.json").read_text())
    data["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\S+"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(StepError, match=r"llama\.cpp has no splitting for this tokenizer"):
        vocabulary_only(tmp_path, tmp_path / "v.gguf")


def test_another_tokenization_is_found(base: Path, tmp_path: Path) -> None:
    data = json.loads((base / "tokenizer.json").read_text())
    data["normalizer"] = {"type": "Lowercase"}  # llama.cpp does not know of it
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    report = export(base, tmp_path / "model.gguf")
    with pytest.raises(StepError, match=r"llama\.cpp tokenizes"):
        verify(tmp_path / "model.gguf", report.tensor_count, tmp_path, threads=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["BertModel"]}, "cannot export the architecture BertModel"),
        ({"quantization_config": {"quant_method": "gptq"}}, "the base's weights are already quantised"),
        ({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}}, "cannot export rotary embeddings of the type longrope"),
    ],
)
def test_models_that_cannot_be_exported_are_refused(change: dict[str, Any], message: str, base: Path, tmp_path: Path) -> None:
    for file in base.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = tmp_path / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(StepError, match=message):
        export(tmp_path, tmp_path / "model.gguf")


def test_a_damaged_file_is_refused_with_llama_cpps_reason(base: Path, tmp_path: Path) -> None:
    report = export(base, tmp_path / "model.gguf")
    with pytest.raises(StepError, match=f"holds {report.tensor_count} tensors instead of 3"):
        verify(tmp_path / "model.gguf", 3, base, threads=1)
    data = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "short.gguf").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"llama.cpp cannot load it: .*(within file bounds|corrupted|incomplete)"):
        verify(tmp_path / "short.gguf", report.tensor_count, base, threads=1)
    (tmp_path / "text.gguf").write_bytes(b"not a model at all, but long enough for a header")
    with pytest.raises(InputError, match=r"cannot load it: .*magic"):
        Model(tmp_path / "text.gguf")


@shared
def test_a_mangled_real_file_is_refused() -> None:
    for file in needs(SHARED / "gguf" / "malformed").glob("*.gguf"):
        with pytest.raises(InputError, match=r"llama.cpp cannot load it: (?!llama.cpp gave no reason)"):
            Model(file)


def test_quantisation_keeps_values_near(base: Path, tmp_path: Path) -> None:
    from runner.gguf.quantize import converted

    values = np.random.default_rng(0).normal(size=(8, 512)).astype(np.float32)
    for kind, error in (("Q4_K", 0.09), ("Q8_0", 0.01), ("BF16", 0.004), ("F32", 1e-12)):
        entry = gguf.GGMLQuantizationType[kind]
        back = gguf.dequantize(converted(values, entry).reshape(8, -1).view(np.float32 if kind == "F32" else np.uint8), entry)
        assert np.sqrt(np.mean((back - values) ** 2)) < error
