"""Input files of a step: patterns to files, files to hashes. Nothing here trusts modification times."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import InputError

_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Source:
    """An input file: its absolute path, its name relative to the project's root, and the SHA-256 of its bytes."""

    path: Path
    name: str
    sha256: str


class Sources:
    """Finds and hashes the input files of one project. Each file is read once per instance of this class.

    ``outside`` lists the path values that came from the command line: what lies at or below them may leave the root.
    """

    def __init__(self, root: Path, outside: Sequence[str] = ()) -> None:
        self.root = Path(os.path.abspath(root))
        self.outside = tuple(outside)
        self._hashes: dict[Path, str] = {}

    def find(self, patterns: Mapping[str, Sequence[str]]) -> dict[str, list[Source]]:
        """The files of every field, sorted by name. InputError naming the path or pattern that cannot be used."""
        return {field: self._field(field, values) for field, values in patterns.items()}

    def _field(self, field: str, values: Sequence[str]) -> list[Source]:
        found: dict[Path, None] = {}
        for value in values:
            matches = self._expand(field, value)
            if not matches:
                if _MAGIC.search(value):
                    raise InputError(f"`{value}` matches no file", where=field, remedy=f"the pattern is relative to {self.root}")
                if os.path.isdir(self.root / value):
                    raise InputError(f"the folder `{value}` holds no file", where=field, remedy="hidden ones do not count")
                raise InputError(f"there is no file `{value}`", where=field, remedy=f"the path is relative to {self.root}")
            found.update(dict.fromkeys(matches))
        named = sorted((os.path.relpath(path, self.root).replace(os.sep, "/"), path) for path in found)
        for name, _ in named:
            if (readable := name.encode("utf-8", "backslashreplace").decode()) != name:
                raise InputError(f"the name of `{readable}` is no UTF-8", where=field, remedy="rename it")
        return [Source(path, name, self._hash(field, path)) for name, path in named]

    def _expand(self, field: str, value: str) -> list[Path]:
        if "\0" in value:
            raise InputError(f"the path {value!r} holds a NUL character", where=field)
        free = any(value == base or value.startswith(base.rstrip("/") + "/") for base in self.outside)
        start = Path(os.path.abspath(self.root / value.split("*")[0].split("?")[0].split("[")[0]))
        if not free and not _below(start, self.root):
            raise InputError(f"`{value}` leads out of the project", where=field, remedy=_inside(self.root))
        walk = _Walk(field, self.root.resolve() if not free else None)
        path = self.root / value
        try:
            if not _MAGIC.search(value) or os.path.lexists(path):
                return list(walk.below(path)) if os.path.lexists(path) else []
            parts = Path(os.path.normpath(path)).parts
            first = next(n for n, part in enumerate(parts) if _MAGIC.search(part))
            return list(walk.glob(Path(*parts[:first]), parts[first:]))
        except OSError as error:
            raise InputError(f"`{value}` cannot be read: {error.strerror}", where=field) from error

    def _hash(self, field: str, path: Path) -> str:
        if path not in self._hashes:
            try:
                self._hashes[path] = hash_file(path)
            except OSError as error:
                raise InputError(f"`{path}` cannot be read: {error.strerror}", where=field) from error
        return self._hashes[path]


class _Walk:
    """Walks folders by name, follows links to folders once, and refuses what is no file or lies outside ``limit``."""

    def __init__(self, field: str, limit: Path | None) -> None:
        self.field, self.limit = field, limit

    def below(self, path: Path, trail: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
        """The file itself, or every file below a folder but for hidden ones."""
        status = self._check(path)
        if not stat.S_ISDIR(status.st_mode):
            yield Path(os.path.normpath(path))
            return
        trail = self._enter(path, status, trail)
        for name in sorted(os.listdir(path)):
            if not name.startswith("."):
                yield from self.below(path / name, trail)

    def glob(self, folder: Path, parts: Sequence[str], trail: tuple[tuple[int, int], ...] = ()) -> Iterator[Path]:
        """The files below ``folder`` that match a pattern given by its parts; ``**`` stands for any number of folders."""
        if not folder.is_dir():
            return
        trail = self._enter(folder, self._check(folder), trail)
        part, rest = parts[0], parts[1:]
        if part == "**":
            yield from self.glob(folder, rest, trail[:-1]) if rest else ()
        for name in sorted(os.listdir(folder)):
            path = folder / name
            if name.startswith(".") and not part.startswith("."):
                continue
            if part == "**":
                if path.is_dir():
                    yield from self.glob(path, parts, trail)
                elif not rest:
                    yield from self.below(path)
            elif fnmatch.fnmatchcase(name, part):
                if rest:
                    yield from self.glob(path, rest, trail)
                elif not path.is_dir():
                    yield from self.below(path)

    def _check(self, path: Path) -> os.stat_result:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"`{path}` cannot be read: {error.strerror}", where=self.field) from error
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise InputError(f"`{path}` is neither a file nor a folder", where=self.field)
        if self.limit is not None and not _below(path.resolve(), self.limit):
            raise InputError(f"`{path}` is a link that leads out of the project", where=self.field, remedy=_inside(self.limit))
        return status

    def _enter(self, path: Path, status: os.stat_result, trail: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        here = (status.st_dev, status.st_ino)
        if here in trail:
            raise InputError(f"`{path}` is a link to a folder that it lies in", where=self.field)
        return (*trail, here)


def hash_file(path: Path) -> str:
    """SHA-256 of a regular file's bytes, in hex. OSError for what is no regular file; never waits for a pipe's writer."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no regular file", str(path))
        return hashlib.file_digest(file, "sha256").hexdigest()


def _below(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents


def _inside(root: Path) -> str:
    return f"paths of a recipe stay inside {root}; another place is named on the command line"
