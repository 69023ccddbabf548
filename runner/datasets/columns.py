"""Values of a record: by column or by a path into it, as text, and what is wrong with them in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.datasets.nested import kind


def lookup(record: Mapping[str, Any], column: str) -> Any:
    """The value of a column, or of a dotted path into its maps and lists. ValueError naming the columns that there are.

    A number takes that item of a list (from 0), a name takes the part of that name from each item: ``answers.text`` of
    ``[{text: a}, {text: b}]`` is ``[a, b]``, and ``answers.text.0`` is ``a``.
    """
    if column in record:
        return record[column]
    value: Any = record
    for part in column.split("."):
        try:
            value = _part(value, part)
        except (KeyError, IndexError):
            raise ValueError(f"there is no `{column}`; {columns_of(record)}") from None
    return value


def _part(value: Any, part: str) -> Any:
    if isinstance(value, Mapping):
        return value[part]
    if isinstance(value, list):
        return value[int(part)] if part.isdecimal() else [_part(item, part) for item in value]
    raise KeyError(part)


def columns_of(record: Mapping[str, Any]) -> str:
    """The columns of a record, for a message."""
    return f"the columns are {', '.join(f'`{key}`' for key in list(record)[:20])}" if record else "there are no columns"


def text_of(value: Any) -> str:
    """A text, number or truth value as text (``true`` and ``false``, as JSON writes them). ValueError for what is none of these."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise ValueError(kind(value))
    text = str(value).replace("\r\n", "\n").strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a character (a lone surrogate)") from None
    return text


def is_blank(value: Any) -> bool:
    """Whether there is nothing: null, a blank text, an empty list or map."""
    return value is None or (not value.strip() if isinstance(value, str) else isinstance(value, list | dict) and not value)
