"""Rows of tables: CSV, TSV, Excel workbooks and Parquet, each with its place and what is wrong with it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from runner.datasets.files import MAX_LINE, lines, opened, plain
from runner.datasets.settings import Table
from runner.errors import InputError

#: A place in the file, the columns, and why the row cannot be used (empty when it can).
Row = tuple[str, dict[str, Any], str]

csv.field_size_limit(MAX_LINE)


def csv_rows(path: Path, name: str, table: Table, delimiter: str) -> Iterator[Row]:
    """Rows of a text table; a place is the line that the row begins on."""
    reader: Any = None
    try:
        with opened(path, name) as file:
            reader = csv.reader(
                _decoded(lines(file), name),
                delimiter=table.delimiter or delimiter,
                quoting=csv.QUOTE_MINIMAL if table.quoting else csv.QUOTE_NONE,
                strict=True,
            )
            rows = _numbered(reader)
            columns = table.columns or next((cells for n, (_, cells) in enumerate(rows, 1) if n == table.header), [])
            _check_names(columns, name)
            for line, cells in rows:
                wrong = _uneven(len(cells), len(columns)) if len(cells) != len(columns) else ""
                yield f"line {line}", dict(zip(columns, cells, strict=False)), wrong
    except csv.Error as error:
        remedy = 'mend it; where `"` is a character like any other, set `table: {quoting: false}`' if table.quoting else "mend it"
        if "new-line" in str(error):
            error, remedy = csv.Error("a line ends in CR alone"), "save it with the line ends of Unix or Windows"
        raise InputError(f"not a valid table: {error}", where=f"{name}, line {reader.line_num}", remedy=remedy) from error


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the line that each begins on."""
    before = 0
    for cells in reader:
        if cells:
            yield before + 1, cells
        before = reader.line_num


def _decoded(numbered: Iterator[tuple[int, bytes | None]], name: str) -> Iterator[str]:
    for number, line in numbered:
        where = f"{name}, line {number}"
        if line is None:
            raise InputError(f"longer than {MAX_LINE >> 20} MiB", where=where, remedy="is it a table with line ends?")
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise InputError(f"not UTF-8: byte 0x{line[error.start]:02x}", where=where, remedy="convert the file to UTF-8") from error


def xlsx_rows(path: Path, name: str, table: Table) -> Iterator[Row]:
    """Rows of a sheet, by Excel's own numbers. Formulas give the value that Excel stored; rows without any value are passed over."""
    from openpyxl import load_workbook
    from openpyxl.utils import get_column_letter

    with opened(path, name) as file:
        try:
            book = load_workbook(file, read_only=True, data_only=True)
        except Exception as error:  # openpyxl lets errors of zipfile, XML and its own through
            remedy = "save it as .xlsx, without a password"
            raise InputError(f"not a valid Excel workbook: {error}", where=name, remedy=remedy) from error
        try:
            titles = [sheet.title for sheet in book.worksheets]
            if table.sheet is None and len(titles) > 1:
                raise InputError(f"has {len(titles)} sheets: {_listed(titles)}", where=name, remedy="set `table: {sheet: NAME}`")
            title = titles[0] if table.sheet is None else table.sheet
            if title not in titles:
                raise InputError(f"has no sheet `{title}`", where=name, remedy=f"it has {_listed(titles)}")
            sheet = book[title]
            sheet.reset_dimensions()  # some programs write a wrong extent, and rows outside it would be lost
            place = f"sheet {title}, row"
            columns = table.columns or []
            for number, cells in enumerate(sheet.iter_rows(), 1):
                values = [_excel(cell) for cell in cells]
                while values and values[-1] in (None, ""):
                    values.pop()
                if not table.columns and number <= table.header:
                    if number == table.header:
                        columns = ["" if value is None else str(value) for value in values]
                        _check_names(columns, f"{name}, {place} {number}")
                    continue
                if not values:
                    continue
                broken = next((n for n, cell in enumerate(cells) if getattr(cell, "data_type", "") == "e"), None)
                wrong = "" if broken is None else f"its cell {get_column_letter(broken + 1)}{number} holds the error {values[broken]}"
                if len(values) > len(columns):
                    wrong = _uneven(len(values), len(columns))
                yield f"{place} {number}", dict(zip(columns, chain(values, [None] * len(columns)), strict=False)), wrong
        except (KeyError, ValueError, SyntaxError, EOFError) as error:  # XML errors are SyntaxErrors
            raise InputError(f"not a valid Excel workbook: {error}", where=name, remedy="open it and save it again") from error
        finally:
            book.close()


def _excel(cell: Any) -> Any:
    value = cell.value
    if isinstance(value, datetime) and value.time() == datetime.min.time():
        return value.date().isoformat()  # Excel has no date without a time
    return plain(value)


def parquet_rows(path: Path, name: str) -> Iterator[Row]:
    """Rows of a Parquet file; nested columns become lists and maps."""
    import pyarrow
    from pyarrow import parquet

    try:
        numbers = count(1)
        with parquet.ParquetFile(path) as file:
            _check_names(file.schema_arrow.names, name)
            for batch in file.iter_batches(1024):
                for row in batch.to_pylist():
                    yield f"row {next(numbers)}", plain(row), ""
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"not a valid Parquet file: {error}", where=name) from error


def _check_names(columns: Sequence[str], where: str) -> None:
    nameless = [number for number, column in enumerate(columns, 1) if not column.strip()]
    if nameless:
        remedy = "give every column its own name (merged cells count as one), or set `table: {header: ROW}`"
        raise InputError(f"names no column {nameless[0]}", where=where, remedy=remedy)
    doubled = {column for column in columns if columns.count(column) > 1}
    if doubled:
        raise InputError(f"has the column `{min(doubled)}` twice", where=where, remedy="give every column its own name")


def _uneven(cells: int, columns: int) -> str:
    return f"it has {cells} cell{'s' * (cells != 1)}, and the table {columns} column{'s' * (columns != 1)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names[:12]) + (", ..." if len(names) > 12 else "")
