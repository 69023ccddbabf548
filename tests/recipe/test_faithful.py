from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.recipe import load, unlisted
from tests.recipe.texts import WHOLE

pytestmark = pytest.mark.usefixtures("toy_kinds")
Write = Callable[..., Path]


def test_every_value_is_stated_or_owned_up_to(write: Write) -> None:
    file = write(WHOLE)
    assert unlisted(load(file)) == [
        "steps.chunks.with.size",
        "steps.chunks.with.overlap",
        "steps.index.with.engine.kind",
        "steps.index.with.engine.m",
        "steps.made.with.count",
        "steps.base.with.pretrained.id",
        "steps.lora.with.method.kind",
        "steps.lora.with.method.r",
        "steps.lora.with.method.lora_alpha",
        "steps.lora.with.seed",
        "steps.qlora.with.method.kind",
        "steps.qlora.with.method.r",
    ]


def test_listing(write: Write) -> None:
    lists = """
stated:
  - {path: [steps.lora.with.method, steps.base.with.pretrained.id], where: section 4}
  - {path: vars.corpus, where: section 4}
assumptions:
  - {path: steps.chunks.with.*, why: x}
  - {path: steps.index.with.engine.m, why: x}
  - {path: steps.lora.with.seed, why: x}
deviations:
  - {what: x, why: y, path: [steps.made.with.count, steps.qlora.with.*]}
  - {what: no path, why: none}
"""
    assert unlisted(load(write(WHOLE + lists))) == ["steps.index.with.engine.kind"]


def test_a_value_that_only_reads_a_variable_is_covered_by_the_variable(write: Write) -> None:
    listed = WHOLE + "stated: [{path: vars.seed, where: section 4}]\n"
    assert "steps.lora.with.seed" not in unlisted(load(write(listed)))
    assert "steps.lora.with.method.r" in unlisted(load(write(listed)))


def test_a_profile_needs_no_listing(write: Write) -> None:
    file = write(WHOLE)
    assert unlisted(load(file, profiles=["smoke"], sets=["steps.lora.with.learning_rate=1"])) == unlisted(load(file))


def test_a_recipe_without_a_source_owes_nothing(write: Write) -> None:
    assert unlisted(load(write(WHOLE.replace('source: {document: "A paper"}\n', "")))) == []
