"""The one error tree.

Every error that a user can cause says where it is, what was found, and what would be right. A user never sees a
traceback for a user's mistake; whatever is not a :class:`RunnerError` is a bug in the runner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Exit codes of the command line.
DONE, STEP_FAILED, BAD_RECIPE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True, order=True)
class Where:
    """A place in a file; ``line`` and ``column`` count from 1, 0 when unknown. ``width`` is the caret's length."""

    file: str
    line: int = 0
    column: int = 0
    width: int = 1

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the place, the dotted path, the finding, and the remedy."""

    where: Where
    path: str
    found: str
    expected: str = ""
    hint: str = ""
    snippet: str = ""


class RunnerError(Exception):
    """Root of all errors that are somebody's to mend. ``remedy`` says how, in a phrase."""

    exit_code = STEP_FAILED

    def __init__(self, message: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.message, self.where, self.remedy = message, where, remedy

    def __reduce__(self) -> tuple[object, ...]:  # errors travel from worker to runner
        return (_rebuild, (type(self), self.message, self.where, self.remedy))

    def __str__(self) -> str:
        return f"{self.finding}\n  {self.remedy}" if self.remedy else self.finding

    @property
    def finding(self) -> str:
        """Where and what, without the remedy."""
        return f"{self.where}: {self.message}" if self.where else self.message


def texts(errors: Sequence[RunnerError]) -> list[str]:
    """Errors in words; a remedy that several in a row share is said after the last of them."""
    following = [*(error.remedy for error in errors[1:]), None]
    return [error.finding if error.remedy == remedy else str(error) for error, remedy in zip(errors, following, strict=False)]


def _rebuild(cls: type[RunnerError], message: str, where: str, remedy: str) -> RunnerError:
    error = cls.__new__(cls)
    RunnerError.__init__(error, message, where=where, remedy=remedy)
    return error


class UsageError(RunnerError):
    """The call is wrong: a file that is not there, a step that the recipe does not have."""

    exit_code = BAD_RECIPE


class RecipeError(RunnerError):
    """The recipe is wrong. Carries every problem found, in the order of the file."""

    exit_code = BAD_RECIPE

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{p.where}  {p.path}  {p.found}" for p in self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        return (RecipeError, (self.problems,))


class StepError(RunnerError):
    """A step cannot do its work with what it was given; raised by step kinds and the libraries below them."""


class InputError(StepError):
    """Input data is not what the step needs; names the file, and the row or page where there is one."""


class MissingPackage(StepError):
    """An optional package is not installed; the remedy holds the install command."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> MissingPackage:
        return cls(f"{purpose} needs the package {package}", remedy=f'pip install "recipe-runner[{extra}]"')


class ArtifactDamaged(RunnerError):
    """A stored artifact is not what its manifest says."""


class Cancelled(RunnerError):
    """The run was interrupted; nothing of the step was committed."""

    exit_code = INTERRUPTED
