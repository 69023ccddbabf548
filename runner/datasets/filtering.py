"""Leaves out the records that are not wanted, by tests of their columns, and counts them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from runner.datasets.columns import is_blank, lookup, text_of
from runner.datasets.files import format_of, lines, opened, parse
from runner.datasets.nested import kind
from runner.datasets.reading import Record, read_records
from runner.datasets.settings import Condition, IdFile
from runner.errors import InputError

_Test = Callable[[Any], bool]


class Filter:
    """Applies conditions, all of which must hold. ``left_out`` counts, in their order, the records that each was the first to refuse.

    ``members`` holds, for each condition, the values of its ``in_file`` (see :func:`members`).
    """

    def __init__(self, conditions: Sequence[Condition], members: Sequence[frozenset[str]] = ()) -> None:
        sets = [*members, *[frozenset[str]()] * (len(conditions) - len(members))]
        self._tests = [(condition, _tests(condition, values)) for condition, values in zip(conditions, sets, strict=True)]
        self.left_out = [0] * len(conditions)

    def over(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records that pass. One that cannot be tested becomes one with a fault."""
        for record in records:
            try:
                refused = None if record.fault else self._refused(record)
            except ValueError as error:
                yield record._replace(fault=str(error))
                continue
            if refused is None:
                yield record
            else:
                self.left_out[refused] += 1

    def _refused(self, record: Record) -> int | None:
        for number, (condition, tests) in enumerate(self._tests):
            try:
                value = lookup(record.columns, condition.column)
            except ValueError:
                if condition.present is None:
                    raise
                value = None  # rows of JSON leave out keys that they have nothing for
            try:
                if not all(test(value) for test in tests):
                    return number
            except ValueError as error:
                raise ValueError(f"`{condition.column}` is {error}") from None
        return None


def members(path: Path, column: str | None = None, name: str = "") -> frozenset[str]:
    """The values of a file as text: those of ``column``, or the keys of a JSON map, the items of a JSON list, the lines of a .txt file.

    InputError naming the file, and the row where it is one.
    """
    name = name or str(path)
    if column is None:
        return _listed(path, name)
    found = set()
    for record in read_records(path, name):
        try:
            if record.fault:
                raise ValueError(record.fault)
            found.add(text_of(lookup(record.columns, column)))
        except ValueError as error:
            raise InputError(f"its `{column}` cannot be read: {error}", where=f"{name}, {record.place}") from error
    return frozenset(found)


def _listed(path: Path, name: str) -> frozenset[str]:
    found = format_of(path)
    with opened(path, name) as file:
        try:
            if found == ".txt":
                return frozenset(text for _, line in lines(file) if line and (text := line.decode().strip()))
            if found != ".json":
                raise InputError("no column of it is named", where=name, remedy="set `column`, or name a .json or .txt file of values")
            value = parse(file.read())
            if not isinstance(value, dict | list):
                raise ValueError(f"it holds {kind(value)}")
            return frozenset(text_of(item) for item in value)
        except ValueError as error:
            raise InputError(f"is no map or list of values: {error}", where=name, remedy="set `column`, where it holds rows") from error


def faults(condition: Condition) -> Iterator[tuple[str, str, str]]:
    """What makes no sense in a condition: the field, the finding, what would be right."""
    tests = [field for field in Condition.__struct_fields__[1:] if getattr(condition, field) is not None]
    if not tests:
        yield "", "tests nothing", f"one of {', '.join(Condition.__struct_fields__[1:])}"
    if condition.at_least is not None and condition.at_most is not None and condition.at_least > condition.at_most:
        yield "at_most", "no number is at least and at most that", f"{condition.at_least:g} or more"
    try:
        re.compile(condition.matches or "")
    except re.error as error:
        yield "matches", f"no regular expression: {error}", ""
    if condition.in_file is not None and condition.in_file.column is None and format_of(condition.in_file.path) not in (".json", ".txt"):
        yield "in_file", "no column of it is named", "`column: NAME`; only .json and .txt files can be plain lists"


def _tests(condition: Condition, values: frozenset[str]) -> list[_Test]:
    tests: list[_Test] = []
    if condition.present is not None:
        tests.append(lambda value: is_blank(value) is not condition.present)
    if condition.one_of is not None:
        tests.append(_among(frozenset(map(text_of, condition.one_of))))
    if condition.none_of is not None:
        among = _among(frozenset(map(text_of, condition.none_of)))
        tests.append(lambda value: not among(value))
    if condition.in_file is not None:
        tests.append(_among(values))
    if condition.matches is not None:
        pattern = re.compile(condition.matches)
        tests.append(lambda value: any(pattern.search(text) for text in _texts(value)))
    low, high = condition.at_least, condition.at_most
    if low is not None or high is not None:
        tests.append(lambda value: any((low is None or low <= n) and (high is None or n <= high) for n in map(_number, _texts(value))))
    return tests


def _among(values: frozenset[str]) -> _Test:
    return lambda value: any(text in values for text in _texts(value))


def _texts(value: Any) -> list[str]:
    return [text_of(item) for item in (value if isinstance(value, list) else [value]) if item is not None]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"no number: `{text[:40]}`") from None


__all__ = ["Condition", "Filter", "IdFile", "faults", "members"]
