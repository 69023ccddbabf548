"""Data files as bytes, lines and values: plain or gzipped, bounded in memory, every damage an InputError."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, cast

from runner.errors import InputError

MAX_LINE = 64 << 20  # bytes of a line, and characters of a cell: a long document fits, a file without line ends does not
MAX_WHOLE = 1 << 30  # bytes of a file that can only be read as a whole


def format_of(path: Path | str) -> str:
    """The extension that tells the format, in lower case, without a ``.gz`` behind it."""
    name = str(path).lower()
    return Path(name.removesuffix(".gz")).suffix


@contextmanager
def opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked where its name ends in ``.gz``. Errors of reading are InputErrors that name the file."""
    packed = path.suffix.lower() == ".gz"
    try:
        with cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb") as file:
            yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"not a valid gzip file: {error}", where=name, remedy="pack it again") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", where=name) from error


def lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers (from 1) and their ends; None for one that is longer than :data:`MAX_LINE`, which is passed over."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) <= MAX_LINE:
            yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(1 << 20)
        yield number, None


def parse(data: bytes) -> Any:
    """A JSON value. NaN and infinities, which JSON does not have and pandas writes for missing values, are null. ValueError, also for a map
    that has a key twice."""
    try:
        return _DECODER.decode(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte 0x{error.object[error.start]:02x}") from error
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def plain(value: Any) -> Any:
    """A value of Parquet, Excel or the hub as JSON has it: dates in ISO 8601, NaN as null. What has no such form stays as it is."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case Mapping():
            return {str(name): plain(item) for name, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case date() | time():
            return value.isoformat()
        case Decimal() | timedelta():
            return str(value)
    return plain(value.tolist()) if hasattr(value, "tolist") else value


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Python would keep the last of two equal keys, and lose the other in silence."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for number, (key, _) in enumerate(pairs) if any(key == before for before, _ in pairs[:number]))
        raise ValueError(f"`{twice}` stands twice in one map")
    return found


_DECODER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite, object_pairs_hook=_distinct)
