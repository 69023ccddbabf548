"""Row 11 of the faults: what is one value, and what is two."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.contract import Struct, doc
from runner.engine.canonical import canonical, digest, plain


class Inner(Struct, tag_field="kind", tag="inner"):
    r: Annotated[int, doc("rank")] = 8


class Outer(Struct):
    x: Annotated[float, doc("x")] = 1.0
    inner: Annotated[Inner, doc("inner")] = Inner(r=16)
    names: Annotated[tuple[str, ...], doc("names")] = ()


def test_types_are_told_apart() -> None:
    values: list[Any] = [1, "1", True, 1.0, None, "", 0, False, 0.0, -0.0, [], {}, [1], "é", "e\u0301", "true", "null"]
    assert len({canonical(value) for value in values}) == len(values)


def test_the_order_of_keys_does_not_matter_and_that_of_lists_does() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1}) != digest({"a": 1, "b": [2, 1]})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical(value)


@pytest.mark.parametrize("value", [b"x", object(), {1: 2}])
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical(value)


def test_lone_surrogates_have_a_spelling() -> None:
    assert canonical("\ud800") == b'"\\ud800"'


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
def test_equal_spelling_means_equal_value(value: Any) -> None:
    import json

    assert canonical(json.loads(canonical(value))) == canonical(value)


def test_values_that_equal_their_defaults_are_left_out() -> None:
    assert plain(Outer(), defaults=False) == {}
    assert plain(Outer(inner=Inner(r=8)), defaults=False) == {"inner": {"kind": "inner"}}
    assert plain(Outer(inner=Inner(r=4), x=2.0), defaults=False) == {"x": 2.0, "inner": {"kind": "inner", "r": 4}}
    assert plain(Outer()) == {"x": 1.0, "inner": {"kind": "inner", "r": 16}, "names": []}
