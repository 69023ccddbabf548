"""Supervised fine-tuning against TRL by itself: the cost of the runner, and what packing gains.

``python benchmarks/training.py [--rows N] [--rounds N]``. LoRA (PEFT's defaults) on a small Qwen2 built here, on the first rows of
GSM8K's training part (``../shared/data/gsm8k``), one epoch on CPU. The peer is ``SFTTrainer`` with the values that SFTConfig has by
itself, as TRL's documentation shows it. ``runner`` has the same values; ``packed`` puts about as many tokens as a batch of 8 rows
holds into four packed rows, one after the other. Time is that of the whole call, from stored model and rows to the tuned adapter, in
CPU seconds of a process with one thread, which other work on the machine moves least. Held-out loss is that of 64 further rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from runner.training import load, load_tokenizer
from runner.training.adapters import LoRA
from runner.training.chat import conversation
from runner.training.quiet import quiet
from runner.training.scratch import Shape, build
from runner.training.sft import fine_tune
from runner.training.stored import write_record

DATA = Path(__file__).parents[1] / "../shared/data/gsm8k/train_first1000.jsonl"
SHAPE = Shape("qwen2", 256, 768, 2, 4, 2, 1500, 4096, True)
PLAIN: dict[str, Any] = {"bf16": False, "num_train_epochs": 1, "learning_rate": 2e-3, "seed": 1}
PEFT = LoRA(8, 8, 0.0, "none", False, "default", None)


def no_bases(ref: str) -> Path:
    raise AssertionError(ref)


def by_trl(model: Path, rows: list[dict[str, Any]], held_out: list[dict[str, Any]], folder: Path) -> tuple[float, float, Any]:
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    def dataset(some: list[dict[str, Any]]) -> Any:
        return Dataset.from_list(
            [{"prompt": conversation(row["question"]), "completion": conversation("", None, row["answer"])[1:]} for row in some]
        )

    with quiet("datasets"):
        begun = time.process_time()
        loaded = load(model, no_bases)
        trainer = SFTTrainer(
            model=loaded.model,
            args=SFTConfig(output_dir=str(folder), use_cpu=True, report_to="none", disable_tqdm=True, save_strategy="no", **PLAIN),
            train_dataset=dataset(rows),
            processing_class=loaded.tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM"),
        )
        trainer.train()
        took = time.process_time() - begun
        tokens = sum(len(row) for row in trainer.train_dataset["input_ids"])
        if not held_out:
            return took, tokens, []
        rows_held = trainer._prepare_dataset(dataset(held_out), loaded.tokenizer, trainer.args, False, None, "eval")
        return took, tokens, [trainer.evaluate(rows_held)["eval_loss"]]


def by_runner(
    model: Path, rows: list[dict[str, Any]], held_out: list[dict[str, Any]], folder: Path, **sft: Any
) -> tuple[float, float, Any]:
    begun = time.process_time()
    tuned = fine_tune(model, no_bases, rows, lora=PEFT, sft=PLAIN | sft, journal=folder / "a", device="cpu", save_steps=10**6)
    took = time.process_time() - begun
    if not held_out:
        return took, tuned.tokens, [tuned.steps, tuned.sequences]
    judged = fine_tune(model, no_bases, rows, held_out, lora=PEFT, sft=PLAIN | sft, journal=folder / "b", device="cpu", save_steps=10**6)
    return took, tuned.tokens, [judged.eval_loss_before, judged.eval_loss_after, tuned.steps, tuned.sequences]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speed", action="store_true", help="no held-out loss")
    options = parser.parse_args()
    everything = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
    rows, held_out = everything[: options.rows], everything[options.rows : options.rows + 64]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        built = build(SHAPE, [row["question"] + " " + row["answer"] for row in everything], seed=1, journal=folder / "journal")
        with quiet():
            built.model.save_pretrained(folder / "model")
            built.tokenizer.save_pretrained(folder / "model")
        write_record(folder / "model", form="full", architecture="Qwen2ForCausalLM")
        tokenizer = load_tokenizer(folder / "model", no_bases)
        lengths = [
            len(tokenizer.apply_chat_template(conversation(row["question"], None, row["answer"]), return_dict=True)["input_ids"])
            for row in rows
        ]
        full = max(2 * round(statistics.mean(lengths)), max(lengths))
        ways: dict[str, Callable[[Path, list[dict[str, Any]]], tuple[float, float, Any]]] = {
            "TRL": lambda place, held: by_trl(folder / "model", rows, held, place),
            "runner": lambda place, held: by_runner(folder / "model", rows, held, place),
            "packed": lambda place, held: by_runner(
                folder / "model",
                rows,
                held,
                place,
                packing=True,
                max_length=full,
                per_device_train_batch_size=1,
                gradient_accumulation_steps=4,
            ),
        }
        print(f"{len(rows)} rows of {min(lengths)} to {max(lengths)} tokens, {statistics.mean(lengths):.0f} on average; packed to {full}")
        torch.set_num_threads(1)
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(options.rounds):
            for name, way in ways.items():
                seconds, tokens, said = way(folder / f"{name}-{number}", held_out if number == 0 and not options.speed else [])
                taken[name].append(seconds)
                print(f"{name:7} {seconds:7.2f} CPU s  {tokens / seconds:7.0f} tokens/CPU s  {tokens} tokens  {said}", flush=True)
        best = {name: min(values) for name, values in taken.items()}
        print(f"runner: {best['runner'] / best['TRL']:.2f} of TRL's time; packed: {best['TRL'] / best['packed']:.2f} times as fast as TRL")


if __name__ == "__main__":
    main()
