"""Recipes that are broken at random: whatever a user mistypes gives problems, never a traceback."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.recipe import render_problems, validate
from tests.recipe.texts import WHOLE

VALUES = [
    "null",
    "3",
    "1.5",
    "true",
    "[]",
    "{}",
    "x",
    "none",
    "''",
    "[1, 2]",
    "[null]",
    "[[1]]",
    "[{}]",
    "{a: b}",
    "{kind: x}",
    "{name: q}",
    "answers",
    "splits",
    "steps",
    "${",
    "${matrix.rag}",
    "'${vars.seed}'",
]


@pytest.mark.parametrize("seed", range(4))
def test_broken_recipes(seed: int, write: Callable[..., Path], toy_kinds: None) -> None:
    chance = random.Random(seed)
    found = 0
    for _ in range(40):
        lines = WHOLE.split("\n")
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(lines))
            deed = chance.choice(("delete", "replace", "replace", "copy", "mistype"))
            if deed == "delete":
                del lines[at]
            elif deed == "replace" and ": " in lines[at]:
                lines[at] = f"{lines[at].rpartition(': ')[0]}: {chance.choice(VALUES)}"
            elif deed == "copy":
                lines.insert(at, chance.choice(lines))
            else:
                lines[at] = lines[at].replace(chance.choice("abcdefgh:"), chance.choice("xyz:{["), 1)
        try:
            problems = validate(write("\n".join(lines)))
        except RunnerError:
            continue
        found += len(problems)
        assert render_problems(problems)
    assert found > 20
