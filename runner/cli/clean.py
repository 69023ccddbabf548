from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from runner.cli.options import Artifacts, Format, Formats, open_store
from runner.cli.output import print_json
from runner.reports.formats import size


def command(
    keep_last: Annotated[int, typer.Option("--keep-last", metavar="N", min=0, help="Runs of each recipe to keep.")] = 1,
    cache: Annotated[bool, typer.Option("--cache", help="Remove the teachers' recorded answers too; they were paid for.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    artifacts: Artifacts = None,
    format: Formats = Format.text,
) -> None:
    """Remove old runs, and what no kept run needs.

    Artifacts that kept or live runs refer to stay, and so do the teachers' recorded answers.
    """
    cleaned = open_store(artifacts).clean(keep_last, cache=cache, dry_run=dry_run)
    if format is Format.json:
        print_json(
            {"dry_run": dry_run, "runs": cleaned.runs, "artifacts": cleaned.artifacts, "strays": cleaned.strays, "bytes": cleaned.bytes}
        )
        return
    for run in cleaned.runs:
        print(run)
    verb = "would be removed" if dry_run else "removed"
    counts = [_count(cleaned.runs, "run"), _count(cleaned.artifacts, "artifact"), _count(cleaned.strays, "stray")]
    print(f"{', '.join(counts)} {verb}, {size(cleaned.bytes)}")


def _count(things: Sequence[str], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
