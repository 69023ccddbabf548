"""Row 10 of the faults, for every field of every step kind: another value of a Param is another key."""

from __future__ import annotations

from typing import Any

import msgspec
import msgspec.inspect as inspect
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.contract import Resources
from runner.engine.canonical import digest, plain
from runner.steps import KINDS, kind


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type, its bounds included; maps as structs, so that each of their fields varies too."""
    match type_:
        case inspect.Metadata():
            return values(type_.type)
        case inspect.StructType():
            return structs(type_)
        case inspect.UnionType():
            return st.one_of([values(member) for member in type_.types])
        case inspect.LiteralType():
            return st.sampled_from(type_.values)
        case inspect.IntType():
            return st.integers(type_.ge if type_.ge is not None else -1000, type_.le if type_.le is not None else 2**31)
        case inspect.FloatType():
            low = next((bound for bound in (type_.ge, type_.gt) if bound is not None), -10.0)
            high = next((bound for bound in (type_.le, type_.lt) if bound is not None), low + 10.0)
            return st.floats(low, high, exclude_min=type_.gt is not None, exclude_max=type_.lt is not None)
        case inspect.BoolType():
            return st.booleans()
        case inspect.StrType():
            return st.text("abc/._", min_size=1, max_size=6)
        case inspect.NoneType():
            return st.none()
        case inspect.ListType():
            return st.lists(values(type_.item_type), min_size=1, max_size=3)
        case inspect.DictType():
            return st.dictionaries(values(type_.key_type), values(type_.value_type), min_size=1, max_size=3)
        case inspect.AnyType():
            return st.integers() | st.text()
    raise AssertionError(f"no values for {type_}")


def structs(type_: inspect.StructType) -> st.SearchStrategy[Any]:
    return st.builds(type_.cls, **{field.name: values(field.type) for field in type_.fields})


@pytest.mark.parametrize("name", sorted(KINDS))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_another_value_of_any_field_is_another_key(name: str, data: st.DataObject) -> None:
    info = inspect.type_info(kind(name).params)
    assert isinstance(info, inspect.StructType)
    params = data.draw(structs(info))
    field = data.draw(st.sampled_from(list(info.fields)))
    other = msgspec.structs.replace(params, **{field.name: data.draw(values(field.type))})
    same = repr(params) == repr(other)  # repr tells 1 from 1.0 and from true
    assert (digest(plain(params, defaults=False)) == digest(plain(other, defaults=False))) is same


@pytest.mark.parametrize("name", sorted(KINDS))
def test_no_field_is_both_param_and_resource(name: str) -> None:
    """What is a resource is no part of the key, so it must not also be a Param; and resources extend the contract's."""
    params = {field.name for field in msgspec.structs.fields(kind(name).params)}
    resources = {field.name for field in msgspec.structs.fields(kind(name).resources)}
    assert params & resources == set()
    assert {field.name for field in msgspec.structs.fields(Resources)} <= resources
