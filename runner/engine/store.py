"""The store: the only code that knows ``artifacts/``.

``objects/<2>/<key>/`` committed artifacts, ``work/<key>/`` attempts (``out/`` and the ``journal/`` that outlives a killed one),
``locks/`` one per key and the leases of live runs, ``cache/`` shared by all runs, ``runs/`` a folder per run, ``quarantine/``
what was found damaged.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from runner.contract import Artifact, Output
from runner.engine import durable
from runner.engine import manifest as manifests
from runner.engine.locks import Gate, Lease, Lock, leased
from runner.engine.manifest import MANIFEST, File, Manifest
from runner.errors import ArtifactDamaged, RunnerError, StepError, UsageError

#: What the system says when a disk cannot take what is written to it.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG})


class Damage(msgspec.Struct, frozen=True):
    """An artifact that is not as it was written."""

    key: str
    step: str
    found: str


class Store:
    """A folder of artifacts. Making the object writes nothing."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(os.path.abspath(path))
        self.locks = self.path / "locks"
        self.runs = self.path / "runs"

    # Reading

    def folder(self, key: str) -> Path:
        return self.path / "objects" / key[:2] / key

    def all_keys(self) -> list[str]:
        """Every key that has a folder among the objects."""
        return sorted(path.name for path in (self.path / "objects").glob("*/*"))

    def find(self, key: str) -> Manifest | None:
        """The artifact of a key: its manifest and the sizes of its files hold, and all that it refers to is there.

        None when it is not there. ArtifactDamaged when it is not as it was written.
        """
        manifest = manifests.read(self.folder(key), key)
        if manifest is not None:
            manifests.compare_sizes(self.folder(key), manifest)
            if any(not (self.folder(ref) / MANIFEST).is_file() for ref in manifest.refs):
                return None
        return manifest

    def check(self, key: str) -> Manifest:
        """The artifact of a key, every byte of it hashed. ArtifactDamaged when it is not there or not as it was written."""
        manifest = manifests.read(self.folder(key), key)
        if manifest is None:
            raise ArtifactDamaged("it is not in the store", where=key)
        manifests.compare_hashes(self.folder(key), manifest)
        return manifest

    def artifact(self, manifest: Manifest, output: str, step: str = "", axes: Mapping[str, str] | None = None) -> Artifact:
        """An output of an artifact as a step sees it; ``step`` and ``axes`` are those of the reading recipe."""
        stored = manifest.outputs[output]
        return Artifact(
            ref=f"{manifest.key}/{output}",
            type=stored.type,
            form=stored.form,
            path=self.folder(manifest.key) / output,
            digest=stored.digest,
            step=step or manifest.step,
            axes=dict(manifest.axes if axes is None else axes),
        )

    def verify(self, keys: Iterable[str] | None = None) -> Iterator[tuple[str, Damage | None]]:
        """Hash artifacts (all of them by default) one by one, with what is wrong with each. Changes nothing."""
        for key in self.all_keys() if keys is None else keys:
            try:
                self.check(key)
                yield key, None
            except ArtifactDamaged as error:
                yield key, Damage(key, self._step(key), error.message)

    def resolve(self, name: str) -> str:
        """The key that starts with ``name`` (8 digits at least). UsageError when there is none, or more than one."""
        found = [key for key in self.all_keys() if key.startswith(name)] if len(name) >= 8 else []
        if len(found) != 1:
            raise UsageError(f"{len(found) or 'no'} artifacts have a key that starts with {name}", remedy="give more of the key")
        return found[0]

    # Writing

    def prepare(self) -> None:
        """Make the store's folders. UsageError when the place cannot be written to."""
        with self._writing():
            for name in ("objects", "work", "locks", "cache", "runs"):
                (self.path / name).mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove what a run killed just after a commit, or a killed ``clean``, has left of finished work, and dead leases."""
        leased(self.locks)
        for work in (self.path / "work").iterdir():
            lock = self.lock(work.name)
            is_over = work.name.startswith("trash-") or (self.folder(work.name) / MANIFEST).is_file()
            if is_over and lock.acquire():
                remove(work)
                lock.release()

    def lock(self, key: str) -> Lock:
        return Lock(self.locks / key)

    def lease(self) -> Lease:
        """Protect what a run uses from `clean`. UsageError when the place cannot be written to."""
        with self._writing():
            return Lease(self.locks)

    def cache(self, name: str) -> Path:
        path = self.path / "cache" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def work(self, key: str) -> Path:
        return self.path / "work" / key

    def begin(self, key: str) -> Path:
        """A fresh ``out/`` beside the journal of earlier attempts at this key. Hold the key's lock."""
        work = self.work(key)
        for name in ("out", "scratch"):
            shutil.rmtree(work / name, ignore_errors=True)
            (work / name).mkdir(parents=True)
        (work / "journal").mkdir(exist_ok=True)
        return work

    def commit(self, key: str, outputs: Mapping[str, Output], secrets: Mapping[bytes, str], **about: Any) -> Manifest:
        """Make what lies in ``work/<key>/out`` the artifact of this key, whole or not at all. Hold the key's lock.

        ``about`` is the rest of the manifest. StepError when the files are not what the step declares or the disk is full;
        an artifact that has stood there until now is replaced in one step, or stays.
        """
        work, target = self.work(key), self.folder(key)
        out = work / "out"
        try:
            files, stored = manifests.measure(out, outputs, secrets)
            manifest = Manifest(key=key, files=files, outputs=stored, **about)
            self._seal(out, files, manifest)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._place(out, target)
            durable.sync_folder(target.parent)
            durable.sync_folder(target.parent.parent)
        except OSError as error:
            raise disk_error(error, "the result could not be stored") from error
        shutil.rmtree(work, ignore_errors=True)
        return manifest

    def _seal(self, out: Path, files: Mapping[str, File], manifest: Manifest) -> None:
        for name in files:
            durable.sync_file(out / name)
        for folder in manifests.folders(out):
            durable.sync_folder(folder)
        durable.write(out / MANIFEST, manifest.encode())

    def _place(self, out: Path, target: Path) -> None:
        if not target.exists():
            os.replace(out, target)
        elif not durable.exchange(out, target):
            self._move_aside(target)
            os.replace(out, target)

    def set_aside(self, key: str) -> None:
        """Move a damaged artifact to the quarantine. Hold the key's lock."""
        with suppress(FileNotFoundError):
            self._move_aside(self.folder(key))

    def _move_aside(self, folder: Path) -> None:
        quarantine = self.path / "quarantine"
        quarantine.mkdir(exist_ok=True)
        free = next(n for n in range(1, 1_000_000) if not (quarantine / f"{folder.name}-{n}").exists())
        os.replace(folder, quarantine / f"{folder.name}-{free}")

    # Cleaning

    def clean(self, keep_last: int = 1, *, cache: bool = False, dry_run: bool = False) -> Cleaned:
        """Remove runs but for the ``keep_last`` newest of each recipe, artifacts that no kept or live run needs, and strays.

        What a kept run's artifacts refer to is kept with them, and so are the journals of steps that a kept run did not
        finish. The store-wide cache (teachers' answers are paid for) stays unless ``cache`` is true. UsageError when that is
        asked for while a run is alive.
        """
        from runner.engine.collect import collect

        if not self.path.is_dir():
            return Cleaned([], [], [], 0)
        with self._writing(), Gate(self.locks / "gate", shared=False):
            return collect(self, keep_last, leased(self.locks), cache=cache, dry_run=dry_run)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(f"the store {self.path} cannot be written: {error.strerror}", remedy="choose another place") from error

    def _step(self, key: str) -> str:
        try:
            manifest = manifests.read(self.folder(key), key)
        except ArtifactDamaged:
            return ""
        return "" if manifest is None else manifest.step


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that it holds; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


class Cleaned(msgspec.Struct, frozen=True):
    """What ``clean`` has removed, or would remove."""

    runs: list[str]
    artifacts: list[str]
    strays: list[str]
    bytes: int


def disk_error(error: OSError, what: str) -> RunnerError:
    """An I/O error in words. ``what`` says what was being done."""
    place = f" ({error.filename})" if error.filename else ""
    remedy = "free some space and run again; finished steps are kept" if error.errno in FULL else ""
    return StepError(f"{what}: {error.strerror or error}{place}", remedy=remedy)
