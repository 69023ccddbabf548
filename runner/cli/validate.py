from __future__ import annotations

from runner.cli.options import Format, Formats, Profiles, RecipeFiles, Sets
from runner.cli.output import print_json
from runner.errors import BAD_RECIPE, Problem, RecipeError


def command(recipes: RecipeFiles, profile: Profiles = [], set_: Sets = [], format: Formats = Format.text) -> int:  # noqa: B006
    """Check recipes, and show everything that is wrong with them.

    Without -p and --set, each is checked plain and under each of its profiles.
    """
    from runner.recipe import load, render_problems, validate

    problems: list[Problem] = []
    for file in recipes:
        if profile or set_:
            try:
                load(file, profiles=profile, sets=set_)
            except RecipeError as error:
                problems.extend(error.problems)
        else:
            problems.extend(validate(file))
    if format is Format.json:
        print_json({"recipes": [str(file) for file in recipes], "problems": [_row(problem) for problem in problems]})
    elif problems:
        print(render_problems(problems))
    else:
        print(f"{len(recipes)} recipe{'s are' if len(recipes) != 1 else ' is'} valid")
    return BAD_RECIPE if problems else 0


def _row(problem: Problem) -> dict[str, object]:
    where = problem.where
    return {
        "file": where.file,
        "line": where.line,
        "column": where.column,
        "path": problem.path,
        "found": problem.found,
        "expected": problem.expected,
        "hint": problem.hint,
    }
