from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.errors import RecipeError, UsageError
from runner.recipe import load, validate
from runner.recipe.overlay import merge
from runner.recipe.problems import Findings
from runner.recipe.reader import read
from tests.recipe.texts import WHOLE

pytestmark = pytest.mark.usefixtures("toy_kinds")
Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("under", "over", "result"),
    [
        ("{a: 1, b: {c: 2, d: 3}}", "{b: {c: 4}}", {"a": 1, "b": {"c": 4, "d": 3}}),
        ("{a: [1, 2]}", "{a: [3]}", {"a": [3]}),
        ("{a: {b: 1}}", "{a: 2}", {"a": 2}),
        ("{a: 2}", "{a: {b: 1}}", {"a": {"b": 1}}),
        ("{a: 1, b: 2}", "{a: null}", {"b": 2}),
        ("{a: 1}", "{b: null}", {"a": 1, "b": None}),
        ("{a: {kind: x, n: 1}}", "{a: {kind: y}}", {"a": {"kind": "y"}}),
        ("{a: {kind: x, n: 1}}", "{a: {kind: x, m: 2}}", {"a": {"kind": "x", "n": 1, "m": 2}}),
        ("{a: {provider: x, n: 1}}", "{a: {provider: y, m: 2}}", {"a": {"provider": "y", "m": 2}}),
        ("{a: {n: 1}}", "{a: {kind: y}}", {"a": {"n": 1, "kind": "y"}}),
    ],
)
def test_merge(under: str, over: str, result: Any) -> None:
    findings = Findings()
    assert merge(read(under, "a", findings), read(over, "b", findings)).data() == result


def params(file: Path, step: str, **how: Any) -> Any:
    return load(file, **how).instances[step].params


def test_profiles_apply_in_order_and_set_last(write: Write) -> None:
    file = write(
        """
        steps: {a: {uses: model, with: {width: 1}}}
        profiles:
          two: {steps: {a: {with: {width: 2}}}}
          three: {steps: {a: {with: {width: 3}}}}
        """
    )
    assert params(file, "a").width == 1
    assert params(file, "a", profiles=["two", "three"]).width == 3
    assert params(file, "a", profiles=["three", "two"]).width == 2
    recipe = load(file, profiles=["two"], sets=["steps.a.with.width=4"])
    assert recipe.instances["a"].params.width == 4  # type: ignore[attr-defined]
    assert recipe.overlays == ("profile two", "--set steps.a.with.width=4")
    assert recipe.origins["steps.a.with.width"] == "--set steps.a.with.width=4"
    assert load(file, profiles=["two"]).origins["steps.a.with.width"] == "profile two (recipes/r.yaml:5)"
    assert load(file).origins["steps.a.with.width"] == "recipes/r.yaml:3"


@pytest.mark.parametrize(
    ("sets", "width", "id_"),
    [
        (["steps.a.with.width=7"], 7, "x"),
        (["steps.a.with={width: 7, pretrained: {id: y}}"], 7, "y"),
        (["steps.a.with.pretrained.id=org/name"], 1, "org/name"),
        (["steps.a.with.pretrained.id='12'"], 1, "12"),
        (["steps.a.with.width="], 0, "x"),
        (["steps.a.with.width=null"], 0, "x"),
        (["steps.a.with.width=5", "steps.a.with.width=6"], 6, "x"),
        (["vars.id=z=1"], 1, "z=1"),
    ],
)
def test_set(write: Write, sets: list[str], width: int, id_: str) -> None:
    file = write("vars: {id: x}\nsteps: {a: {uses: model, with: {width: 1, pretrained: {id: '${vars.id}'}}}}\n")
    found = params(file, "a", sets=sets)
    assert (found.width, found.pretrained.id) == (width, id_)


