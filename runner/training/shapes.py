"""Shapes of decoders, from what is known before anything is fetched: names on a hub, configurations, settings."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.training.architectures import LINEAR_MODULES, family_of


@dataclass(frozen=True)
class Shape:
    """A decoder of a family in ``LINEAR_MODULES``, in the words of Transformers' configurations; ``head_dim`` 0 is their default."""

    model_type: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    tie_word_embeddings: bool
    head_dim: int = 0

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * (self.head_dim or self.hidden_size // self.num_attention_heads)

    @property
    def keys(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.num_key_value_heads * (self.head_dim or self.hidden_size // self.num_attention_heads)

    def linear(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each linear layer in a block."""
        h, i, q, k = self.hidden_size, self.intermediate_size, self.queries, self.keys
        sizes = {"q_proj": (h, q), "k_proj": (h, k), "v_proj": (h, k), "o_proj": (q, h), "gate_proj": (h, i), "up_proj": (h, i)}
        return {**sizes, "down_proj": (i, h)}

    @property
    def linear_parameters(self) -> int:
        """Weights of the blocks' linear layers: what a quantised base holds in 4 bits."""
        return self.num_hidden_layers * sum(inputs * outputs for inputs, outputs in self.linear().values())

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding, and of the head where that is not the same."""
        return self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)

    @property
    def parameters(self) -> int:
        biases = self.queries + 2 * self.keys if self.model_type == "qwen2" else 0
        return (
            self.linear_parameters + self.embedding_parameters + self.num_hidden_layers * (2 * self.hidden_size + biases) + self.hidden_size
        )


def _qwen(hidden: int, wide: int, layers: int, heads: int, groups: int, *, tied: bool) -> Shape:
    return Shape("qwen2", hidden, wide, layers, heads, groups, 151_936 if tied else 152_064, tied)


def _llama(hidden: int, wide: int, layers: int, heads: int, *, tied: bool) -> Shape:
    return Shape("llama", hidden, wide, layers, heads, 8, 128_256, tied)


#: Models by the beginning of their names, as their makers' configurations give them (Qwen2.5 Technical Report, 2024, table 1; The
#: Llama 3 Herd of Models, 2024, table 3). A name may go on in words: Qwen2.5-3B-Instruct.
PUBLISHED: dict[str, Shape] = {
    "Qwen2.5-0.5B": _qwen(896, 4864, 24, 14, 2, tied=True),
    "Qwen2.5-1.5B": _qwen(1536, 8960, 28, 12, 2, tied=True),
    "Qwen2.5-3B": _qwen(2048, 11008, 36, 16, 2, tied=True),
    "Qwen2.5-7B": _qwen(3584, 18944, 28, 28, 4, tied=False),
    "Qwen2.5-14B": _qwen(5120, 13824, 48, 40, 8, tied=False),
    "Qwen2.5-32B": _qwen(5120, 27648, 64, 40, 8, tied=False),
    "Llama-3.2-1B": _llama(2048, 8192, 16, 32, tied=True),
    "Llama-3.2-3B": _llama(3072, 8192, 28, 24, tied=True),
    "Llama-3.1-8B": _llama(4096, 14336, 32, 32, tied=False),
}

#: Words in a name after which a model has other weights than its family's.
_PACKED = re.compile(r"awq|gptq|gguf|bnb|int[48]|[48]bit|fp8|1m", re.I)


def of_hub(model: str, revision: str | None = None) -> Shape | None:
    """The shape of a model on the hub: of a published one by its name, of another by its configuration in the hub's cache."""
    name = model.rsplit("/", 1)[-1].removeprefix("Meta-")
    for begin, shape in PUBLISHED.items():
        rest = name[len(begin) :]
        if name.startswith(begin) and (not rest or rest.startswith("-")) and not _PACKED.search(rest):
            return shape
    if family_of(model) is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "config.json", revision=revision)
    return of_folder(Path(found).parent) if isinstance(found, str) else None


def of_folder(folder: Path) -> Shape | None:
    """The shape of a model in a local folder, by its ``config.json``; None where there is none that is known here."""
    try:
        return of_config(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def of_config(config: Any) -> Shape | None:
    """The shape that a configuration tells, or None for one that is not sound, or of an architecture that is not known here."""
    if not isinstance(config, dict) or config.get("model_type") not in LINEAR_MODULES or "quantization_config" in config:
        return None
    heads = config.get("num_attention_heads")
    values = {
        **{"num_key_value_heads": heads, "tie_word_embeddings": False},
        **{name: config[name] for name in Shape.__dataclass_fields__ if config.get(name) is not None},
    }
    sizes = [value for name, value in values.items() if name not in ("model_type", "tie_word_embeddings")]
    if not values.keys() >= Shape.__dataclass_fields__.keys() - {"head_dim"} or not all(type(size) is int and size > 0 for size in sizes):
        return None
    return Shape(**values)
