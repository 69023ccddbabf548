from __future__ import annotations

import math

import pytest

from runner.reports import formats


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.41234, "0.412"),
        (12.345, "12.3"),
        (999.6, "1,000"),
        (1234567, "1,234,567"),
        (3456.7, "3,457"),
        (1e-5, "1.00e-05"),
        (5, "5"),
        (math.nan, "nan"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.04, "0.0 s"), (9.96, "10.0 s"), (59.4, "59 s"), (59.7, "1 min 00 s"), (161.4, "2 min 41 s"), (7620, "2 h 07 min")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(12, "12 bytes"), (1500, "1.50 kB"), (3_312_640, "3.31 MB"), (2e12, "2 TB")])
def test_size(count: float, text: str) -> None:
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("value", "text", "plus"), [(0.1234, "0.123", "+0.123"), (-0.5, "−0.500", "−0.500"), (-0.0001, "0.000", "0.000"), (None, "–", "–")]
)
def test_fixed_and_signed(value: float | None, text: str, plus: str) -> None:
    assert formats.fixed(value, 3) == text
    assert formats.signed(value, 3) == plus


def test_plain() -> None:
    assert formats.plain({"a": [1, 2e-4, None], "b": {"c": True}}) == "a: 1, 0.0002, –, b: c: yes"
    assert formats.quantity(1.7e9, "bytes") == "1.70 GB"
    assert formats.quantity("resident set", "bytes") == "resident set"


def test_arms_together() -> None:
    assert formats.arms_together("on base, answers[a=1,b=x], answers[a=2,b=x]; a changed") == "on base, answers (2 arms); a changed"
    assert formats.arms_together("on answers[a=1], scores[a=1]") == "on answers[a=1], scores[a=1]"


@pytest.mark.parametrize(
    ("p", "text"), [(0.0002, "p < 0.001"), (0.000999, "p = 0.001"), (0.0412, "p = 0.041"), (0.153, "p = 0.15"), (1.0, "p = 1.00")]
)
def test_p_value(p: float, text: str) -> None:
    assert formats.p_value(p) == text


def test_decimals_are_those_of_the_column() -> None:
    assert formats.places_for([0.2, 40.0], "of 100") == formats.places_for([0.0], "of 100") == 1
    assert formats.places_for([0.2, 0.04], "of 100") == 2
    assert formats.places_for([4.9], "nats a token") == 3
    assert formats.interval(0.0, 1.306, 1) == "0.0 to 1.3"
    assert formats.interval(2.0, 2.0, 1) == ""
    assert formats.assigned({"m": 32, "clip": None}) == "m = 32; clip = null"
