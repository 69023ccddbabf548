from __future__ import annotations

from runner.cli.options import Artifacts, Format, Formats, RunName, find_run
from runner.cli.output import print_json


def command(run: RunName, artifacts: Artifacts = None, format: Formats = Format.text) -> None:
    """Render the report of a run again, and print where it lies."""
    from runner.reports import render

    page = render(find_run(run, artifacts))
    if format is Format.json:
        print_json({"html": str(page), "markdown": str(page.with_suffix(".md"))})
    else:
        print(page)
