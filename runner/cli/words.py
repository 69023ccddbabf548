"""Turns the words of a command line into values.

Typer does it through pydantic, whose import takes longer than a whole `recipe validate`. The commands have texts, paths, whole
numbers, choices and lists of these: for them, :func:`lighten` puts a plain conversion in pydantic's place. Where Typer has no
such place (it is no public one), its own way stays.
"""

from __future__ import annotations

import types
from enum import Enum
from typing import Any, Union, get_args, get_origin

import typer
import typer.core


def lighten() -> None:
    """Let Typer convert values without pydantic from now on."""
    if hasattr(typer.core, "build_runtime_param"):
        typer.core.build_runtime_param = _Words


class _Words:
    """Stands in for ``typer._coercion.RuntimeParam``."""

    def __init__(self, descriptor: Any) -> None:
        self._type, self._info = descriptor.annotation, descriptor.parameter_info

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return self._value(value, self._type)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None

    def _value(self, value: Any, wanted: Any) -> Any:
        if get_origin(wanted) in (Union, types.UnionType):
            (wanted,) = [part for part in get_args(wanted) if part is not types.NoneType]
        if get_origin(wanted) is list:
            return [self._value(item, *get_args(wanted)) for item in value or ()]
        if value is None:
            return None
        if issubclass(wanted, Enum):
            return _choice(value, wanted)
        return self._number(value) if wanted is int else wanted(value)

    def _number(self, value: Any) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"{value!r} is no whole number") from None
        if self._info.min is not None and number < self._info.min:
            raise ValueError(f"{number} is less than {self._info.min}")
        return number


def _choice(value: Any, wanted: type[Enum]) -> Enum:
    try:
        return wanted(value)
    except ValueError:
        raise ValueError(f"{value!r} is none of {', '.join(str(member.value) for member in wanted)}") from None
