"""The table of commands, and the group that loads only the one that was called."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from runner.cli.words import lighten
from runner.errors import BAD_RECIPE, UsageError

#: Command names in the order of the help; each is a function ``command`` in the module of that name.
COMMANDS = (
    "validate",
    "show",
    "plan",
    "run",
    "why",
    "explain",
    "runs",
    "report",
    "verify",
    "clean",
    "ask",
    "chat",
    "doctor",
    "schema",
    "pin",
)


class Lazy(TyperGroup):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            close = difflib.get_close_matches(cmd_name, COMMANDS, 1)
            remedy = f"did you mean `recipe {close[0]}`?" if close else "`recipe --help` lists the commands"
            raise UsageError(f"there is no command `{cmd_name}`", remedy=remedy)
        module = importlib.import_module(f"runner.cli.{cmd_name}")
        app = _app()
        app.command(cmd_name)(module.command)
        command: Any = get_command(app)
        command.name = cmd_name
        return command


def dispatch(arguments: Sequence[str]) -> int:
    """Run the command that ``arguments`` name; commands return their exit code, or None for 0."""
    lighten()
    app = _app(cls=Lazy, no_args_is_help=True)
    app.callback()(_root)
    group: Any = get_command(app)
    try:
        code = group.main(args=list(arguments), prog_name="recipe", standalone_mode=False)
    except typer.TyperException as error:
        if not hasattr(error, "show"):
            raise
        error.show()  # usage errors: what was wrong with the call, and where the help is
        return BAD_RECIPE
    except typer.Abort:
        return BAD_RECIPE
    return int(code or 0)


def _app(**settings: Any) -> typer.Typer:
    names = {"help_option_names": ["-h", "--help"]}
    return typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False, context_settings=names, **settings)


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=lambda on: _version(on))
    ] = False,
) -> None:
    """Run published fine-tuning recipes, from documents to a 4-bit GGUF and an evaluation."""


def _version(wanted: bool) -> None:
    if wanted:
        import runner

        print(f"recipe {runner.__version__}")
        raise typer.Exit
