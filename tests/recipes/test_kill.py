"""The smoke run under fire: SIGKILL of the runner and of its workers in the middle of ten steps, then a last run."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "recipes/duo-dynamics.yaml"
MARK = "RECIPE_KILL_TEST"  # inherited by every process of a run, so that /proc tells which are ours

#: Steps that keep a journal, and how often it must be written for these small sizes. Resources, so the results stay the same.
OFTEN = ("steps.base.resources.save_steps=20", "steps.lora.resources.save_steps=10", "steps.qlora.resources.save_steps=10")
JOURNALS = ("base", "lora", "answers[system=lora,rag=hnsw]")
OTHERS = 7


def start(store: Path, mark: str, *sets: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).parent / "recipe"), "run", RECIPE, "-p", "smoke", "--offline", "--artifacts", str(store)]
    command += [argument for value in sets for argument in ("--set", value)]
    with (store.parent / f"{store.name}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=os.environ | {MARK: mark}, stdout=log, stderr=log, start_new_session=True)


def processes(mark: str) -> set[int]:
    """Living processes that carry the mark in their environment."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if marked and (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                found.add(int(folder.name))
        except OSError:
            continue
    return found


def all_gone(mark: str, seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while (alive := processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not alive


def runs(store: Path) -> list[Path]:
    """The folders of the runs, the oldest first."""
    return sorted(path.parent for path in store.glob("runs/duo-dynamics/2*/events.jsonl"))


def events(run: Path) -> Iterator[dict[str, Any]]:
    for line in (run / "events.jsonl").read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def is_in(run: Path, instance: str, part: float) -> bool:
    """Whether a run has come as far as this part of an instance, or has it already."""
    for event in events(run):
        if event["event"] == "planned" and event["states"].get(instance) == "hit":
            return True
        if event.get("instance") == instance:
            if event["event"] == "finished":
                return True
            if event["event"] == "progress" and event["total"] and event["done"] >= part * event["total"]:
                return True
    return False


def wait_for(store: Path, process: subprocess.Popen[bytes], earlier: int, instance: str, part: float) -> None:
    while len(runs(store)) == earlier or not is_in(runs(store)[-1], instance, part):
        assert process.poll() is None, f"the run ended before {instance}"
        time.sleep(0.02)


def done(run: Path) -> set[str]:
    return {event["instance"] for event in events(run) if event["event"] == "finished" and event["state"] == "done"}


def found(run: Path) -> set[str]:
    """The instances that a run had already. A kill between the commit of one and the event that tells leaves it to the next run."""
    return {name for event in events(run) if event["event"] == "planned" for name, state in event["states"].items() if state == "hit"}


def begun(run: Path) -> dict[str, float]:
    """The instances that a run has worked on, with the part of each that was done when it was first more than nothing."""
    parts: dict[str, float] = {}
    for event in events(run):
        if event["event"] == "started":
            parts[event["instance"]] = 0.0
        elif event["event"] == "progress" and not parts.get(event["instance"]) and event["total"]:
            parts[event["instance"]] = event["done"] / event["total"]
    return parts


def committed(store: Path) -> dict[str, tuple[int, int]]:
    """The artifacts that stand, by key; a manifest that was written again would be another file."""
    found = {path.parent.name: path.stat() for path in store.glob("objects/*/*/manifest.json")}
    return {key: (status.st_ino, status.st_mtime_ns) for key, status in found.items()}


def payloads(store: Path) -> dict[str, dict[str, str]]:
    """Digest of every output of every instance of the newest run."""
    found = {}
    for instance in json.loads((runs(store)[-1] / "run.json").read_text())["instances"]:
        manifest = json.loads((store / instance["artifact"] / "manifest.json").read_text())
        found[instance["id"]] = {name: output["digest"] for name, output in manifest["outputs"].items()}
    return found


def kill(run: subprocess.Popen[bytes], mark: str, rng: random.Random, *, worker: bool) -> None:
    """Kill the runner; or one of the processes below it, and then let the runner say so, or kill it too."""
    others = sorted(processes(mark) - {run.pid})
    if worker and others:
        os.kill(rng.choice(others), signal.SIGKILL)
        time.sleep(0.5)
        if rng.random() < 0.5:
            run.send_signal(signal.SIGINT)
            assert run.wait(60) in (1, 130)
            return
    run.kill()
    run.wait()


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    assert start(undisturbed, "undisturbed").wait() == 0, (tmp_path / "undisturbed.log").read_text()[-3000:]
    assert all_gone("undisturbed")
    order = list(payloads(undisturbed))

    rng = random.Random(20)
    targets = {*JOURNALS, *rng.sample([name for name in order if name not in JOURNALS], OTHERS)}
    before: dict[str, tuple[int, int]] = {}
    for attempt, target in enumerate(sorted(targets, key=order.index)):
        mark, earlier = f"kill-{attempt}", len(runs(disturbed))
        process = start(disturbed, mark, *OFTEN)
        wait_for(disturbed, process, earlier, target, rng.uniform(0.5, 0.9))
        kill(process, mark, rng, worker=attempt % 2 == 1)
        assert all_gone(mark), "a process outlived the killed run"
        after = committed(disturbed)
        assert {key: after.get(key) for key in before} == before, "a finished step was done again, or is gone"
        before = after

    assert start(disturbed, "last", *OFTEN).wait() == 0, (tmp_path / "disturbed.log").read_text()[-3000:]
    assert all_gone("last")
    after = committed(disturbed)
    assert {key: after.get(key) for key in before} == before, "a finished step was done again, or is gone"

    finished: set[str] = set()
    resumed: dict[str, float] = {}
    for run in runs(disturbed):
        assert found(run) <= finished | resumed.keys(), "a run found what no run had begun"
        finished |= found(run)
        assert not finished & begun(run).keys(), "a finished step was begun again"
        finished |= done(run)
        resumed |= begun(run)
    assert finished == set(order)
    assert all(resumed[name] >= 0.25 for name in JOURNALS), f"a step began anew although it had a journal: {resumed}"

    assert payloads(disturbed) == payloads(undisturbed)
    assert [path.name for path in (disturbed / "work").iterdir()] == [], "strays were left behind"
    left = {path.name for path in (disturbed / "locks").iterdir()}
    assert {name for name in left if not name.startswith("lease-")} == {"gate"}
    for name in left:
        with (disturbed / "locks" / name).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises when anyone still holds it
