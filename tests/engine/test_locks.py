"""Locks: one holder, waiting, inheritance, no litter; leases."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from runner.engine import Store, run
from runner.engine.locks import Gate, Lease, Lock, leased
from tests.engine.toys.building import chain


def test_one_holder_and_no_litter(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "key"), Lock(tmp_path / "key")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert list(tmp_path.iterdir()) == []
    assert second.acquire()
    second.release()


def test_a_waiter_does_not_take_the_lock_of_a_removed_file(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(50):
            with Lock(tmp_path / "key"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_the_lock_lives_as_long_as_an_heir_of_its_descriptor(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "key"), Lock(tmp_path / "key")
    first.acquire()
    heir = os.dup(first.descriptor)
    os.close(first.descriptor)
    assert not second.acquire()
    os.close(heir)
    assert second.acquire()
    second.release()


def test_the_next_run_removes_leases_of_the_dead(root: Path, store: Store) -> None:
    store.prepare()
    (store.locks / "lease-1-dead").write_text("c\n")
    run(chain(root, 1), store)
    assert [path.name for path in store.locks.iterdir()] == ["gate"]


def test_leases_of_the_living_count_and_those_of_the_dead_go(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    lease.add("a")
    lease.add("b")
    (tmp_path / "lease-1-dead").write_text("c\n")
    with Gate(tmp_path / "gate", shared=False):
        assert leased(tmp_path) == {"a", "b"}
    lease.close()
    assert [path.name for path in tmp_path.iterdir()] == ["gate"]
