from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.datasets import Table, files, hub_records, read_records
from runner.datasets.reading import Record
from runner.errors import InputError, StepError
from tests.datasets.hub_server import NEW, OLD, hub

ROWS = [{"question": "Q1 ü", "answer": "A, 1"}, {"question": "Q2", "answer": 'say "x"\nand y'}]


def write(path: Path, kind: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    target = path / f"data.{kind}"
    if kind.startswith("jsonl"):
        data = ("\ufeff" + "\r\n\n".join(json.dumps(row) for row in rows)).encode()
        target.write_bytes(gzip.compress(data) if kind.endswith(".gz") else data)
    elif kind == "json":
        target.write_text("\ufeff" + json.dumps(rows), encoding="utf-8")
    elif kind == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), target)
    elif kind == "xlsx":
        from openpyxl import Workbook

        book = Workbook()
        for row in [list(rows[0]), *([*row.values()] for row in rows)]:
            book.active.append(row)
        book.save(target)
    else:
        import csv

        with target.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter={"csv": ",", "tsv": "\t"}[kind])
            writer.writeheader()
            writer.writerows(rows)
    return target


def read(path: Path, **options: Any) -> list[dict[str, Any]]:
    found = list(read_records(path, **options))
    assert all(not record.fault and record.file == str(path) for record in found)
    return [record.columns for record in found]


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "csv", "tsv", "parquet", "xlsx"])
def test_every_format_gives_the_same_records(tmp_path: Path, kind: str) -> None:
    assert read(write(tmp_path, kind)) == ROWS


@pytest.mark.parametrize(
    ("kind", "places"),
    [("jsonl", ["line 1", "line 3"]), ("csv", ["line 2", "line 3"]), ("parquet", ["row 1", "row 2"]), ("json", ["row 1", "row 2"]),
     ("xlsx", ["sheet Sheet, row 2", "sheet Sheet, row 3"])],
)  # fmt: skip
def test_places_are_those_of_the_file(tmp_path: Path, kind: str, places: list[str]) -> None:
    assert [record.place for record in read_records(write(tmp_path, kind))] == places