def test_set_reaches_into_lists(write: Write) -> None:
    file = write("steps: {a: {uses: model, with: {width: '${matrix.w}'}}}\nmatrix: {w: [1, 2]}\n")
    assert list(load(file, sets=["matrix.w[1]=5"]).instances) == ["a[w=1]", "a[w=5]"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps.a.with.widht=3", "--set steps.a.with.widht=3  steps.a.with.widht  unknown key\n      did you mean `width`?"),
        (
            "steps.a.with.width=x",
            "--set steps.a.with.width=x  steps.a.with.width  is the text `x`\n      expected a whole number, at least 0",
        ),
        ("stps.a.with.width=1", "--set stps.a.with.width=1  stps  unknown key\n      did you mean `steps`?"),
        ("steps.a.with.width=[", "--set steps.a.with.width=[  steps.a.with.width  "),
        ("matrix.w[3]=1", "the list `matrix.w` has 2 elements"),
        ("steps.a.with.pretrained={id: AIzaSyA1234567890abcdefghijklmnopqrstuv}", "a secret as a value"),
        ("steps.a.with.pretrained={id: 'https://AIzaUser@example.org/m'}", "a secret as a value"),
        ("vars.typo=1", "--set vars.typo=1  vars.typo  nothing reads `${vars.typo}`"),
    ],
)
def test_set_is_checked(write: Write, text: str, message: str) -> None:
    from runner.recipe import render_problems

    file = write("steps: {a: {uses: model, with: {width: '${matrix.w}'}}}\nmatrix: {w: [1, 2]}\n")
    with pytest.raises(RecipeError) as caught:
        load(file, sets=[text])
    rendered = render_problems(caught.value.problems)
    assert message in rendered
    assert "AIza" not in rendered + str(caught.value)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"sets": ["steps"]}, "--set steps: not of the form path=value\n  such as --set steps.lora.with.learning_rate=1e-4"),
        ({"sets": ["=3"]}, "--set =3: not of the form path=value\n  such as --set steps.lora.with.learning_rate=1e-4"),
        ({"sets": ["recipe=2"]}, "--set recipe=2: `recipe` cannot be set"),
        ({"profiles": ["smok"]}, "recipes/r.yaml has no profile `smok`\n  did you mean `smoke`? (profiles: smoke)"),
    ],
)
def test_wrong_calls(write: Write, how: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(write(WHOLE), **how)
    assert str(caught.value) == message


def test_a_file_that_is_not_there(project: Path, write: Write) -> None:
    write(WHOLE, "duo")
    with pytest.raises(UsageError) as caught:
        load(project / "recipes" / "dou.yaml")
    assert str(caught.value) == f"no such recipe: {project / 'recipes' / 'dou.yaml'}\n  did you mean `duo.yaml`?"


def test_no_project(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("recipe: 1\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "r.yaml")
    assert str(caught.value) == f"{tmp_path / 'r.yaml'} lies in no project\n  a project is a folder with recipes/ in it, here or above"


def test_extends(write: Write) -> None:
    parent = write(WHOLE, "parent").read_text(encoding="utf-8").splitlines()
    child = write(
        """
        extends: parent.yaml
        title: A child
        steps:
          lora: {with: {method: {kind: qlora}}}
          qlora: null
        matrix: {system: [base, lora]}
        claims: null
        profiles:
          smoke: {steps: {lora: {with: {max_steps: null, learning_rate: 1}}}}
        """,
        "child",
    )
    recipe = load(child)
    assert (recipe.name, recipe.title) == ("child", "A child")
    assert type(recipe.instances["lora"].params.method).__name__ == "Qlora"  # type: ignore[attr-defined]
    assert "qlora" not in recipe.steps()
    line = parent.index('      seed: "${vars.seed}"') + 1
    assert recipe.origins["steps.lora.with.seed"] == f"recipes/parent.yaml:{line}"
    smoke = load(child, profiles=["smoke"])  # the parent's profile first, then the child's
    assert (smoke.instances["lora"].params.max_steps, smoke.instances["lora"].params.learning_rate) == (0, 1)  # type: ignore[attr-defined]
    assert smoke.instances["base"].params.width == 8  # type: ignore[attr-defined]
    assert not validate(child)


def test_like_follows_its_model_through_overlays(write: Write) -> None:
    file = write(WHOLE)
    smoke = load(file, profiles=["smoke"])
    assert smoke.instances["qlora"].params.max_steps == 20  # type: ignore[attr-defined]
    assert smoke.instances["qlora"].inputs == smoke.instances["lora"].inputs


def test_validate_looks_under_every_profile(write: Write) -> None:
    file = write(
        """
        steps: {a: {uses: model, with: {width: 1}}}
        profiles:
          good: {steps: {a: {with: {width: 2}}}}
          bad: {steps: {a: {with: {width: x}}}}
        """
    )
    problems = validate(file)
    assert [(p.path, p.where.line) for p in problems] == [("steps.a.with.width", 6)]
    assert load(file, profiles=["good"])


def test_what_looks_like_a_key_and_is_none(write: Write) -> None:
    for id_ in ("org/sk-learn-based-retrieval-model", "org/hf_tiny_model", "task-0123456789012345678901234"):
        assert load(write(f"steps: {{a: {{uses: model, with: {{pretrained: {{id: {id_}}}}}}}}}\n"))
