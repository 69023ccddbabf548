"""Rows inside of a JSON value: lists, maps of rows, and lists in lists, with the maps around each row kept in reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from runner.errors import InputError

#: Where a row stands (``data[0].paragraphs[3].qas[2]``, as jq writes it), the row, and why it cannot be used.
Found = tuple[str, dict[str, Any], str]


def unnest(value: Any, records: str, name: str) -> Iterator[Found]:
    """The rows of a JSON value.

    ``records`` is a path of keys. A list on the way stands for each of its items, and ``*`` for each value of a map, with its key as
    ``id``. The map that a key leads to, without what is below the next key, becomes a column of that name in all rows in it: along
    ``data.paragraphs.qas`` a row can be asked for ``paragraphs.context`` and ``data.title``. A map at the end of the path is one row
    inside of a list; outside it is a map of rows. InputError when the path does not lead to rows.
    """
    yield from _Walk(tuple(part for part in records.split(".") if part), name).into(value, 0, {}, "")


class _Walk:
    def __init__(self, parts: tuple[str, ...], name: str) -> None:
        self.parts, self.name = parts, name

    def into(self, value: Any, depth: int, outer: Mapping[str, Any], place: str) -> Iterator[Found]:
        """What the first ``depth`` parts lead to."""
        if isinstance(value, list):
            for number, item in enumerate(value):
                yield from self.item(item, depth, outer, f"{place}[{number}]")
        elif depth < len(self.parts) or place != ".".join(self.parts):
            yield from self.item(value, depth, outer, place)
        elif _by_columns(value):
            remedy = "write a map for each row; pandas does with `to_json(FILE.jsonl, orient='records', lines=True)`"
            raise InputError(
                f"holds columns{f' at `{place}`' if place else ''} where a list of rows should be", where=self.name, remedy=remedy
            )
        elif isinstance(value, dict) and value and all(isinstance(row, dict) for row in value.values()):
            yield from self.values(value, depth, outer, place)
        else:
            at = f" at `{place}`" if place else ""
            remedy = f"`records` leads to the rows; there are {keys(value)}" if isinstance(value, dict) else ""
            raise InputError(f"holds {kind(value)}{at} where a list of rows should be", where=self.name, remedy=remedy)

    def item(self, value: Any, depth: int, outer: Mapping[str, Any], place: str) -> Iterator[Found]:
        """An item of a list, a value of a map, or what a key leads to."""
        if not isinstance(value, dict):
            yield place, {}, f"it is {kind(value)} where a map of columns should be"
        elif depth == len(self.parts):
            yield place, {**outer, **value}, ""
        elif (part := self.parts[depth]) == "*":
            yield from self.values(value, depth + 1, outer, place)
        elif part in value:
            if depth:
                outer = {**outer, self.parts[depth - 1]: {key: below for key, below in value.items() if key != part}}
            yield from self.into(value[part], depth + 1, outer, f"{place}.{part}" if place else part)
        elif place == ".".join(self.parts[:depth]):
            raise InputError(
                f"has no `{'.'.join(self.parts)}`: there is no `{part}`",
                where=self.name,
                remedy=f"there are {keys(value)}" if place else f"the file holds {keys(value)}",
            )
        else:
            yield place, {}, f"there is no `{part}` in it; it holds {keys(value)}"

    def values(self, value: Mapping[str, Any], depth: int, outer: Mapping[str, Any], place: str) -> Iterator[Found]:
        for key, below in value.items():
            row = {"id": key, **below} if isinstance(below, dict) else below
            yield from self.item(row, depth, outer, f"{place}.{key}" if place else key)


def _by_columns(value: Any) -> bool:
    """Whether a value is a table by columns: a map of lists of one length, or of maps by the numbers of the rows (pandas' default)."""
    if not isinstance(value, dict) or not value:
        return False
    columns = list(value.values())
    if all(isinstance(column, list) for column in columns):
        return len(columns) > 1 and len({len(column) for column in columns}) == 1 and bool(columns[0])
    numbers = [str(number) for number in range(len(columns[0]))] if isinstance(columns[0], dict) else []
    return bool(numbers) and all(isinstance(column, dict) and list(column) == numbers for column in columns)


def kind(value: object) -> str:
    """What a value is, in words."""
    names = {dict: "a map", list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def keys(value: object) -> str:
    """The keys of a map, for a message."""
    return ", ".join(f"`{key}`" for key in list(value)[:12]) or "no keys" if isinstance(value, dict) else kind(value)
