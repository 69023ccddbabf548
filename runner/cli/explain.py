from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.options import Format, Formats
from runner.cli.output import aligned, print_json


def command(
    what: Annotated[
        str | None, typer.Argument(metavar="KIND[.PARAM]", help="A step kind, or one of its parameters.", show_default=False)
    ] = None,
    format: Formats = Format.text,
) -> None:
    """Explain a step kind or one of its parameters.

    Without a name, list the kinds.
    """
    from runner.recipe.manual import available, describe, explain_text

    if what is None:
        kinds = [{"kind": kind.name, "summary": (kind.module.__doc__ or "").partition("\n")[0]} for kind in available()]
        if format is Format.json:
            print_json(kinds)
        else:
            print(aligned([("kind", "summary"), *((kind["kind"], kind["summary"]) for kind in kinds)]))
        return
    about = describe(what)
    if format is Format.json:
        print_json(about)
    else:
        print(explain_text(about))
