"""Drawings as inline SVG that follow the page's colours, light and dark. matplotlib is imported when there is something to draw."""

from __future__ import annotations

import hashlib
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


def dots(run: Run, metric: Json, arms: Sequence[Json], baseline: Mapping[str, str] | None, places: int) -> Figure:
    """One metric: a dot for every arm on its interval; the baseline's is grey, with a dashed line through all arms."""
    shown = [arm for arm in arms if metric["name"] in arm["values"] and arm["values"][metric["name"]].get("mean") is not None]
    title = metric.get("title") or metric["name"]
    figure, axes = _canvas(3.5, 0.5 + 0.25 * max(1, len(shown)))
    for row, arm in enumerate(shown):
        mean, low, high = (_value(arm, metric, part) for part in ("mean", "low", "high"))
        colour = MUTED if arm["axes"] == baseline else SERIES[0]
        if arm["axes"] == baseline:
            axes.axvline(mean, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3)), zorder=1)
        axes.plot([low, high], [row, row], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=2)
        axes.plot([mean], [row], marker="o", markersize=5.5, color=colour, zorder=3)
        axes.text(1.14, row, fixed(mean, places), transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(shown)), [run.arm(arm["axes"]) for arm in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelcolor=MUTED, labelsize=8)
    return Figure(_svg(figure, f"{title} by arm"), title, "higher is better" if metric.get("higher_is_better", True) else "lower is better")


def curves(title: str, label: str, lines: Sequence[tuple[str, Sequence[float], Sequence[float], bool]]) -> Figure:
    """Lines over training steps: name, steps, values, and whether it was measured on held-out examples (dotted).

    A line that lies on an earlier one is dashed, so that both are seen.
    """
    figure, axes = _canvas(5.4, 2.9)
    names = list(dict.fromkeys(name for name, *_ in lines))
    every = [value for _, _, values, _ in lines for value in values]
    near = 0.02 * (max(every) - min(every))
    for place, (name, steps, values, held_out) in enumerate(lines):
        hides = any(_coincide((steps, values), (xs, ys), near) for _, xs, ys, _ in lines[:place])
        axes.plot(
            steps,
            values,
            color=SERIES[names.index(name) % len(SERIES)],
            linewidth=1.6,
            linestyle=(0, (1, 1.5)) if held_out else (0, (4, 4)) if hides else "-",
            marker="o" if held_out or len(steps) < 3 else None,
            markersize=3,
            label=f"{name}, held out" if held_out else name,
        )
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(label)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=MUTED)
    axes.spines["left"].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="best", labelcolor=INK, handlelength=2.8)
    return Figure(_svg(figure, title), title)


def _coincide(one: tuple[Sequence[float], Sequence[float]], other: tuple[Sequence[float], Sequence[float]], near: float) -> bool:
    """Whether two lines are no further apart than ``near`` at most of the steps that they share."""
    there = dict(zip(*other, strict=True))
    apart = [abs(value - there[step]) for step, value in zip(*one, strict=True) if step in there]
    return bool(apart) and sum(distance <= near for distance in apart) * 2 > len(apart)


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
    own = hashlib.sha256((alternative + text).encode()).hexdigest()[:8]  # ids are one page's, not one drawing's
    names = set(re.findall(r'\sid="([^"]+)"', text)) & used
    text = re.sub(r'\sid="([^"]+)"', lambda found: f' id="d{own}-{found[1]}"' if found[1] in names else "", text)
    text = re.sub(r"#([\w.:-]+)", lambda found: f"#d{own}-{found[1]}" if found[1] in names else found[0], text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px", text)
    width = float(figure.get_figwidth()) * 96
    text = re.sub(r'\s(width|height)="[\d.]+pt"', "", text, count=2)
    alternative = alternative.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    start = f'<svg role="img" aria-label="{alternative}" style="max-width: {width:.0f}px" '
    return text.replace("<svg ", start, 1)
