"""Drawings as inline SVG that follow the page's colours, light and dark. matplotlib is imported when there is something to draw."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from runner.reports.formats import fixed
from runner.reports.page import Figure
from runner.reports.record import Json, Run

#: Colours that stand for the page's CSS variables until the drawing is done.
INK, MUTED, LINE, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0{digit}0b0c" for digit in "12345678")
_VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", PAPER: "--paper"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, 1)
}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "recipe-runner",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": INK,
}


def bars(run: Run, metric: Json, arms: Sequence[Json], baseline: Mapping[str, str] | None, places: int) -> Figure:
    """One metric: a bar for every arm with its interval, the baseline's in grey."""
    shown = [arm for arm in arms if metric["name"] in arm["values"] and arm["values"][metric["name"]].get("mean") is not None]
    title = metric.get("title") or metric["name"]
    figure, axes = _canvas(4.3, 0.34 + 0.27 * max(1, len(shown)))
    top = max((max(_value(arm, metric, "high"), _value(arm, metric, "mean")) for arm in shown), default=1.0) or 1.0
    for row, arm in enumerate(shown):
        mean, low, high = (_value(arm, metric, part) for part in ("mean", "low", "high"))
        plain = arm["axes"] == baseline
        axes.barh(row, mean, height=0.62, color=MUTED if plain else SERIES[0], alpha=0.45 if plain else 0.8, linewidth=0)
        axes.plot([low, high], [row, row], color=INK, linewidth=1.1, solid_capstyle="butt")
        axes.text(1.0, row, fixed(mean, places), transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(shown)), [run.arm(arm["axes"]) for arm in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(0, top * 1.22)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    direction = "higher is better" if metric.get("higher_is_better", True) else "lower is better"
    return Figure(_svg(figure, f"{title} by arm"), title, f"{direction}; lines are intervals")


def curves(title: str, label: str, lines: Sequence[tuple[str, Sequence[float], Sequence[float], bool]]) -> Figure:
    """Lines over training steps: name, steps, values, and whether it was measured on held-out examples (dashed)."""
    figure, axes = _canvas(5.4, 2.9)
    names = list(dict.fromkeys(name for name, *_ in lines))
    for name, steps, values, held_out in lines:
        axes.plot(
            steps,
            values,
            color=SERIES[names.index(name) % len(SERIES)],
            linewidth=1.5,
            linestyle="--" if held_out else "-",
            marker="o" if len(steps) < 3 else None,
            markersize=3,
            label=f"{name}, held out" if held_out else name,
        )
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(label)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=MUTED)
    axes.spines["left"].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="best", labelcolor=INK)
    return Figure(_svg(figure, title), title)


def _value(arm: Json, metric: Json, part: str) -> float:
    value = arm["values"][metric["name"]]
    found = value.get(part)
    return float(value["mean"] if found is None else found)


@cache
def _matplotlib() -> Any:
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # no word about font caches on the terminal
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Drawing

    return matplotlib, FigureCanvasSVG, Drawing


def _canvas(width: float, height: float) -> tuple[Any, Any]:
    matplotlib, canvas, drawing = _matplotlib()
    with matplotlib.rc_context(_STYLE):
        figure = drawing(figsize=(width, height), layout="constrained")
        canvas(figure)
        return figure, figure.add_subplot()


def _svg(figure: Any, alternative: str) -> str:
    """The drawing as an ``svg`` element: no prolog, ids only where they are used, colours as CSS variables."""
    matplotlib, *_ = _matplotlib()
    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # glyphs that matplotlib's font lacks: the browser's has them
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    used = set(re.findall(r"#([\w.:-]+)", text))
    text = re.sub(r'\sid="([^"]+)"', lambda found: found.group(0) if found.group(1) in used else "", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", text)
    width = float(figure.get_figwidth()) * 96
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    alternative = alternative.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    start = f'<svg role="img" aria-label="{alternative}" style="max-width: {width:.0f}px" '
    return text.replace("<svg ", start, 1)
