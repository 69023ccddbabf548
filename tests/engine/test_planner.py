"""Plans: states, and reasons in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.engine import Store, plan, run, why
from runner.errors import UsageError
from runner.recipe.model import Recipe
from tests.engine.toys import toy
from tests.engine.toys.building import chain, instance, recipe


def told(whole: Recipe, store: Store, **about: Any) -> dict[str, tuple[str, str]]:
    return {item.instance.id: (item.state, item.why) for item in plan(whole, store, **about)}


def test_before_and_after_the_first_run(root: Path, store: Store) -> None:
    whole = chain(root, 2)
    assert told(whole, store) == {"s0": ("run", "not run before"), "s1": ("depends", "on s0")}
    assert not store.path.exists()
    run(whole, store)
    assert told(whole, store) == {"s0": ("cached", ""), "s1": ("cached", "")}


def pair(root: Path, **params: Any) -> Recipe:
    return recipe(root, instance("a", **params), instance("b", {"texts": ["a"]}))


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"rate": 2e-4}, {"rate": 1e-4}, "rate 2e-4 -> 1e-4"),
        ({}, {"rate": 2.5e-5}, "rate 0.5 -> 2.5e-5"),
        ({"text": "x"}, {"text": "y", "count": 3}, "text x -> y; count 1 -> 3"),
        ({"prompt": None}, {"online": True}, "online false -> true"),
        (
            {"hub": "A/B", "revision": "1" * 40},
            {"hub": "A/B", "revision": "2" * 40},
            f"revision {'1' * 40} -> {'2' * 40}; revision of model A/B {'1' * 40} -> {'2' * 40}",
        ),
    ],
)
def test_a_changed_parameter_in_words(root: Path, store: Store, before: Any, after: Any, reason: str) -> None:
    run(pair(root, **before), store)
    assert told(pair(root, **after), store) == {"a": ("run", reason), "b": ("depends", "on a")}
    assert why(pair(root, **after), store, "a")[0].reasons == tuple(reason.split("; "))


def test_a_changed_version(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run(pair(root), store)
    monkeypatch.setattr(toy, "VERSION", 2)
    assert told(pair(root), store) == {"a": ("run", "VERSION 1 -> 2"), "b": ("depends", "on a; VERSION 1 -> 2")}


def test_changed_files_in_words(root: Path, store: Store) -> None:
    (root / "a.md").write_text("one")
    (root / "b.md").write_text("two")
    whole = pair(root, paths=["*.md"])
    run(whole, store)
    (root / "a.md").write_text("eno")
    (root / "b.md").rename(root / "c.md")
    assert told(whole, store)["a"] == ("run", "source file a.md changed; source file c.md added; source file b.md removed")


def test_a_changed_input_in_words(root: Path, store: Store) -> None:
    run(pair(root, text="one"), store)
    changed = pair(root, text="two")
    run(changed, store, until="a")
    assert told(changed, store)["b"] == ("run", "input a changed")
    run(changed, store)
    assert [w.reasons[0] for w in why(changed, store, "b")] == ["nothing has changed"]
    assert why(changed, store, "b")[0].reasons[1].endswith("computed it: input a changed")


def test_one_arm_of_several_axes_in_words(root: Path, store: Store) -> None:
    """The axes stand in another order in a manifest than in the recipe."""

    def arms(text: str) -> Recipe:
        one = instance("arm", axes={"system": "base", "rag": "none"}, text=text)
        two = instance("arm", axes={"system": "lora", "rag": "none"}, text="two")
        return recipe(root, one, two, instance("scores", {"arms": [one.id, two.id]}))

    run(arms("one"), store)
    run(arms("changed"), store, only="arm")
    assert why(arms("changed"), store, "scores")[0].reasons == ("input arm[system=base,rag=none] changed",)


def test_an_artifact_that_is_gone_or_cut_off(root: Path, store: Store) -> None:
    result = run(pair(root), store)
    key = str(result.instances["a"].key)
    (store.folder(key) / "main/text").write_text("longer than it was before")
    assert told(pair(root), store)["a"] == ("run", "its artifact is damaged: its file main/text has 25 bytes instead of 6")
    store.set_aside(key)
    assert told(pair(root), store)["a"][1].endswith("is gone, or something that it refers to")


def test_only_until_and_force(root: Path, store: Store) -> None:
    whole = chain(root, 3)
    with pytest.raises(UsageError, match="`s0` has not been computed, and --only leaves it out"):
        run(whole, store, only="s1")
    run(whole, store, until="s1")
    assert list(told(whole, store, until="s1")) == ["s0", "s1"]
    assert told(whole, store)["s2"][0] == "run"
    assert list(run(whole, store, only="s2").instances) == ["s0", "s1", "s2"]
    assert told(whole, store, force=["s1"]) == {"s0": ("cached", ""), "s1": ("run", "forced"), "s2": ("depends", "on s1")}


def test_arms_are_chosen_by_some_of_their_labels(root: Path, store: Store) -> None:
    arms = [
        instance("arm", axes={"system": system, "rank": rank}, text=f"{system} {rank}")
        for system in ("base", "lora")
        for rank in ("4", "16")
    ]
    whole = recipe(root, *arms, instance("scores", {"arms": [arm.id for arm in arms]}))

    def chosen(name: str) -> list[str]:
        return list(told(whole, store, until=name))

    assert chosen("arm[rank=4]") == ["arm[system=base,rank=4]", "arm[system=lora,rank=4]"]
    assert chosen("arm[rank=4, system=lora]") == ["arm[system=lora,rank=4]"]
    assert chosen("arm") == [arm.id for arm in arms]
    run(whole, store)
    forced = told(whole, store, force=["arm[system=base]"])
    assert [name for name, (state, _) in forced.items() if state == "run"] == [arms[0].id, arms[1].id]
    assert [found.instance for found in why(whole, store, "arm[rank=16]")] == ["arm[system=base,rank=16]", "arm[system=lora,rank=16]"]
    with pytest.raises(UsageError) as caught:
        chosen("arm[rank=8]")
    assert str(caught.value) == "recipes/toy.yaml: `arm` has no arm rank=8\n  system: base, lora; rank: 4, 16"


def test_a_step_that_is_not_there(root: Path, store: Store) -> None:
    whole = recipe(root, instance("gather"), instance("train"))
    with pytest.raises(UsageError) as caught:
        plan(whole, store, until="trian")
    assert str(caught.value) == "recipes/toy.yaml: the recipe has no step `trian`\n  did you mean `train`?"


def test_hub_models_want_a_pin(root: Path, store: Store) -> None:
    whole = recipe(root, instance("a", hub="Org/M"), instance("b", {"texts": ["a"]}))
    assert told(whole, store) == {"a": ("blocked", "Org/M has no pinned revision"), "b": ("blocked", "on a")}
    with pytest.raises(UsageError) as caught:
        run(whole, store)
    assert str(caught.value) == (
        "recipes/toy.yaml:3:5  steps.a: Org/M has no pinned revision\n"
        "  `recipe pin recipes/toy.yaml` writes it to the lock file; --unpinned runs with whatever the hub gives today, and records it"
    )
    assert not store.path.exists()
    assert told(whole, store, unpinned=True)["a"] == ("run", "not run before")
    pinned = recipe(root, instance("a", hub="Org/M"), pins={"Org/M": "a" * 40})
    assert run(pinned, store).instances["a"].params["revision"] == "a" * 40


def test_offline_refuses_what_needs_a_network_unless_it_is_there(root: Path, store: Store) -> None:
    whole = recipe(root, instance("first"), instance("a", {"texts": ["first"]}, online=True))
    with pytest.raises(UsageError, match=r"steps\.a: the step needs the Toy API, and --offline refuses it"):
        run(whole, store, offline=True)
    assert run(whole, store).exit_code == 0
    assert run(whole, store, offline=True).exit_code == 0


def test_all_that_blocks_is_told_at_once(root: Path, store: Store) -> None:
    whole = recipe(root, instance("a", hub="Org/M"), instance("b", paths=["*.pdf"]))
    with pytest.raises(UsageError) as caught:
        run(whole, store)
    assert "Org/M has no pinned revision" in str(caught.value)
    assert "recipes/toy.yaml:3:5  steps.b.with.paths: `*.pdf` matches no file" in str(caught.value)


def test_a_remedy_that_several_share_is_said_once(root: Path, store: Store) -> None:
    whole = recipe(root, instance("a", hub="Org/M"), instance("b", hub="Org/N"), instance("c", paths=["*.pdf"]))
    with pytest.raises(UsageError) as caught:
        run(whole, store)
    first, second, remedy, *rest = str(caught.value).splitlines()
    assert (first.endswith("Org/M has no pinned revision"), second.endswith("Org/N has no pinned revision")) == (True, True)
    assert remedy.startswith("  `recipe pin recipes/toy.yaml`")
    assert "recipe pin" not in " ".join(rest)
