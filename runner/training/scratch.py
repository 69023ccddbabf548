"""A small model built here: architecture, tokenizer, weights drawn from a seed, and optional short pre-training on texts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import StepError
from runner.training.listener import Listener, Nobody
from runner.training.quiet import quiet
from runner.training.tokenizer import END_OF_TEXT, TURN_END, train_tokenizer


@dataclass(frozen=True)
class Shape:
    """The shape of a decoder, in the words of Transformers' configurations (``architecture`` is its ``model_type``)."""

    architecture: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    max_position_embeddings: int
    tie_word_embeddings: bool


@dataclass(frozen=True)
class Pretraining:
    """Next-token prediction on the texts: AdamW, cosine schedule with a tenth of the steps as warm-up."""

    steps: int
    batch_size: int
    sequence_length: int
    learning_rate: float


@dataclass(frozen=True)
class Built:
    model: Any
    tokenizer: Any
    curve: list[dict[str, float]]
    seconds: float
    tokens: int


def build(
    shape: Shape,
    texts: Sequence[str],
    *,
    seed: int,
    pretraining: Pretraining | None = None,
    chat_template: str | None = None,
    device: str = "cpu",
    journal: Path,
    save_steps: int = 200,
    listener: Listener | None = None,
) -> Built:
    """Train a tokenizer on ``texts``, draw the weights from ``seed``, and pre-train if asked.

    Checkpoints go to ``journal``, and a killed pre-training goes on from the last of them. StepError when the texts
    are too few for the tokenizer or for one block of ``sequence_length`` tokens.
    """
    listener = listener or Nobody()
    if not any(text.strip() for text in texts):
        raise StepError("there is no text to train the tokenizer on", remedy="bind documents that hold text")
    listener.progress(0, pretraining.steps if pretraining else None, "steps")
    with quiet("datasets"):
        from transformers import set_seed

        tokenizer = train_tokenizer(texts, shape.vocab_size, context=shape.max_position_embeddings, chat_template=chat_template)
        if len(tokenizer) < shape.vocab_size:
            listener.warn(f"the texts give a vocabulary of {len(tokenizer):,} tokens, not of {shape.vocab_size:,}")
        set_seed(seed)
        model = new_model(shape, tokenizer)
        if pretraining is None:
            return Built(model, tokenizer, [], 0.0, 0)
        blocks = blocks_of(texts, tokenizer, pretraining.sequence_length, seed)
        return _pretrain(model, tokenizer, blocks, pretraining, seed, device, journal, save_steps, listener)


def new_model(shape: Shape, tokenizer: Any) -> Any:
    """An untrained model with float32 weights drawn from torch's present random state."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    families = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
    config_class, model_class = families[shape.architecture]
    end, padding = (tokenizer.convert_tokens_to_ids(token) for token in (TURN_END, END_OF_TEXT))
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        max_position_embeddings=shape.max_position_embeddings,
        tie_word_embeddings=shape.tie_word_embeddings,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=padding,
    )
    return model_class(config)


def blocks_of(texts: Sequence[str], tokenizer: Any, length: int, seed: int) -> list[list[int]]:
    """The texts in an order drawn from ``seed``, each closed by ``<|endoftext|>``, cut into blocks of ``length`` tokens.

    What remains at the end is left. StepError when it does not come to one block.
    """
    order = list(texts)
    random.Random(seed).shuffle(order)
    end = tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    encodings = tokenizer.backend_tokenizer.encode_batch(order, add_special_tokens=False)
    stream = [token for encoding in encodings for token in [*encoding.ids, end]]
    blocks = [stream[start : start + length] for start in range(0, len(stream) - length + 1, length)]
    if not blocks:
        raise StepError(
            f"the documents hold {len(stream):,} tokens, less than one sequence of {length:,}",
            remedy="lower scratch.pretrain.sequence_length or bind more documents",
        )
    return blocks


def _pretrain(
    model: Any,
    tokenizer: Any,
    blocks: list[list[int]],
    settings: Pretraining,
    seed: int,
    device: str,
    journal: Path,
    save_steps: int,
    listener: Listener,
) -> Built:
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments, default_data_collator

    from runner.training import session

    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            **session.arguments(
                journal,
                device,
                save_steps=save_steps,
                logging_steps=max(1, min(10, settings.steps // 10)),
                max_steps=settings.steps,
                per_device_train_batch_size=settings.batch_size,
                learning_rate=settings.learning_rate,
                lr_scheduler_type="cosine",
                warmup_steps=settings.steps // 10,
                seed=seed,
                include_num_input_tokens_seen="all",  # nothing is padded, and the padding token ends the documents
            )
        ),
        train_dataset=Dataset.from_dict({"input_ids": blocks, "labels": blocks}),
        data_collator=default_data_collator,
        processing_class=tokenizer,
    )
    outcome = session.run(trainer, journal, listener, session.last_complete(journal))
    model.config.use_cache = True  # the Trainer switches it off
    return Built(model, tokenizer, outcome.curve, outcome.seconds, outcome.tokens)
