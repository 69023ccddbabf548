"""What asking a teacher came to: calls, tokens, money, time."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field

from runner.teachers.interface import Reply
from runner.teachers.spending import Tokens


@dataclass
class Tally:
    """Counts over all requests. ``calls`` were made now, ``cached`` were on record; tokens, money and seconds are those of ``calls``."""

    calls: int = 0
    cached: int = 0
    retried: int = 0
    lost: int = 0  # calls in flight when an earlier process was killed, which are asked again
    tokens_in: int = 0
    tokens_out: int = 0
    uncounted: int = 0  # calls whose tokens the provider did not count; they are estimated by their characters
    money: float | None = None  # None without prices
    seconds: array[float] = field(default_factory=lambda: array("d"))  # of each call that was answered
    repaired: int = 0  # replies taken out of a code fence or other words
    rejected: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)  # replies used, by the model that they report
    usage: dict[str, Counter[str]] = field(default_factory=dict)  # model -> calls, tokens_in, tokens_out

    def latency(self, percent: float) -> float:
        """Seconds within which ``percent`` of the calls were answered (nearest rank); 0 without calls."""
        ranked = sorted(self.seconds)
        return ranked[max(1, math.ceil(len(ranked) * percent / 100)) - 1] if ranked else 0.0

    def add(self, reply: Reply, tokens: Tokens, money: float | None) -> None:
        """A call was answered. ``tokens`` are those that count, which may be estimated. Not safe under threads by itself."""
        tokens_in, tokens_out = int(tokens.input), int(tokens.output)
        self.calls += 1
        self.tokens_in += tokens_in
        self.tokens_out += tokens_out
        self.uncounted += bool(tokens.total) and not (reply.tokens_in or reply.tokens_out)
        self.money = None if money is None else (self.money or 0.0) + money
        self.seconds.append(reply.seconds)
        self.usage.setdefault(reply.model, Counter()).update(calls=1, tokens_in=tokens_in, tokens_out=tokens_out)
