from __future__ import annotations

from typing import Annotated

import typer

from runner.cli.options import Artifacts, Format, Formats, Profiles, RecipeFile, Sets, open_store
from runner.cli.output import print_json


def command(
    recipe: RecipeFile,
    step: Annotated[str, typer.Argument(metavar="STEP", help="A step, or one arm of it: answers[system=gguf].", show_default=False)],
    profile: Profiles = [],  # noqa: B006
    set_: Sets = [],  # noqa: B006
    artifacts: Artifacts = None,
    format: Formats = Format.text,
) -> None:
    """Say why a step would run again, or why not."""
    from runner.engine import why
    from runner.recipe import load

    loaded = load(recipe, profiles=profile, sets=set_)
    answers = why(loaded, open_store(artifacts, loaded.root), step)
    if format is Format.json:
        print_json([{"instance": answer.instance, "state": answer.state, "reasons": list(answer.reasons)} for answer in answers])
        return
    for answer in answers:
        print(f"{answer.instance}  {answer.state}")
        for reason in answer.reasons:
            print(f"  {reason}")
