"""What an artifact says of itself: ``manifest.json``, written last. No manifest, no artifact."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from runner.contract import MAIN, Output
from runner.engine.canonical import canonical, digest
from runner.errors import ArtifactDamaged, StepError

MANIFEST = "manifest.json"
PROVENANCE = "provenance"
_BLOCK = 1 << 20


class Stored(msgspec.Struct, frozen=True):
    """An output of an artifact; ``digest`` covers the names and bytes of its files."""

    type: str
    form: str
    digest: str


class File(msgspec.Struct, frozen=True, array_like=True):
    """A file's size in bytes and the SHA-256 of its bytes."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A committed step. ``parts`` are what the key was hashed from, ``params`` all parameters in words (defaults too).

    ``refs`` are the keys of the artifacts that were read: they are kept as long as this one is, for a payload may name them.
    ``facts``, ``warnings`` and ``made`` (when, how long, with which versions) tell of the execution and are in no key.
    """

    format: int = 1
    key: str
    kind: str
    step: str
    axes: dict[str, str]
    parts: dict[str, Any]
    params: dict[str, Any]
    outputs: dict[str, Stored]
    files: dict[str, File]
    refs: list[str]
    facts: dict[str, Any]
    warnings: list[str]
    made: dict[str, Any]
    checksum: str = ""

    def encode(self) -> bytes:
        """The file's bytes, sealed: a changed or cut-off manifest is told from a good one."""
        data = msgspec.to_builtins(msgspec.structs.replace(self, checksum=""))
        data["checksum"] = digest(data)
        return msgspec.json.format(canonical(data), indent=1) + b"\n"


def read(folder: Path, key: str) -> Manifest | None:
    """The manifest of an artifact's folder, None when there is no artifact. ArtifactDamaged when it is not as it was written."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if folder.exists():
            raise ArtifactDamaged("its manifest is missing", where=key) from None
        return None
    except OSError as error:
        raise ArtifactDamaged(f"its manifest cannot be read: {error.strerror}", where=key) from None
    try:
        plain = msgspec.json.decode(data)
        seal = plain.pop("checksum")
        if digest(plain | {"checksum": ""}) != seal or plain["key"] != key:
            raise ArtifactDamaged("its manifest was changed", where=key)
        return msgspec.convert(plain, Manifest)
    except (msgspec.MsgspecError, ValueError, KeyError, AttributeError, TypeError):
        raise ArtifactDamaged("its manifest is cut off or no manifest", where=key) from None


def compare_sizes(folder: Path, manifest: Manifest) -> None:
    """ArtifactDamaged when a file is missing, foreign or of another size. Reads no payload."""
    found = {name: status for name, status in walk(folder) if name != MANIFEST}
    for name, file in manifest.files.items():
        if name not in found:
            raise ArtifactDamaged(f"its file {name} is missing", where=manifest.key)
        if not stat.S_ISREG(found[name].st_mode):
            raise ArtifactDamaged(f"{name} is no regular file any more", where=manifest.key)
        if found[name].st_size != file.size:
            raise ArtifactDamaged(f"its file {name} has {found[name].st_size} bytes instead of {file.size}", where=manifest.key)
    if foreign := sorted(found.keys() - manifest.files.keys()):
        raise ArtifactDamaged(f"the file {foreign[0]} was added to it", where=manifest.key)


def compare_hashes(folder: Path, manifest: Manifest) -> None:
    """ArtifactDamaged when any byte of any file is not as it was written. Reads everything."""
    compare_sizes(folder, manifest)
    for name, file in manifest.files.items():
        try:
            sha256, _ = _hash(folder / name, {})
        except OSError as error:
            raise ArtifactDamaged(f"its file {name} cannot be read: {error.strerror}", where=manifest.key) from None
        if sha256 != file.sha256:
            raise ArtifactDamaged(f"the bytes of its file {name} were changed", where=manifest.key)


def measure(out: Path, outputs: Mapping[str, Output], secrets: Mapping[bytes, str]) -> tuple[dict[str, File], dict[str, Stored]]:
    """Hash what a step has left under ``out`` and check its shape; ``secrets`` maps values to the variables they came from.

    StepError for a missing or empty output, a file that belongs to no output, a link (soft or hard) or device, or a file that
    holds a secret.
    """
    if out.is_symlink() or not out.is_dir():
        raise StepError("the step removed the folder that it was to write into, or put something else there")
    files: dict[str, File] = {}
    for name, status in walk(out):
        if not name.isprintable():
            raise StepError(f"the step wrote a file with an unprintable name: {name!r}")
        if not stat.S_ISREG(status.st_mode):
            raise StepError(f"the step wrote {name}, which is no regular file")
        top = name.split("/")[0]
        if (top not in outputs and top != PROVENANCE) or "/" not in name:
            raise StepError(f"the step wrote {name}, which belongs to none of its outputs: {', '.join(outputs)}")
        if status.st_nlink > 1:  # its bytes could be changed by the other name
            raise StepError(f"the step wrote {name}, which is a hard link to another file", remedy="write a copy instead")
        sha256, leaked = _hash(out / name, secrets)
        if leaked:
            raise StepError(f"the step wrote the value of {leaked} into {name}", remedy="nothing was kept; a secret never goes to a file")
        files[name] = File(status.st_size, sha256)
    stored = {}
    for name, output in outputs.items():
        own = {file: found.sha256 for file, found in sorted(files.items()) if file.startswith(f"{name}/")}
        if not own:
            raise StepError("the step wrote nothing" if name == MAIN else f"the step wrote nothing to its output {name}")
        stored[name] = Stored(output.type, output.form, digest({file[len(name) + 1 :]: sha256 for file, sha256 in own.items()}))
    return files, stored


def walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Every entry below a folder that is no folder: its name with slashes, and its status; links are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from walk(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry.stat(follow_symlinks=False)


def folders(folder: Path) -> Sequence[Path]:
    """A folder and all below it, the deepest first."""
    return [Path(place) for place, _, _ in os.walk(folder, topdown=False)]


def _hash(path: Path, secrets: Mapping[bytes, str]) -> tuple[str, str]:
    """SHA-256 of a file, and the variable whose value it holds, if any."""
    state, leaked, tail = hashlib.sha256(), "", b""
    keep = max(map(len, secrets), default=1) - 1
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            state.update(block)
            if secrets:
                window = tail + block
                leaked = leaked or next((name for value, name in secrets.items() if value in window), "")
                tail = window[-keep:] if keep else b""
    return state.hexdigest(), leaked
