"""QLoRA with bge retrieval: the values of its source, what its arms share, and that nothing asked is learnt, tuned or calibrated on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from runner.errors import RecipeError
from runner.recipe import load
from runner.recipe.model import Instance, Recipe
from runner.steps import kind

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "recipes/qlora-bge.yaml"


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load(FILE)


def tag(settings: object) -> object:
    return type(settings).__struct_config__.tag  # type: ignore[attr-defined]


def reads(instance: Instance) -> dict[str, tuple[str, str]]:
    return {port: (ref.instance, ref.output) for port, refs in instance.inputs.items() for ref in refs}


def test_it_has_the_values_of_its_source(recipe: Recipe) -> None:
    """Fine-tuning Configuration, RAG Implementation, Quantization Process and the numbers of the data, as the source lists them."""
    params = {name: instance.params for name, instance in recipe.instances.items()}
    qa, tuned, method = params["qa"], params["tuned"], params["tuned"].method
    weights = {name: getattr(qa.question_types, name) for name in qa.question_types.__struct_fields__}
    assert {name for name, weight in weights.items() if weight} == {"factual", "analytical", "comparative", "hypothetical"}
    assert (qa.mode, qa.total) == ("per-chunk", 2500)
    assert params["splits"].parts == {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert params["base"].pretrained.id == "Qwen/Qwen2.5-3B-Instruct"
    assert (tag(method), method.r, method.lora_alpha) == ("qlora", 16, 32)
    assert method.target_modules == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert (tuned.fp16, tuned.bf16, method.bnb_4bit_compute_dtype) == (True, False, "float16")
    assert (tuned.learning_rate, tuned.max_steps, tuned.eval_steps) == (2e-4, 1000, 200)
    assert (tuned.per_device_train_batch_size, tuned.gradient_accumulation_steps) == (4, 4)
    assert tuned.lr_scheduler_type != "constant"
    assert recipe.instances["tuned"].resources.report_to == ["wandb"]
    assert params["bge"].embedder.model == params["tuned_bge"].model == "BAAI/bge-small-en-v1.5"
    assert (params["gguf"].quantization, params["uncalibrated"].calibration) == ("Q4_K_M", None)
    assert {"rouge", "bleu", "key_term_recall", "judge"} <= set(params["scores"].metrics)
    for name, instance in recipe.instances.items():
        if instance.step == "answers":
            assert (instance.params.top_k, tag(instance.params.selection), tag(instance.params.overflow)) == (
                3,
                "information-density",
                "summarise",
            ), name


def test_chunks_fit_into_what_the_embedder_reads(recipe: Recipe) -> None:
    """512 tokens, of which English prose has about four characters each."""
    chunks = recipe.instances["chunks"].params
    assert 0 < chunks.overlap < chunks.size <= 4 * 512


def test_every_part_is_compared_with_the_same_arm(recipe: Recipe) -> None:
    """Calibration, the tuned embedder and retrieval each are a step from the baseline along one axis."""
    baseline = recipe.instances["scores"].params.baseline
    arms = [instance.axes for instance in recipe.instances.values() if instance.step == "answers"]
    assert baseline == {"system": "gguf", "rag": "bge"}
    for step in ({"system": "uncalibrated"}, {"rag": "bge_tuned"}, {"rag": "none"}, {"system": "tuned"}, {"system": "base"}):
        assert baseline | step in arms
    assert Counter(instance.step for instance in recipe.instances.values())["answers"] == len(arms) == 9


def test_both_files_differ_in_the_calibration_alone(recipe: Recipe) -> None:
    calibrated, plain = recipe.instances["gguf"], recipe.instances["uncalibrated"]
    fields = calibrated.params.__struct_fields__
    assert {name for name in fields if getattr(calibrated.params, name) != getattr(plain.params, name)} == {"calibration"}
    assert reads(calibrated).items() - reads(plain).items() == {("calibration", ("splits", "validation"))}


def test_what_is_asked_is_nowhere_learnt_tuned_or_calibrated_on(recipe: Recipe) -> None:
    readers = {name: ref for name, instance in recipe.instances.items() for ref in reads(instance).values() if ref == ("splits", "test")}
    assert {recipe.instances[name].step for name in readers} == {"answers"}
    assert len(readers) == 9


@pytest.mark.parametrize("sample", ["splits.test", "qa"])
def test_calibrating_on_what_is_asked_is_refused(sample: str) -> None:
    with pytest.raises(RecipeError, match="the questions are among what `gguf` is calibrated on"):
        load(FILE, sets=[f"steps.gguf.from.calibration={sample}"])


def test_training_and_answering_fit_a_t4(recipe: Recipe) -> None:
    for name, instance in recipe.instances.items():
        memory = kind(instance.kind).memory(instance.params, instance.upstream, recipe.root)
        if memory is not None:
            assert memory.total - memory.paged <= 16 * 10**9, name
            assert not memory.bfloat16, f"{name}: a T4 has no bfloat16"


def test_smoke_runs_every_arm() -> None:
    assert load(FILE, profiles=["smoke"]).instances.keys() == load(FILE).instances.keys()
