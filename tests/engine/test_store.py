"""The store: rows 3, 4 and 5 of the faults, replacing, leases and cleaning."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.contract import MAIN, Output
from runner.engine import Cleaned, Store, durable, plan, run
from runner.engine.history import run_folders
from runner.engine.locks import Lock
from runner.engine.manifest import MANIFEST, Manifest
from runner.errors import ArtifactDamaged, StepError, UsageError
from tests.engine.toys.building import chain, diary, instance, recipe

KEY = "ab" + "0" * 62
ABOUT: dict[str, Any] = {
    "kind": "toy", "step": "a", "axes": {}, "parts": {}, "params": {}, "refs": [], "facts": {}, "warnings": [], "made": {}
}  # fmt: skip


def made(store: Store, text: str = "payload", key: str = KEY, **about: Any) -> Manifest:
    store.prepare()
    work = store.begin(key)
    (work / "out" / MAIN / "deep").mkdir(parents=True)
    (work / "out" / MAIN / "text").write_text(text)
    (work / "out" / MAIN / "deep/more").write_text("more")
    (work / "out/provenance").mkdir()
    (work / "out/provenance/rates").write_text("1")
    return store.commit(key, {MAIN: Output("text")}, {}, **(ABOUT | about))


def test_a_committed_artifact_is_found_whole(store: Store) -> None:
    manifest = made(store)
    assert store.find(KEY) == store.check(KEY) == manifest
    assert sorted(manifest.files) == ["main/deep/more", "main/text", "provenance/rates"]
    assert not store.work(KEY).exists()
    assert store.find("cd" + KEY[2:]) is None


def test_the_digest_covers_names_and_bytes_and_no_provenance(store: Store) -> None:
    first = made(store)
    work = store.begin(KEY)
    shutil.copytree(store.folder(KEY) / MAIN, work / "out" / MAIN)
    again = store.commit(KEY, {MAIN: Output("text")}, {}, **ABOUT)
    assert again.outputs == first.outputs
    work = store.begin(KEY)
    shutil.copytree(store.folder(KEY) / MAIN, work / "out" / MAIN)
    (work / "out" / MAIN / "text").rename(work / "out" / MAIN / "name")
    assert store.commit(KEY, {MAIN: Output("text")}, {}, **ABOUT).outputs != first.outputs


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda folder: os.truncate(folder / "main/text", 3),
    "appended to": lambda folder: (folder / "main/text").open("a").write("x"),
    "deleted": lambda folder: (folder / "main/text").unlink(),
    "a file added": lambda folder: (folder / "main/extra").touch(),
    "a link instead": lambda folder: ((folder / "main/text").unlink(), (folder / "main/text").symlink_to("nowhere")),
    "flipped": lambda folder: flip(folder / "main/text"),
    "flipped, read-only": lambda folder: (flip(folder / "main/text"), (folder / "main/text").chmod(0o444)),
    "manifest truncated": lambda folder: os.truncate(folder / MANIFEST, 100),
    "manifest emptied": lambda folder: os.truncate(folder / MANIFEST, 0),
    "manifest flipped": lambda folder: flip(folder / MANIFEST),
    "manifest deleted": lambda folder: (folder / MANIFEST).unlink(),
    "provenance flipped": lambda folder: flip(folder / "provenance/rates"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_detected(store: Store, damage: str) -> None:
    made(store)
    DAMAGE[damage](store.folder(KEY))
    with pytest.raises(ArtifactDamaged):
        store.check(KEY)
    if "flipped" not in damage or "manifest" in damage:
        with pytest.raises(ArtifactDamaged):
            store.find(KEY)
    ((key, found),) = store.verify()
    assert key == KEY
    assert found is not None


@pytest.mark.parametrize("target", ["fsync", "replace", "write"])
def test_a_full_disk_keeps_what_was_there(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    whole = recipe(root, instance("a"), instance("b", {"texts": ["a"]}))
    first = run(whole, store)
    real = {"fsync": os.fsync, "replace": os.replace, "write": durable.write}[target]

    def full(*arguments: Any, **named: Any) -> Any:
        if target == "fsync" or any("/objects/" in str(a) or str(a).endswith(MANIFEST) for a in arguments if isinstance(a, Path)):
            raise OSError(28, "No space left on device")
        return real(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(durable if target == "write" else os, target, full)
        patch.setattr(durable, "exchange", full if target == "replace" else durable.exchange)
        result = run(whole, store, force=["b"])
    assert result.instances["b"].error == {
        "message": "the result could not be stored: No space left on device",
        "remedy": "free some space and run again; finished steps are kept",
    }
    assert [found for _, found in store.verify()] == [None, None]
    assert store.find(str(first.instances["b"].key)) is not None
    assert run(whole, store).exit_code == 0
    assert diary(root) == ["a", "b", "b"]


def test_a_disk_too_full_for_the_record_is_told_too(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any, **named: Any) -> Any:
        raise OSError(28, "No space left on device", "run.json")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write", full)
        with pytest.raises(StepError) as caught:
            run(chain(root, 1), store)
    assert str(caught.value).startswith("the run's folder could not be written: No space left on device (run.json)")
    assert run(chain(root, 1), store).exit_code == 0


def test_an_artifact_goes_only_when_its_replacement_stands(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made(store, "first")
    moments: list[str] = []
    real = durable.exchange

    def watched(new: Path, old: Path) -> bool:
        moments.append((old / "main/text").read_text() + (new / "main/text").read_text())
        return real(new, old)

    monkeypatch.setattr(durable, "exchange", watched)
    made(store, "second")
    assert moments == ["firstsecond"]
    assert (store.folder(KEY) / "main/text").read_text() == "second"
    monkeypatch.setattr(durable, "exchange", lambda new, old: False)  # a file system that cannot
    made(store, "third")
    assert (store.folder(KEY) / "main/text").read_text() == "third"


def test_what_a_step_must_not_leave(store: Store) -> None:
    store.prepare()
    work = store.begin(KEY)
    with pytest.raises(StepError, match="the step wrote nothing"):
        store.commit(KEY, {MAIN: Output("text")}, {}, **ABOUT)
    os.mkdir(work / "out" / MAIN)
    os.mkfifo(work / "out" / MAIN / "pipe")
    with pytest.raises(StepError, match="which is no regular file"):
        store.commit(KEY, {MAIN: Output("text")}, {}, **ABOUT)
    os.unlink(work / "out" / MAIN / "pipe")
    (work / "out" / MAIN / "text").write_bytes(b"x" * ((1 << 20) - 4) + b"canary-canary-canary")
    with pytest.raises(StepError, match="the step wrote the value of MY_KEY into main/text"):
        store.commit(KEY, {MAIN: Output("text")}, {b"canary-canary-canary": "MY_KEY"}, **ABOUT)
    assert store.all_keys() == []


def test_an_artifact_whose_reference_is_gone_is_a_miss(store: Store) -> None:
    made(store)
    other = "cd" + KEY[2:]
    made(store, key=other, refs=[KEY])
    assert store.find(other) is not None
    store.set_aside(KEY)
    assert store.find(other) is None


def test_resolve(store: Store) -> None:
    made(store)
    assert store.resolve(KEY[:10]) == KEY
    with pytest.raises(UsageError):
        store.resolve("ff00ff00ff")


def test_clean_keeps_what_kept_runs_refer_to(root: Path, store: Store) -> None:
    old, new = recipe(root, instance("a", text="old")), recipe(root, instance("a", text="new"), instance("b", {"texts": ["a"]}))
    run(old, store)
    result = run(new, store)
    store.cache("teachers").joinpath("answers").write_text("paid for")
    upstream = str(result.instances["a"].key)
    stray = store.begin("ee" + KEY[2:])
    would = store.clean(1, dry_run=True)
    assert (len(would.runs), len(would.artifacts), would.strays) == (1, 1, [f"work/{stray.name}"])
    assert len(store.all_keys()) == 3
    done = store.clean(1)
    assert done == would
    assert store.all_keys() == sorted(str(record.key) for record in result.instances.values())
    assert store.find(upstream) is not None
    assert (store.cache("teachers") / "answers").exists()
    assert len(run_folders(store.runs / "toy")) == 1
    store.clean(1, cache=True)
    assert not (store.cache("teachers") / "answers").exists()
    assert run(new, store).instances["b"].state == "hit"


def test_clean_spares_what_a_live_run_uses(root: Path, store: Store) -> None:
    cleaned: list[Any] = []

    def during(event: Any) -> None:
        if type(event).__name__ == "Started" and event.instance == "s1":
            cleaned.append(store.clean(0))

    result = run(chain(root, 3), store, listener=during)
    assert result.exit_code == 0
    assert cleaned[0].artifacts == []
    assert store.clean(0).artifacts != []
    assert store.all_keys() == []


def test_clean_keeps_the_journal_of_an_unfinished_step(root: Path, store: Store) -> None:
    result = run(recipe(root, instance("a", wrong="once")), store)
    key = str(result.instances["a"].key)
    store.clean(1)
    assert (store.work(key) / "journal/tried").exists()
    store.clean(0)
    assert not store.work(key).exists()


def test_a_store_that_cannot_be_written(root: Path) -> None:
    (root / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"):
        run(chain(root, 1), Store(root / "file/artifacts"))


def test_a_store_that_can_be_read_alone(root: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = chain(root, 1)
    run(whole, store)

    def read_only(lock: Lock, **how: Any) -> bool:
        raise OSError(30, "Read-only file system", str(lock.path))

    monkeypatch.setattr(Lock, "acquire", read_only)
    assert plan(whole, store).count("cached") == 1
    with pytest.raises(UsageError, match="cannot be written: Read-only file system"):
        run(whole, store)


def test_a_run_whose_store_is_taken_away_says_so(root: Path, store: Store) -> None:
    with pytest.raises(StepError, match="the run's folder could not be written: No such file or directory"):
        run(chain(root, 2), store, listener=lambda event: shutil.rmtree(store.path, ignore_errors=True))


def test_clean_leaves_alone_what_a_live_run_is_about_to_begin(root: Path, store: Store) -> None:
    whole = recipe(root, instance("a", wrong="once"))
    work = store.work(str(run(whole, store).instances["a"].key))
    cleaned: list[Any] = []

    def before(event: Any) -> None:
        if type(event).__name__ == "RunStarted":
            cleaned.append(store.clean(0))
            assert (work / "out").is_dir()
            with pytest.raises(UsageError, match="a run that is alive uses the cache"):
                store.clean(0, cache=True)

    assert run(whole, store, listener=before).exit_code == 0
    assert cleaned[0].strays == []


def test_clean_removes_dead_locks_and_dangling_links_unless_it_only_looks(root: Path, store: Store) -> None:
    assert store.clean(0) == Cleaned([], [], [], 0)
    assert not store.path.exists()
    run(chain(root, 1), store)
    (store.locks / KEY).touch()
    store.clean(0, dry_run=True)
    assert (store.locks / KEY).exists()
    store.clean(0)
    assert [path.name for path in store.locks.iterdir()] == ["gate"]
    assert list((store.runs / "toy").iterdir()) == []
    assert run(chain(root, 1), store).exit_code == 0
