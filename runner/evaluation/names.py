"""The metrics by name, without importing what computes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

#: What a recipe may write; some stand for several.
MetricName = Literal[
    "rouge", "rouge_1", "rouge_2", "rouge_l", "bleu", "chrf", "exact_match", "token_f1", "accuracy", "key_term_recall",
    "embedding_similarity", "held_out_loss", "perplexity", "hit_at_k", "mrr", "groundedness", "abstention", "judge", "win_rate",
]  # fmt: skip

GROUPS: dict[str, tuple[str, ...]] = {
    "rouge": ("rouge_1", "rouge_2", "rouge_l"),
    "accuracy": ("accuracy", "unparsable"),
    "abstention": ("abstention", "false_abstention"),
    "win_rate": ("win_rate", "length_adjusted_win_rate"),
}


def expand(names: Iterable[str], hit_at: Sequence[int] = ()) -> list[str]:
    """Single metrics, each once, in the order asked for; ``hit_at`` holds the k of ``hit_at_k``."""
    groups = {**GROUPS, "hit_at_k": tuple(f"hit_at_{k}" for k in hit_at)}
    return list(dict.fromkeys(single for name in names for single in groups.get(name, (name,))))
