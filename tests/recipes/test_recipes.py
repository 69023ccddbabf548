"""What every recipe of the project must be: valid, faithful to its source, offline in its smoke profile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.recipe import load, unlisted, validate
from runner.steps import kind

ROOT = Path(__file__).resolve().parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
each_recipe = pytest.mark.parametrize("file", RECIPES, ids=lambda path: path.stem)


def test_there_are_recipes() -> None:
    assert "duo-dynamics" in {path.stem for path in RECIPES}


@each_recipe
def test_valid_plain_and_under_each_profile(file: Path) -> None:
    assert validate(file) == []


@each_recipe
def test_every_explicit_value_is_stated_assumed_or_a_deviation(file: Path) -> None:
    recipe = load(file)
    assert recipe.document.get("source"), "a recipe of the project reproduces a source"
    assert unlisted(recipe) == []


@each_recipe
def test_head_says_the_commands_and_the_schema(file: Path) -> None:
    head = file.read_text(encoding="utf-8").split("recipe: 1")[0]
    assert f"# recipe run recipes/{file.name}" in head
    assert f"# recipe run recipes/{file.name} -p smoke" in head
    assert "# yaml-language-server: $schema=../schemas/recipe.schema.json" in head


@each_recipe
def test_smoke_has_the_same_steps_and_needs_no_network(file: Path) -> None:
    smoke = load(file, profiles=["smoke"])
    assert smoke.steps() == load(file).steps()
    for instance in smoke.instances.values():
        assert list(kind(instance.kind).hub(instance.params)) == [], instance.id
        assert list(kind(instance.kind).network(instance.params)) == [], instance.id


def test_duo_dynamics_has_the_values_of_its_source() -> None:
    """The hyperparameters of section 4, the models of section 1, the index of section 7, as the source lists them."""
    instances = load(ROOT / "recipes/duo-dynamics.yaml").instances
    lora = instances["lora"].params
    method = lora.method
    assert (method.r, method.lora_alpha, method.lora_dropout, method.bias, method.use_rslora) == (16, 16, 0, "none", False)
    assert method.target_modules == ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert method.loftq_config is None
    assert lora.gradient_checkpointing is True
    assert lora.seed == 3407
    assert instances["base"].params.pretrained.id == "Qwen/Qwen2.5-3B-Instruct"
    for index in ("hnsw", "ivf"):
        assert instances[index].params.embedder.model == "sentence-transformers/all-mpnet-base-v2"
        assert type(instances[index].params.faiss).__struct_config__.tag == index
    assert type(instances["gemini_qa"].params.teacher).__struct_config__.tag == "google-generativeai"
    assert instances["rag_qa"].params.mode == "retrieve-then-answer"
    assert instances["gguf"].params.quantization == "Q4_K_M"


@pytest.mark.shared
def test_smoke_plans_on_real_documents() -> None:
    papers = ROOT.parent / "shared/data/ai_papers"
    if not papers.is_dir():
        pytest.skip("needs ../shared/data/ai_papers")
    command = [
        str(Path(sys.executable).parent / "recipe"),
        "plan",
        "recipes/duo-dynamics.yaml",
        "-p",
        "smoke",
        "--set",
        f"vars.corpus={papers}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    assert "papers" in done.stdout
