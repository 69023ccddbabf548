from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from runner.answering import open_answerer
from runner.contract import Artifact, Output, PromptUse
from runner.errors import InputError, StepError
from runner.steps import train as step
from runner.steps.train.params import Optimizer, Scheduler
from runner.training import describe, load, load_tokenizer
from runner.training.adapters import lora_config
from tests.steps.local_context import LocalContext, artifact
from tests.training.tiny import EXAMPLES, only, write_examples, write_model

LORA = {"kind": "lora", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
QLORA = LORA | {"kind": "qlora", "bnb_4bit_compute_dtype": "float32"}
TINY = {
    "method": LORA, "max_steps": 4, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "max_length": 128,
    "logging_steps": 2, "gradient_checkpointing": False, "eval_steps": 2,
}  # fmt: skip

#: Another value for every key, beside those of TINY; what belongs to one method only is tried with it.
CASES: dict[str, Any] = {
    "method.r": 2,
    "method.lora_alpha": 4,
    "method.lora_dropout": 0.1,
    "method.bias": "all",
    "method.use_rslora": True,
    "method.use_dora": True,
    "method.init_lora_weights": "gaussian",
    "method.target_modules": ["down_proj"],
    "method.loftq_config.loftq_bits": 8,
    "method.loftq_config.loftq_iter": 2,
    "method.bnb_4bit_quant_type": "fp4",
    "method.bnb_4bit_use_double_quant": False,
    "method.bnb_4bit_compute_dtype": "bfloat16",
    "prompt": "prompts/ask.j2",
    "dtype": "bfloat16",
    "num_train_epochs": 1.5,
    "max_steps": 3,
    "per_device_train_batch_size": 3,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 1,
    "weight_decay": 0.1,
    "adam_beta1": 0.8,
    "adam_beta2": 0.9,
    "adam_epsilon": 1e-6,
    "max_grad_norm": 0.5,
    "optim": "adamw_torch",
    "max_length": 64,
    "padding": "max_length",
    "completion_only_loss": False,
    "assistant_only_loss": True,
    "packing": True,
    "neftune_noise_alpha": 5.0,
    "gradient_checkpointing": True,
    "bf16": True,
    "fp16": True,
    "logging_steps": 1,
    "eval_steps": 1,
    "eval_strategy": "epoch",
    "load_best_model_at_end": True,
    "early_stopping_patience": 1,
    "early_stopping_threshold": 0.5,
    "checkpoints.steps": [3],
    "checkpoints.epochs": [1],
    "seed": 1,
}
PROVED = set(CASES)
#: What TRL has too, and the runner does by itself.
ON_THE_WAY = (
    "assistant_only_loss", "eval_steps", "eval_strategy", "load_best_model_at_end", "early_stopping_patience", "early_stopping_threshold",
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = write_model(tmp_path_factory.mktemp("base") / "main", system_prompt="Answer briefly.")
    return artifact(folder, Output("model", "full"), "base")


def run(values: dict[str, Any], base: Artifact, folder: Path, *, rows: list[dict[str, Any]] | None = None, evaluated: bool = True) -> Path:
    inputs = {
        "model": base,
        "examples": artifact(write_examples(folder / "train", EXAMPLES[:8] if rows is None else rows), "examples"),
        "evaluation": artifact(write_examples(folder / "test", EXAMPLES[8:]), "examples") if evaluated else None,
    }
    (folder / "prompts").mkdir(exist_ok=True)
    (folder / "prompts/ask.j2").write_text("{% for passage in passages %}{{ passage.text }}{% endfor %}Please answer: {{ question }}")
    context = LocalContext(folder / "context", folder, step.Resources(device="cpu"), artifacts={base.ref: base})
    step.run(msgspec.convert(values, step.Params), inputs, folder / "out", context)
    run.context = context  # type: ignore[attr-defined]
    return folder / "out" / "main"


class Called(Exception):
    def __init__(self, call: dict[str, Any]) -> None:
        self.call = call


def captured(values: dict[str, Any], base: Artifact, folder: Path) -> dict[str, Any]:
    """What the libraries are given: TRL's arguments and rows, PEFT's configuration, the model as it was loaded."""
    from runner.training import trainer as made

    def trainer(*, model: Any, args: Any, train_dataset: Any, eval_dataset: Any, peft_config: Any, **rest: Any) -> None:
        arguments = {name: value for name, value in args.to_dict().items() if name not in ("output_dir", "logging_dir", "run_name")}
        quantization = getattr(model.config, "quantization_config", None)
        raise Called({
            "arguments": arguments, "rows": train_dataset.to_list(), "evaluation": eval_dataset.to_list(),
            "peft": peft_config.to_dict(), "dtype": str(model.dtype), "quantization": quantization and quantization.to_dict(),
            "callbacks": [getattr(callback, "evaluations", None) or callback.checkpoints for callback in rest["callbacks"]],
        })  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "Trainer", trainer)
        try:
            run(values, base, folder)
        except Called as called:
            return called.call
        except StepError as refusal:  # what this machine cannot do is refused by name
            method = step._method(msgspec.convert(values, step.Params).method)[0]
            return {"refused": refusal.where, "peft": lora_config(method).to_dict()}
    raise AssertionError("the trainer was not called")


#: What the libraries are given without a change, by the values that are told.
BEFORE: dict[str, dict[str, Any]] = {}


def test_the_same_values_are_the_same_to_the_libraries(base: Artifact, tmp_path: Path) -> None:
    """Or the test of every key would see a change where there is none."""
    assert captured(TINY, base, tmp_path / "one") == captured(TINY, base, tmp_path / "other")


@pytest.mark.parametrize("path", sorted(CASES))
def test_every_key_reaches_the_libraries(path: str, base: Artifact, tmp_path: Path) -> None:
    values = json.loads(json.dumps(TINY))
    if path.startswith("method.bnb"):
        values["method"] = QLORA.copy()
    if path.startswith("method.loftq_config"):
        values["method"]["loftq_config"] = {}
    told_before = json.dumps(values)
    before = BEFORE[told_before] = BEFORE.get(told_before) or captured(values, base, tmp_path / "before")
    *parents, last = path.split(".")
    target = values
    for parent in parents:
        target = target.setdefault(parent, {})
    target[last] = CASES[path]
    after = captured(values, base, tmp_path / "after")
    assert after != before
    names = {"arguments": last, "peft": last}
    told = [part[name] for part, name in ((after.get(key, {}), name) for key, name in names.items()) if name in part]
    if told and last not in ("target_modules", "init_lora_weights", "prompt", "dtype", "optim", "lr_scheduler_type", *ON_THE_WAY):
        assert CASES[path] in told


def test_the_methods_differ(base: Artifact, tmp_path: Path) -> None:
    lora = captured(TINY, base, tmp_path / "lora")
    qlora = captured(TINY | {"method": QLORA}, base, tmp_path / "qlora")
    assert lora["quantization"] is None
    assert qlora["quantization"]["load_in_4bit"] is True


def test_rows_are_conversations_as_in_answering(base: Artifact, tmp_path: Path) -> None:
    row = captured(TINY | {"prompt": "prompts/ask.j2"}, base, tmp_path)["rows"][0]
    answerer = open_answerer(base.path, "full", only(base.ref, base.path), threads=1)
    asked = answerer.prompt("Please answer: Where is the adapter stored?")
    assert "Answer briefly." in asked.text
    begin = row["completion_mask"].index(1)
    assert tuple(row["input_ids"][:begin]) == asked.tokens
    tokenizer = load_tokenizer(base.path, only(base.ref, base.path))
    assert tokenizer.decode(row["input_ids"][begin:]) == "The adapter is stored in slot 0.<|im_end|>\n"


@pytest.fixture(scope="module")
def trained(base: Artifact, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LocalContext]:
    torch.set_num_threads(1)
    return run(TINY, base, tmp_path_factory.mktemp("trained")), run.context  # type: ignore[attr-defined]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_an_adapter_refers_to_its_base(trained: tuple[Path, LocalContext], base: Artifact) -> None:
    folder, _ = trained
    assert json.loads((folder / "model.json").read_text()) == {
        "form": "adapter", "architecture": "Qwen2ForCausalLM", "base": base.ref, "system_prompt": "Answer briefly.",
    }  # fmt: skip
    names = {"adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "log.jsonl", "model.json", "tokenizer.json"}
    assert set(digests(folder)) == names | {"tokenizer_config.json"}
    loaded = load(folder, only(base.ref, base.path))
    assert describe(folder, only(base.ref, base.path)).base == base.path
    assert any(weight.abs().sum() > 0 for name, weight in loaded.model.named_parameters() if "lora_B" in name)


def test_the_log_is_a_curve_of_deterministic_values(trained: tuple[Path, LocalContext]) -> None:
    rows = [json.loads(line) for line in (trained[0] / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 2, 4]
    assert set(rows[-1]) == {
        "step", "epoch", "loss", "num_input_tokens_seen", "learning_rate", "grad_norm", "entropy", "mean_token_accuracy",
        "eval_loss", "eval_entropy", "eval_mean_token_accuracy",
    }  # fmt: skip


def test_facts(trained: tuple[Path, LocalContext]) -> None:
    facts = trained[1].facts
    assert facts["steps"] == 4
    assert facts["examples"] == 8
    assert facts["eval_loss_after"] < facts["eval_loss_before"]
    assert facts["trainable_percent"] == pytest.approx(100 * facts["trainable_parameters"] / 26_000, rel=0.5)
    assert facts["tokens_per_second"] > 0
    assert 4 < facts["model_flops_per_second"] / facts["tokens_per_second"] / 26_000 < 9  # frozen weights, and attention
    assert facts["peak_memory"] > 50e6
    assert facts["peak_memory_of"] == "resident memory of the process"
    assert trained[1].last_progress == (4, 4, "steps")
    assert [row["step"] for row in trained[1].curve] == [0, 2, 2, 4, 4]


@pytest.mark.parametrize("method", [LORA, QLORA])
def test_the_same_params_give_the_same_bytes(method: dict[str, Any], base: Artifact, tmp_path: Path) -> None:
    one, other = (digests(run(TINY | {"method": method}, base, tmp_path / name)) for name in ("one", "other"))
    assert one == other


def test_a_qlora_adapter_tells_the_types_of_its_base(base: Artifact, tmp_path: Path) -> None:
    folder = run(TINY | {"method": QLORA}, base, tmp_path)
    assert json.loads((folder / "model.json").read_text())["quantization"] == {
        "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "float32",
    }  # fmt: skip
    linear = {type(module).__name__ for module in load(folder, only(base.ref, base.path)).model.modules()}
    assert "Linear4bit" in linear


def test_training_without_evaluation(base: Artifact, tmp_path: Path) -> None:
    folder = run({name: value for name, value in TINY.items() if name != "eval_steps"}, base, tmp_path, evaluated=False)
    assert "eval_loss" not in (folder / "log.jsonl").read_text()
    assert "eval_loss_after" not in run.context.facts  # type: ignore[attr-defined]


@pytest.mark.parametrize("optim", msgspec.inspect.type_info(Optimizer).values)
def test_every_optimizer_that_is_offered_works_here(optim: str, base: Artifact, tmp_path: Path) -> None:
    run(TINY | {"optim": optim, "max_steps": 2}, base, tmp_path)
    assert run.context.facts["steps"] == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("scheduler", msgspec.inspect.type_info(Scheduler).values)
def test_every_scheduler_that_is_offered_works(scheduler: str, base: Artifact, tmp_path: Path) -> None:
    run(TINY | {"lr_scheduler_type": scheduler, "max_steps": 2}, base, tmp_path)
    assert run.context.facts["steps"] == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "changes",
    [
        {"bf16": True},
        {"dtype": "bfloat16"},
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "method": QLORA},
        {"neftune_noise_alpha": 5.0},
        {"method": LORA | {"target_modules": "all-linear"}},
        {"method": LORA | {"target_modules": None}},
        {"method": LORA | {"bias": "all"}},
        {"max_length": None},
        {"max_steps": -1, "num_train_epochs": 0.5},
        {"warmup_steps": 0.5},
    ],
)
def test_other_settings_train_too(changes: dict[str, Any], base: Artifact, tmp_path: Path) -> None:
    run(TINY | {"max_steps": 2} | changes, base, tmp_path)
    assert run.context.facts["eval_loss_after"] > 0  # type: ignore[attr-defined]


def test_an_example_without_an_answer_is_named(base: Artifact, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(TINY, base, tmp_path, rows=[*EXAMPLES[:2], {"id": "x", "question": "Why?", "answer": " "}])
    assert (caught.value.where, caught.value.message) == ("examples.jsonl:3", "the example `x` has no answer")


def test_loftq_gives_a_full_model_as_it_changes_the_base() -> None:
    form = {
        loftq: step.outputs(msgspec.convert({"method": LORA | {"loftq_config": loftq and {}}}, step.Params))["main"].form
        for loftq in (None, 1)
    }
    assert form == {None: "adapter", 1: "full"}


def test_prompt_use() -> None:
    params = msgspec.convert({"prompt": "prompts/ask.j2"}, step.Params)
    assert list(step.prompts(params)) == [PromptUse("prompt", "prompts/ask.j2", frozenset({"question", "passages"}))]
    assert list(step.prompts(step.Params())) == []
