"""Arithmetic that training a model asks for, from its shape: the work in model FLOP/s and in model FLOP utilisation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def training_flops(model: Any, lengths: Iterable[int]) -> int | None:
    """Floating-point operations of one pass, forward and backward, over sequences of these ``lengths`` (tokens).

    A linear layer of n weights takes 2n a token in the forward pass, 2n for the gradient of its input, and 2n for that of its
    weights where they are trained: 6n for all of a trained layer, 4n for a frozen one under an adapter, whose own two layers count as
    any other. Attention over s tokens takes, for each head of width h in each layer, 4hs a token forward and 8hs backward. The
    counting is that of PaLM (Chowdhery et al., 2022, appendix B): the whole square of a causal mask, and nothing that is computed
    twice to save memory. Norms, activations, embeddings, DoRA's lengths and the optimiser are left out.

    None where the shape does not tell: a mixture of experts, and attention that Transformers' usual names do not describe.
    """
    from torch import nn

    config = model.config
    heads, layers = getattr(config, "num_attention_heads", None), getattr(config, "num_hidden_layers", None)
    if not isinstance(heads, int) or not isinstance(layers, int) or any("expert" in name for name, _ in model.named_modules()):
        return None
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    linear = 0
    for module in model.modules():
        if isinstance(module, nn.Linear):  # in its own words: weights that are packed into 4 bits have another shape
            linear += (6 if module.weight.requires_grad else 4) * module.in_features * module.out_features
        elif type(module).__name__ == "Conv1D":  # GPT-2's linear layer
            linear += (6 if module.weight.requires_grad else 4) * int(module.weight.numel())
    each = list(lengths)
    return int(linear * sum(each) + 12 * heads * width * layers * sum(length * length for length in each))
