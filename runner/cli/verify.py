from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli.options import Artifacts, Format, Formats, find_run, open_store
from runner.cli.output import print_json
from runner.errors import DONE, STEP_FAILED

if TYPE_CHECKING:
    from runner.engine import Store


def command(
    what: Annotated[
        str | None,
        typer.Argument(metavar="RUN|ARTIFACT", help="A run, or the first digits of a key; everything by default.", show_default=False),
    ] = None,
    artifacts: Artifacts = None,
    format: Formats = Format.text,
) -> int:
    """Hash artifacts and compare them with their manifests.

    Exit code 1 if any is not as it was written.
    """
    store = open_store(artifacts)
    keys = None if what is None else _keys(what, store, artifacts)
    found, number, live = [], 0, sys.stderr.isatty()
    for number, (key, damage) in enumerate(store.verify(keys), 1):
        if live:
            print(f"\r{number} artifacts", end="", file=sys.stderr, flush=True)
        if damage is not None:
            found.append({"key": key, "step": damage.step, "found": damage.found})
    if live:
        print("\r", end="", file=sys.stderr)
    if format is Format.json:
        print_json({"checked": number, "damaged": found})
    else:
        for row in found:
            print(f"{row['key'][:16]}  {row['step'] or '?'}  {row['found']}")
        print(
            f"{number} artifacts checked, {len(found)} damaged" + ("; the next run sets them aside and makes them again" if found else "")
        )
    return STEP_FAILED if found else DONE


def _keys(what: str, store: Store, artifacts: Path | None) -> list[str]:
    from runner.reports.record import Run

    if len(what) >= 8 and all(sign in "0123456789abcdef" for sign in what):
        return [store.resolve(what)]
    run = Run.open(find_run(what, artifacts))
    return list(dict.fromkeys(instance["artifact"].rpartition("/")[2] for instance in run.instances if instance.get("artifact")))
