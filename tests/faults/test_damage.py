"""Rows 4, 5, 8, 9 and 27 of the faults, through whole runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from runner.engine import Store, plan, run, why
from runner.engine.events import Event, Started, Warned
from runner.engine.manifest import MANIFEST
from runner.recipe.model import Recipe
from tests.engine.test_store import DAMAGE
from tests.engine.toys import toy
from tests.engine.toys.building import chain, diary, instance, recipe


def states(result: Any) -> dict[str, str]:
    return {name: record.state for name, record in result.instances.items()}


@pytest.mark.parametrize("damage", [name for name in DAMAGE if "flipped" not in name or "manifest" in name])
def test_damage_that_sizes_tell_is_mended_by_the_next_run(root: Path, store: Store, damage: str) -> None:
    whole = chain(root, 2)
    folder = store.folder(str(run(whole, store).instances["s0"].key))
    DAMAGE[damage](folder)
    result = run(whole, store)
    assert states(result) == {"s0": "done", "s1": "hit"}
    assert result.instances["s0"].warnings[0].startswith("its artifact was damaged and is computed again: ")
    assert len(list((store.path / "quarantine").iterdir())) == 1
    assert all(found is None for _, found in store.verify())


def test_a_flipped_byte_is_detected_before_use_and_mended_in_the_same_run(root: Path, store: Store) -> None:
    """s0 <- s1 <- s2: s1's payload is flipped, which only its bytes tell; a new s2 reads it."""
    first = run(chain(root, 2), store)
    path = store.folder(str(first.instances["s1"].key)) / "main/text"
    good = path.read_text()
    path.write_text(good.replace("text 1", "test 1"))
    path.chmod(0o444)
    seen: list[Event] = []
    result = run(chain(root, 3), store, listener=seen.append)
    assert states(result) == {"s0": "hit", "s1": "done", "s2": "done"}
    assert path.read_text() == good
    assert "text 1" in (store.path / str(result.instances["s2"].artifact) / "main/text").read_text()
    assert [e.instance for e in seen if isinstance(e, Started)] == ["s1", "s2"]
    assert any("is damaged: the bytes of its file main/text were changed" in e.message for e in seen if isinstance(e, Warned))


def test_what_an_input_refers_to_is_checked_too(root: Path, store: Store) -> None:
    """b's payload names a by its ref, as an adapter names its base; c opens it through the context."""
    a = instance("a")
    key = str(run(recipe(root, a), store).instances["a"].key)
    b, c = instance("b", {"base": ["a"]}, text=""), instance("c", {"base": ["b"]}, wrong="open")
    (root / "ref").write_text(f"{key}/main")
    b = instance("b", {"texts": []}, paths=["ref"])
    whole = recipe(root, a, b, c)
    assert states(run(whole, store)) == {"a": "hit", "b": "done", "c": "done"}
    (store.folder(key) / "main/text").write_text("#0.5 1")
    again = recipe(root, a, b, instance("c", {"base": ["b"]}, wrong="open", text="new"))
    assert states(run(again, store)) == {"a": "done", "b": "hit", "c": "done"}
    assert diary(root) == ["a", "b", "c", "c", "a", "c"]


def test_a_cut_off_manifest_is_a_miss(root: Path, store: Store) -> None:
    whole = chain(root, 1)
    manifest = store.folder(str(run(whole, store).instances["s0"].key)) / MANIFEST
    for size in (0, 1, manifest.stat().st_size // 2, manifest.stat().st_size - 3):
        os.truncate(manifest, size)
        assert plan(whole, store).items["s0"].state == "run"
        assert run(whole, store).instances["s0"].state == "done"


def prompted(root: Path) -> Recipe:
    (root / "prompts").mkdir(exist_ok=True)
    return recipe(root, instance("a", prompt="prompts/a.j2", text="A"), instance("b", {"texts": ["a"]}), instance("c", text="C"))


def test_an_edited_prompt_runs_exactly_its_dependants(root: Path, store: Store) -> None:
    whole = prompted(root)
    (root / "prompts/a.j2").write_text("{% include 'prompts/part.j2' %} {{ text }}")
    (root / "prompts/part.j2").write_text("one")
    run(whole, store)
    (root / "prompts/part.j2").write_text("two")
    assert why(whole, store, "a")[0].reasons == ("prompt prompts/a.j2 changed (in prompts/part.j2)",)
    assert states(run(whole, store)) == {"a": "done", "b": "done", "c": "hit"}
    (root / "prompts/a.j2").write_text("{% include 'prompts/part.j2' %}: {{ text }}")
    assert why(whole, store, "a")[0].reasons == ("prompt prompts/a.j2 changed",)
    assert states(run(whole, store)) == {"a": "done", "b": "done", "c": "hit"}
    assert states(run(whole, store)) == {"a": "hit", "b": "hit", "c": "hit"}


def test_same_size_and_time_other_bytes_is_a_miss(root: Path, store: Store) -> None:
    source = root / "a.md"
    source.write_text("one")
    whole = recipe(root, instance("a", paths=["a.md"]))
    run(whole, store)
    status = source.stat()
    source.write_text("two")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert states(run(whole, store)) == {"a": "done"}


def test_an_input_edited_during_the_step_commits_nothing(root: Path, store: Store) -> None:
    (root / "a.md").write_text("one")
    result = run(recipe(root, instance("a", paths=["*.md"], wrong="edit-source")), store)
    assert result.instances["a"].error == {
        "message": "a.md changed while the step was running",
        "remedy": "nothing was kept; run again",
    }
    assert store.all_keys() == []


def test_small_runs_share_what_is_equal_and_nothing_else(root: Path, store: Store) -> None:
    full = recipe(root, instance("a", text="corpus"), instance("b", {"texts": ["a"]}, count=1000))
    smoke = recipe(root, instance("a", text="corpus"), instance("b", {"texts": ["a"]}, count=2), overlays=["profile smoke"])
    assert states(run(smoke, store)) == {"a": "done", "b": "done"}
    assert states(run(full, store)) == {"a": "hit", "b": "done"}
    assert states(run(smoke, store)) == {"a": "hit", "b": "hit"}


def test_resources_are_a_hit_and_parameters_a_miss(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run(recipe(root, instance("a")), store)
    assert states(run(recipe(root, instance("a", resources={"threads": 1, "device": "cpu", "note": "x"})), store)) == {"a": "hit"}
    assert states(run(recipe(root, instance("a", count=2)), store)) == {"a": "done"}
    monkeypatch.setattr(toy, "VERSION", 2)
    assert states(run(recipe(root, instance("a")), store)) == {"a": "done"}
