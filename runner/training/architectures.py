"""What the runner knows of model architectures without loading them: enough to check a recipe."""

from __future__ import annotations

_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")

#: Linear layers that LoRA may adapt, by ``model_type``. The head is left out: TRL computes its loss from the head's
#: weight directly and refuses an adapter on it.
LINEAR_MODULES: dict[str, tuple[str, ...]] = {"qwen2": _ATTENTION + _MLP, "llama": _ATTENTION + _MLP}

#: How a family is told from a model's name on a hub. The first match counts; what matches nothing is not known.
_NAMES = (("qwen2", "qwen2"), ("llama", "llama"))
_OTHERS = ("moe", "vl", "audio", "omni", "llama-4", "llama4", "guard", "llava")


def family_of(hub_id: str) -> str | None:
    """The ``model_type`` that a hub name gives away (``Qwen/Qwen2.5-3B-Instruct`` is qwen2), or None."""
    name = hub_id.rsplit("/", 1)[-1].lower()
    if any(other in name for other in _OTHERS):
        return None
    return next((family for part, family in _NAMES if part in name), None)
