"""TRL's SFTTrainer as it is used here: its arguments, its packing, what is held in float32, and evaluation by tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from runner.errors import StepError
from runner.training import session
from runner.training.adapters import LoRA, lora_config


class Trainer(SFTTrainer):  # type: ignore[misc]
    """Evaluates in means over tokens.

    TRL's ``eval_loss``, entropy and accuracy are means of the batches' means: they move with the size of a batch, and a token of a
    short answer weighs more than one of a long answer.
    """

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        loss = super().compute_loss(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
        if not self.model.training:
            self._evaluated.append((int((inputs["labels"][..., 1:] != -100).sum()), float(loss)))
        return loss

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        self._evaluated: list[tuple[int, float]] = []  # tokens and mean loss of each batch
        found = super().evaluation_loop(*arguments, **options)
        counts, losses = zip(*self._evaluated, strict=True)

        def mean(values: Sequence[float]) -> float:
            return sum(count * value for count, value in zip(counts, values, strict=True)) / sum(counts)

        found.metrics["eval_loss"] = mean(losses)
        means = self._metrics["eval"]  # of each batch, until they are logged
        for name in ("entropy", "mean_token_accuracy"):
            means[name] = [mean(means[name])]
        return found

    @property
    def lengths(self) -> list[int]:
        """Tokens of each training example, as it was taken: cut at max_length, before packing."""
        if self.args.packing:
            return [length for row in self.train_dataset["seq_lengths"] for length in row]
        return [len(row) for row in self.train_dataset["input_ids"]]


def trainer_of(
    model: Any,
    tokenizer: Any,
    lora: LoRA | None,
    rows: tuple[Any, Any],
    sft: dict[str, Any],
    padding: str,
    callbacks: list[Any],
    surroundings: dict[str, Any],
) -> Trainer:
    """A trainer of ``model`` (with a new adapter, where ``lora`` tells one) on ``rows``, those to learn and those to evaluate or None.

    ``sft`` are values of SFTConfig, ``surroundings`` those arguments of ``session.arguments`` that change no result. What an adapter
    trains is in float32. StepError where TRL takes fewer rows than it was given.
    """
    sft = {"completion_only_loss": True, **sft}  # TRL's default for prompts and completions, which it does not see in tokens
    if padding == "max_length":
        sft["pad_to_multiple_of"] = sft["max_length"]  # no row is longer, so that every batch is padded to it
    if sft.get("packing"):
        # Evaluation examples stay apart, so that their loss is that of the same rows with packing as without. Packed rows have no
        # padding, and no mask to tell it by; a padding token in them, where it also ends a turn, is a token like any other.
        sft |= {"eval_packing": False, "include_num_input_tokens_seen": "all"}
    whole = lora is None and not hasattr(model, "peft_config")
    trainer = Trainer(
        model=model,
        args=SFTConfig(**session.arguments(**surroundings, logging_steps=int(sft.pop("logging_steps", 10)), **sft)),
        train_dataset=rows[0],
        eval_dataset=rows[1],
        processing_class=tokenizer,
        peft_config=None if lora is None else lora_config(lora),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    taken = len(trainer.lengths)
    if taken != len(rows[0]):
        raise StepError(f"TRL took {taken} of {len(rows[0])} training examples", remedy="raise max_length")
    if not whole:
        _in_float32(trainer.model, mixed=trainer.args.bf16 or trainer.args.fp16)
    return trainer


def _in_float32(model: Any, *, mixed: bool) -> None:
    """Hold what is trained in float32, whatever its base is held in: the adapter, and under mixed precision the biases too.

    TRL casts the adapter of a quantised base to bfloat16, where most of Adam's small steps round to nothing and fp16 training cannot
    scale the gradients; and a resumed one would come back in float32, that is with another curve.
    """
    import torch

    for name, weight in model.named_parameters():
        if weight.requires_grad and (mixed or "lora_" in name):
            weight.data = weight.data.to(torch.float32)
