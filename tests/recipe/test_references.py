from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.recipe import load

pytestmark = pytest.mark.usefixtures("toy_kinds")
Write = Callable[..., Path]


def params(file: Path, instance: str = "a", **how: Any) -> Any:
    return load(file, **how).instances[instance].params


def test_a_value_that_is_only_a_reference_keeps_its_type(write: Write) -> None:
    file = write(
        """
        vars: {width: 3, model: {id: org/m}, text: "3"}
        steps:
          a: {uses: model, with: {width: "${vars.width}", pretrained: "${vars.model}"}}
          b: {uses: model, with: {pretrained: {id: "${vars.text}"}}}
          c: {uses: model, with: {pretrained: {id: "${ vars.model.id }"}}}
        """
    )
    assert (params(file).width, params(file).pretrained.id) == (3, "org/m")
    assert params(file, "b").pretrained.id == "3"
    assert params(file, "c").pretrained.id == "org/m"


def test_references_inside_of_a_text(write: Write) -> None:
    file = write(
        """
        title: t
        vars: {a: 1e-3, b: true, c: x, d: "${vars.c}-${vars.a}"}
        steps: {a: {uses: model, with: {pretrained: {id: "${recipe.name}/${vars.a}_${vars.b}_${vars.d}"}}}}
        """
    )
    assert params(file).pretrained.id == "r/0.001_true_x-0.001"


def test_escapes(write: Write) -> None:
    file = write(
        """
        vars: {literal: "$${x}", cost: "$5"}
        steps:
          a: {uses: model, with: {pretrained: {id: "$${vars.literal} ${vars.literal} ${vars.cost} $ {} $x"}}}
          b: {uses: model, with: {pretrained: {id: "${matrix.m.id}"}}}
        matrix: {m: [{name: one, id: "$${y}"}]}
        """
    )
    assert params(file).pretrained.id == "${vars.literal} ${x} $5 $ {} $x"
    assert params(file, "b[m=one]").pretrained.id == "${y}"


def test_matrix_values(write: Write) -> None:
    file = write(
        """
        vars: {ids: [{name: small, id: org/s, width: 1}, {name: big, id: org/b, width: 2}]}
        steps: {a: {uses: model, with: {width: "${matrix.m.width}", pretrained: {id: "${matrix.m.id}", revision: "${matrix.m}!"}}}}
        matrix: {m: "${vars.ids}"}
        """
    )
    assert list(load(file).instances) == ["a[m=small]", "a[m=big]"]
    found = params(file, "a[m=big]")
    assert (found.width, found.pretrained.id, found.pretrained.revision) == (2, "org/b", "big!")


def test_a_whole_map_of_the_matrix_comes_without_its_name(write: Write) -> None:
    file = write(
        """
        steps:
          f: {uses: read}
          c: {uses: cut, from: f, with: {size: 9}}
          q: {uses: ask, from: c}
          b: {uses: model}
          a: {uses: tune, from: {model: b, examples: q}, with: {method: "${matrix.method}"}}
        matrix: {method: [{name: low, kind: lora, r: 2}, {name: quantised, kind: qlora, r: 4}]}
        """
    )
    assert type(params(file, "a[method=low]").method).__name__ == "Lora"
    assert params(file, "a[method=quantised]").method.r == 4


def test_variables_may_read_the_matrix(write: Write) -> None:
    file = write(
        """
        vars: {id: "org/m-${matrix.size}"}
        steps: {a: {uses: model, with: {pretrained: {id: "${vars.id}"}}}}
        matrix: {size: [1, 2]}
        """
    )
    assert [i.params.pretrained.id for i in load(file).instances.values()] == ["org/m-1", "org/m-2"]  # type: ignore[attr-defined]


def test_text_from_the_command_line_may_leave_the_project(write: Write, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("corpus")
    (outside / "a.md").write_text("# A\n", encoding="utf-8")
    file = write(
        """
        vars: {corpus: recipes/corpus}
        steps: {a: {uses: read, with: {paths: ["${vars.corpus}/*.md", "recipes/corpus/a.md"]}}}
        """
    )
    assert load(file).outside == ()
    recipe = load(file, sets=[f"vars.corpus={outside}"])
    assert recipe.outside == (f"{outside}/*.md",)
    assert load(file, sets=[f"steps.a.with.paths=[{outside}/a.md]"]).outside == (f"{outside}/a.md",)
    assert load(file, sets=[f"steps.a.with.paths[1]={outside}/a.md"]).outside == (f"{outside}/a.md",)
