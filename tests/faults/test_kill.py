"""Rows 1, 2, 6 and 7 of the faults: real processes, really killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.engine import Store
from tests.engine.toys.building import diary

PROJECT = Path(__file__).resolve().parents[2]


class Programs:
    """Starts runs of toys, and finds every process that they have started by a mark in its environment."""

    def __init__(self, root: Path) -> None:
        self.root, self.mark = root, uuid.uuid4().hex

    def start(self, length: int = 3, seconds: float = 0.0, *force: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.faults.program", str(self.root), str(length), str(seconds), *force],
            cwd=PROJECT,
            env=os.environ | {"TOY_MARK": self.mark} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, length: int = 3, seconds: float = 0.0, *force: str, **environment: str) -> dict[str, Any]:
        """Run to the end and give what it has printed."""
        return printed(self.start(length, seconds, *force, **environment))

    def alive(self) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"TOY_MARK={self.mark}".encode() in (folder / "environ").read_bytes()
                running = (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
            except OSError:
                continue
            if marked and running:
                found.append(int(folder.name))
        return found

    def all_gone(self, within: float = 5.0) -> bool:
        end = time.monotonic() + within
        while self.alive() and time.monotonic() < end:
            time.sleep(0.02)
        return not self.alive()

    def wait_for(self, name: str, count: int = 1) -> None:
        """Wait until a toy has begun for the n-th time."""
        end = time.monotonic() + 20
        while diary(self.root).count(name) < count:
            assert time.monotonic() < end, f"{name} never began: {diary(self.root)}"
            time.sleep(0.01)


def printed(program: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = program.communicate(timeout=50)
    assert out, err
    return dict(json.loads(out))


@pytest.fixture
def programs(root: Path) -> Iterator[Programs]:
    made = Programs(root)
    yield made
    for process in made.alive():
        os.kill(process, signal.SIGKILL)


def payloads(store: Store) -> dict[str, Any]:
    keys = store.all_keys()
    return {key: store.check(key).outputs for key in keys}


def undisturbed(tmp_path: Path, length: int, seconds: float = 0.0) -> dict[str, Any]:
    """What the same recipe makes when nobody kills it. Keys do not depend on the place, so they can be compared."""
    root = tmp_path / "undisturbed"
    (root / "recipes").mkdir(parents=True)
    assert Programs(root).finish(length, seconds)["code"] == 0
    return payloads(Store(root / "artifacts"))


def finished(store: Store) -> set[str]:
    keys = store.all_keys()
    return {store.check(key).step for key in keys}


def recover(programs: Programs, store: Store, length: int, seconds: float, expected: dict[str, Any]) -> None:
    """The next run succeeds, runs no finished step again, makes the same, and leaves nothing behind."""
    assert programs.all_gone()
    done, before = finished(store), len(diary(programs.root))
    assert programs.finish(length, seconds)["code"] == 0
    assert not done.intersection(diary(programs.root)[before:])
    assert payloads(store) == expected
    assert list((store.path / "work").iterdir()) == []
    assert [path.name for path in store.locks.iterdir() if not path.name.startswith("lease-")] == ["gate"]


def kill_at_moments(programs: Programs, store: Store, expected: dict[str, Any], moments: list[int]) -> int:
    """Kill at each of the commit points in turn, each time in a fresh store; returns how many were reached."""
    import shutil

    reached = 0
    for moment in moments:
        shutil.rmtree(store.path, ignore_errors=True)
        (programs.root / "diary").unlink(missing_ok=True)
        program = programs.start(2, TOY_KILL_AT=str(moment))
        program.communicate(timeout=50)
        reached += program.returncode == -signal.SIGKILL
        recover(programs, store, 2, 0.0, expected)
    return reached


def test_killed_at_some_commit_points(programs: Programs, store: Store, tmp_path: Path) -> None:
    assert kill_at_moments(programs, store, undisturbed(tmp_path, 2), [12, 19, 24, 28]) == 4


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_every_commit_point(programs: Programs, store: Store, tmp_path: Path) -> None:
    expected = undisturbed(tmp_path, 2)
    moment = 1
    while kill_at_moments(programs, store, expected, [moment]):
        moment += 1
    assert moment > 30


def kill_at_random(programs: Programs, store: Store, times: int, seed: int) -> None:
    chance = random.Random(seed)
    for n in range(times):
        program = programs.start(4, 0.3)
        time.sleep(chance.uniform(0.1, 1.5))
        victims = programs.alive() if n % 3 else [program.pid]
        os.kill(chance.choice(victims or [program.pid]), signal.SIGKILL)
        program.communicate(timeout=50)
        assert programs.all_gone()
        assert all(damage is None for _, damage in store.verify())


@pytest.mark.parametrize(("times", "seed"), [(3, 1), pytest.param(40, 2, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_killed_at_random_moments(programs: Programs, store: Store, tmp_path: Path, times: int, seed: int) -> None:
    kill_at_random(programs, store, times, seed)
    recover(programs, store, 4, 0.3, undisturbed(tmp_path, 4, 0.3))


def test_a_killed_runner_leaves_no_worker_and_no_lock(programs: Programs, store: Store) -> None:
    program = programs.start(1, 30)
    programs.wait_for("s0")
    assert len(programs.alive()) == 3  # runner, forkserver, worker
    program.kill()
    program.communicate()
    assert programs.all_gone(2)
    (key,) = [path.name for path in (store.path / "work").iterdir()]
    lock = store.lock(key)
    assert lock.acquire()
    lock.release()


def test_a_killed_forkserver_takes_its_worker_along_and_fails_the_step(programs: Programs) -> None:
    program = programs.start(1, 30)
    programs.wait_for("s0")
    (server,) = [process for process in programs.alive() if f"PPid:\t{program.pid}\n" in Path(f"/proc/{process}/status").read_text()]
    os.kill(server, signal.SIGKILL)
    assert printed(program)["code"] == 1
    assert programs.all_gone(2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_once(programs: Programs, store: Store, number: signal.Signals) -> None:
    program = programs.start(3, 0.8)
    programs.wait_for("s1")
    program.send_signal(number)
    result = printed(program)
    assert result == {"code": 130, "states": {"s0": "done", "s1": "cancelled", "s2": "cancelled"}}
    assert program.returncode == 130
    assert programs.all_gone(1)
    record = json.loads((store.runs / "toy/latest/run.json").read_text())
    assert record["status"] == "interrupted"
    assert programs.finish(3, 0.8)["states"] == {"s0": "hit", "s1": "done", "s2": "done"}


def test_interrupted_twice(programs: Programs) -> None:
    program = programs.start(2, 0, TOY_DEAF="30")
    programs.wait_for("s0")
    program.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert program.poll() is None  # the step does not listen, and is given time
    program.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert printed(program)["code"] == 130
    assert time.monotonic() - began < 3
    assert programs.all_gone(1)
    assert programs.finish(2)["code"] == 0


def test_interrupted_twice_while_the_forkserver_imports(programs: Programs, root: Path) -> None:
    (root / "sleepy.py").write_text("import pathlib, time\npathlib.Path(__file__).with_name('imports').touch()\ntime.sleep(30)")
    program = programs.start(1, 0, TOY_PRELOAD="sleepy", PYTHONPATH=str(root))
    while not (root / "imports").exists():
        time.sleep(0.02)
    program.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert program.poll() is None
    program.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert printed(program) == {"code": 130, "states": {"s0": "cancelled"}}
    assert time.monotonic() - began < 3
    assert programs.all_gone(1)


def test_under_nohup_a_closed_terminal_is_nothing(programs: Programs) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited by the program
    try:
        program = programs.start(1, 0.5)
    finally:
        signal.signal(signal.SIGHUP, before)
    programs.wait_for("s0")
    program.send_signal(signal.SIGHUP)
    assert printed(program)["code"] == 0


def test_two_runs_of_one_recipe_compute_each_key_once(programs: Programs, root: Path) -> None:
    both = [programs.start(3, 0.5) for _ in range(2)]
    results = [printed(program) for program in both]
    assert [result["code"] for result in results] == [0, 0]
    assert sorted(diary(root)) == ["s0", "s1", "s2"]
    for step in ("s0", "s1", "s2"):
        assert sorted(result["states"][step] for result in results) == ["done", "hit"]


def test_two_runs_of_different_keys_run_side_by_side(programs: Programs, root: Path) -> None:
    first = programs.start(1, 1.2)
    programs.wait_for("s0", 1)
    second = programs.start(1, 1.1)
    programs.wait_for("s0", 2)
    assert first.poll() is None
    assert [printed(program)["code"] for program in (first, second)] == [0, 0]


def test_the_second_run_takes_over_when_the_first_is_killed(programs: Programs, root: Path) -> None:
    first = programs.start(1, 30)
    programs.wait_for("s0", 1)
    second = programs.start(1, 30)
    time.sleep(0.5)
    first.kill()
    first.communicate()
    programs.wait_for("s0", 2)
    second.send_signal(signal.SIGINT)
    assert printed(second)["code"] == 130
