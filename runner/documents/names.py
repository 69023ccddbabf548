"""Names of documents: stable when the corpus moves, unique within it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

_MAGIC = re.compile(r"[*?\[]")


def document_ids(files: Sequence[Path], patterns: Sequence[str], root: Path) -> Mapping[Path, str]:
    """Ids of files: the path below the corpus, with its extension (``notes/attention.md``).

    The corpus is the fixed part of the pattern that found the file, that is, what comes before its first wildcard; of several
    the outermost. ``patterns`` are relative to ``root``. Files of different corpora that would share an id are called by as
    much of their path as tells them apart.
    """
    bases = sorted({_base(root / pattern) for pattern in patterns}, key=lambda base: (len(base.parts), base))
    ids: dict[Path, str] = {}
    for file in files:
        path = Path(os.path.abspath(file))
        base = next((base for base in bases if base in path.parents), path.parent)
        ids[file] = path.relative_to(base).as_posix()
    while True:
        clashing = {name for name, count in Counter(ids.values()).items() if count > 1}
        if not clashing:
            return ids
        for file, name in ids.items():
            if name in clashing:
                ids[file] = Path(*Path(os.path.abspath(file)).parts[-len(Path(name).parts) - 1 :]).as_posix().lstrip("/")


def _base(pattern: Path) -> Path:
    path = Path(os.path.abspath(pattern))
    parts = path.parts
    first = next((number for number, part in enumerate(parts) if _MAGIC.search(part)), None)
    if first is not None and not os.path.lexists(path):
        return Path(*parts[:first])
    return path if path.is_dir() else path.parent
