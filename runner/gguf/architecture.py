"""What llama.cpp must know of a model besides its tensors: hyper-parameters, tensor names and layouts.

Tensor names come from the gguf package's own maps. llama.cpp's llama graph rotates neighbouring pairs of a head, Transformers
its halves, so the rows of q and k are permuted for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from runner.errors import StepError

_FAMILIES = {"Qwen2ForCausalLM": gguf.MODEL_ARCH.QWEN2, "LlamaForCausalLM": gguf.MODEL_ARCH.LLAMA}
_ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class Architecture:
    """A causal language model of the Qwen2 or Llama family, from its ``config.json``."""

    config: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self._class not in _FAMILIES:
            known = ", ".join(sorted(_FAMILIES))
            raise StepError(f"cannot export the architecture {self._class}", remedy=f"known: {known}")
        if self.config.get("quantization_config"):
            raise StepError("the base's weights are already quantised", remedy="export from unquantised weights")

    @property
    def _class(self) -> str:
        return str((self.config.get("architectures") or ["(none named)"])[0])

    @property
    def name(self) -> str:
        return str(gguf.MODEL_ARCH_NAMES[_FAMILIES[self._class]])

    @property
    def blocks(self) -> int:
        return int(self.config["num_hidden_layers"])

    @property
    def heads(self) -> int:
        return int(self.config["num_attention_heads"])

    @property
    def key_value_heads(self) -> int:
        return int(self.config.get("num_key_value_heads") or self.heads)

    @property
    def head_size(self) -> int:
        return int(self.config.get("head_dim") or self.config["hidden_size"] // self.heads)

    @property
    def rope(self) -> dict[str, Any]:
        """Transformers keeps it in one map since version 5, in two keys before."""
        rope = dict(self.config.get("rope_parameters") or self.config.get("rope_scaling") or {})
        rope.setdefault("rope_theta", self.config.get("rope_theta", 10000.0))
        rope.setdefault("rope_type", rope.get("type", "default"))
        return rope

    def describe(self, writer: gguf.GGUFWriter) -> None:
        """Write the hyper-parameters."""
        config = self.config
        writer.add_context_length(config["max_position_embeddings"])
        writer.add_embedding_length(config["hidden_size"])
        writer.add_block_count(self.blocks)
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_head_count(self.heads)
        writer.add_head_count_kv(self.key_value_heads)
        if self.head_size * self.heads != config["hidden_size"]:
            writer.add_key_length(self.head_size)
            writer.add_value_length(self.head_size)
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_vocab_size(config["vocab_size"])
        writer.add_rope_dimension_count(self.head_size)
        writer.add_rope_freq_base(self.rope["rope_theta"])
        kind = self.rope["rope_type"]
        if kind in ("linear", "yarn"):
            writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
            writer.add_rope_scaling_factor(self.rope["factor"])
        if kind == "yarn":
            writer.add_rope_scaling_orig_ctx_len(self.rope.get("original_max_position_embeddings") or config["max_position_embeddings"])
        if kind not in ("default", "linear", "yarn", "llama3"):
            raise StepError(f"cannot export rotary embeddings of the type {kind}")

    def names(self, sources: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
        """Tensor name in the file -> name in the checkpoint, from the embedding through the blocks to the output."""
        mapping = gguf.get_tensor_name_map(_FAMILIES[self._class], self.blocks)
        found = {}
        for source in sources:
            if source.endswith(".rotary_emb.inv_freq"):
                continue  # computed, not learnt
            name = mapping.get_name(source, try_suffixes=(".weight", ".bias"))
            if name is None:
                raise StepError(f"the tensor {source} has no place in a {self.name} GGUF")
            found[name] = source

        def order(name: str) -> tuple[int, int, str]:
            parts = name.split(".")
            return (1, int(parts[1]), name) if parts[0] == "blk" else (0 if parts[0] == "token_embd" else 2, 0, name)

        return {name: found[name] for name in sorted(found, key=order)}

    def laid_out(self, source: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The tensor in the layout that llama.cpp reads."""
        if self._class == "LlamaForCausalLM" and ".self_attn." in source:
            heads = {"q_proj": self.heads, "k_proj": self.key_value_heads}.get(source.split(".")[-2])
            if heads:
                pairs = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
                return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))
        return np.ascontiguousarray(values)

    def computed(self) -> dict[str, NDArray[np.float32]]:
        """Tensors that the checkpoint does not hold: the divisors of Llama 3's stretched rotary frequencies."""
        rope = self.rope
        if rope["rope_type"] != "llama3":
            return {}
        half = self.head_size // 2
        frequencies = rope["rope_theta"] ** -(np.arange(half, dtype=np.float64) / half)
        waves = 2 * math.pi / frequencies
        original, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
        smooth = np.clip((original / waves - low) / (high - low), 0, 1)
        return {_ROPE_FACTORS: (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)}
