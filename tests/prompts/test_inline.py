from __future__ import annotations

from typing import Any

import pytest

from runner.errors import InputError, StepError
from runner.prompts import inline


def test_a_template_given_by_its_text() -> None:
    template = inline("{{ a }}{% if b %} {{ b | join(', ') }}{% endif %}", "fields.question")
    assert template.variables == {"a", "b"}
    assert template.render(a="{{ b }}", b=["x", "y"]) == "{{ b }} x, y"
    assert template.render(a=2.5, b=[]) == "2.5"
    assert inline("{{ self }}", "f").digest != inline("{{ other }}", "f").digest


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "it would print null: write `or ''` where that is right"),
        (True, "it would print a truth value"),
        (["a"], "it would print a list: `join` it, or name an item of it"),
        ({"a": 1}, "it would print a map"),
    ],
)
def test_only_texts_and_numbers_are_printed(value: Any, found: str) -> None:
    with pytest.raises(StepError) as caught:
        inline("line\n{{ a }}", "fields.answer").render(a=value)
    assert str(caught.value) == f"fields.answer:2: the prompt cannot be rendered: {found}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{{ a", "f:1: unexpected end of template, expected 'end of print statement'."),
        ("{% include 'prompts/x.j2' %}", "f: a template in a recipe includes no file\n  write it out"),
        ("{{ a | xyz }}", "f:1: no filter `xyz` for prompts"),
        ("{{ a.__class__ }}", "f:1: `__class__` is out of reach of prompts"),
    ],
)
def test_what_is_no_template(source: str, found: str) -> None:
    with pytest.raises(InputError) as caught:
        inline(source, "f")
    assert str(caught.value) == found


def test_it_is_as_bounded_as_a_file() -> None:
    with pytest.raises(StepError, match="refused"):
        inline("{{ 'a' * 10 ** 9 }}", "f").render()
    with pytest.raises(StepError, match="undefined"):
        inline("{{ a }}", "f").render()
