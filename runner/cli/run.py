from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.options import Artifacts, Format, Profiles, RecipeFiles, Sets, open_store
from runner.cli.output import short
from runner.cli.plan import Force, Offline, Only, Unpinned, Until
from runner.cli.plan import show as show_plan
from runner.errors import DONE, INTERRUPTED, STEP_FAILED, UsageError

if TYPE_CHECKING:
    from runner.engine import RunResult
    from runner.recipe.model import Recipe


def command(
    recipes: RecipeFiles,
    profile: Profiles = [],  # noqa: B006
    set_: Sets = [],  # noqa: B006
    only: Only = [],  # noqa: B006
    until: Until = [],  # noqa: B006
    force: Force = [],  # noqa: B006
    offline: Offline = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and run nothing.")] = False,
    unpinned: Unpinned = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Steps that may run at the same time.")] = 1,
    preview: Annotated[
        int | None,
        typer.Option(
            "--preview",
            min=1,
            metavar="N",
            help="With --only: show what the step gives for its first N items, and keep nothing.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="How to print a preview; json: all rows and prompts, in full.")] = Format.text,
    artifacts: Artifacts = None,
) -> int:
    """Run recipes; what is in the store already is not run again.

    A run that was stopped goes on where it was. Exit code: 0 done, 1 a step failed or a check does not hold, 2 the call or the
    recipe is wrong, 130 interrupted.
    """
    from runner.recipe import load

    if preview is not None:
        from runner.cli.preview import refuse, show

        refuse(only, recipes, {"--until": bool(until), "--force": bool(force), "--dry-run": dry_run, "--jobs": jobs != 1})
        recipe = load(recipes[0], profiles=profile, sets=set_)
        return show(recipe, artifacts, only[0], preview, format, offline=offline, unpinned=unpinned)
    if format is not Format.text:
        raise UsageError("--format is how a preview is printed", remedy="--preview N beside it; of a run, `recipe report` tells more")
    loaded = [load(file, profiles=profile, sets=set_) for file in recipes]  # all of them before anything runs
    asked: dict[str, Any] = {"only": only, "until": until, "force": force, "offline": offline, "unpinned": unpinned}
    codes: list[int] = []
    for recipe in loaded:
        if len(loaded) > 1:
            print(f"{'' if not codes else chr(10)}{recipe.name}")
        codes.append(_plan(recipe, artifacts, asked) if dry_run else _run(recipe, artifacts, asked, jobs))
        if codes[-1] == INTERRUPTED:
            break
    return max(codes, default=DONE)


def _plan(recipe: Recipe, artifacts: Path | None, asked: dict[str, Any]) -> int:
    from runner.engine import plan

    return show_plan(recipe, plan(recipe, open_store(artifacts, recipe.root), **asked), Format.text)


def _run(recipe: Recipe, artifacts: Path | None, asked: dict[str, Any], jobs: int) -> int:
    from runner.cli.views import view
    from runner.engine import run

    with view() as shown:
        result = run(recipe, open_store(artifacts, recipe.root), jobs=jobs, listener=shown, on_end=_render, **asked)
    print(f"{result.status}: {shown.board.counts()}")
    _failures(result)
    partial = bool(asked["only"] or asked["until"])
    code = result.exit_code
    if result.folder is not None:
        code = code or _checks(result.folder, partial)
        page = result.folder / "report.html"
        if page.is_file():
            print(f"report: {short(page)}")
    return code


def _render(folder: Path) -> None:
    """Render the report; a fault in it is said, and does not undo the run."""
    from runner.reports import render

    try:
        render(folder)
    except Exception as error:
        from runner.cli.bug import report

        print(f"the report could not be made\n{report(error, sys.argv[1:])}", file=sys.stderr)


def _failures(result: RunResult) -> None:
    from runner.reports.record import Run

    if result.folder is None or result.exit_code == DONE:
        return
    run = Run.open(result.folder)
    for instance in run.instances:
        if error := instance.get("error"):
            print(f"error: {instance['id']}: {error.get('message', '')}", file=sys.stderr)
            if error.get("remedy"):
                print(f"  {error['remedy']}", file=sys.stderr)
            log = run.log(instance)
            if log.is_file():
                print(f"  log: {short(log)}", file=sys.stderr)


def _checks(folder: Path, partial: bool) -> int:
    """Answer the recipe's requirements; one that does not hold, or that a whole run has not measured, fails the run."""
    from runner.reports.record import Run

    run = Run.open(folder)
    checks: Sequence[dict[str, Any]] = run.record.get("checks") or []
    if not checks:
        return DONE
    from runner.evaluation.claims import answer_checks

    code = DONE
    for verdict in answer_checks(list(checks), dict(run.record), run.artifacts):
        print(f"check: {verdict.says}: {verdict.verdict}")
        for part in filter(None, verdict.detail.split("; ")):
            print(f"  {part}")
        if verdict.verdict != "holds" and not (partial and verdict.verdict == "not measured"):
            code = STEP_FAILED
    return code
