"""Files that are whole or not there: write aside, flush to the disk, rename. All of the store's writing goes through here."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
from pathlib import Path

_counter = itertools.count()


def write(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Write a file that readers see whole: the old one or the new one. ``sync=False`` survives a kill, not a power cut."""
    aside = path.with_name(f".{path.name}.{os.getpid()}-{next(_counter)}")
    try:
        with open(aside, "xb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    if sync:
        sync_folder(path.parent)


def link(target: str, path: Path) -> None:
    """Point the symbolic link ``path`` at ``target``, in one step if it exists already."""
    aside = path.with_name(f".{path.name[:100]}.{os.getpid()}-{next(_counter)}")
    os.symlink(target, aside)
    os.replace(aside, path)


def sync_file(path: Path) -> None:
    """Flush a file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(new: Path, old: Path) -> bool:
    """Swap two paths in one step, so that there is no moment without one of them. False where the system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    at_cwd, swap = -100, 2
    if libc.renameat2(at_cwd, os.fsencode(new), at_cwd, os.fsencode(old), swap) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(new), None, str(old))
