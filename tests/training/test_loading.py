from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from runner.errors import StepError
from runner.training import describe, device_of, load, load_tokenizer
from runner.training.adapters import LoRA, lora_config, save_adapter
from runner.training.quiet import quiet
from runner.training.stored import write_record
from tests.training.tiny import LORA, no_bases, only, write_model

REF = "abc/main"
LORA_FILES = ("adapter_config.json", "adapter_model.safetensors")
FOUR_BIT = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "float32"}


def write_adapter(folder: Path, base: Path, lora: LoRA = LORA, **record: object) -> Path:
    """An adapter with weights that do something."""
    from peft import get_peft_model

    torch.manual_seed(0)
    with quiet():
        model = get_peft_model(load(base, no_bases).model, lora_config(lora))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.5)
        save_adapter(model, folder, base=None, revision=None)
    write_record(folder, form="adapter", architecture="Qwen2ForCausalLM", base=REF, system_prompt="Be brief.", **record)
    return folder


def logits(folder: Path, base: Path | None = None, **options: object) -> torch.Tensor:
    resolve = no_bases if base is None else only(REF, base)
    loaded = load(folder, resolve, **options)  # type: ignore[arg-type]
    ids = loaded.tokenizer("The tensor is stored", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return loaded.model(input_ids=ids).logits.float()


def test_a_full_model(tiny_model: Path) -> None:
    loaded = load(tiny_model, no_bases)
    assert loaded.system_prompt == "Answer briefly."
    assert not loaded.model.training
    assert loaded.model.dtype == torch.float32
    info = describe(tiny_model, no_bases)
    assert (info.form, info.architecture, info.base) == ("full", "Qwen2ForCausalLM", None)
    assert info.config["model_type"] == "qwen2"
    assert info.weights == info.tokenizer == tiny_model


def test_dtype_is_that_of_the_weights(tiny_model: Path) -> None:
    assert load(tiny_model, no_bases, dtype="bfloat16").model.dtype == torch.bfloat16


def test_an_adapter_is_put_on_its_base(tiny_model: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_model)
    info = describe(adapter, only(REF, tiny_model))
    assert (info.form, info.base, info.weights, info.tokenizer) == ("adapter", tiny_model, adapter, tiny_model)
    assert info.config["hidden_size"] == 32
    assert load(adapter, only(REF, tiny_model)).system_prompt == "Be brief."
    assert not torch.allclose(logits(adapter, tiny_model), logits(tiny_model), atol=1e-3)


def test_a_qlora_adapter_is_judged_on_the_base_it_was_trained_on(tiny_model: Path, tmp_path: Path) -> None:
    plain = write_adapter(tmp_path / "plain", tiny_model)
    tuned = write_adapter(tmp_path / "tuned", tiny_model, quantization=FOUR_BIT)
    assert not torch.allclose(logits(tuned, tiny_model), logits(plain, tiny_model), atol=1e-4)
    assert torch.equal(logits(tuned, tiny_model, as_trained=False), logits(plain, tiny_model))
    assert torch.allclose(logits(tuned, tiny_model), logits(plain, tiny_model), atol=1.0)


def test_an_adapters_files_depend_on_nothing_but_the_adapter(tiny_model: Path, tmp_path: Path) -> None:
    one, other = (write_adapter(tmp_path / name, tiny_model) for name in ("one", "other"))
    assert sorted(path.name for path in one.iterdir()) == [*LORA_FILES, "model.json"]
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in LORA_FILES)
    config = json.loads((one / "adapter_config.json").read_text())
    assert config["target_modules"] == ["down_proj", "q_proj", "v_proj"]
    assert str(tmp_path) not in (one / "adapter_config.json").read_text()


def test_a_local_folder_that_lost_a_file(tiny_model: Path, tmp_path: Path) -> None:
    write_record(tmp_path, form="full", architecture="X", local=str(tiny_model), files={"config.json": "0", "gone.safetensors": "0"})
    with pytest.raises(StepError, match=r"has lost gone\.safetensors"):
        describe(tmp_path, no_bases)


def test_what_is_no_model(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(StepError, match=r"has no model\.json"):
        describe(tmp_path, no_bases)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(StepError, match="is no JSON"):
        describe(tmp_path, no_bases)
    write_record(tmp_path, form="gguf", architecture="Qwen2ForCausalLM")
    with pytest.raises(StepError, match="holds a GGUF model"):
        load(tmp_path, no_bases)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    (model / "model.safetensors").unlink()
    torch.save({"evil": torch.zeros(1)}, model / "pytorch_model.bin")
    with pytest.raises(StepError, match="has no safetensors") as caught:
        load(model, no_bases)
    assert "pickled weights are refused" in caught.value.remedy


def test_code_from_a_models_folder_is_not_run(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"}}
    (model / "config.json").write_text(json.dumps(config))
    (model / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(StepError, match="wants to run code of its own"):
        load(model, no_bases)
    assert not (tmp_path / "ran").exists()


def test_device() -> None:
    assert device_of("cpu") == "cpu"
    assert device_of("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(StepError, match="torch finds no GPU"):
            device_of("cuda")


def test_a_padding_token_is_there(tiny_model: Path) -> None:
    assert load_tokenizer(tiny_model, no_bases).pad_token == "<|endoftext|>"


def test_importing_is_light() -> None:
    program = "import sys, runner.training, runner.steps.model, runner.steps.train; print(sorted(m for m in sys.modules if m in HEAVY))"
    heavy = "HEAVY = {'torch', 'transformers', 'trl', 'peft', 'datasets', 'numpy', 'huggingface_hub', 'bitsandbytes', 'tokenizers'}\n"
    result = subprocess.run([sys.executable, "-c", heavy + program], capture_output=True, text=True, check=True, timeout=50)
    assert result.stdout.strip() == "[]"
