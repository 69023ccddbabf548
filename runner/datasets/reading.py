"""Records of data files and hub data sets as dictionaries, one by one, each with its place for messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from runner.datasets.files import MAX_LINE, MAX_WHOLE, format_of, lines, opened, parse, plain
from runner.datasets.nested import kind, unnest
from runner.datasets.settings import Table
from runner.datasets.tables import Row, csv_rows, parquet_rows, xlsx_rows
from runner.errors import InputError, StepError

#: Extensions that tell a format, each also with ``.gz`` behind it where it is a text format.
FORMATS = (".csv", ".json", ".jsonl", ".parquet", ".tsv", ".xlsx")
#: Those whose files are tables that ``table`` describes.
TABLES = (".csv", ".tsv", ".xlsx")


class Record(NamedTuple):
    """A row: where it stands (``line 7``, ``row 7``, from 1), its columns, and why it cannot be used (empty when it can)."""

    file: str
    place: str
    columns: dict[str, Any]
    fault: str = ""


def read_records(path: Path, name: str = "", records: str = "", table: Table | None = None) -> Iterator[Record]:
    """The records of a local file; its extension tells the format: .jsonl, .json, .csv, .tsv (these also as .gz), .parquet, .xlsx.

    ``records`` is, for JSON, the dotted path to the records (see :func:`runner.datasets.nested.unnest`); ``table`` describes a table's
    layout. ``name`` stands for the path in messages. A row that is broken by itself is a Record with a ``fault``; InputError, naming
    file and place, is for a file that cannot be read on. All formats but JSON, which must be below 1 GiB, are read row by row.
    """
    name, found, layout = name or str(path), format_of(path), table or Table()
    packed = path.suffix.lower() == ".gz"
    if found not in FORMATS or (packed and found in (".parquet", ".xlsx")):
        raise InputError(f"has no known extension: {', '.join(FORMATS)}", where=name, remedy="name a file in one of these formats")
    if records and found != ".json":
        raise InputError("`records` is a path inside of a .json file", where=name, remedy="leave `records` out")
    if layout != Table() and found not in TABLES:
        raise InputError("`table` describes .csv, .tsv and .xlsx files", where=name, remedy="leave `table` out")
    for place, columns, fault in _rows(path, name, found, records, layout):
        yield Record(name, place, columns, fault)


def _rows(path: Path, name: str, found: str, records: str, table: Table) -> Iterator[Row]:
    match found:
        case ".json":
            return _json(path, name, records)
        case ".jsonl":
            return _jsonl(path, name)
        case ".xlsx":
            return xlsx_rows(path, name, table)
        case ".parquet":
            return parquet_rows(path, name)
    return csv_rows(path, name, table, "," if found == ".csv" else "\t")


def hub_records(id: str, config: str | None, split: str, revision: str | None, *, streaming: bool = False) -> Iterator[Record]:
    """The records of a split of a hub data set, or of a local folder that ``datasets`` can load.

    ``streaming`` fetches rows as they are asked for instead of the whole split. StepError when it cannot be had.
    """
    from datasets import load_dataset

    try:
        for number, row in enumerate(load_dataset(id, name=config, split=split, revision=revision, streaming=streaming), 1):
            yield Record(id, f"row {number}", plain(row))
    except Exception as error:  # datasets, the hub's client and its transport raise errors of many kinds
        reason = str(error).strip().split("\n")[0]
        raise StepError(
            f"the data set cannot be loaded: {reason}", where=id, remedy="check id, config, split, revision and the network"
        ) from error


def hub_file(id: str, file: str, revision: str | None, *, offline: bool = False) -> Path:
    """A file of a hub data set's repository, in the hub's own cache; ``offline`` takes what is there. StepError when it cannot be had."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(id, file, repo_type="dataset", revision=revision, local_files_only=offline))
    except Exception as error:  # the hub's client and its transport raise errors of many kinds
        reason = str(error).strip().split("\n")[0]
        raise StepError(
            f"the file cannot be fetched: {reason}", where=f"{id}/{file}", remedy="check id, file, revision and the network"
        ) from error


def _jsonl(path: Path, name: str) -> Iterator[Row]:
    with opened(path, name) as file:
        for number, line in lines(file):
            if line is None:
                yield f"line {number}", {}, f"it is longer than {MAX_LINE >> 20} MiB"
            elif line.strip():
                try:
                    value = parse(line.rstrip(b"\r\n"))
                except ValueError as error:
                    yield f"line {number}", {}, f"it is not valid JSON: {_reason(error)}"
                    continue
                fault = "" if isinstance(value, dict) else f"it is {kind(value)} where a map of columns should be"
                yield f"line {number}", value if isinstance(value, dict) else {}, fault


def _json(path: Path, name: str, records: str) -> Iterator[Row]:
    with opened(path, name) as file:
        data = file.read(MAX_WHOLE + 1)
    if len(data) > MAX_WHOLE:
        remedy = "convert it to .jsonl, which is read row by row"
        raise InputError(f"larger than {MAX_WHOLE >> 30} GiB, and JSON is read as a whole", where=name, remedy=remedy)
    try:
        found = parse(data)
    except ValueError as error:
        place = f", line {error.lineno}" if hasattr(error, "lineno") else ""
        remedy = "mend it, or give the file the extension of its format"
        raise InputError(f"not valid JSON: {_reason(error)}", where=f"{name}{place}", remedy=remedy) from error
    del data
    for number, (place, columns, fault) in enumerate(unnest(found, records, name), 1):
        yield f"row {number}" if place == f"[{number - 1}]" else f"row {number}, {place}", columns, fault


def _reason(error: ValueError) -> str:
    return f"{getattr(error, 'msg', error)}" + (f", column {error.colno}" if hasattr(error, "colno") else "")
