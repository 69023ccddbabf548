"""Many journals of dead processes into one, beside readers and writers that live, and whenever a kill may come.

The merged journal is written aside, flushed and renamed before the first of the old ones goes; so what was recorded stands in one
file or in two at any moment, and never in none. Lines are told apart by their calls, so that one that stands twice counts once.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

#: Journals of this size, in bytes, are left as they are: copying them again and again would cost more than it gains.
LARGE = 16 << 20
#: Journals that are merged at a time: each is an open file, of which a process may have 1,024 on most systems. The next opening goes on.
AT_ONCE = 200


class Head(msgspec.Struct):
    """What every line of a journal says; the rest of it is read only where it is wanted."""

    event: str
    call: str
    key: str


_decode = msgspec.json.Decoder(Head).decode


def head_of(line: bytes) -> Head:
    """Error: ValueError for a damaged line."""
    try:
        return _decode(line)
    except msgspec.MsgspecError:  # it does not know lone surrogates, which a reply may hold
        found = json.loads(line)
    try:
        return msgspec.convert({name: found[name] for name in Head.__struct_fields__}, Head)
    except (msgspec.MsgspecError, LookupError, TypeError) as error:
        raise ValueError(str(error)) from None


def merge(folder: Path, many: int) -> int:
    """Merge the journals that nobody writes any more once there are more than ``many``; one process at a time.

    Answers that were dropped and calls that failed are left out. So are damaged lines: returns how many those were.
    """
    if not (folder / "names.lock").exists():  # before anybody has something to look at
        (folder / "names.lock").touch()
    if len(names(folder)) <= many:
        return 0
    with ExitStack() as stack:
        turn = stack.enter_context((folder / "merging.lock").open("ab"))
        if not _locked(turn, fcntl.LOCK_EX):
            return 0
        for stray in folder.glob(".merged-*"):  # of a process that was killed here
            stray.unlink()
        dead = []
        for path in (folder / name for name, size in sorted(names(folder).items()) if size < LARGE):
            file = path.open("rb")
            if _locked(file, fcntl.LOCK_SH):
                stack.enter_context(file)
                dead.append((path, file))
            else:
                file.close()
            if len(dead) == AT_ONCE:
                break
        if len(dead) <= many:
            return 0
        return _merge(folder, [path for path, _ in dead], [file for _, file in dead])


def names(folder: Path) -> dict[str, int]:
    """Names and sizes of the journals at one moment: all that were merged, or none of them and the merged one."""
    found = {}
    with suppress(FileNotFoundError), _held(folder, fcntl.LOCK_SH), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".jsonl") and not entry.name.startswith("."):
                found[entry.name] = entry.stat().st_size
    return found


@contextmanager
def _held(folder: Path, how: int) -> Iterator[None]:
    """Holds the lock on the names of the journals, so that nobody looks while they change; it is held for moments only."""
    try:
        descriptor = os.open(folder / "names.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield  # nothing was ever merged here
        return
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _merge(folder: Path, paths: list[Path], files: list[BinaryIO]) -> int:
    ended, forgotten = set[str](), set[str]()
    damaged = 0
    for head, _ in _lines(files):
        if head is None:
            damaged += 1
        elif head.event == "forgotten":
            forgotten.add(head.call)
        elif head.event != "asked":
            ended.add(head.call)
    name = f"merged-{secrets.token_hex(8)}"
    aside = folder / f".{name}"
    written = set[tuple[str, str]]()
    with aside.open("xb") as merged:
        for head, line in _lines(files):
            if head is None or head.event == "failed" or (head.event, head.call) in written:
                continue
            if head.event == "answered" and head.call in forgotten:
                continue
            if head.event == "asked" and (head.call in ended or head.call in forgotten):
                continue
            # "forgotten" is kept even where its answer is gone: the answer's old journal may outlive this one's by a kill
            written.add((head.event, head.call))
            merged.write(line)
        merged.flush()
        os.fsync(merged.fileno())
    with _held(folder, fcntl.LOCK_EX):
        aside.rename(folder / f"{name}.jsonl")
        _sync(folder)
        for path in paths:
            path.unlink()
    return damaged


def _lines(files: list[BinaryIO]) -> Iterator[tuple[Head | None, bytes]]:
    """Every complete line; None for its head where it is damaged."""
    for file in files:
        file.seek(0)
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                yield head_of(line), line
            except ValueError:
                yield None, line


def _locked(file: BinaryIO, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
