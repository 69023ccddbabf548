"""The command line. Every command is one module of this package, loaded when it is called; none has logic of its own."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

#: Exit code of a bug in the runner.
BUG = 70
#: What only the machine's owner can mend: a full, broken or read-only disk, a folder of somebody else's.
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script ``recipe``: run a command and exit with its code."""
    _open_streams()
    sys.exit(call(sys.argv[1:] if arguments is None else arguments))


def call(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; whatever goes wrong is said on standard error, and never by a traceback."""
    from runner.errors import INTERRUPTED, STEP_FAILED, RunnerError

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
    except BrokenPipeError:  # the reader of our output has gone (`recipe runs | head`): end in silence, as other tools do
        _drop_output()
        return 141
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _MACHINE:
            if not error.filename:
                _drop_output()
            print(f"error: {error.filename or 'writing failed'}: {error.strerror}", file=sys.stderr)
            return STEP_FAILED
        from runner.cli.bug import report

        print(report(error, arguments), file=sys.stderr)
        return BUG


def _drop_output() -> None:
    """What standard output does not take: nobody is to try again when the program ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_streams() -> None:
    """Standard streams that the caller has closed lead nowhere: else the next file that is opened got their number, and their text."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
