"""Row 10 of the faults: what changes a key and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner import steps
from runner.contract import Artifact
from runner.engine.canonical import digest
from runner.engine.keys import key_of, parts_of, pinned
from runner.engine.sources import Sources
from runner.errors import UsageError
from tests.engine.toys import toy
from tests.engine.toys.building import instance, recipe, toys

RESOURCES = {
    "device": st.sampled_from(["auto", "cpu", "cuda"]),
    "threads": st.integers(0, 64),
    "timeout": st.floats(0, 9),
    "note": st.text(),
}


def own(root: Path, **about: Any) -> str:
    pins = about.pop("pins", {})
    one = instance("a", **about)
    whole = recipe(root, one, pins=pins)
    return digest(parts_of(whole, one, steps.kind("toy"), Sources(root)).own)


PLAIN = {"name": st.text(), "text": st.text(), "rate": st.floats(allow_nan=False, allow_infinity=False), "count": st.integers(-9, 9)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(field=st.sampled_from(sorted(PLAIN)), data=st.data())
def test_another_value_of_any_field_is_another_key(root: Path, field: str, data: st.DataObject) -> None:
    first, second = data.draw(PLAIN[field]), data.draw(PLAIN[field])
    same = repr(first) == repr(second)
    assert (own(root, **{field: first}) == own(root, **{field: second})) is same


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {"device": st.sampled_from(["auto", "cpu", "cuda"]), "threads": st.integers(0, 64), "timeout": st.floats(0, 9), "note": st.text()}
    )
)
def test_resources_never_change_the_key(root: Path, resources: dict[str, Any]) -> None:
    assert set(resources) == {field.name for field in msgspec.structs.fields(toy.Resources)}
    assert own(root, resources=resources) == own(root)


def test_a_default_written_out_is_the_default(root: Path) -> None:
    assert own(root, name="a", rate=0.5, count=1) == own(root, name="a")


def test_version_axes_and_kind_are_part_of_the_key(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {own(root), own(root, axes={"rank": "1"}), own(root, axes={"rank": "2"}), own(root, axes={"x": "1"})}
    monkeypatch.setattr(toy, "VERSION", 2)
    assert len(keys | {own(root)}) == 5


def test_source_bytes_and_names_are_part_of_the_key(root: Path) -> None:
    (root / "a.md").write_text("one")
    keys = [own(root, paths=["*.md"])]
    (root / "a.md").write_text("two")
    keys.append(own(root, paths=["*.md"]))
    (root / "a.md").rename(root / "b.md")
    keys.append(own(root, paths=["*.md"]))
    assert len(set(keys)) == 3


def test_a_pin_fills_the_revision_and_is_part_of_the_key(root: Path) -> None:
    toys()
    params = toy.Params(hub="Org/Model")
    with_pin, uses = pinned(steps.kind("toy"), params, {"Org/Model": "a" * 40})
    assert with_pin == toy.Params(hub="Org/Model", revision="a" * 40)
    assert [use.revision for use in uses] == ["a" * 40]
    loose, one, two = (own(root, hub="Org/Model", pins=pins) for pins in ({}, {"Org/Model": "1" * 40}, {"Org/Model": "2" * 40}))
    assert len({loose, one, two}) == 3
    assert one == own(root, hub="Org/Model", revision="1" * 40)


def test_a_revision_in_the_recipe_goes_before_the_lock_file(root: Path) -> None:
    toys()
    params = toy.Params(hub="Org/Model", revision="b" * 40)
    assert pinned(steps.kind("toy"), params, {"Org/Model": "a" * 40})[0] == params


def test_a_branch_is_no_pin(root: Path) -> None:
    toys()
    params = toy.Params(hub="Org/Model", revision="main")
    [use] = pinned(steps.kind("toy"), params, {})[1]
    assert not use.pinned
    assert pinned(steps.kind("toy"), params, {"Org/Model": "a" * 40})[0] == toy.Params(hub="Org/Model", revision="a" * 40)


def test_nan_is_refused_with_its_place(root: Path) -> None:
    with pytest.raises(UsageError) as caught:
        own(root, rate=float("nan"))
    assert str(caught.value).startswith("recipes/toy.yaml:3:5  steps.a: a value cannot be part of a key")


def artifact(**about: Any) -> Artifact:
    return Artifact(**({"ref": "k/main", "type": "text", "form": "", "path": Path("x"), "digest": "d", "step": "s", "axes": {}} | about))


def test_of_an_input_all_counts_but_where_it_lies(root: Path) -> None:
    one = instance("a")
    parts = parts_of(recipe(root, one), one, steps.kind("toy"), Sources(root))
    base = key_of(parts.whole({"texts": [artifact()]}))
    assert base == key_of(parts.whole({"texts": [artifact(ref="other/main", path=Path("y"))]}))
    others = [{"digest": "e"}, {"step": "t"}, {"axes": {"rank": "1"}}, {"form": "full"}, {"ref": "k/part"}]
    keys = {key_of(parts.whole({"texts": [artifact(**other)]})) for other in others}
    keys |= {base, key_of(parts.whole({"base": [artifact()]})), key_of(parts.whole({"texts": [artifact()]}, ["lost"]))}
    assert len(keys) == len(others) + 3
