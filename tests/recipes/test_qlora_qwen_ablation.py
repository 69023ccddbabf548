"""The ablation of ranks: the values of its source, what its arms share, and what is said of its memory."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from runner.recipe import load
from runner.recipe.model import Recipe
from runner.steps import kind

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "recipes/qlora-qwen-ablation.yaml"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load(FILE)


def test_it_has_the_values_of_its_source(recipe: Recipe) -> None:
    """Datasets, metrics and the configuration, as the source lists them."""
    trained = {name: i.params for name, i in recipe.instances.items() if i.kind == "train"}
    ranks = Counter((type(params.method).__struct_config__.tag, getattr(params.method, "r", None)) for params in trained.values())
    assert ranks == {("qlora", 4): 6, ("qlora", 8): 6, ("qlora", 16): 6, ("full", None): 6}
    for name, params in trained.items():
        assert params.optim == "paged_adamw_32bit", name
        assert params.gradient_checkpointing, name
        assert params.bf16, name
        assert params.eval_steps, name
        assert "evaluation" in recipe.instances[name].inputs, name
    quantised = [params.method for name, params in trained.items() if name.startswith("qlora")]
    assert {(method.bnb_4bit_quant_type, method.bnb_4bit_compute_dtype) for method in quantised} == {("nf4", "bfloat16")}
    metrics = {i.axes["task"]: i.params.metrics for i in recipe.instances.values() if i.step == "scores"}
    assert metrics == {"sst2": ["accuracy"], "squad": ["exact_match", "token_f1"], "alpaca_eval": ["win_rate"]}


def test_both_methods_differ_in_the_method_alone(recipe: Recipe) -> None:
    qlora, full = (recipe.instances[name].params for name in ("qlora[model=3b,task=squad,rank=8]", "full[model=3b,task=squad]"))
    differing = {name for name in qlora.__struct_fields__ if getattr(qlora, name) != getattr(full, name)}
    assert differing == {"method", "learning_rate"}


def test_data_is_made_once_and_not_once_for_each_arm(recipe: Recipe) -> None:
    counts = Counter(instance.step for instance in recipe.instances.values())
    assert {step: counts[step] for step in ("sst2", "squad", "alpaca_eval", "sst2_train", "squad_train", "alpaca_train")} == dict.fromkeys(
        ("sst2", "squad", "alpaca_eval", "sst2_train", "squad_train", "alpaca_train"), 1
    )
    assert (counts["unseen"], counts["splits"], counts["base"]) == (3, 3, 2)
    assert (counts["answers"], counts["scores"]) == (2 * 3 * 5, 3)


def test_what_is_asked_is_kept_out_of_what_is_trained_on(recipe: Recipe) -> None:
    for name, instance in recipe.instances.items():
        if instance.step != "answers":
            continue
        task, asked = instance.axes["task"], instance.inputs["questions"][0].instance
        curated = recipe.instances[f"unseen[task={task}]"]
        assert [ref.instance for ref in curated.inputs["held_out"]] == [asked], name
    for instance in recipe.instances.values():
        if instance.step in ("qlora", "full"):
            assert instance.inputs["examples"][0].instance == f"splits[task={instance.axes['task']}]"


def test_full_fine_tuning_of_the_larger_model_is_beyond_the_source_s_gpu(recipe: Recipe) -> None:
    card = 24 * 2**30
    for name, instance in recipe.instances.items():
        memory = kind(instance.kind).memory(instance.params, instance.upstream, recipe.root)
        if memory is not None:
            fits = memory.total - memory.paged <= card
            assert fits == (not (instance.step == "full" and instance.axes["model"] == "7b")), name


def test_smoke_has_two_values_of_the_axes_that_it_cuts_and_its_own_data() -> None:
    smoke = load(FILE, profiles=["smoke"])
    assert {axis: len(labels) for axis, labels in smoke.axes.items()} == {"model": 2, "task": 3, "system": 3, "rank": 2}
    asked: dict[str, set[str]] = {}
    for part in ("train", "test"):
        for task, field in (("sentiment", "sentence"), ("reading", "question"), ("instructions", "instruction")):
            rows = [json.loads(line) for line in (ROOT / f"recipes/data/ablation/{task}-{part}.jsonl").read_text().splitlines()]
            asked.setdefault(part, set()).update(f"{row.get('title', '')} {row[field]} {row.get('input', '')}" for row in rows)
            assert len(rows) >= 12
    assert not asked["train"] & asked["test"]
