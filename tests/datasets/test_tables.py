from __future__ import annotations

import zipfile
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest

from runner.datasets import Table, files, read_records
from runner.errors import InputError


def read(path: Path, table: Table | None = None) -> list[tuple[str, dict[str, Any], str]]:
    return [tuple(record[1:]) for record in read_records(path, path.name, table=table)]  # type: ignore[misc]


def error(path: Path, table: Table | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read(path, table)
    return str(caught.value)


def text(folder: Path, data: bytes, name: str = "x.csv") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def workbook(folder: Path, *rows: list[Any], sheets: tuple[str, ...] = ()) -> Path:
    from openpyxl import Workbook

    book = Workbook()
    for row in rows:
        book.active.append(row)
    for name in sheets:
        book.create_sheet(name).append(["in", name])
    book.save(folder / "x.xlsx")
    return folder / "x.xlsx"


def test_a_table_as_users_have_them(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbfa,b\r\n1,"two\r\nlines, ""quoted"""\r\n\r\n3\r\n4,5,6\r\n'
    assert read(text(tmp_path, data)) == [
        ("line 2", {"a": "1", "b": 'two\r\nlines, "quoted"'}, ""),
        ("line 5", {"a": "3"}, "it has 1 cell, and the table 2 columns"),
        ("line 6", {"a": "4", "b": "5"}, "it has 3 cells, and the table 2 columns"),
    ]


def test_the_layout_of_a_text_table(tmp_path: Path) -> None:
    path = text(tmp_path, b"a note\nx;y\n1;2\n")
    assert read(path, Table(header=2, delimiter=";")) == [("line 3", {"x": "1", "y": "2"}, "")]
    path = text(tmp_path, b'so "called\t0\n"all" of it\t1\n', "x.tsv")
    assert read(path, Table(columns=["text", "label"], quoting=False)) == [
        ("line 1", {"text": 'so "called', "label": "0"}, ""), ("line 2", {"text": '"all" of it', "label": "1"}, ""),
    ]  # fmt: skip
    assert error(path, Table(columns=["text", "label"])) == (
        "x.tsv, line 2: not a valid table: '\t' expected after '\"'\n"
        '  mend it; where `"` is a character like any other, set `table: {quoting: false}`'
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,a\n1,2\n", "x.csv: has the column `a` twice\n  give every column its own name"),
        (b"a,,b\n1,2,3\n", "x.csv: names no column 2\n  give every column its own name (merged cells count as one), "
         "or set `table: {header: ROW}`"),
        (b'a,b\n"1,2\n', "x.csv, line 2: not a valid table: unexpected end of data\n"
         '  mend it; where `"` is a character like any other, set `table: {quoting: false}`'),
        (b"a,b\r1,2\r", "x.csv, line 1: not a valid table: a line ends in CR alone\n  save it with the line ends of Unix or Windows"),
        (b"a\n1\n\xe9\n", "x.csv, line 3: not UTF-8: byte 0xe9\n  convert the file to UTF-8"),
        ("a\n1\n".encode("utf-16"), "x.csv, line 1: not UTF-8: byte 0xff\n  convert the file to UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_table(tmp_path: Path, data: bytes, message: str) -> None:
    assert error(text(tmp_path, data)) == message


def test_a_line_without_end_is_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE", 1000)
    assert error(text(tmp_path, b"a\n" + b"x" * 5000)) == "x.csv, line 2: longer than 64 MiB\n  is it a table with line ends?"


def test_no_rows_are_no_error_of_the_reader(tmp_path: Path) -> None:
    assert read(text(tmp_path, b"")) == read(text(tmp_path, b"a,b\n")) == read(workbook(tmp_path)) == []


def test_a_workbook_as_users_have_them(tmp_path: Path) -> None:
    path = workbook(
        tmp_path,
        ["a title", None],
        ["q", "a", "when", "n"],
        ["Q1", "A1", date(2024, 1, 5), 2.5],
        [None, None],
        ["Q2", None, datetime(2024, 1, 5, 10, 30), 3],
        ["Q3", "#DIV/0!", time(9, 5), True],
        ["Q4", 1, 2, 3, 4],
    )
    assert read(path, Table(header=2)) == [
        ("sheet Sheet, row 3", {"q": "Q1", "a": "A1", "when": "2024-01-05", "n": 2.5}, ""),
        ("sheet Sheet, row 5", {"q": "Q2", "a": None, "when": "2024-01-05T10:30:00", "n": 3}, ""),
        ("sheet Sheet, row 6", {"q": "Q3", "a": "#DIV/0!", "when": "09:05:00", "n": True}, "its cell B6 holds the error #DIV/0!"),
        ("sheet Sheet, row 7", {"q": "Q4", "a": 1, "when": 2, "n": 3}, "it has 5 cells, and the table 4 columns"),
    ]
    assert [fault for _, _, fault in read(path)][:2] == ["it has 4 cells, and the table 1 column"] * 2


def test_the_sheet_is_named_where_there_are_several(tmp_path: Path) -> None:
    path = workbook(tmp_path, ["a"], [1], sheets=("Second", "Third"))
    assert error(path) == "x.xlsx: has 3 sheets: `Sheet`, `Second`, `Third`\n  set `table: {sheet: NAME}`"
    assert error(path, Table(sheet="second")) == "x.xlsx: has no sheet `second`\n  it has `Sheet`, `Second`, `Third`"
    assert read(path, Table(sheet="Sheet")) == [("sheet Sheet, row 2", {"a": 1}, "")]
    assert read(path, Table(sheet="Third", columns=["x", "y"])) == [("sheet Third, row 1", {"x": "in", "y": "Third"}, "")]


def test_merged_names_and_a_wrong_extent(tmp_path: Path) -> None:
    path = workbook(tmp_path, ["a", None, "b"], [1, 2, 3])
    assert error(path).startswith("x.xlsx, sheet Sheet, row 1: names no column 2\n  give every column its own name (merged cells")
    path = workbook(tmp_path, ["a", "b"], *([n, n] for n in range(5)))
    with zipfile.ZipFile(path) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    assert b'<dimension ref="A1:B6"' in parts[sheet]
    parts[sheet] = parts[sheet].replace(b'<dimension ref="A1:B6"', b'<dimension ref="A1:A2"')
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in parts.items():
            packed.writestr(name, data)
    assert len(read(path)) == 5


def test_what_is_no_workbook(tmp_path: Path) -> None:
    path = text(tmp_path, b"no zip", "x.xlsx")
    assert error(path) == "x.xlsx: not a valid Excel workbook: File is not a zip file\n  save it as .xlsx, without a password"
    path = workbook(tmp_path, ["a"], [1])
    with zipfile.ZipFile(path) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in parts.items():
            packed.writestr(name, data[: len(data) // 2] if name.endswith("sheet1.xml") else data)
    assert "x.xlsx: not a valid Excel workbook: " in error(path)


def test_values_of_parquet_are_those_of_json(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    row = {"n": float("nan"), "day": date(2024, 1, 5), "deep": [{"x": float("inf"), "y": [1, None]}]}
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet") == [("row 1", {"n": None, "day": "2024-01-05", "deep": [{"x": None, "y": [1, None]}]}, "")]
    doubled = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    parquet.write_table(doubled, tmp_path / "x.parquet")
    assert error(tmp_path / "x.parquet") == "x.parquet: has the column `a` twice\n  give every column its own name"
    path = text(tmp_path, (tmp_path / "x.parquet").read_bytes()[:-20], "y.parquet")
    assert error(path).startswith("y.parquet: not a valid Parquet file: ")
