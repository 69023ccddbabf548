"""A PEFT LoRA adapter, merged tensor by tensor without building the model.

The arithmetic is that of PEFT's ``merge_and_unload`` in float32: ``W + scale * B @ A`` (Hu et al. 2021, LoRA), with
rank-stabilised scaling (Kalajdzievski 2023), weight-decomposed LoRA (Liu et al. 2024, DoRA), rank and alpha patterns, trained
biases and whole modules (``modules_to_save``). Merging happens in float32 on the unquantised base, also for QLoRA.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from runner.errors import InputError, StepError

_PREFIX = "base_model.model."
#: Suffix of a tensor in adapter_model.safetensors -> its part.
_PARTS = {
    ".lora_A.weight": "A",
    ".lora_B.weight": "B",
    ".lora_B.bias": "B_bias",
    ".lora_embedding_A": "A",
    ".lora_embedding_B": "B",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}
#: Ways of starting a LoRA that change the base weights too: the adapter alone does not say what to merge it into.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def _opened(file: Path) -> Any:
    return safe_open(file, framework="pt")


class Adapter:
    """The adapter in ``folder``. InputError when it is damaged, StepError when it is of a sort that cannot be merged here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
            self._file = _opened(folder / "adapter_model.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(f"not a readable PEFT adapter: {error}", where=str(folder)) from None
        self._refuse_others()
        self._lora: dict[str, dict[str, str]] = {}  # module -> part -> tensor
        self._whole: dict[str, str] = {}  # parameter -> tensor that replaces it
        for key in self._file.keys():  # noqa: SIM118 - not a dict
            name = key.removeprefix(_PREFIX).replace(".base_layer.", ".").replace(".modules_to_save.", ".")
            suffix = next((suffix for suffix in _PARTS if name.endswith(suffix)), None)
            if suffix:
                self._lora.setdefault(name.removesuffix(suffix), {})[_PARTS[suffix]] = key
            elif ".lora_" in name or "token_adapter" in name:
                raise StepError(f"this export cannot merge the adapter's tensor {key}")
            else:
                self._whole[name] = key

    def _refuse_others(self) -> None:
        kind, start = self.config.get("peft_type"), self.config.get("init_lora_weights")
        if kind != "LORA":
            raise StepError(f"this export merges LoRA adapters, not {kind}")
        if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
            raise StepError(
                f"an adapter started with init_lora_weights: {start} goes with changed base weights, which are not in the adapter",
                remedy="start it with true or gaussian, or save it converted to a plain LoRA",
            )
        for key in ("layer_replication", "target_parameters", "trainable_token_indices", "ensure_weight_tying"):
            if self.config.get(key):
                raise StepError(f"this export cannot merge an adapter with {key}")

    def checked(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """The base's shapes after merging; InputError when the adapter belongs to another model."""
        result = dict(shapes)
        for module, parts in self._lora.items():
            weight = shapes.get(f"{module}.weight")
            if weight is None or "A" not in parts or "B" not in parts:
                raise InputError(f"the adapter changes {module}, which the base does not have", where=str(self.folder))
            a, b = self._shape(parts["A"]), self._shape(parts["B"])
            if (b[0], a[1]) not in (weight, weight[::-1]):
                found = f"{module}: an update of {b[0]} x {a[1]} does not fit a weight of {' x '.join(map(str, weight))}"
                raise InputError(found, where=str(self.folder), remedy="merge the adapter into the base it was trained on")
        for name, key in self._whole.items():
            if name not in shapes and not name.endswith(".bias"):
                raise InputError(f"the adapter holds {name}, which the base does not have", where=str(self.folder))
            result[name] = self._shape(key)
        return result

    def changes(self, *names: str) -> bool:
        """Whether merging changes any of these parameters."""
        return any(name in self._whole or name.removesuffix(".weight") in self._lora for name in names)

    def merged(self, name: str, weight: torch.Tensor | None) -> torch.Tensor | None:
        """The parameter ``name`` (float32) with the adapter in it."""
        if name in self._whole:
            weight = self._tensor(self._whole[name])
        module, _, kind = name.rpartition(".")
        parts = self._lora.get(module)
        if parts is None or weight is None:
            return weight
        scale = self._scale(module, self._shape(parts["A"])[0])
        if kind == "bias":
            return weight + self._tensor(parts["B_bias"]) * scale if "B_bias" in parts else weight
        delta = self._tensor(parts["B"]) @ self._tensor(parts["A"])
        if "lora_embedding" in parts["A"] or self.config.get("fan_in_fan_out"):  # these layers keep their weight transposed
            delta = delta.T
        merged = weight + delta * scale
        if "magnitude" in parts:
            norm = torch.linalg.norm(merged, dim=1)
            merged = (self._tensor(parts["magnitude"]).flatten() / norm).view(-1, 1) * merged
        return merged

    def _scale(self, module: str, rank: int) -> float:
        from peft.utils.other import get_pattern_key

        patterns = self.config.get("alpha_pattern") or {}
        alpha = patterns.get(get_pattern_key(patterns.keys(), module), self.config["lora_alpha"])
        return float(alpha) / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def _tensor(self, key: str) -> torch.Tensor:
        tensor: torch.Tensor = self._file.get_tensor(key)
        return tensor.to(torch.float32)

    def _shape(self, key: str) -> tuple[int, ...]:
        return tuple(self._file.get_slice(key).get_shape())
