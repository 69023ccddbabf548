from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.datasets import hub_records, read_records
from runner.errors import InputError, StepError

ROWS = [{"question": "Q1 ü", "answer": "A, 1"}, {"question": "Q2", "answer": 'say "x"\nand y'}]


def write(path: Path, kind: str) -> Path:
    target = path / f"data.{kind}"
    if kind == "jsonl":
        target.write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in ROWS), encoding="utf-8")
    elif kind == "json":
        target.write_text(json.dumps(ROWS), encoding="utf-8")
    elif kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(ROWS), target)
    else:
        import csv

        with target.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["question", "answer"], delimiter={"csv": ",", "tsv": "\t"}[kind])
            writer.writeheader()
            writer.writerows(ROWS)
    return target


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_every_format_gives_the_same_records(tmp_path: Path, kind: str) -> None:
    assert [record for _, record in read_records(write(tmp_path, kind))] == ROWS


def test_places_are_those_of_the_file(tmp_path: Path) -> None:
    assert [place for place, _ in read_records(write(tmp_path, "jsonl"))] == ["line 1", "line 3"]
    assert [place for place, _ in read_records(write(tmp_path, "csv"))] == ["line 2", "line 4"]
    assert [place for place, _ in read_records(write(tmp_path, "parquet"))] == ["row 1", "row 2"]


def test_records_inside_of_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"meta": 1, "data": {"rows": ROWS}}))
    assert [record for _, record in read_records(path, records="data.rows")] == ROWS
    path.write_text(json.dumps({"a": {"q": 1}, "b": {"q": 2}}))
    assert [record for _, record in read_records(path)] == [{"id": "a", "q": 1}, {"id": "b", "q": 2}]


ERRORS: list[tuple[str, bytes, dict[str, Any], str]] = [
    ("x.jsonl", b'{"a": 1}\n{"a": \n', {}, "x.jsonl, line 2, column 7: not valid JSON: Expecting value\n"
     "  mend it, or give the file the extension of its format"),
    ("x.jsonl", b"[1]\n", {}, "x.jsonl, line 1: is a list where a map of columns should be"),
    ("x.jsonl", b'{"a": "\xe9"}\n', {}, "x.jsonl, line 1: not UTF-8"),
    ("x.json", b"[" * 100_000, {}, "x.json: nested too deep"),
    ("x.json", b'{"a": 1}', {}, "x.json: holds a map where a list of records should be\n  set `records`; the file holds `a`"),
    ("x.json", b'{"a": 1}', {"records": "b.c"}, "x.json: has no `b.c`: there is no `b`\n  the file holds `a`"),
    ("x.csv", b"a,b\n1\n", {}, "x.csv, line 2: has 1 cells, the header has 2"),
    ("x.csv", b"a,a\n1,2\n", {}, "x.csv: has the column `a` twice\n  give every column its own name"),
    ("x.csv", b'a,b\n"1,2\n', {}, "x.csv, line 2: not a valid table: unexpected end of data"),
    ("x.csv", b"a\n\xe9\n", {}, "x.csv: not UTF-8: byte 0xe9\n  convert it to UTF-8"),
    ("x.csv", b"a\n1\n", {"records": "a"}, "x.csv: `records` is a path inside of a .json file\n  leave `records` out"),
    ("x.xlsx", b"", {}, "x.xlsx: has no known extension: .csv, .json, .jsonl, .parquet, .tsv\n  name a file in one of these formats"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "options", "message"), ERRORS)
def test_errors_name_the_file_and_the_place(tmp_path: Path, name: str, data: bytes, options: dict[str, Any], message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        list(read_records(tmp_path / name, name, **options))
    assert str(caught.value) == message


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"data\.parquet: not a valid Parquet file"):
        list(read_records(path))


def test_a_folder_that_datasets_can_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    write(tmp_path / "set", "jsonl")
    assert [record for _, record in hub_records(str(tmp_path / "set"), None, "train", None)] == ROWS
    with pytest.raises(StepError, match=r"(?s)cannot be loaded.*check id, config, split, revision"):
        list(hub_records(str(tmp_path / "set"), None, "nosuch", None))
