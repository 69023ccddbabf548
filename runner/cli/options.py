"""Options and arguments that several commands share, and what they stand for."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.engine import Store


class Format(str, Enum):  # noqa: UP042 - StrEnum would print the same, but Typer shows the values of this one
    text = "text"
    json = "json"


RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe's YAML file.", show_default=False)]
RecipeFiles = Annotated[list[Path], typer.Argument(metavar="RECIPE", help="The recipes' YAML files.", show_default=False)]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's folder, NAME/TIME, or a recipe's NAME for its latest run.", show_default=False)
]
Profiles = Annotated[
    list[str], typer.Option("--profile", "-p", metavar="NAME", help="Overlay a profile of the recipe; repeatable.", show_default=False)
]
Sets = Annotated[
    list[str], typer.Option("--set", metavar="PATH=VALUE", help="Set one value of the recipe; repeatable.", show_default=False)
]
Formats = Annotated[Format, typer.Option("--format", help="How to print.")]
Artifacts = Annotated[
    Path | None,
    typer.Option(
        "--artifacts",
        metavar="FOLDER",
        help="The store; by default `artifacts` in the project's root.",
        envvar="RECIPE_ARTIFACTS",
        show_default=False,
    ),
]


def open_store(artifacts: Path | None, root: Path | None = None) -> Store:
    """The store that a command works on: the folder given, or ``artifacts`` in the root of the recipe or of this folder's project."""
    from runner.engine import Store

    return Store(artifacts or (root or project_root()) / "artifacts")


def project_root() -> Path:
    """The nearest folder upward from here that has a ``recipes`` folder. UsageError when there is none."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "recipes").is_dir():
            return folder
    raise UsageError(
        "this folder lies in no project", remedy="go to a folder with recipes/ in it, here or above, or name the store with --artifacts"
    )


def find_run(name: str, artifacts: Path | None = None) -> Path:
    """The folder of a run: a path to it, ``NAME/TIME``, or ``NAME`` for the latest. UsageError with the nearest names if there is none."""
    folder = Path(name)
    if (folder / "run.json").is_file():
        return folder.resolve()
    runs = open_store(artifacts).runs
    parts = Path(name.rstrip("/")).parts
    if parts and not Path(name).is_absolute() and ".." not in parts:
        recipe = runs / parts[0].removesuffix(".yaml")
        if len(parts) == 1 and (newest := latest(recipe)):
            return newest
        if len(parts) == 2 and (recipe / parts[1] / "run.json").is_file():
            return (recipe / parts[1]).resolve()
    import difflib

    known = sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    close = difflib.get_close_matches(parts[0] if parts else name, known, 1)
    remedy = f"did you mean `{close[0]}`?" if close else "`recipe runs` lists the runs"
    raise UsageError(f"there is no run `{name}` in {runs}", remedy=remedy)


def latest(recipe: Path) -> Path | None:
    """The newest run of a recipe's folder of runs."""
    if (recipe / "latest" / "run.json").is_file():
        return (recipe / "latest").resolve()
    runs = sorted(path for path in recipe.glob("*") if (path / "run.json").is_file()) if recipe.is_dir() else []
    return runs[-1].resolve() if runs else None
