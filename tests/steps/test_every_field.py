"""A key that is accepted is a key that is used: each step kind's tests prove every field of its Params."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import msgspec.inspect
import pytest

from runner.steps import KINDS, kind


def field_paths(type_: Any, prefix: str = "") -> Iterator[str]:
    """Dotted paths of all leaves: fields of nested structs and of every member of a union of structs."""
    if isinstance(type_, msgspec.inspect.StructType):
        for field in type_.fields:
            path = f"{prefix}{field.encode_name}"
            nested = list(nested_structs(field.type))
            if nested:
                for struct in nested:
                    yield from field_paths(struct, path + ".")
            else:
                yield path


def nested_structs(type_: Any) -> Iterator[msgspec.inspect.StructType]:
    if isinstance(type_, msgspec.inspect.StructType):
        yield type_
    elif isinstance(type_, msgspec.inspect.UnionType):
        for member in type_.types:
            yield from nested_structs(member)
    elif isinstance(type_, msgspec.inspect.Metadata):
        yield from nested_structs(type_.type)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_field_is_proved_to_be_used(name: str) -> None:
    tests = importlib.import_module(f"tests.steps.test_{name.replace('-', '_')}")
    fields = set(field_paths(msgspec.inspect.type_info(kind(name).params)))
    assert fields - tests.PROVED == set(), f"{name} accepts keys that no test proves to be used"
    assert tests.PROVED - fields == set(), f"tests of {name} prove keys that it does not have"


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_field_is_documented(name: str) -> None:
    def undocumented(struct: Any, prefix: str = "") -> Iterator[str]:
        for field in struct.fields:
            type_ = field.type
            if not (isinstance(type_, msgspec.inspect.Metadata) and (type_.extra_json_schema or {}).get("description")):
                yield prefix + field.encode_name
            for nested in nested_structs(type_):
                yield from undocumented(nested, f"{prefix}{field.encode_name}.")

    assert list(undocumented(msgspec.inspect.type_info(kind(name).params))) == []
    assert (kind(name).module.__doc__ or "").strip(), f"{name} has no docstring for `recipe explain`"
