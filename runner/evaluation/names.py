"""The metrics by name, without importing what computes them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

#: What a recipe may write; ``rouge`` stands for the three of them.
MetricName = Literal["rouge", "rouge_1", "rouge_2", "rouge_l", "bleu", "exact_match", "token_f1", "held_out_loss"]

GROUPS: dict[str, tuple[str, ...]] = {"rouge": ("rouge_1", "rouge_2", "rouge_l")}


def expand(names: Iterable[str]) -> list[str]:
    """Single metrics, each once, in the order asked for."""
    return list(dict.fromkeys(single for name in names for single in GROUPS.get(name, (name,))))
