"""Typed canonical JSON: the one spelling of a value that keys are hashed from.

``1``, ``"1"``, ``true`` and ``1.0`` are four values; the order of keys does not matter; NaN and infinities are refused;
text is taken as it is written (two Unicode spellings of a letter are two texts).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any

import msgspec


def canonical(value: Any) -> bytes:
    """The canonical bytes of plain data. ValueError for NaN and infinities, TypeError for what is not plain data."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def digest(value: Any) -> str:
    """SHA-256 of the canonical bytes, in hex."""
    return hashlib.sha256(canonical(value)).hexdigest()


def plain(value: Any, *, defaults: bool = True) -> Any:
    """Structs as dictionaries, recursively, tags kept. ``defaults=False`` leaves out every value that equals its default."""
    if isinstance(value, msgspec.Struct):
        return _struct(value, defaults)
    if value is None or isinstance(value, bool | int | float | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"keys must be text: {list(value)!r}")
        return {key: plain(item, defaults=defaults) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item, defaults=defaults) for item in value), key=canonical)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(item, defaults=defaults) for item in value]
    raise TypeError(f"{type(value).__name__} cannot be part of a key")


def _struct(value: msgspec.Struct, defaults: bool) -> dict[str, Any]:
    tag, fields = _shape(type(value))
    data: dict[str, Any] = dict(tag)
    for name, encoded, default in fields:
        item = plain(getattr(value, name), defaults=defaults)
        if defaults or default is None or canonical(getattr(value, name)) != default:
            data[encoded] = item
    return data


@cache
def _shape(struct: type[msgspec.Struct]) -> tuple[dict[str, Any], list[tuple[str, str, bytes | None]]]:
    """The tag of a struct type, and per field: its name, its name in YAML, and the canonical bytes of its default."""
    config = struct.__struct_config__
    tag = {} if config.tag_field is None else {config.tag_field: config.tag}
    return tag, [(field.name, field.encode_name, _default(field)) for field in msgspec.structs.fields(struct)]


def _default(field: msgspec.structs.FieldInfo) -> bytes | None:
    if field.default is not msgspec.NODEFAULT:
        return canonical(field.default)
    if field.default_factory is not msgspec.NODEFAULT:
        return canonical(field.default_factory())
    return None
