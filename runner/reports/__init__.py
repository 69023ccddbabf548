"""The report of a run: one self-contained HTML page and its Markdown twin, made from the run's folder alone.

What the pages show is decided once, as blocks (:mod:`runner.reports.page`), so that both say the same. Artifacts are read by
their type (docs/artifacts.md), never by the name of a step; types that the report does not know are listed with their files.
"""

from __future__ import annotations

from pathlib import Path


def render(run_folder: Path) -> Path:
    """Write ``report.html`` and ``report.md`` into the run's folder and return the path of the former.

    Works at any time, on failed, interrupted and running runs too. InputError when the folder holds no readable ``run.json``.
    """
    from runner.reports.record import Run
    from runner.reports.write import write

    return write(Run.open(Path(run_folder)))
