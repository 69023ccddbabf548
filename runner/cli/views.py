"""How a run is shown while it goes: lines of text, or on a terminal a board that is drawn anew."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from runner.cli.board import WORDS, Board, Row, sparkline
from runner.engine import events
from runner.reports.formats import arms_together, duration

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between two lines of progress of one instance.
PAUSE = 5.0


class View(Protocol):
    """Listens to a run. Used as a context, so that a terminal is left as it was found."""

    board: Board

    def __enter__(self) -> View: ...

    def __exit__(self, *problem: object) -> None: ...

    def __call__(self, event: events.Event) -> None: ...


def view(stream: TextIO | None = None) -> View:
    """The board on a terminal, plain lines everywhere else."""
    stream = stream or sys.stdout
    return Live(stream) if stream.isatty() else Plain(stream)


class Plain:
    """One line for every start, end, warning, and now and then for progress."""

    def __init__(self, stream: TextIO) -> None:
        self.board, self._stream, self._last, self._width = Board(), stream, dict[str, float](), 0

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *problem: object) -> None:
        return None

    def __call__(self, event: events.Event) -> None:
        row = self.board.take(event)
        if isinstance(event, events.Planned):
            self._width = min(40, max(map(len, event.states), default=0))
            for name, state in event.states.items():
                if state == "hit":
                    self._say(self.board.rows[name], "cached")
        elif row is None:
            return
        elif isinstance(event, events.Started):
            self._last[row.id] = event.t
            self._say(row, f"started: {arms_together(event.why)}" if event.why else "started")
        elif isinstance(event, events.Progress) and event.t - self._last.get(row.id, 0.0) >= PAUSE:
            self._last[row.id] = event.t
            self._say(row, row.progress())
        elif isinstance(event, events.Warned):
            self._say(row, f"warning: {event.message}")
        elif isinstance(event, events.Log) and row.state != "running":
            self._say(row, event.message)  # waiting for another run, say
        elif isinstance(event, events.Finished):
            self._say(row, _ending(row))

    def _say(self, row: Row, text: str) -> None:
        print(f"{row.id:<{self._width}}  {text}", file=self._stream, flush=True)


def _ending(row: Row) -> str:
    if row.state == "done":
        return f"done in {duration(row.seconds)}"
    if row.state == "hit":
        return "cached"
    if row.state == "failed":
        return f"failed after {duration(row.seconds)}: {row.error}"
    return WORDS.get(row.state, row.state) + (f": {row.error}" if row.error else "")


class Live:
    """Steps and arms with their states, a bar with rate and time left, and the loss as a line; rich draws it.

    Nothing is drawn, and rich is not imported, until an instance has to run.
    """

    def __init__(self, stream: TextIO, console: Console | None = None) -> None:
        self.board, self._stream, self._console = Board(), stream, console
        self._live: Any = None
        self._heard = time.monotonic()

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *problem: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: events.Event) -> None:
        row = self.board.take(event)
        self._heard = time.monotonic()
        if isinstance(event, events.Started) and self._live is None:
            from rich.console import Console
            from rich.live import Live as Drawn

            self._console = self._console or Console(file=self._stream, highlight=False, markup=False)
            self._live = Drawn(get_renderable=self.draw, console=self._console, refresh_per_second=8, redirect_stdout=False)
            self._live.start()
        if isinstance(event, events.Warned) and row is not None and self._console is not None:
            self._console.print(f"{row.id}: {event.message}", style="yellow")

    def draw(self) -> Any:
        """The board as it is now, no higher than the terminal: what runs, failed or ended last stays in sight."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        assert self._console is not None
        rows = self._visible(max(4, self._console.height - 4))
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(min_width=1, width=1)
        table.add_column(no_wrap=True, max_width=44)
        if any(row.state == "running" and row.total for row in rows):
            table.add_column(min_width=12, width=12)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for row in rows:
            sign, style = _SIGNS.get(row.state, (" ", ""))
            name = Text(row.id, "bold" if row.state == "running" else "")
            bar = [_bar(row)] if len(table.columns) == 4 else []
            table.add_row(Text(sign, style), name, *bar, Text(self._words(row), "dim"))
        return Group(table, Text(f"   {duration(self._now())}: {self.board.counts()}", "dim"))

    def _now(self) -> float:
        """Seconds since the run began, between events too: a step may import or download for long before it says anything."""
        return self.board.now + time.monotonic() - self._heard

    def _visible(self, height: int) -> list[Row]:
        rows = list(self.board.rows.values())
        if len(rows) <= height:
            return rows
        order = {"running": 0, "failed": 1, "done": 2, "waiting": 3, "blocked": 4, "cancelled": 4, "hit": 5}
        newest = sorted(rows, key=lambda row: (order.get(row.state, 9), -row.started if row.state == "done" else 0))
        kept = {row.id for row in newest[:height]}
        return [row for row in rows if row.id in kept]

    def _words(self, row: Row) -> str:
        if row.state == "running":
            line = f"  {sparkline(row.curve)}" if len(row.curve) > 1 else ""
            return (row.progress() or duration(self._now() - row.started)) + line
        return "" if row.state == "waiting" else _ending(row)


_SIGNS = {
    "hit": ("=", "dim"),
    "done": ("✓", "green"),
    "running": ("•", "cyan"),
    "failed": ("✗", "red"),
    "blocked": ("-", "yellow"),
    "cancelled": ("-", "yellow"),
}


def _bar(row: Row) -> Any:
    from rich.progress_bar import ProgressBar

    if row.state != "running" or not row.total:
        return ""
    return ProgressBar(total=row.total, completed=row.done, width=12)
