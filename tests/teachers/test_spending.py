"""Tokens, prices, and what is expected of the next call."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import StepError
from runner.teachers.spending import Forecast, Purse, Tokens


def test_prices_are_for_a_million_tokens() -> None:
    purse = Purse(price_input=0.5, price_output=2.0)
    assert purse.money(Tokens(1_000_000, 500_000)) == 1.5
    assert Purse().money(Tokens(1, 1)) is None


@pytest.mark.parametrize(("price", "missing"), [("price_input", "price_output"), ("price_output", "price_input")])
def test_one_price_alone_is_refused_and_not_passed_over(price: str, missing: str) -> None:
    with pytest.raises(StepError, match=f"resources.{missing} is missing"):
        Purse(**{price: 1.0})  # type: ignore[arg-type]


@pytest.mark.parametrize("prices", [{}, {"price_input": 1.0}, {"price_output": 1.0}])
def test_a_budget_in_money_needs_prices(prices: dict[str, float]) -> None:
    with pytest.raises(StepError, match="budget_money needs the teacher's prices"):
        Purse(budget_money=1.0, **prices)
    Purse(budget_money=1.0, price_input=0.0, price_output=0.0)


def test_the_refusal_names_the_budget_that_is_spent() -> None:
    purse = Purse(price_input=10, price_output=10, budget_money=0.05, budget_tokens=1_000_000)
    purse.set_aside(Tokens(2000, 2000))
    purse.settle(Tokens(2000, 2000), Tokens(3000, 1000))
    assert purse.allows(Tokens(1000, 1000)) is False
    assert str(purse.refusal(1, Tokens(1000, 1000))) == (
        "the budget of money is spent: 0.04 of 0.05 in 1 call, and the next one is expected to take 0.02\n"
        "  what was answered is kept: run again to go on with as much again, or raise resources.budget_money"
    )


def test_a_budget_that_is_too_small_for_one_call_says_that_another_run_is_no_help() -> None:
    assert str(Purse(budget_tokens=500).refusal(0, Tokens(617, 500))) == (
        "the budget of tokens does not allow a single call: it is 500, and one is expected to take 1,117\n"
        "  what was answered is kept: raise resources.budget_tokens"
    )
    assert "run again" not in Purse(budget_tokens=500).refusal(2, Tokens(617, 500)).remedy


def test_a_budget_of_nothing_allows_nothing() -> None:
    assert Purse(budget_tokens=0).allows(Tokens(1, 1)) is False


def test_a_forecast_learns_from_the_replies() -> None:
    forecast = Forecast()
    assert forecast.expect("x" * 400) == Tokens(100, 500)
    forecast.learn("x" * 400, Tokens(200, 50))
    forecast.learn("x" * 400, Tokens(200, 150))
    assert forecast.expect("x" * 100) == Tokens(50, 100)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=50), st.integers(1, 5000))
def test_what_is_spent_and_set_aside_never_passes_the_budget_when_forecasts_are_right(calls: list[tuple[int, int]], budget: int) -> None:
    purse = Purse(budget_tokens=budget)
    out: list[Tokens] = []
    for number, (input, output) in enumerate(calls):
        tokens = Tokens(input, output)
        if purse.allows(tokens):
            purse.set_aside(tokens)
            out.append(tokens)
        elif out and number % 2:
            done = out.pop(0)
            purse.settle(done, done)
        assert purse.spent.total + sum(each.total for each in out) <= budget
    for done in out:
        purse.settle(done, done)
    assert purse._aside == Tokens()
