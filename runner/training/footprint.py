"""GPU memory that a training or an answering will take at its peak, estimated from its settings before anything is loaded.

The sum is the usual one (Rajbhandari et al., ZeRO, 2020, section 3): weights, gradients, optimiser states, and what the backward pass
needs of the forward pass. It is an estimate, for batches in which every row is as long as ``max_length`` allows, so that shorter data
take less; what the allocator loses to fragments and what kernels work in is taken for a twentieth of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.contract import Memory
from runner.training.shapes import Shape

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

#: What CUDA and its libraries take for themselves on a GPU.
CONTEXT = 500_000_000
FRAGMENTS = 1.05

#: Tokens of a prompt where nothing says how long prompts are.
PROMPT = 1024

_PEFT_DEFAULT = ("q_proj", "v_proj")  # of PEFT, for the families that are known here


@dataclass(frozen=True)
class Adapter:
    """The shape of LoRA's layers; ``target_modules`` as in PEFT."""

    r: int
    target_modules: Sequence[str] | str | None

    def sizes(self, shape: Shape) -> list[tuple[int, int]]:
        """Inputs and outputs of the layers of one block that are adapted."""
        layers, chosen = shape.linear(), self.target_modules
        names = list(layers) if isinstance(chosen, str) else _PEFT_DEFAULT if chosen is None else chosen
        return [layers[name] for name in names if name in layers]

    def parameters(self, shape: Shape) -> int:
        return shape.num_hidden_layers * self.r * sum(inputs + outputs for inputs, outputs in self.sizes(shape))


def weights(shape: Shape, dtype: str, double_quant: bool | None = None) -> int:
    """Bytes of the weights in ``dtype``; with ``double_quant`` (not None) the blocks' linear layers are in bitsandbytes' 4 bits.

    A block of 64 weights has a scale in float32 or, double-quantised, in 8 bits, of which 256 share one in float32 (Dettmers et al.,
    QLoRA, 2023, section 3).
    """
    if double_quant is None:
        return shape.parameters * BYTES[dtype]
    bits = 4 + (8 / 64 + 32 / (64 * 256) if double_quant else 32 / 64)
    return round(shape.linear_parameters * bits / 8) + (shape.parameters - shape.linear_parameters) * BYTES[dtype]


def optimizer_states(optim: str, trained: int, dtype: str, embeddings: int = 0) -> int:
    """Bytes that the optimiser keeps for ``trained`` weights held in ``dtype``, ``embeddings`` of them in an embedding.

    PyTorch's Adam has its two moments in the weights' type, bitsandbytes' in float32 or in 8 bits with a scale for 256; Transformers
    leaves an embedding's in float32 then. Adafactor keeps a row and a column of each matrix, SGD without momentum nothing.
    """
    if "8bit" in optim:
        return round((trained - embeddings) * 2 * (1 + 4 / 256)) + embeddings * 8
    if "32bit" in optim:
        return trained * 8
    return trained * 2 * BYTES[dtype] if optim.startswith("adamw") else 0


def training(
    shape: Shape,
    adapter: Adapter | None,
    *,
    dtype: str,
    mixed: str | None,
    double_quant: bool | None,
    optim: str,
    rows: int,
    length: int,
    gradient_checkpointing: bool,
    dropout: bool = False,
    compute_dtype: str | None = None,
) -> Memory:
    """The estimate for a training: of all weights, or of ``adapter``, on a base in ``dtype`` or in 4 bits (``double_quant`` not None).

    ``mixed`` is the type of mixed precision, if any. ``rows`` of ``length`` tokens are in a forward pass.
    """
    tokens, computed = rows * length, mixed or dtype
    if adapter is None:
        trained, held, kept = shape.parameters, dtype, 0
        embeddings = shape.vocab_size * shape.hidden_size
    else:
        trained, held, embeddings = adapter.parameters(shape), "float32", 0
        kept = sum(inputs for inputs, _ in adapter.sizes(shape)) * (2 if dropout else 1) * BYTES["float32"]
    block = _of_block(shape, BYTES[computed]) + kept
    layers = shape.num_hidden_layers
    activations = tokens * ((layers * shape.hidden_size * BYTES[computed] + block) if gradient_checkpointing else layers * block)
    largest = max(inputs * outputs for inputs, outputs in shape.linear().values())
    if adapter is None:  # TRL sums up the head's gradient in float32; autocast keeps its copies of the weights that are trained
        copies = shape.linear_parameters * BYTES[computed] if BYTES[computed] < BYTES[dtype] else 0
        working = shape.vocab_size * shape.hidden_size * 4 + copies
    else:  # a 4-bit layer is unpacked to be multiplied
        working = 0 if double_quant is None else largest * 2
    states = optimizer_states(optim, trained, held, embeddings)
    fixed = weights(shape, dtype, double_quant) + trained * BYTES[held] * (1 if adapter is None else 2)
    return Memory(
        total=round((fixed + states + activations + working) * FRAGMENTS) + CONTEXT,
        paged=round(states * FRAGMENTS) if optim.startswith("paged") else 0,
        bfloat16="bfloat16" in (dtype, mixed, compute_dtype),
    )


def answering(
    shape: Shape,
    *,
    dtype: str,
    double_quant: bool | None,
    rows: int,
    length: int,
    compute_dtype: str | None = None,
) -> Memory:
    """The estimate for answering ``rows`` questions together, prompt and answer of ``length`` tokens: weights, keys and values, and the
    reading of the prompts through one block."""
    size = BYTES[dtype]
    cache = shape.num_hidden_layers * 2 * shape.keys * size
    reading = (3 * shape.intermediate_size + 4 * shape.hidden_size) * size
    total = weights(shape, dtype, double_quant) + rows * length * (cache + reading) + rows * shape.vocab_size * 4 * 2
    return Memory(total=round(total * FRAGMENTS) + CONTEXT, bfloat16="bfloat16" in (dtype, compute_dtype))


def _of_block(shape: Shape, size: int) -> int:
    """Bytes a token that the backward pass needs of one block: inputs of its layers and norms (these in float32 besides), queries, keys and
    values before and after the rotation, attention's output, and the four of the gated feed-forward. Attention itself is recomputed by
    its kernel, so that no square of the length is kept."""
    h, i, q, k = shape.hidden_size, shape.intermediate_size, shape.queries, shape.keys
    return (4 * h + 2 * (q + 2 * k) + q + 4 * i) * size + 2 * h * 4
