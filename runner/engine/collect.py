"""What ``clean`` removes: runs, artifacts that nothing needs, and what killed attempts have left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from runner.engine import manifest as manifests
from runner.engine.history import run_folders
from runner.engine.locks import Lock
from runner.engine.store import Cleaned, Store, remove
from runner.errors import ArtifactDamaged, UsageError


def collect(store: Store, keep_last: int, leases: set[str], *, cache: bool, dry_run: bool) -> Cleaned:
    """Decide and remove. The caller holds the store's gate, so that no run can begin to use what is being removed."""
    if cache and leases:
        raise UsageError("a run that is alive uses the cache", remedy="wait until it has ended")
    kept: list[Path] = []
    dropped: list[Path] = []
    for recipe in _entries(store.runs):
        for n, run in enumerate(run_folders(recipe)):
            (kept if n < keep_last or _held(Lock(run / ".lock")) else dropped).append(run)
    wanted = leases.union(*map(_recorded, kept))
    needed = _closure(store, wanted)
    victims = [store.folder(key) for key in store.all_keys() if key not in needed]
    strays = _strays(store, leases, wanted, cache)
    removed = [*victims, *strays, *dropped]
    size = sum(map(_size, removed))
    if not dry_run:
        for path in removed:
            _remove(store, path)
        _tidy(store, leases)
    return Cleaned(
        [str(run.relative_to(store.runs)) for run in dropped],
        [path.name for path in victims],
        [str(path.relative_to(store.path)) for path in strays],
        size,
    )


def _closure(store: Store, keys: Iterable[str]) -> set[str]:
    """The keys, and all that their artifacts refer to, directly or not."""
    needed: set[str] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        if key not in needed:
            needed.add(key)
            try:
                manifest = manifests.read(store.folder(key), key)
            except ArtifactDamaged:
                manifest = None
            waiting += manifest.refs if manifest else []
    return needed


def _strays(store: Store, leases: set[str], wanted: set[str], cache: bool) -> list[Path]:
    """Work of killed attempts that no kept run would take up again, the quarantine, and the cache if asked for.

    What a live run has leased is left alone: it may begin the step before the removing is done.
    """
    found: list[Path] = []
    for work in _entries(store.path / "work"):
        if work.name not in leases and not _held(store.lock(work.name)):
            resumable = work.name in wanted and not store.folder(work.name).exists()
            found += [work / "out", work / "scratch"] if resumable else [work]
    found += _entries(store.path / "quarantine")
    if cache:
        found += _entries(store.path / "cache")
    return [path for path in found if path.exists()]


def _tidy(store: Store, leases: set[str]) -> None:
    """Remove the lock files of the dead, and links to a newest run that is gone."""
    for lock in _entries(store.locks):
        if lock.name != "gate" and not lock.name.startswith("lease-") and lock.name not in leases:
            _held(Lock(lock))
    for recipe in _entries(store.runs):
        newest = recipe / "latest"
        if newest.is_symlink() and not newest.exists():
            newest.unlink()


def _held(lock: Lock) -> bool:
    """Whether a living process holds a lock; the file of one that nobody holds is gone afterwards."""
    if not lock.path.exists():
        return False
    if lock.acquire():
        lock.release()
        return False
    return True


def _recorded(run: Path) -> set[str]:
    """The keys that a run's record names."""
    try:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        return {instance["key"] for instance in record["instances"] if instance.get("key")}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    return path.lstat().st_size if not path.is_dir() else sum(status.st_size for _, status in manifests.walk(path))


def _remove(store: Store, path: Path) -> None:
    """Out of sight in one step, then bit by bit: a killed ``clean`` leaves no half artifact."""
    trash = store.path / "work" / f"trash-{os.getpid()}-{os.urandom(4).hex()}"
    os.replace(path, trash)
    remove(trash)
