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
from runner.errors import ArtifactDamaged


def collect(store: Store, keep_last: int, leases: set[str], *, cache: bool, dry_run: bool) -> Cleaned:
    """Decide and remove. The caller holds the store's gate, so that no run can begin to use what is being removed."""
    kept: list[Path] = []
    dropped: list[Path] = []
    for recipe in sorted(store.runs.iterdir()) if store.runs.is_dir() else ():
        newest = run_folders(recipe)
        kept += [run for n, run in enumerate(newest) if n < keep_last or _recorded(run)[1]]
        dropped += [run for n, run in enumerate(newest) if n >= keep_last and not _recorded(run)[1]]
    wanted = set(leases).union(*(_recorded(run)[0] for run in kept))
    needed = _closure(store, wanted)
    present = store.all_keys()
    victims = [store.folder(key) for key in present if key not in needed]
    strays = _strays(store, wanted, needed, cache)
    size = 0
    for path in (*victims, *strays, *dropped):
        size += _size(path)
        if not dry_run:
            _remove(store, path)
    names = [str(path.relative_to(store.path)) for path in strays]
    return Cleaned([str(run.relative_to(store.runs)) for run in dropped], [path.name for path in victims], names, size)


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


def _strays(store: Store, wanted: set[str], needed: set[str], cache: bool) -> list[Path]:
    """Work of killed attempts that no kept run would take up again, the quarantine, and lock files that nobody holds."""
    found: list[Path] = []
    for work in _entries(store.path / "work"):
        resumable = work.name in wanted and not store.folder(work.name).exists()
        if not _held(store.lock(work.name)):
            found += [work / "out", work / "scratch"] if resumable else [work]
    found += _entries(store.path / "quarantine")
    found += [
        lock for lock in _entries(store.locks) if lock.name != "gate" and not lock.name.startswith("lease-") and not _held(Lock(lock))
    ]
    if cache:
        found += _entries(store.path / "cache")
    return [path for path in found if path.exists()]


def _held(lock: Lock) -> bool:
    if not lock.path.exists():
        return False
    if lock.acquire():
        lock.release()
        return False
    return True


def _recorded(run: Path) -> tuple[set[str], bool]:
    """The keys that a run's record names, and whether the run is alive (its folder is locked by its process)."""
    try:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        keys = {instance["key"] for instance in record["instances"] if instance.get("key")}
    except (OSError, ValueError, KeyError, TypeError):
        keys = set()
    return keys, _held(Lock(run / ".lock"))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size(path: Path) -> int:
    return path.lstat().st_size if not path.is_dir() else sum(status.st_size for _, status in manifests.walk(path))


def _remove(store: Store, path: Path) -> None:
    """Out of sight in one step, then bit by bit: a killed ``clean`` leaves no half artifact."""
    trash = store.path / "work" / f"trash-{os.getpid()}-{path.name[:100]}"
    os.replace(path, trash)
    remove(trash)
