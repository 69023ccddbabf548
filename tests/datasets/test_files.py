from __future__ import annotations

import gzip
import io
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from runner.datasets import files
from runner.datasets.files import format_of, lines, opened, parse, plain


@pytest.mark.parametrize(("name", "found"), [("a/b.JSONL.gz", ".jsonl"), ("x.tar.gz", ".tar"), ("dev-v1.1.json", ".json"), ("x", "")])
def test_formats(name: str, found: str) -> None:
    assert format_of(Path(name)) == format_of(name) == found


def test_lines_that_are_too_long_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE", 10)
    given = b"\xef\xbb\xbfone\r\n" + b"x" * 11 + b"\n" + b"y" * 9 + b"\n" + b"z" * 5_000_000
    assert list(lines(io.BytesIO(given))) == [(1, b"one\r\n"), (2, None), (3, b"y" * 9 + b"\n"), (4, None)]
    assert list(lines(io.BytesIO(b""))) == []


def test_gzipped_files_are_unpacked_as_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.txt.GZ"
    path.write_bytes(gzip.compress(b"a\nb"))
    with opened(path, "x") as file:
        assert [line for _, line in lines(file)] == [b"a\n", b"b"]


class Array:
    def tolist(self) -> list[float]:
        return [1.5, float("nan")]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (float("inf"), None), (date(2024, 1, 2), "2024-01-02"), (datetime(2024, 1, 2, 3), "2024-01-02T03:00:00"), (Decimal("1.10"), "1.10"),
        (timedelta(hours=1), "1:00:00"), ({1: (True, None)}, {"1": [True, None]}), (Array(), [1.5, None]), (b"x", b"x"),
    ],
)  # fmt: skip
def test_values_as_json_has_them(value: Any, found: Any) -> None:
    assert plain(value) == found


def test_json_that_is_none() -> None:
    assert parse(b'\xef\xbb\xbf{"a": [NaN, -Infinity, 1e999, 1e3]}') == {"a": [None, None, None, 1000.0]}
    for data, reason in ((b"[" * 100_000, "nested too deep"), (b'"\xff"', "not UTF-8: byte 0xff"), (b"", "Expecting value")):
        with pytest.raises(ValueError, match=reason):
            parse(data)
