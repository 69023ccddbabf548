from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.contract import Output
from runner.errors import RecipeError, UsageError
from runner.recipe import Ref, find_root, load, to_yaml, validate
from tests.recipe.texts import WHOLE

pytestmark = pytest.mark.usefixtures("toy_kinds")
Write = Callable[..., Path]


def test_a_whole_recipe(write: Write, project: Path) -> None:
    file = write(WHOLE)
    assert validate(file) == []
    recipe = load(file)
    assert (recipe.name, recipe.title, recipe.root, recipe.file) == ("r", "A whole recipe", project.resolve(), file.resolve())
    assert len(recipe.instances) == 20
    lora = recipe.instances["lora"]
    assert (lora.kind, lora.outputs, lora.axes, lora.params.seed) == ("tune", {"main": Output("model", "adapter")}, {}, 3407)  # type: ignore[attr-defined]
    assert lora.inputs == {"model": [Ref("base", "main")], "examples": [Ref("splits", "train")]}
    assert type(lora.resources).__name__ == "TuneResources"
    assert str(lora.where) == "recipes/r.yaml:29:3"


@pytest.mark.parametrize("profiles", [(), ("smoke",)])
def test_a_resolved_recipe_is_a_recipe_that_means_the_same(write: Write, profiles: tuple[str, ...]) -> None:
    recipe = load(write(WHOLE), profiles=profiles)
    text = to_yaml(recipe.document)
    assert "vars" not in recipe.document
    assert "like:" not in text
    again = load(write(text, "r", head=False))
    assert {i.id: (i.params, i.inputs, i.outputs) for i in again.instances.values()} == {
        i.id: (i.params, i.inputs, i.outputs) for i in recipe.instances.values()
    }
    assert again.document == recipe.document


def test_yaml_survives_a_round_trip(write: Write) -> None:
    from runner.recipe.problems import Findings
    from runner.recipe.reader import read

    hard = {
        "a": [
            "no",
            "on",
            "1",
            "1e-4",
            "010",
            "0x1",
            "12:30",
            "~",
            "",
            " x ",
            "a: b",
            "# c",
            "- d",
            "null",
            "True",
            ".5",
            ".inf",
            "é日",
            "a\nb\n",
            "\t",
            "$${x}",
        ],
        "b": [1e-05, 1e16, 0.1, -2.5e-300, 3.0, 1, True, None, {}, []],
        "1": {"true": 1, "null": 2},
    }
    assert read(to_yaml(hard), "x", Findings()).data() == hard


def test_every_problem_is_found_at_once(write: Write) -> None:
    text = (
        WHOLE.replace("overlap: 150", "overlapp: 150")
        .replace("from: papers", "from: paper", 1)
        .replace("metric: f1, at: {system: gguf, rag: none}", "metrc: f1")
    )
    with pytest.raises(RecipeError) as caught:
        load(write(text))
    assert [problem.found for problem in caught.value.problems] == [
        "there is no step `paper`",
        "unknown key",
        "unknown key",
    ]


def test_root(project: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(WHOLE)
    monkeypatch.chdir(project / "recipes")
    assert find_root(Path("r.yaml")) == project.resolve()
    assert find_root(project / "x.yaml") == project.resolve()
    assert load(Path("r.yaml")).file == file.resolve()


def test_loading_imports_nothing_heavy_and_jinja_only_for_prompts() -> None:
    code = (
        "import sys, runner.recipe, runner.steps\n"
        "heavy = {'torch','transformers','numpy','jsonschema','jinja2','typer','huggingface_hub','datasets','faiss'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_loading_a_sound_recipe_needs_no_jsonschema(write: Write) -> None:
    file = write(WHOLE)
    code = (
        "import sys, runner.steps\nfrom pathlib import Path\nfrom tests.recipe import toys\nrunner.steps.KINDS = toys.KINDS\n"
        "from runner.recipe import validate\n"
        f"assert validate(Path({str(file)!r})) == []\nassert 'jsonschema' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30, cwd=Path(__file__).parents[2])


def test_validating_is_fast(write: Write) -> None:
    file = write(WHOLE)
    validate(file)
    started = time.perf_counter()
    for _ in range(10):
        validate(file)
    assert (time.perf_counter() - started) / 10 < 0.2  # some 20 ms, on a machine that may be busy


def test_a_list_has_an_origin(write: Write) -> None:
    file = write(
        "vars: {w: 3}\nsteps: {f: {uses: read, with: {paths: [recipes/corpus]}}, b: {uses: model, with: {width: '${ vars.w }'}}}\n"
    )
    origins = load(file, sets=["steps.f.with.paths[0]=recipes"]).origins
    assert origins["steps.f.with.paths"] == "recipes/r.yaml:4"
    assert origins["steps.f.with.paths[0]"] == "--set steps.f.with.paths[0]=recipes"


def test_a_reference_may_have_spaces(write: Write) -> None:
    recipe = load(write("steps: {b: {uses: model, with: {width: '${ matrix.w }'}}}\nmatrix: {w: [8, 16]}\n"))
    assert [instance.params.width for instance in recipe.instances.values()] == [8, 16]  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["steps..f=1", ".steps=1", "steps.=1", "=1", "steps.f"])
def test_sets_of_no_form_are_refused(text: str, write: Write) -> None:
    with pytest.raises(UsageError, match="not of the form path=value"):
        load(write("steps: {f: {uses: read}}\n"), sets=[text])


def test_a_folder_is_no_recipe(write: Write) -> None:
    folder = write("steps: {f: {uses: read}}\n").parent
    with pytest.raises(UsageError) as caught:
        load(folder)
    assert str(caught.value) == f"{folder} is a folder\n  name its recipes, as in {folder}/*.yaml"
