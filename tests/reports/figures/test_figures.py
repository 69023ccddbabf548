"""Every drawing is read back by its own axes: what it shows must be what it was given."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest

import runner.reports
from runner.reports.figures.along import Line, along
from runner.reports.figures.bars import Bar, bars
from runner.reports.figures.curves import Curve, curves
from runner.reports.figures.heatmap import heatmap
from runner.reports.figures.svg import COLOURS, Drawing, Scale, shortened, spread_out, swatch, tick, width_of
from runner.reports.figures.tradeoff import Point, frontier, tradeoff
from tests.reports.figures.reading import Read, corner, place_of

HOSTILE = '</svg><script>alert(1)</script> & "x"'


def test_a_bar_is_as_long_as_its_value_and_its_whiskers_end_where_the_interval_does() -> None:
    rows = [Bar("base", 20.0, 15.0, 26.0, True), Bar("tuned", 40.0, 33.0, 41.5), Bar("worse", 5.0, 0.0, 9.0)]
    read = Read(bars("ROUGE-L", "ROUGE-L, of 100", rows, 1, from_zero=True).svg)
    ticks = read.across()
    rects = read.told("rect")
    assert list(rects) == ["base: 20.0 (15.0 to 26.0)", "tuned: 40.0 (33.0 to 41.5)", "worse: 5.0 (0.0 to 9.0)"]
    whiskers = [line for line in read.all("line") if "stroke-width:1.6" in line.get("style", "") and line.get("y1") == line.get("y2")]
    for row, rect, whisker in zip(rows, rects.values(), whiskers, strict=True):
        start, width = float(rect.get("x", 0)), float(rect.get("width", 0))
        assert start == pytest.approx(place_of(0, ticks), abs=0.02)
        assert start + width == pytest.approx(place_of(row.value, ticks), abs=0.02)
        assert float(whisker.get("x1", 0)) == pytest.approx(place_of(row.low, ticks), abs=0.02)
        assert float(whisker.get("x2", 0)) == pytest.approx(place_of(row.high, ticks), abs=0.02)
    widths = [float(rect.get("width", 0)) for rect in rects.values()]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.05)
    dashed = [line for line in read.all("line") if "dasharray" in line.get("style", "")]
    assert [float(line.get("x1", 0)) for line in dashed] == [pytest.approx(place_of(20, ticks), abs=0.02)]


def test_losses_are_points_and_not_bars() -> None:
    rows = [Bar("base", 2.31, 2.2, 2.42, True), Bar("tuned", 1.9, 1.84, 1.99)]
    read = Read(bars("Held-out loss", "Held-out loss, nats a token", rows, 3, from_zero=False).svg)
    assert read.all("rect") == []
    ticks = read.across()
    assert min(value for value, _ in ticks) > 1.5  # the axis shows only where they lie
    marks = read.told("path")
    assert corner(marks["tuned: 1.900 (1.840 to 1.990)"])[0] == pytest.approx(place_of(1.9, ticks), abs=0.02)


def test_negative_figures_have_bars_to_the_other_side() -> None:
    read = Read(bars("Gain", "Gain, of 100", [Bar("a", -3.0, -4.0, -2.0), Bar("b", 2.0, 1.0, 3.0)], 1, from_zero=True).svg)
    ticks, (left, right) = read.across(), read.all("rect")
    assert float(left.get("x", 0)) == pytest.approx(place_of(-3, ticks), abs=0.02)
    assert float(left.get("x", 0)) + float(left.get("width", 0)) == pytest.approx(float(right.get("x", 0)), abs=0.02)


def test_curves_lie_where_the_axes_say() -> None:
    line = Curve("lora", [1, 5, 10], [3.0, 2.0, 1.5], 0)
    held_out = Curve("lora, held out", [5, 10], [2.2, 2.4], 0, True)
    figure = curves("Loss", "loss, nats a token", [line, held_out])
    read = Read(figure.svg)
    across, upright = read.across(), read.upright()
    paths = [path for path in read.all("path") if "fill:none" in path.get("style", "")]
    for given, path in zip((line, held_out), paths, strict=True):
        points = [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", path.get("d", ""))]
        assert len(points) == len(given.steps)
        for (x, y), step, value in zip(points, given.steps, given.values, strict=True):
            assert x == pytest.approx(place_of(step, across), abs=0.02)
            assert y == pytest.approx(place_of(value, upright), abs=0.02)
    assert "dasharray" not in paths[0].get("style", "")
    assert "dasharray" in paths[1].get("style", "")
    assert [key.label for key in figure.legend] == ["lora", "lora, held out"]
    assert "optimiser step" in figure.svg
    assert "loss, nats a token<" in figure.svg


def test_a_loss_that_falls_tenfold_is_drawn_by_logarithms() -> None:
    values = [8.0, 2.0, 0.5, 0.05]
    read = Read(curves("Loss", "loss", [Curve("a", [0, 1, 2, 3], values, 0)]).svg)
    assert "loss, log scale" in [text.text for text in read.texts()]
    upright = read.upright()
    path = next(path for path in read.all("path") if "fill:none" in path.get("style", ""))
    heights = [float(y) for _, y in re.findall(r"([\d.]+),([\d.]+)", path.get("d", ""))]
    assert heights == [pytest.approx(place_of(value, upright, log=True), abs=0.05) for value in values]


def test_one_line_has_no_legend_and_every_step_of_a_short_one_a_mark() -> None:
    figure = curves("Loss", "loss", [Curve("a", [1, 2, 3], [3, 2, 1], 0)])
    assert figure.legend == ()
    assert len(Read(figure.svg).told("path")) == 3


def test_the_frontier_is_what_nothing_beats() -> None:
    draw = random.Random(5)
    for higher in (True, False):
        points = [Point(str(n), 0, draw.choice([1.0, 2.0, draw.random()]), draw.choice([5.0, draw.random()]), 0, 1) for n in range(40)]

        def beats(one: Point, other: Point, higher: bool = higher) -> bool:
            better = one.value > other.value if higher else one.value < other.value
            return one.cost <= other.cost and (better or one.value == other.value) and (better or one.cost < other.cost)

        expected = {(p.cost, p.value) for p in points if not any(beats(other, p) for other in points)}
        assert {(p.cost, p.value) for p in frontier(points, higher)} == expected


def test_a_trade_off_lies_where_the_axes_say() -> None:
    points = [
        Point("base", 0, 10.0, 30.0, 28.0, 33.0, True),
        Point("tuned", 1, 500.0, 41.0, 39.0, 44.0),
        Point("slow", 1, 900.0, 35.0, 35.0, 35.0),
    ]
    figure = tradeoff("ROUGE-L against time", "time of an answer, ms", "ROUGE-L", points, ["base", "tuned"], 1, higher_is_better=True)
    read = Read(figure.svg)
    assert "time of an answer, ms, log scale" in [text.text for text in read.texts()]
    marks = read.told("path")
    for point in points:
        mark = next(element for told, element in marks.items() if told.startswith(point.label))
        x, y = corner(mark)
        assert x == pytest.approx(place_of(point.cost, read.across(), log=True), abs=0.1)
        assert y == pytest.approx(place_of(point.value, read.upright()), abs=0.1)
    spans = [line for line in read.all("line") if "stroke-width:0.9" in line.get("style", "")]
    assert [float(line.get("y1", 0)) for line in spans] == [
        pytest.approx(place_of(point.low, read.upright()), abs=0.05) for point in points
    ]
    assert [float(line.get("y2", 0)) for line in spans] == [
        pytest.approx(place_of(point.high, read.upright()), abs=0.05) for point in points
    ]
    assert "fill:var(--paper)" in next(element for told, element in marks.items() if told.startswith("base")).get("style", "")
    path = next(path for path in read.all("path") if "fill:none" in path.get("style", ""))
    assert len(re.findall(",", path.get("d", ""))) == 2  # base and tuned; slow is beaten
    assert [key.label for key in figure.legend] == ["base", "tuned"]


@pytest.mark.parametrize("higher", [True, False])
def test_the_best_cell_has_the_strongest_colour_and_a_missing_one_none(higher: bool) -> None:
    cells = {("lora", "none"): 10.0, ("lora", "hnsw"): 30.0, ("base", "none"): 20.0}
    figure = heatmap("ROUGE-L", ("system", ["lora", "base"]), ("rag", ["none", "hnsw"]), cells, 1, higher_is_better=higher)
    read = Read(figure.svg)
    strength = {
        told: float(re.search(r"fill-opacity:([\d.]+)", rect.get("style", ""))[1])  # type: ignore[index]
        for told, rect in read.told("rect").items()
    }
    assert list(strength) == ["lora, none: 10.0", "lora, hnsw: 30.0", "base, none: 20.0", "base, hnsw: –"]
    worst, best = ("lora, none: 10.0", "lora, hnsw: 30.0") if higher else ("lora, hnsw: 30.0", "lora, none: 10.0")
    assert strength[worst] == strength["base, hnsw: –"] == 0
    assert strength[best] == 2 * strength["base, none: 20.0"] == max(strength.values()) <= 0.5
    assert [text.text for text in read.texts("--ink") if text.get("font-size") == "11.5"] == ["10.0", "30.0", "20.0"]


def test_scores_along_numbers_lie_where_the_axes_say() -> None:
    lines = [
        Line("qlora", [(4, 30.0, 28.0, 31.0), (8, 34.0, 32.0, 37.0), (16, 33.0, 31.5, 34.0)]),
        Line("gguf", [(4, 29.0, 27.0, 30.0), (16, 31.0, 29.0, 33.0)]),
    ]
    figure = along("ROUGE-L along rank", "rank", "ROUGE-L", lines, [("full", 36.0)], 1)
    read = Read(figure.svg)
    across, upright = read.across(), read.upright()
    assert [value for value, _ in across] == [4, 8, 16]
    assert across[1][1] - across[0][1] == pytest.approx(across[2][1] - across[1][1], abs=0.05)  # doublings are equal steps
    marks = read.told("path")
    for line in lines:
        for number, value, low, high in line.points:
            x, y = corner(marks[f"{line.name}, rank {number}: {value:.1f} ({low:.1f} to {high:.1f})"])
            assert y == pytest.approx(place_of(value, upright), abs=0.1)
            assert abs(x - place_of(number, across, log=True)) < 5
    bars_ = [line for line in read.all("line") if "stroke-width:1.1" in line.get("style", "")]
    assert len(bars_) == 5
    assert float(bars_[1].get("y1", 0)) == pytest.approx(place_of(32, upright), abs=0.05)
    assert float(bars_[1].get("y2", 0)) == pytest.approx(place_of(37, upright), abs=0.05)
    [level] = [line for line in read.all("line") if "dasharray" in line.get("style", "")]
    assert float(level.get("y1", 0)) == pytest.approx(place_of(36, upright), abs=0.05)
    assert [key.label for key in figure.legend] == ["qlora", "gguf", "full"]


def test_names_stay_text_and_drawings_say_what_they_show() -> None:
    made = [
        bars(HOSTILE, "x", [Bar(HOSTILE, 1, 0, 2), Bar("b", 2, 1, 3)], 1, from_zero=True),
        curves("t", HOSTILE, [Curve(HOSTILE, [1, 2], [2, 1], 0)]),
        tradeoff("t", HOSTILE, "s", [Point(HOSTILE, 0, 1, 1, 1, 1), Point("b", 0, 2, 2, 2, 2)], [HOSTILE], 1, higher_is_better=True),
        heatmap("t", (HOSTILE, [HOSTILE]), ("c", ["d", "e"]), {(HOSTILE, "d"): 1.0}, 1, higher_is_better=True),
        along("t", HOSTILE, "s", [Line(HOSTILE, [(1, 1, 1, 1), (2, 2, 2, 2)])], [], 1),
    ]
    for figure in made:
        read = Read(figure.svg)
        assert read.all("script") == []
        assert read.root.get("role") == "img"
        assert read.root.get("aria-label")
        assert not re.search(r"#[0-9a-f]{3,6}\b", figure.svg)
    assert "b 2.0" in Read(made[0].svg).root.get("aria-label", "")
    sign = Read(swatch(3)).root
    assert sign.get("aria-hidden") == "true"
    assert sign.get("role") is None


def test_ticks_are_round_few_and_on_the_scale() -> None:
    draw = random.Random(2)
    for _ in range(500):
        low = draw.choice([-1, 0, 1]) * 10 ** draw.uniform(-4, 6)
        scale = Scale.over([low, low + 10 ** draw.uniform(-3, 6)], 0, 100, zero=draw.random() < 0.3)
        ticks = scale.ticks(4)
        assert 3 <= len(ticks) <= 11
        assert all(scale.low - 1e-9 * abs(scale.low) <= value <= scale.high + 1e-9 * abs(scale.high) for value in ticks)
        step = ticks[1] - ticks[0]
        assert f"{step:.6e}"[:4] in ("1.00", "2.00", "2.50", "5.00")
        texts = [tick(value, ticks) for value in ticks]
        assert len(set(texts)) == len(texts)
    for _ in range(300):
        low = 10 ** draw.uniform(-5, 5)
        ticks = Scale.over([low, low * 10 ** draw.uniform(0.6, 6)], 0, 100, log=True).ticks(5)
        assert 2 <= len(ticks) <= 9
        assert ticks == sorted(ticks)


def test_a_scale_of_equal_values_still_draws() -> None:
    for value in (0.0, 5.0, -2.0):
        scale = Scale.over([value, value], 0, 100)
        assert 0 <= scale(value) <= 100
    assert not math.isnan(Scale.over([3.0, 3.0], 0, 100, log=True)(3.0))
    assert not spread_out([0.0, 100.0], 10)
    assert spread_out([1.0, 10.0], 10)


def test_long_names_keep_both_ends() -> None:
    name = "qwen2.5-3b-instruct · rank 16 · sentence-transformers · calibrated"
    short = shortened(name, 120)
    assert width_of(short) <= 120
    assert short.startswith("qwen")
    assert short.endswith("ated")
    assert shortened("base", 120) == "base"
    for text in ("hnsw", "rank 16", "nf4 · double"):  # as wide as the room that was made for it
        assert shortened(text, width_of(text) + 10 - 10) == text
    svg = heatmap("t", ("rag", ["none", "hnsw", "ivf"]), ("system", ["a", "b"]), {("hnsw", "a"): 1.0}, 1, higher_is_better=True).svg
    assert ">hnsw<" in svg


def test_the_signs_of_series_differ_without_colour() -> None:
    shapes = set()
    for series in range(COLOURS):
        drawing = Drawing(10, "x")
        drawing.mark(0, 0, series)
        shapes.add(Read(str(drawing)).all("path")[0].get("d"))
    assert len(shapes) == COLOURS


#: Machado, Oliveira and Fernandes (2009), severity 1: what people without one kind of cone see, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}


@pytest.mark.parametrize("scheme", [0, 1])
def test_the_colours_of_series_can_be_told_apart_by_everybody(scheme: int) -> None:
    """A CIE 1976 difference of 10 or more between any two, and a contrast of 3 to 1 with the page (WCAG 2.2, 1.4.11)."""
    style = (Path(runner.reports.__file__).parent / "report.css").read_text(encoding="utf-8")
    colours = {
        name: found[scheme]
        for name in ("paper", *(f"series-{n}" for n in range(1, COLOURS + 1)))
        for found in [re.findall(rf"--{name}: (#\w+)", style)]
    }
    linear = {name: np.array([_linear(int(code[at : at + 2], 16) / 255) for at in (1, 3, 5)]) for name, code in colours.items()}
    light = {name: float(np.array([0.2126, 0.7152, 0.0722]) @ value) for name, value in linear.items()}
    series = [name for name in colours if name != "paper"]
    for name in series:
        bright, dark = max(light[name], light["paper"]), min(light[name], light["paper"])
        assert (bright + 0.05) / (dark + 0.05) >= 3, name
    for matrix in DEFICIENCIES.values():
        seen = [_lab(matrix @ linear[name]) for name in series]
        apart = [float(np.linalg.norm(one - other)) for place, one in enumerate(seen) for other in seen[:place]]
        assert min(apart) >= 10


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _lab(linear: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(linear, 0, 1) / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
