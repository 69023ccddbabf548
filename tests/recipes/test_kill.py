"""The smoke run under fire: SIGKILL of the runner and of its workers at random moments, then a last run."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = "recipes/duo-dynamics.yaml"
MARK = "RECIPE_KILL_TEST"  # inherited by every process of a run, so that /proc tells which are ours

KILLS = 10


def start(store: Path, mark: str) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).parent / "recipe"), "run", RECIPE, "-p", "smoke", "--offline", "--artifacts", str(store)]
    log = (store.parent / f"{store.name}.log").open("ab")
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {MARK: mark}, stdout=log, stderr=log, start_new_session=True)


def processes(mark: str) -> dict[int, str]:
    """Living processes that carry the mark in their environment: pid to command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                if command and " Z " not in (folder / "stat").read_text():
                    found[int(folder.name)] = command
        except OSError:
            continue
    return found


def latest(store: Path) -> dict:
    return json.loads((store / "runs/duo-dynamics/latest/run.json").read_text())


def committed(store: Path) -> dict[str, int]:
    """Keys of the artifacts that stand, with the inode of each manifest: a step done twice would have a new one."""
    return {path.parent.name: path.stat().st_ino for path in (store / "objects").glob("*/*/manifest.json")}


def payloads(store: Path) -> dict[str, dict[str, str]]:
    """Digest of every output of every instance of the newest run."""
    found = {}
    for instance in latest(store)["instances"]:
        manifest = json.loads((store / instance["artifact"] / "manifest.json").read_text())
        found[instance["id"]] = {name: output["digest"] for name, output in manifest["outputs"].items()}
    return found


def wait_until_quiet(mark: str, seconds: float = 20) -> dict[int, str]:
    deadline = time.monotonic() + seconds
    while (left := processes(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    began = time.monotonic()
    assert start(undisturbed, "undisturbed").wait() == 0, (tmp_path / "undisturbed.log").read_text()[-3000:]
    duration = time.monotonic() - began
    assert wait_until_quiet("undisturbed") == {}

    rng, before = random.Random(20), {}
    for attempt in range(KILLS):
        mark = f"kill-{attempt}"
        run = start(disturbed, mark)
        time.sleep(rng.uniform(1.0, max(8.0, 2 * duration / KILLS)))
        if attempt % 2:
            others = sorted(set(processes(mark)) - {run.pid})
            os.kill(rng.choice(others) if others else run.pid, signal.SIGKILL)
            time.sleep(0.5)
            if run.poll() is None and rng.random() < 0.5:  # sometimes the run is left to say what happened to its worker
                run.send_signal(signal.SIGINT)
                run.wait(60)
            else:
                run.kill()
        else:
            run.kill()
        run.wait()
        assert wait_until_quiet(mark) == {}, "a process outlived the killed run"
        after = committed(disturbed)
        assert {key: after.get(key) for key in before} == before, "a finished step was done again, or is gone"
        before = after

    last = start(disturbed, "last")
    assert last.wait() == 0, (tmp_path / "disturbed.log").read_text()[-3000:]
    assert wait_until_quiet("last") == {}
    after = committed(disturbed)
    assert {key: after.get(key) for key in before} == before, "a finished step was done again"
    hits = [i["id"] for i in latest(disturbed)["instances"] if i["state"] == "hit"]
    assert len(hits) == len(before), "the last run did not reuse every finished step"

    assert payloads(disturbed) == payloads(undisturbed)
    assert [p.name for p in (disturbed / "work").iterdir()] == [], "strays were left behind"
    for lock in (disturbed / "locks").rglob("*"):
        if lock.is_file():
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises when anyone still holds it
