"""What a view of a run knows: every instance's state, progress and curve, kept up to date from the run's events."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

from runner.engine import events
from runner.reports.formats import duration, number, size

#: Points of a curve that are kept for drawing.
POINTS = 2000
_BARS = "▁▂▃▄▅▆▇█"


@dataclass
class Row:
    """One instance. Times are seconds since the run began."""

    id: str
    state: str = "waiting"
    why: str = ""
    started: float = 0.0
    seconds: float | None = None
    error: str = ""
    done: float = 0.0
    total: float | None = None
    unit: str = ""
    first: tuple[float, float] | None = None  # when progress in this unit began, and how far it was: a resumed step starts late
    seen: float = 0.0
    curve: list[float] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def step(self) -> str:
        return self.id.partition("[")[0]

    @property
    def rate(self) -> float | None:
        """Units a second since the first progress in this unit."""
        if self.first is None or self.seen <= self.first[0] or self.done <= self.first[1]:
            return None
        return (self.done - self.first[1]) / (self.seen - self.first[0])

    @property
    def left(self) -> float | None:
        """Seconds until the total is reached, at this rate."""
        return None if self.rate is None or self.total is None else max(0.0, self.total - self.done) / self.rate

    def _count(self, count: float) -> str:
        """Things that are done: a question that is half answered counts when it is answered."""
        return size(count) if self.unit == "bytes" else number(int(count))

    def progress(self) -> str:
        """``12/40 steps, 3.4/s, 8 s left, loss 2.31``; empty before the first progress."""
        parts = []
        if self.first is not None:
            whole = f"/{self._count(self.total)}" if self.total is not None else ""
            parts.append(f"{self._count(self.done)}{whole} {'' if self.unit == 'bytes' else self.unit}".rstrip())
        if self.rate is not None and self.unit == "bytes":
            parts.append(f"{size(self.rate)}/s")
        elif self.rate is not None:
            parts.append(f"{number(self.rate)}/s" if self.rate >= 0.5 else f"{duration(1 / self.rate)} each")
        if self.left is not None:
            parts.append(f"{duration(self.left)} left")
        if self.curve:
            parts.append(f"loss {self.curve[-1]:.3f}")
        return ", ".join(parts)


class Board:
    """The rows of a run in running order."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.now = 0.0

    def take(self, event: events.Event) -> Row | None:
        """Bring the rows up to date; returns the row that the event is about."""
        self.now = max(self.now, event.t)
        if isinstance(event, events.Planned):
            self.rows = {name: Row(name, state) for name, state in event.states.items()}
        name = getattr(event, "instance", "")
        if not name:
            return None
        row = self.rows.setdefault(name, Row(name))
        if isinstance(event, events.Started):
            row.state, row.why, row.started = "running", event.why, event.t
        elif isinstance(event, events.Progress):
            if row.first is None or event.unit != row.unit:  # what was done before in another unit says nothing about the rate
                row.first = (event.t, event.done)
            row.done, row.total, row.unit, row.seen = event.done, event.total, event.unit, event.t
        elif isinstance(event, events.Metrics):
            value = event.values.get("loss")
            if value is not None:
                row.curve = [*row.curve[-POINTS:], value]
        elif isinstance(event, events.Warned):
            row.warnings.append(event.message)
        elif isinstance(event, events.Finished):
            row.state, row.seconds, row.error = event.state, event.seconds, event.error or ""
        return row

    def counts(self) -> str:
        """``5 done, 3 cached, 1 running``."""
        counts = Counter(row.state for row in self.rows.values())
        return ", ".join(f"{counts[state]} {WORDS[state]}" for state in WORDS if counts[state])


#: States in words, in the order of a summary.
WORDS = {
    "done": "done",
    "hit": "cached",
    "running": "running",
    "failed": "failed",
    "blocked": "blocked",
    "cancelled": "interrupted",
    "waiting": "waiting",
}


def sparkline(values: list[float], width: int = 24) -> str:
    """A curve in one line of text: the mean of every ``width``-th part."""
    if not values:
        return ""
    width = min(width, len(values))
    edges = [round(part * len(values) / width) for part in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)
