"""What calls cost, what is expected of the next one, and when the budget is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from runner.errors import StepError

#: Tokens that a reply is expected to have before the first one has come.
FIRST_GUESS = 500
#: Characters of a prompt that are expected to make a token before the first count has come.
CHARACTERS_PER_TOKEN = 4


class BudgetSpent(StepError):
    """The budget allows no further call. What was answered is on record."""


@dataclass(frozen=True)
class Tokens:
    """Tokens of one call or of many: of the prompts, and of the replies with what the model thought before them."""

    input: float = 0
    output: float = 0

    @property
    def total(self) -> float:
        return self.input + self.output

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.input + other.input, self.output + other.output)

    def __sub__(self, other: Tokens) -> Tokens:
        return Tokens(self.input - other.input, self.output - other.output)


class Forecast:
    """Expects of a call what the calls before it used: tokens by characters of the prompt, and as many tokens of reply as the mean."""

    def __init__(self) -> None:
        self._characters = self._calls = 0
        self._seen = Tokens()

    def expect(self, prompt: str) -> Tokens:
        if not self._calls:
            return Tokens(len(prompt) / CHARACTERS_PER_TOKEN, FIRST_GUESS)
        return Tokens(len(prompt) * self._seen.input / max(1, self._characters), self._seen.output / self._calls)

    def learn(self, prompt: str, used: Tokens) -> None:
        self._characters, self._calls, self._seen = self._characters + len(prompt), self._calls + 1, self._seen + used


def used(prompt: str, text: str, tokens_in: int, tokens_out: int) -> Tokens:
    """What a call took: as the provider counts it, or by characters where it does not count."""
    if tokens_in or tokens_out:
        return Tokens(tokens_in, tokens_out)
    return Tokens(math.ceil(len(prompt) / CHARACTERS_PER_TOKEN), math.ceil(len(text) / CHARACTERS_PER_TOKEN))


class Purse:
    """The budget of one run of a step. Prices are for a million tokens; None: unknown, or no limit.

    A call's expected cost is set aside before it goes out, so that the calls in flight together cannot pass the budget by
    more than what they were misjudged by. Not safe under threads by itself: :class:`runner.teachers.limits.Gate` holds the lock.

    Error: StepError for one price without the other, and for a budget in money without prices.
    """

    def __init__(
        self,
        *,
        price_input: float | None = None,
        price_output: float | None = None,
        budget_tokens: int | None = None,
        budget_money: float | None = None,
    ) -> None:
        if budget_money is not None and (price_input is None or price_output is None):
            raise StepError(
                "resources.budget_money needs the teacher's prices, and they are not known",
                remedy="set resources.price_input and resources.price_output, or resources.budget_tokens instead",
            )
        if (price_input is None) != (price_output is None):
            missing = "price_input" if price_input is None else "price_output"
            raise StepError(f"one price alone says no cost: resources.{missing} is missing", remedy="set both prices; 0 is one")
        self._prices = None if price_input is None or price_output is None else (price_input, price_output)
        self.budget_tokens, self.budget_money = budget_tokens, budget_money
        self.spent = Tokens()
        self._aside = Tokens()
        self._out = 0  # calls whose cost is set aside

    def money(self, tokens: Tokens) -> float | None:
        """What tokens cost; None without prices."""
        if self._prices is None:
            return None
        return (tokens.input * self._prices[0] + tokens.output * self._prices[1]) / 1e6

    def allows(self, expected: Tokens) -> bool | None:
        """Whether a call may go out: True, False for good, or None while calls are out that may turn out cheaper than expected."""
        if self._fits(self.spent + self._aside + expected):
            return True
        return None if self._out and self._fits(self.spent + expected) else False

    def set_aside(self, expected: Tokens) -> None:
        self._aside, self._out = self._aside + expected, self._out + 1

    def settle(self, expected: Tokens, used: Tokens) -> None:
        """A call is over, and ``used`` is what it took."""
        self._out -= 1
        self._aside = self._aside - expected if self._out else Tokens()  # no dust of rounding
        self.spent = self.spent + used

    def refusal(self, calls: int, expected: Tokens) -> BudgetSpent:
        """The error that tells what was spent, and what the call that was refused would need."""
        if self.budget_tokens is not None and self.spent.total + expected.total > self.budget_tokens:
            kind, budget, spent, next_one = "tokens", f"{self.budget_tokens:,}", f"{self.spent.total:,.0f}", f"{expected.total:,.0f}"
        else:
            kind, budget, spent = "money", f"{self.budget_money:,g}", f"{self.money(self.spent) or 0:,.4g}"
            next_one = f"{self.money(expected) or 0:,.2g}"
        times = "1 call" if calls == 1 else f"{calls} calls"
        found = (
            f"the budget of {kind} is spent: {spent} of {budget} in {times}, and the next one is expected to take {next_one}"
            if calls
            else f"the budget of {kind} does not allow a single call: it is {budget}, and one is expected to take {next_one}"
        )
        again = "run again to go on with as much again, or " if self._fits(expected) else ""
        return BudgetSpent(found, remedy=f"what was answered is kept: {again}raise resources.budget_{kind}")

    def _fits(self, tokens: Tokens) -> bool:
        if self.budget_tokens is not None and tokens.total > self.budget_tokens:
            return False
        return self.budget_money is None or (self.money(tokens) or 0) <= self.budget_money
