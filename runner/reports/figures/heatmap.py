"""A factorial experiment at a glance: the score at every combination of two axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runner.reports.figures.svg import TEXT, WIDTH, Drawing, shortened, width_of
from runner.reports.formats import fixed
from runner.reports.page import Figure

#: How strong the colour of the best figure is; with more, the figures' text could no longer be read in one of the schemes.
_STRONGEST = 0.5
_ROW = 30.0


def heatmap(
    title: str,
    rows: tuple[str, Sequence[str]],
    columns: tuple[str, Sequence[str]],
    cells: Mapping[tuple[str, str], float],
    places: int,
    *,
    higher_is_better: bool,
    among: Sequence[float] = (),
    caption: str = "",
) -> Figure:
    """A cell for each row and column label, the stronger coloured the better; the figure stands in it, a dash where there is none.

    ``rows`` and ``columns`` are an axis's name with its labels. ``among`` are all figures that share the colours (other panels').
    """
    (row_axis, row_labels), (column_axis, column_labels) = rows, columns
    scale = sorted(among or cells.values())
    worst, best = (scale[0], scale[-1]) if higher_is_better else (scale[-1], scale[0])
    left = min(max(width_of(text) for text in (*row_labels, row_axis)), WIDTH * 0.4) + 10
    wide = min(96.0, (WIDTH - left) / len(column_labels))
    told = "; ".join(f"{row}, {column}: {fixed(value, places)}" for (row, column), value in cells.items())
    drawing = Drawing(46 + _ROW * len(row_labels), f"{title}: {told}", left + wide * len(column_labels))
    drawing.text(left + wide * len(column_labels) / 2, 13, shortened(column_axis, wide * len(column_labels)), "middle", "muted")
    drawing.text(left - 10, 33, shortened(row_axis, left), "end", "muted")
    for place, column in enumerate(column_labels):
        drawing.text(left + wide * (place + 0.5), 33, shortened(column, wide - 4), "middle", full=column)
    for line, row in enumerate(row_labels):
        y = 42 + _ROW * line
        drawing.text(left - 10, y + 19, shortened(row, left - 10), "end", full=row)
        for place, column in enumerate(column_labels):
            x, value = left + wide * place, cells.get((row, column))
            strength = 0.0 if value is None else _STRONGEST * abs((value - worst) / (best - worst) if best != worst else 0.5)
            style = f"fill:var(--series-1);fill-opacity:{strength:.3f};stroke:var(--line)"
            drawing.add("rect", style, f"{row}, {column}: {fixed(value, places)}", x=x, y=y, width=wide - 2, height=_ROW - 2)
            drawing.text(x + wide / 2 - 1, y + 19, fixed(value, places), "middle", "muted" if value is None else "ink", TEXT - 0.5)
    return Figure(str(drawing), title, caption)
