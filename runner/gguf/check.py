"""Proof that a GGUF works, by llama.cpp itself, before anyone relies on it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from runner.errors import StepError
from runner.gguf.llama import Model

#: Texts on which splitting rules differ: contractions, digits, runs of spaces and line ends, scripts, emoji, code, formulas.
PROBES = (
    "It's 2024, and they'll've trained 1,234,567 parameters.",
    "  leading,   several   and trailing spaces  \n\n\tTabs\r\nand line ends\n",
    "def loss(x):\n    return -np.log(p[x])  # nats\n",
    "Größe, naïve, 注意力机制, внимание, الانتباه, ध्यान",
    "🤗🦙 k = softmax(QKᵀ/√d) ≤ 10⁻⁵ … «—»",
)


def verify(path: Path, tensors: int, tokenizer: Path, *, threads: int = 0) -> None:
    """StepError unless llama.cpp loads ``path``, finds ``tensors`` tensors, generates a token, and tokenizes as ``tokenizer``.

    ``tokenizer`` is the folder of the Hugging Face tokenizer.
    """
    with path.open("rb") as file:
        magic, _version, count, _keys = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF" or count != tensors:
        raise StepError(f"{path.name} holds {count} tensors instead of {tensors}")
    with Model(path) as model:
        same_tokens(model, tokenizer)
        with model.session(64, threads=threads) as session:
            logits = session.decode([(token, position, 0, True) for position, token in enumerate(model.tokenize("The")[:16] or [0])])
            if not np.isfinite(logits).all():
                raise StepError(f"{path.name} computes values that are not finite", remedy="choose a quantisation with more bits")
            session.decode([(int(logits[-1].argmax()), len(logits), 0, True)])


def same_tokens(model: Model, tokenizer: Path) -> None:
    """StepError where llama.cpp splits a text into other tokens than Hugging Face's tokenizer in the folder ``tokenizer``."""
    reference = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    special = [token.content for token in reference.get_added_tokens_decoder().values() if token.special]
    joined = [f"{token}\nuser question{token}" for token in special[:8]] if "gpt2" in model.metadata["tokenizer.ggml.model"] else []
    for text in (*PROBES, *joined):
        wanted, found = reference.encode(text, add_special_tokens=False).ids, model.tokenize(text)
        if wanted != found:
            raise StepError(f"llama.cpp tokenizes {text!r} as {found[:12]}, the model's tokenizer as {wanted[:12]}")
