from __future__ import annotations

import io

import pytest
from rich.console import Console

from runner.cli.views import Live, Plain, view
from runner.engine import events


def story() -> list[events.Event]:
    """A run of four instances: one is there, one runs for long, one fails, one is blocked."""
    told: list[events.Event] = [
        events.RunStarted(recipe="r", run="t"),
        events.Planned(t=0.1, states={"papers": "hit", "lora": "waiting", "gguf": "waiting", "scores": "waiting"}),
        events.Started(t=0.25, instance="lora", why="not computed before"),
    ]
    for step in range(1, 41):
        told.append(events.Progress(t=0.25 + 0.5 * step, instance="lora", done=step, total=40, unit="steps"))
        told.append(events.Metrics(t=0.25 + 0.5 * step, instance="lora", step=step, values={"loss": 4.0 - step / 20}))
    told += [
        events.Warned(t=20.3, instance="lora", message="3 rows were cut"),
        events.Finished(t=20.4, instance="lora", state="done", seconds=20.2),
        events.Started(t=20.5, instance="gguf", why=""),
        events.Finished(t=21.0, instance="gguf", state="failed", seconds=0.5, error="the disk is full"),
        events.Finished(t=21.0, instance="scores", state="blocked", seconds=0.0, error=None),
        events.RunFinished(t=21.1, status="failed", seconds=21.1),
    ]
    return told


def test_plain_lines() -> None:
    stream = io.StringIO()
    with view(stream) as shown:
        assert isinstance(shown, Plain)
        for event in story():
            shown(event)
    assert stream.getvalue().splitlines() == [
        "papers  cached",
        "lora    started: not computed before",
        "lora    10/40 steps, 2/s, 15 s left, loss 3.550",
        "lora    20/40 steps, 2/s, 10 s left, loss 3.050",
        "lora    30/40 steps, 2/s, 5.0 s left, loss 2.550",
        "lora    40/40 steps, 2/s, 0.0 s left, loss 2.050",
        "lora    warning: 3 rows were cut",
        "lora    done in 20 s",
        "gguf    started",
        "gguf    failed after 0.5 s: the disk is full",
        "scores  blocked",
    ]


def live(height: int = 40) -> tuple[Live, Console]:
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=height, color_system=None, markup=False)
    return Live(io.StringIO(), console), console


def drawn(shown: Live, console: Console) -> list[str]:
    with console.capture() as captured:
        console.print(shown.draw())
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_board_shows_states_bar_curve_and_time_left() -> None:
    shown, console = live()
    told = story()
    for event in told[:43]:
        shown.board.take(event)
    lines = drawn(shown, console)
    assert lines[0].startswith("=  papers")
    assert lines[1].startswith("•  lora")
    assert "━" in lines[1]
    assert "█" in lines[1]
    assert "20/40 steps, 2/s, 10 s left" in lines[1]
    assert "waiting" not in lines[2]
    for event in told[43:]:
        shown.board.take(event)
    lines = drawn(shown, console)
    assert "done in 20 s" in lines[1]
    assert "failed after 0.5 s: the disk is full" in lines[2]
    assert lines[-1].endswith("1 done, 1 cached, 1 failed, 1 blocked")


def test_the_clock_goes_on_while_a_step_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("runner.cli.views.time.monotonic", lambda: clock[0])
    shown, console = live()
    shown.board.take(events.Planned(states={"lora": "waiting"}))
    shown.board.take(events.Started(t=1.0, instance="lora"))
    clock[0] = 107.5
    lines = drawn(shown, console)
    assert lines[0].split() == ["•", "lora", "7.5", "s"]
    assert lines[-1].strip() == "8.5 s: 1 running"


def test_a_small_terminal_keeps_what_runs_and_what_failed() -> None:
    shown, console = live(height=9)
    names = [f"step{n}" for n in range(30)]
    shown.board.take(events.Planned(states=dict.fromkeys(names, "hit") | {"step7": "waiting", "step20": "waiting"}))
    shown.board.take(events.Started(t=1.0, instance="step20"))
    shown.board.take(events.Finished(t=1.0, instance="step7", state="failed", seconds=1.0, error="no"))
    lines = drawn(shown, console)
    assert len(lines) == 6
    assert any("step20" in line for line in lines)
    assert any("step7" in line and "failed" in line for line in lines)


def test_a_live_run_draws_and_leaves_the_terminal_in_order() -> None:
    shown, console = live()
    with shown:
        for event in story():
            shown(event)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "lora: 3 rows were cut" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is hidden once, and shown again


def test_nothing_is_drawn_when_nothing_runs() -> None:
    shown, console = live()
    with shown:
        shown(events.Planned(states={"papers": "hit"}))
    assert console.file.getvalue() == ""  # type: ignore[attr-defined]
