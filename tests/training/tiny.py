"""A model of a few thousand weights and a handful of examples, made on the spot."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from runner.training.adapters import LoRA
from runner.training.quiet import quiet
from runner.training.scratch import Shape, build
from runner.training.sft import Surroundings
from runner.training.stored import write_record

MODULES = ("q_proj", "v_proj", "down_proj")
LORA = LoRA(
    r=4, lora_alpha=8, lora_dropout=0.1, bias="none", use_rslora=False, init_lora_weights="default", target_modules=list(MODULES)
)  # fmt: skip
SFT: dict[str, Any] = {
    "max_steps": 12,
    "per_device_train_batch_size": 2,
    "learning_rate": 3e-2,
    "max_length": 128,
    "logging_steps": 2,
    "gradient_checkpointing": False,
    "bf16": False,
    "fp16": False,
    "seed": 7,
}

THINGS = ("adapter", "tensor", "index", "token", "layer", "gradient", "chunk", "query", "vector", "optimizer")
TEXTS = [f"The {thing} is stored in slot {number}. A {thing} has {number + 2} parts.\n" * 4 for number, thing in enumerate(THINGS)]
EXAMPLES = [
    {"id": str(number), "question": f"Where is the {thing} stored?", "answer": f"The {thing} is stored in slot {number}."}
    for number, thing in enumerate(THINGS)
]


def shape(**changes: Any) -> Shape:
    return Shape(**({
        "architecture": "qwen2", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": 320, "max_position_embeddings": 256, "tie_word_embeddings": True,
    } | changes))  # fmt: skip


def write_model(folder: Path, *, seed: int = 3, system_prompt: str | None = None, **changes: Any) -> Path:
    """A full model as the model step stores it."""
    _spare_collections()
    built = build(shape(**changes), TEXTS, seed=seed, journal=folder.parent / "journal")
    with quiet():
        built.model.save_pretrained(folder)
        built.tokenizer.save_pretrained(folder)
    write_record(folder, form="full", architecture=built.model.config.architectures[0], system_prompt=system_prompt)
    return folder


@cache
def _spare_collections() -> None:
    """A training ends in a full collection of garbage, by accelerate, which takes as long as a training of this size when it looks
    at all that the libraries hold: that is loaded once, and left out."""
    import runner.training.preload  # noqa: F401

    gc.collect()
    gc.freeze()


def surrounded(journal: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of fine_tune, of which some are for the surroundings: on CPU, unless they say otherwise."""
    names = ("device", "save_steps", "report_to", "listener")
    places = {"device": "cpu"} | {name: options[name] for name in names if name in options}
    return {name: value for name, value in options.items() if name not in names} | {"surroundings": Surroundings(journal, **places)}


def write_examples(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def no_bases(ref: str) -> Path:
    raise AssertionError(f"nothing refers to {ref}")


def only(ref: str, folder: Path) -> Callable[[str], Path]:
    return lambda asked: folder if asked == ref else no_bases(asked)
