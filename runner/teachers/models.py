"""Model names: whether the model that answered is the one that was asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping


def other_versions(asked: str, reported: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Reported models that are not ``asked``, with their counts. A numbered version of it (``-001``, ``-09-2026``) is the same model."""
    same = re.compile(re.escape(asked.removeprefix("models/")) + r"(-[0-9][0-9-]*)?$")
    for model, count in sorted(reported.items()):
        if model and not same.match(model.removeprefix("models/")):
            yield model, count
