"""Runs from end to end: order, arms that fail, hits, events, the record."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from runner import steps
from runner.engine import Event, Store, plan, run
from runner.engine.events import Finished, Metrics, Progress, RunFinished, RunStarted, Started, Warned
from tests.engine.toys import toy
from tests.engine.toys.building import chain, diary, instance, recipe


def text(store: Store, result: Any, name: str) -> str:
    return (store.path / result.instances[name].artifact / "main/text").read_text()


def states(result: Any) -> dict[str, str]:
    return {name: record.state for name, record in result.instances.items()}


def test_a_chain_runs_once_and_is_then_there(root: Path, store: Store) -> None:
    whole = chain(root, 3)
    first = run(whole, store)
    assert (first.status, first.exit_code, states(first)) == ("done", 0, {"s0": "done", "s1": "done", "s2": "done"})
    assert text(store, first, "s2") == "text 0 0.5 1\ntext 1 0.5 1\ntext 2 0.5 1"
    second = run(whole, store)
    assert states(second) == {"s0": "hit", "s1": "hit", "s2": "hit"}
    assert diary(root) == ["s0", "s1", "s2"]
    assert second.instances["s0"].facts["length"] == {"value": 6, "unit": "characters"}
    assert not any((store.path / "work").iterdir())
    assert [path.name for path in store.locks.iterdir()] == ["gate"]


def test_the_same_bytes_upstream_run_nothing_downstream(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recipe(root, instance("a"), instance("b", {"texts": ["a"]}))
    run(whole, store)
    monkeypatch.setattr(toy, "VERSION", 2)
    run(whole, store)
    assert diary(root) == ["a", "b", "a", "b"]  # the version is everyone's
    again = recipe(root, instance("a", wrong="warn"), instance("b", {"texts": ["a"]}))
    assert states(run(again, store)) == {"a": "done", "b": "hit"}


def test_an_arm_that_fails_does_not_stop_the_others(root: Path, store: Store) -> None:
    whole = recipe(
        root,
        *(instance("arm", axes={"n": str(n)}, text=f"arm {n}", wrong="step-error" if n == 1 else "") for n in range(3)),
        instance("after", {"texts": ["arm[n=1]"]}, axes={"n": "1"}),
        instance("gather", {"arms": [f"arm[n={n}]" for n in range(3)]}),
    )
    result = run(whole, store)
    assert (result.status, result.exit_code) == ("failed", 1)
    assert states(result) == {"arm[n=0]": "done", "arm[n=1]": "failed", "arm[n=2]": "done", "after[n=1]": "blocked", "gather": "done"}
    assert text(store, result, "gather") == "arm 0 0.5 1\narm 2 0.5 1\nwithout arm[n=1]\n 0.5 1"
    assert result.instances["gather"].warnings == ["goes without arm[n=1], which failed"]
    assert result.instances["arm[n=1]"].error == {"message": "there is nothing to write", "remedy": "give it a text"}
    assert result.instances["after[n=1]"].why == "on arm[n=1]"
    mended = recipe(root, *(instance("arm", axes={"n": str(n)}, text=f"arm {n}") for n in range(3)), whole.instances["gather"])
    assert states(run(mended, store)) == {"arm[n=0]": "hit", "arm[n=1]": "done", "arm[n=2]": "hit", "gather": "done"}


def test_a_gatherer_without_any_arm_is_blocked(root: Path, store: Store) -> None:
    whole = recipe(root, instance("arm", wrong="bug"), instance("gather", {"arms": ["arm"]}))
    assert states(run(whole, store)) == {"arm": "failed", "gather": "blocked"}


def test_several_jobs_run_side_by_side(root: Path, store: Store) -> None:
    whole = recipe(root, *(instance(f"s{n}", seconds=0.5) for n in range(4)))
    began = time.monotonic()
    assert run(whole, store, jobs=4).exit_code == 0
    assert time.monotonic() - began < 1.6


def test_two_steps_with_one_key_are_computed_once(root: Path, store: Store) -> None:
    whole = recipe(root, instance("a", name="x", seconds=0.3), instance("b", name="x", seconds=0.3))
    assert sorted(states(run(whole, store, jobs=2)).values()) == ["done", "hit"]
    assert diary(root) == ["x"]


def test_events_tell_the_story(root: Path, store: Store) -> None:
    seen: list[Event] = []
    whole = recipe(root, instance("a", items=30, seconds=0.3, wrong="warn"))
    result = run(whole, store, listener=seen.append)
    assert isinstance(seen[0], RunStarted)
    assert isinstance(seen[-1], RunFinished)
    assert [type(e) for e in seen if isinstance(e, Started | Finished | Warned)] == [Started, Warned, Finished]
    progress = [e for e in seen if isinstance(e, Progress)]
    assert progress[-1].done == 30
    assert len(progress) <= 6  # ten a second
    assert next(e for e in seen if isinstance(e, Metrics)).values == {"loss": 0.5, "bad": None}
    assert result.folder is not None
    lines = [json.loads(line) for line in (result.folder / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines][:3] == ["run-started", "planned", "started"]
    assert lines[1]["states"] == {"a": "waiting"}
    assert len(lines) == len(seen)
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)


def test_the_record(root: Path, store: Store) -> None:
    ends: list[Path] = []
    whole = recipe(root, instance("a", axes={"model": "Org/M"}), overlays=["profile smoke"])
    result = run(whole, store, on_end=ends.append)
    assert ends == [result.folder]
    folder = store.runs / "toy/latest"
    record = json.loads((folder / "run.json").read_text())
    assert list(record) == [
        "format", "recipe", "title", "file", "run", "started", "finished", "status", "seconds", "overlays", "unpinned", "source",
        "stated", "deviations", "assumptions", "claims", "checks", "matrix", "environment", "instances",
    ]  # fmt: skip
    assert record["status"] == "done"
    assert record["overlays"] == ["profile smoke"]
    assert record["matrix"] == {"model": ["Org/M"]}
    entry = record["instances"][0]
    assert entry["params"]["rate"] == 0.5
    assert set(entry["facts"]) == {"seconds", "peak_memory", "length"}
    assert entry["facts"]["peak_memory"]["value"] > 2**20
    link = folder / "steps/a[model=Org%2FM]"
    assert (link / "main/text").read_text() == " 0.5 1"
    assert link.resolve() == store.path / entry["artifact"]
    assert (folder / "logs/a[model=Org%2FM].log").exists()
    assert "recipe: 1" in (folder / "recipe.yaml").read_text()


def test_names_of_runs_rise_even_if_the_clock_goes_back(root: Path, store: Store) -> None:
    (store.runs / "toy/20990101T000000.000Z").mkdir(parents=True)
    names = [run(chain(root, 1), store).folder for _ in range(2)]
    assert [folder.name for folder in names if folder] == ["20990101T000000.001Z", "20990101T000000.002Z"]


def test_a_dry_run_writes_nothing(root: Path, store: Store) -> None:
    result = run(chain(root, 2), store, dry_run=True)
    assert result.folder is None
    assert result.plan is not None
    assert [item.state for item in result.plan] == ["run", "depends"]
    assert not store.path.exists()


def test_force_replaces_an_artifact_when_the_new_one_stands(root: Path, store: Store) -> None:
    whole = chain(root, 2)
    run(whole, store)
    assert states(run(whole, store, force=["s0"])) == {"s0": "done", "s1": "hit"}
    assert diary(root) == ["s0", "s1", "s0"]
    failing = recipe(root, instance("a", paths=["f"], wrong=""))
    (root / "f").write_text("x")
    before = text(store, run(failing, store), "a")
    toy_run = toy.run
    try:
        toy.run = None  # type: ignore[assignment]
        assert plan(failing, store, force=["a"]).items["a"].why == "forced"
    finally:
        toy.run = toy_run
    assert text(store, run(failing, store), "a") == before


def test_a_forced_step_runs_though_somebody_has_held_its_lock(root: Path, store: Store) -> None:
    whole = chain(root, 1)
    lock = store.lock(str(run(whole, store).instances["s0"].key))
    assert lock.acquire()
    threading.Timer(0.3, lock.release).start()
    assert states(run(whole, store, force=["s0"])) == {"s0": "done"}
    assert diary(root) == ["s0", "s0"]


def test_when_nobody_can_watch_any_more_the_run_stops_in_order(root: Path, store: Store) -> None:
    def closed(event: Event) -> None:
        if isinstance(event, Finished):
            raise BrokenPipeError(32, "Broken pipe")

    result = run(chain(root, 3), store, listener=closed)
    assert (result.status, result.exit_code) == ("interrupted", 130)
    assert states(result) == {"s0": "done", "s1": "cancelled", "s2": "cancelled"}
    assert run(chain(root, 3), store).exit_code == 0
    assert diary(root) == ["s0", "s1", "s2"]


NEW_KIND = '''
"""Counts the letters of its text."""
from typing import Annotated
from runner.contract import MAIN, Output, Port, Struct, doc

class Params(Struct):
    letter: Annotated[str, doc("what to count")]

VERSION = 1
PORTS = (Port("text", "text"),)

def outputs(params):
    return {MAIN: Output("number")}

def run(params, inputs, out, ctx):
    count = (inputs["text"].path / "text").read_text().count(params.letter)
    (out / MAIN).mkdir(parents=True)
    (out / MAIN / "number").write_text(str(count))
'''


def test_a_new_kind_is_one_module_and_one_row(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "letters.py").write_text(NEW_KIND)
    monkeypatch.syspath_prepend(root)
    monkeypatch.setitem(steps.KINDS, "letters", "letters")
    whole = recipe(root, instance("a", text="banana"), instance("n", {"text": ["a"]}, kind="letters", letter="a"))
    result = run(whole, store)
    assert result.exit_code == 0
    assert (store.path / str(result.instances["n"].artifact) / "main/number").read_text() == "3"
    assert states(run(whole, store)) == {"a": "hit", "n": "hit"}


def test_the_runner_never_imports_what_a_step_preloads(root: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from runner.engine import Store, run; from runner.contract import Kind\n"
        "from tests.engine.toys import toy; from tests.engine.toys.building import chain\n"
        "toy.PRELOAD = ('wave',)\n"
        f"root = Path({str(root)!r}); result = run(chain(root, 1), Store(root / 'artifacts'))\n"
        "print(result.exit_code, 'wave' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["0", "False"]
