"""What is wrong with a training by its keys alone, and is said before anything is loaded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from runner.contract import Fault, Output, Upstream
from runner.steps import model as model_step
from runner.steps import train as step
from tests.steps.test_train import LORA, TINY

BETWEEN = "eval_steps, or eval_strategy: epoch"


def faults(changes: dict[str, Any], *bound: str, model: dict[str, Any] | None = None) -> list[Fault]:
    upstream = {port: [Upstream(port, "split", None, Output("examples"))] for port in bound}
    params = msgspec.convert(model or {"scratch": {"architecture": "qwen2"}}, model_step.Params)
    upstream["model"] = [Upstream("base", "model", params, Output("model", "full"))]
    return list(step.check(msgspec.convert(TINY | {"eval_steps": None} | changes, step.Params), upstream))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"bf16": True, "fp16": True}, Fault("fp16", "bf16 is on too", "one of bf16 and fp16")),
        ({"max_steps": 0}, Fault("max_steps", "no step at all", "a number of steps, or -1 for num_train_epochs")),
        (
            {"padding": "max_length", "max_length": None},
            Fault("padding", "there is no max_length to pad to", "a max_length, or padding: longest"),
        ),
        ({"eval_steps": 5}, Fault("eval_steps", "no evaluation examples are bound", "from: {evaluation: STEP}, or no eval_steps")),
        (
            {"method": LORA | {"target_modules": ["q_proj", "v_prj"]}},
            Fault(
                "method.target_modules[1]",
                "qwen2 has no linear layer `v_prj`",
                "did you mean `v_proj`? It has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
            ),
        ),
        (
            {"method": LORA | {"target_modules": ["lm_head"]}},
            Fault(
                "method.target_modules[0]",
                "TRL computes the loss from the head's weight and cannot train an adapter on lm_head",
                "other linear layers",
            ),
        ),
        ({"packing": True, "max_length": None}, Fault("packing", "there is no max_length to fill", "a max_length, or packing: false")),
        ({"packing": True, "padding": "max_length"}, Fault("padding", "packed rows are not padded", "padding: longest, or packing: false")),
        (
            {"method": {"kind": "full"}, "dtype": "float16"},
            Fault("dtype", "weights in float16 cannot be trained", "float32 with fp16: true, or bfloat16"),
        ),
        (
            {"method": {"kind": "continue"}},
            Fault("method", "`base` is a full model, and continue goes on with an adapter", "full, lora or qlora"),
        ),
        (
            {"lr_scheduler_type": "constant", "warmup_steps": 1},
            Fault("warmup_steps", "the schedule `constant` has no warm-up", "lr_scheduler_type: constant_with_warmup, or no warmup_steps"),
        ),
        (
            {"optim": "sgd", "adam_beta2": 0.99},
            Fault("adam_beta2", "the optimiser sgd has none", "an Adam as optim, or no adam_beta2"),
        ),
        ({"early_stopping_threshold": 0.1}, Fault("early_stopping_threshold", "nothing stops early", "an early_stopping_patience")),
        ({"checkpoints": {"steps": [2, 2]}}, Fault("checkpoints.steps[1]", "2 stands there twice", "each once")),
        ({"checkpoints": {"steps": [2, 5]}}, Fault("checkpoints.steps[1]", "the training ends after 4 steps", "at most 4")),
        (
            {"checkpoints": {"epochs": [4]}, "max_steps": -1},
            Fault("checkpoints.epochs[0]", "the training has 3 epochs", "an epoch that it reaches"),
        ),
        (
            {"checkpoints": {"steps": [2]}, "method": LORA | {"loftq_config": {}}},
            Fault("checkpoints", "LoftQ merges the adapter into its base at the end", "no checkpoints, or no loftq_config"),
        ),
    ],
)
def test_faults(changes: dict[str, Any], fault: Fault) -> None:
    assert faults(changes) == [fault]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"load_best_model_at_end": True}, Fault("load_best_model_at_end", "there is no evaluation before the end", BETWEEN)),
        ({"early_stopping_patience": 2}, Fault("early_stopping_patience", "there is no evaluation before the end", BETWEEN)),
        (
            {"eval_strategy": "epoch", "eval_steps": 2},
            Fault("eval_steps", "eval_strategy is epoch", "no eval_steps, or eval_strategy: steps"),
        ),
        (
            {"early_stopping_patience": 2, "eval_steps": 1, "checkpoints": {"steps": [4]}},
            Fault("checkpoints", "a training that stops early may not reach them", "checkpoints, or early_stopping_patience"),
        ),
    ],
)
def test_faults_of_an_evaluated_training(changes: dict[str, Any], fault: Fault) -> None:
    assert faults(changes, "evaluation") == [fault]


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ({"scratch": {"architecture": "llama"}}, 1),
        ({"pretrained": {"id": "Qwen/Qwen2.5-3B-Instruct"}}, 1),
        ({"pretrained": {"id": "meta-llama/Llama-3.2-3B"}}, 1),
        ({"pretrained": {"id": "microsoft/Phi-3-mini-4k-instruct"}}, 0),
        ({"local": {"path": "somewhere"}}, 0),
    ],
)
def test_modules_are_checked_where_the_architecture_is_known(model: dict[str, Any], count: int) -> None:
    assert len(faults({"method": LORA | {"target_modules": ["qkv_proj"]}}, model=model)) == count


def test_sound_params_have_no_fault() -> None:
    assert faults({"eval_steps": 2, "method": LORA | {"target_modules": "all-linear"}}, "evaluation") == []