def test_records_of_json_are_placed_as_jq_finds_them(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": {"q": 1}, "b": {"q": 2}}))
    assert [(r.place, r.columns) for r in read_records(path)] == [("row 1, a", {"id": "a", "q": 1}), ("row 2, b", {"id": "b", "q": 2})]
    path.write_text(json.dumps({"data": [{"rows": ROWS}]}))
    assert [record.place for record in read_records(path, records="data.rows")] == ["row 1, data[0].rows[0]", "row 2, data[0].rows[1]"]


def test_what_json_does_not_have_is_null(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": NaN, "b": [-Infinity, 1e999], "c": 1.5}\n')
    assert read(path) == [{"a": None, "b": [None, None], "c": 1.5}]


def test_rows_broken_by_themselves_are_records_with_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE", 100)
    path = tmp_path / "x.jsonl"
    big = b'{"a": "' + b"x" * 300 + b'"}'
    path.write_bytes(b"\n".join([b'{"a": ', b"[1]", b'{"a": "\xe9"}', big, b"[" * 90, b"1" * 99, b'{"a": 1}', b'{"a": 1, "a": 2}', b""]))
    assert [(record.place, record.columns, record.fault) for record in read_records(path)] == [
        ("line 1", {}, "it is not valid JSON: Expecting value, column 7"),
        ("line 2", {}, "it is a list where a map of columns should be"),
        ("line 3", {}, "it is not valid JSON: not UTF-8: byte 0xe9"),
        ("line 4", {}, "it is longer than 64 MiB"),
        ("line 5", {}, "it is not valid JSON: Expecting value, column 91"),
        ("line 6", {}, "it is a number where a map of columns should be"),
        ("line 7", {"a": 1}, ""),
        ("line 8", {}, "it is not valid JSON: `a` stands twice in one map"),
    ]


def test_numbers_and_brackets_without_end_are_no_tracebacks(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"[" * 100_000 + b"\n" + b"1" * 10_000)
    assert [record.fault for record in read_records(path)] == [
        "it is not valid JSON: nested too deep",
        "it is not valid JSON: Exceeds the limit (4300 digits) for integer string conversion: value has 10000 digits; "
        "use sys.set_int_max_str_digits() to increase the limit",
    ]


ERRORS: list[tuple[str, bytes, dict[str, Any], str]] = [
    ("x.json", b'[{"a": 1},\n {"a": \n', {}, "x.json, line 3: not valid JSON: Expecting value, column 1\n"
     "  mend it, or give the file the extension of its format"),
    ("x.json", b"[" * 100_000, {}, "x.json: not valid JSON: nested too deep\n  mend it, or give the file the extension of its format"),
    ("x.json", b"", {}, "x.json, line 1: not valid JSON: Expecting value, column 1\n"
     "  mend it, or give the file the extension of its format"),
    ("x.json", b'{"a": 1}', {}, "x.json: holds a map where a list of rows should be\n  `records` leads to the rows; there are `a`"),
    ("x.json", b'{"a": {"0": "p", "1": "q"}, "b": {"0": 1, "1": 2}}', {}, "x.json: holds columns where a list of rows should be\n"
     "  write a map for each row; pandas does with `to_json(FILE.jsonl, orient='records', lines=True)`"),
    ("x.json", b'{"d": {"a": ["p", "q"], "b": [1, 2]}}', {"records": "d"}, "x.json: holds columns at `d` where a list of rows should be\n"
     "  write a map for each row; pandas does with `to_json(FILE.jsonl, orient='records', lines=True)`"),
    ("x.json", b'{"a": {"b": 1}, "a": {"b": 2}}', {}, "x.json: not valid JSON: `a` stands twice in one map\n"
     "  mend it, or give the file the extension of its format"),
    ("x.json", b'{"a": 1}', {"records": "b.c"}, "x.json: has no `b.c`: there is no `b`\n  the file holds `a`"),
    ("x.json", b'{"a": {"d": 1}}', {"records": "a.c"}, "x.json: has no `a.c`: there is no `c`\n  there are `d`"),
    ("x.csv", b"a\n1\n", {"records": "a"}, "x.csv: `records` is a path inside of a .json file\n  leave `records` out"),
    ("x.json", b"[]", {"table": Table(header=2)}, "x.json: `table` describes .csv, .tsv and .xlsx files\n  leave `table` out"),
    ("x.txt", b"", {}, "x.txt: has no known extension: .csv, .json, .jsonl, .parquet, .tsv, .xlsx\n  name a file in one of these formats"),
    ("x.parquet.gz", b"", {}, "x.parquet.gz: has no known extension: .csv, .json, .jsonl, .parquet, .tsv, .xlsx\n"
     "  name a file in one of these formats"),
    ("x.jsonl.gz", b"{}", {}, "x.jsonl.gz: not a valid gzip file: Not a gzipped file (b'{}')\n  pack it again"),
    ("x.csv.gz", gzip.compress(b"a\n1\n")[:-4], {}, "x.csv.gz: not a valid gzip file: "
     "Compressed file ended before the end-of-stream marker was reached\n  pack it again"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "options", "message"), ERRORS)
def test_errors_name_the_file_and_the_place(tmp_path: Path, name: str, data: bytes, options: dict[str, Any], message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        list(read_records(tmp_path / name, name, **options))
    assert str(caught.value) == message


def test_a_file_that_is_not_there_and_one_too_large_for_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^x\.jsonl: cannot be read: No such file or directory$"):
        list(read_records(tmp_path / "x.jsonl", "x.jsonl"))
    monkeypatch.setattr("runner.datasets.reading.MAX_WHOLE", 10)
    with pytest.raises(InputError, match=r"(?s)JSON is read as a whole.*convert it to \.jsonl"):
        list(read_records(write(tmp_path, "json")))


def test_a_folder_that_datasets_can_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    write(tmp_path / "set", "parquet")
    for streaming in (False, True):
        found = list(hub_records(str(tmp_path / "set"), None, "train", None, streaming=streaming))
        assert found == [Record(str(tmp_path / "set"), f"row {number}", row) for number, row in enumerate(ROWS, 1)]
    with pytest.raises(StepError, match=r"(?s)cannot be loaded.*check id, config, split, revision"):
        list(hub_records(str(tmp_path / "set"), None, "nosuch", None))


_FROM_HUB = """
import json, sys
from itertools import islice
from runner.datasets import hub_records
from runner.errors import StepError
for id, split, revision, streaming in json.load(sys.stdin):
    try:
        print(json.dumps([record.columns["question"] for record in islice(hub_records(id, None, split, revision, streaming=streaming), 3)]))
    except StepError as error:
        print(json.dumps(str(error).splitlines()[0]))
"""


@pytest.mark.slow
def test_a_hub_gives_the_revision_asked_for_and_streams_what_is_wanted(tmp_path: Path) -> None:
    def rows(word: str, number: int) -> bytes:
        return b"".join(json.dumps({"question": f"{word}{n}", "pad": "x" * 1000}).encode() + b"\n" for n in range(number))

    newest, pinned = {"train.jsonl": rows("new", 3)}, {"train.jsonl": rows("old", 60_000)}
    wanted = [
        ("some/set", "train", OLD, True),
        ("some/set", "nosuch", OLD, True),
        ("other/set", "train", None, True),
        ("some/set", "train", "main", False),
    ]
    with hub("some/set", {"main": newest, NEW: newest, OLD: pinned}) as here:
        environment = {**os.environ, "HF_ENDPOINT": here.url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, "-c", _FROM_HUB]
        done = subprocess.run(command, input=json.dumps(wanted), env=environment, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        ["old0", "old1", "old2"],
        "some/set: the data set cannot be loaded: Bad split: nosuch. Available splits: ['train']",
        "other/set: the data set cannot be loaded: Dataset 'other/set' doesn't exist on the Hub or cannot be accessed.",
        ["new0", "new1", "new2"],
    ]
    assert 0 < here.sent < len(pinned["train.jsonl"])


_FILE_FROM_HUB = """
import json, sys
from runner.datasets import hub_file, read_records
from runner.errors import StepError
for file, revision, offline in json.load(sys.stdin):
    try:
        print(json.dumps([record.columns["question"] for record in read_records(hub_file("some/set", file, revision, offline=offline))]))
    except StepError as error:
        print(json.dumps(str(error)))
"""


def test_a_file_of_a_hub_repository_beside_a_loading_script(tmp_path: Path) -> None:
    files = {word: {"set.py": b"raise SystemExit(9)", "all.json": json.dumps([{"question": word}]).encode()} for word in ("new", "old")}
    wanted = [
        ("all.json", OLD, False),
        ("all.json", None, False),
        ("none.json", OLD, False),
        ("all.json", OLD, True),
        ("all.json", "x", True),
    ]
    with hub("some/set", {"main": files["new"], NEW: files["new"], OLD: files["old"]}) as here:
        environment = {**os.environ, "HF_ENDPOINT": here.url, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, "-c", _FILE_FROM_HUB]
        done = subprocess.run(command, input=json.dumps(wanted), env=environment, capture_output=True, text=True, check=True)
    old, new, missing, cached, absent = (json.loads(line) for line in done.stdout.splitlines())
    assert (old, new, cached) == (["old"], ["new"], ["old"])
    assert missing.startswith("some/set/none.json: the file cannot be fetched: ")
    assert absent.startswith("some/set/all.json: the file cannot be fetched: ")
    assert not any("set.py" in request for request in here.requests)
