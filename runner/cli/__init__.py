"""The command line. Every command is one module of this package, loaded when it is called; none has logic of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

#: Exit code of a bug in the runner.
BUG = 70


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script ``recipe``: run a command and exit with its code."""
    sys.exit(call(sys.argv[1:] if arguments is None else arguments))


def call(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; whatever goes wrong is said on standard error, and never by a traceback."""
    from runner.errors import INTERRUPTED, RunnerError

    try:
        from runner.cli.commands import dispatch

        code = dispatch(arguments)
        sys.stdout.flush()
        return code
    except RunnerError as error:
        from runner.cli.output import complain

        complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return _closed_pipe()
    except Exception as error:
        from runner.cli.bug import report

        print(report(error, arguments), file=sys.stderr)
        return BUG


def _closed_pipe() -> int:
    """The reader of our output has gone (``recipe runs | head``): end in silence, as other tools do."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
