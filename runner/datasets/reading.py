"""Records of data files and hub data sets as dictionaries, one by one, each with its place for messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.errors import InputError, StepError

#: A record and where it stands: ``line 7``, ``row 7`` (from 1).
Record = tuple[str, dict[str, Any]]

csv.field_size_limit(1 << 28)


def read_records(path: Path, name: str = "", records: str = "") -> Iterator[Record]:
    """The records of a local file; its extension tells the format: .jsonl, .json, .csv, .tsv, .parquet.

    ``records`` is, for JSON, the dotted path to the list of records (``data.items``); without it the file itself is the list, or a map
    whose values are records. ``name`` stands for the path in messages. InputError names the file and the place.
    """
    name = name or str(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"has no known extension: {', '.join(sorted(_READERS))}", where=name, remedy="name a file in one of these formats")
    if records and reader is not _json:
        raise InputError("`records` is a path inside of a .json file", where=name, remedy="leave `records` out")
    for place, record in _json(path, name, records) if reader is _json else reader(path, name):
        if not isinstance(record, dict):
            raise InputError(f"is {_kind(record)} where a map of columns should be", where=f"{name}, {place}")
        yield place, record


def hub_records(id: str, config: str | None, split: str, revision: str | None) -> Iterator[Record]:
    """The records of a split of a hub data set (or of a local folder that ``datasets`` can load). StepError when it cannot be had."""
    from datasets import load_dataset

    try:
        rows = load_dataset(id, name=config, split=split, revision=revision)
    except Exception as error:  # datasets and the hub's client raise errors of many kinds
        reason = str(error).strip().split("\n")[0]
        raise StepError(
            f"the data set cannot be loaded: {reason}", where=id, remedy="check id, config, split, revision and the network"
        ) from error
    for number, row in enumerate(rows, 1):
        yield f"row {number}", dict(row)


def _jsonl(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"line {number}", _loads(line.rstrip(b"\r\n"), name, number)


def _json(path: Path, name: str, records: str = "") -> Iterator[tuple[str, Any]]:
    found = _loads(path.read_bytes(), name, None)
    for part in filter(None, records.split(".")):
        if not isinstance(found, dict) or part not in found:
            raise InputError(f"has no `{records}`: there is no `{part}`", where=name, remedy=f"the file holds {_keys(found)}")
        found = found[part]
    if isinstance(found, dict) and found and all(isinstance(value, dict) for value in found.values()):
        found = [{"id": key, **value} for key, value in found.items()]  # records by id
    if not isinstance(found, list):
        raise InputError(
            f"holds {_kind(found)} where a list of records should be", where=name, remedy=f"set `records`; the file holds {_keys(found)}"
        )
    for number, record in enumerate(found, 1):
        yield f"row {number}", record


def _csv(path: Path, name: str, delimiter: str = ",") -> Iterator[tuple[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            columns = next(reader, [])
            doubled = {column for column in columns if columns.count(column) > 1}
            if doubled:
                raise InputError(f"has the column `{min(doubled)}` twice", where=name, remedy="give every column its own name")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(columns):
                    raise InputError(f"has {len(cells)} cells, the header has {len(columns)}", where=f"{name}, line {reader.line_num}")
                yield f"line {reader.line_num}", dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"not a valid table: {error}", where=f"{name}, line {reader.line_num}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8: byte 0x{error.object[error.start]:02x}", where=name, remedy="convert it to UTF-8") from error


def _tsv(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    yield from _csv(path, name, "\t")


def _parquet(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        number = 0
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(4096):
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"not a valid Parquet file: {error}", where=name) from error


_READERS: Mapping[str, Callable[[Path, str], Iterator[tuple[str, Any]]]] = {
    ".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": _tsv, ".parquet": _parquet,
}  # fmt: skip


def _loads(data: bytes, name: str, line: int | None) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        place = f"{name}, line {line or error.lineno}, column {error.colno}"
        raise InputError(
            f"not valid JSON: {error.msg}", where=place, remedy="mend it, or give the file the extension of its format"
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        found = "not UTF-8" if isinstance(error, UnicodeDecodeError) else "nested too deep"
        raise InputError(found, where=f"{name}, line {line}" if line else name) from error


def _kind(value: object) -> str:
    names = {dict: "a map", list: "a list", str: "a string", bool: "a truth value", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def _keys(value: object) -> str:
    return ", ".join(f"`{key}`" for key in list(value)[:12]) if isinstance(value, dict) else _kind(value)
