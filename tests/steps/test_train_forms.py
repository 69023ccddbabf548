"""What train makes: whole models, adapters trained further, checkpoints, and the files of trackers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from runner.answering import Generation, open_answerer
from runner.contract import Artifact, Fault, Output, Upstream
from runner.errors import StepError
from runner.steps import train as step
from runner.training import load
from tests.steps.local_context import LocalContext, artifact
from tests.steps.test_train import LORA, QLORA, TINY, base, digests, one_thread, run
from tests.training.tiny import EXAMPLES, only, write_examples

__all__ = ["base", "one_thread"]  # fixtures


def test_outputs_are_named_after_the_checkpoints() -> None:
    params = msgspec.convert({"method": {"kind": "full"}, "checkpoints": {"steps": [2], "epochs": [1]}}, step.Params)
    assert {name: output.form for name, output in step.outputs(params).items()} == {"main": "full", "step-2": "full", "epoch-1": "full"}


def test_an_adapter_is_continued_and_nothing_else() -> None:
    upstream = {"model": [Upstream("lora", "train", step.Params(), Output("model", "adapter"))]}
    assert list(step.check(msgspec.convert({"method": {"kind": "continue"}}, step.Params), upstream)) == []
    assert list(step.check(step.Params(), upstream)) == [
        Fault("method", "`lora` is an adapter", "{kind: continue} to train it further; another method needs a full model")
    ]


def test_all_weights_of_a_model_give_a_full_model_that_answers(base: Artifact, tmp_path: Path) -> None:
    values = TINY | {"method": {"kind": "full"}, "gradient_checkpointing": True, "checkpoints": {"steps": [2], "epochs": [1]}}
    folder = run(values, base, tmp_path / "one")
    assert json.loads((folder / "model.json").read_text()) == {
        "form": "full", "architecture": "Qwen2ForCausalLM", "system_prompt": "Answer briefly.",
    }  # fmt: skip
    assert json.loads((folder / "config.json").read_text())["use_cache"] is True
    assert digests(folder.parent / "epoch-1") == {name: digest for name, digest in digests(folder).items() if name != "log.jsonl"}
    assert digests(folder) == digests(run(values, base, tmp_path / "other"))
    halfway, last = (load(folder.parent / name, only("", base.path)).model.state_dict() for name in ("step-2", "main"))
    assert not torch.equal(halfway["model.embed_tokens.weight"], last["model.embed_tokens.weight"])
    answerer = open_answerer(folder, "full", only("", base.path), threads=1)
    [answer] = answerer.answer([answerer.prompt(EXAMPLES[8]["question"])], Generation(4), [EXAMPLES[8]["answer"]])
    assert answer.reference_loss is not None


@pytest.mark.parametrize("method", [LORA, QLORA | {"use_dora": True}])
def test_an_adapter_is_trained_further_on_its_own_base(method: dict[str, Any], base: Artifact, tmp_path: Path) -> None:
    values = TINY | {"method": method, "checkpoints": {"steps": [2]}}
    first = run(values, base, tmp_path / "first").parent
    halfway = artifact(first / "step-2", Output("model", "adapter"), "lora")
    inputs = {"model": halfway, "examples": artifact(tmp_path / "first/train", "examples"), "evaluation": None}
    context = LocalContext(tmp_path / "context", tmp_path, step.Resources(device="cpu"), artifacts={base.ref: base})
    params = msgspec.convert(TINY | {"method": {"kind": "continue"}, "eval_steps": None}, step.Params)
    step.run(params, inputs, tmp_path / "out", context)
    before, after = ({**json.loads((folder / "model.json").read_text())} for folder in (halfway.path, tmp_path / "out/main"))
    assert before == after  # the same base, the same 4-bit layers
    config = "adapter_config.json"
    assert (halfway.path / config).read_bytes() == (tmp_path / "out/main" / config).read_bytes()
    weights = [
        {name: value for name, value in load(folder, only(base.ref, base.path)).model.named_parameters() if "lora_" in name}
        for folder in (halfway.path, tmp_path / "out/main")
    ]
    assert all(bool(value.any()) for name, value in weights[0].items() if "lora_B" in name)
    moved = [float((weights[1][name] - value).abs().max()) for name, value in weights[0].items() if "lora_" in name]
    assert 0 < max(moved) < 0.1  # four steps of 0.01 from where it was, and not a new start


def test_an_offline_run_sends_nothing_to_wandb(base: Artifact, tmp_path: Path) -> None:
    context = LocalContext(tmp_path, tmp_path, step.Resources(device="cpu", report_to=["wandb"], wandb_mode="online"), artifacts={})
    with pytest.raises(StepError, match="wandb would send the training"):
        step.run(step.Params(), {"model": base}, tmp_path / "out", context)


def test_a_tracker_leaves_its_files_in_the_provenance(base: Artifact, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    inputs = {"model": base, "examples": artifact(write_examples(tmp_path / "train", EXAMPLES[:4]), "examples")}
    context = LocalContext(tmp_path, tmp_path, step.Resources(device="cpu", report_to=["tensorboard"]), artifacts={base.ref: base})
    step.run(msgspec.convert(TINY | {"eval_steps": None, "max_steps": 2}, step.Params), inputs, tmp_path / "out", context)
    assert list((tmp_path / "out/provenance/trackers/tensorboard").glob("events*"))
