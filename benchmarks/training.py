"""Supervised fine-tuning against TRL by itself: the cost of the runner, what packing gains, and whether it learns as well.

``python benchmarks/training.py [--rows N] [--rounds N] [--seeds N]``. An adapter (PEFT's defaults) on a small Qwen2 built here, on the
first rows of GSM8K's training part (``../shared/data/gsm8k``), one epoch. The peer is ``SFTTrainer`` with the values that SFTConfig has
by itself, as TRL's documentation shows it. ``runner`` has the same values; ``packed`` puts about as many tokens as a batch of 8 rows
holds into four packed rows, one after the other.

Time is that of the whole call, from stored model and rows to the tuned adapter, in CPU seconds of a process with one thread, which
other work on the machine moves least; the three take turns, ``--rounds`` times. What is learnt is compared over ``--seeds`` seeds:
held-out loss of 64 further rows, and the mean of the training loss over the tokens seen, which is the area below its curve. The two of
a seed begin with the same adapter and see the same rows in another order, so that their difference is of order and packing together;
``apart`` trains, once, on the packed rows with each example in a row of its own: packing without its effect on the order.

``--device cuda --shape 0.5b|3b --method lora|qlora``: the shapes of Qwen2.5 with random weights, in bfloat16, ``--steps`` steps,
without packing and with it. Tokens a second are of the optimiser steps. Model FLOP utilisation is ``runner.training.flops`` (PaLM's
counting: 6 FLOP a token for each trained weight, 4 for each frozen one that a gradient passes through, attention over the whole
square, nothing for what is computed twice) over the card's dense peak (``--peak`` where it is not known here).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from runner.training import load_tokenizer, memory
from runner.training.adapters import LoRA, Quantization
from runner.training.chat import conversation
from runner.training.flops import training_flops
from runner.training.quiet import quiet
from runner.training.scratch import Shape, build
from runner.training.sft import Surroundings, fine_tune
from runner.training.stored import write_record

DATA = Path(__file__).parents[1] / "../shared/data/gsm8k/train_first1000.jsonl"
SMALL = Shape("qwen2", 256, 768, 2, 4, 2, 1500, 4096, True)
#: Width, inner width, layers, heads, heads of keys and values of Qwen2.5's models (their config.json); all have this vocabulary.
QWEN = {"0.5b": (896, 4864, 24, 14, 2), "3b": (2048, 11008, 36, 16, 2)}
VOCABULARY = 151_936
#: Dense FLOP/s of a card in bfloat16 (T4: float16) by its maker's data sheet.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "RTX 3090": 71e12, "T4": 65e12}
PEFT = LoRA(8, 8, 0.0, "none", False, "default", None)
NF4 = Quantization("nf4", True, "bfloat16")
HELD_OUT = 64

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    model: Path
    rows: Rows
    held_out: Rows
    method: str
    device: str
    steps: int

    def arguments(self, seed: int) -> dict[str, Any]:
        """What differs from SFTConfig's own values."""
        given: dict[str, Any] = {"bf16": self.device == "cuda", "num_train_epochs": 1, "learning_rate": 2e-3, "seed": seed}
        return given | ({"max_steps": self.steps} if self.steps > 0 else {})

    @property
    def dtype(self) -> str:
        return "bfloat16" if self.device == "cuda" else "float32"


@dataclass(frozen=True)
class Trained:
    """``whole`` CPU seconds of the call; ``seconds``, ``tokens``, and ``flops`` of its optimiser steps; ``area`` nats a token."""

    whole: float
    seconds: float
    tokens: float
    steps: int
    flops: float
    peak: int
    area: float = math.nan
    held_out: float = math.nan


def no_bases(ref: str) -> Path:
    raise AssertionError(ref)


def area(curve: Sequence[dict[str, Any]]) -> float:
    """Mean of the training loss over the tokens seen, of a curve that has every step."""
    points = [(row["num_input_tokens_seen"], row["loss"]) for row in curve if "loss" in row]
    spans = [tokens - before for (tokens, _), before in zip(points, [0, *(tokens for tokens, _ in points)], strict=False)]
    return sum(span * loss for span, (_, loss) in zip(spans, points, strict=True)) / sum(spans)


def by_trl(setting: Setting, folder: Path, seed: int, *, judged: bool = False, apart: dict[str, Any] | None = None) -> Trained:
    """``apart``: arguments of packing, with which the rows are packed, and then given to the model one by one."""
    from datasets import Dataset
    from peft import LoraConfig, TaskType
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
    from transformers.trainer_callback import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):  # type: ignore[misc]
        seconds = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.seconds -= time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds += time.perf_counter()

    def dataset(some: Rows) -> Any:
        return Dataset.from_list(
            [{"prompt": conversation(row["question"]), "completion": conversation("", None, row["answer"])[1:]} for row in some]
        )

    options: dict[str, Any] = {}
    if setting.method == "qlora":
        settings = NF4.settings() | {"bnb_4bit_compute_dtype": torch.bfloat16}
        options = {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, **settings), "device_map": {"": setting.device}}
    clock = Clock()
    with quiet("datasets"):
        memory.reset_peak(setting.device)
        begun = time.process_time()
        model = AutoModelForCausalLM.from_pretrained(setting.model, dtype=getattr(torch, setting.dtype), **options)
        tokenizer = AutoTokenizer.from_pretrained(setting.model)
        arguments = SFTConfig(
            output_dir=str(folder),
            use_cpu=setting.device == "cpu",
            report_to="none",
            disable_tqdm=True,
            save_strategy="no",
            **setting.arguments(seed),
            **(apart or {}),
            **({"logging_steps": 1, "include_num_input_tokens_seen": "non_padding"} if judged else {}),
        )
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=dataset(setting.rows),
            processing_class=tokenizer,
            peft_config=None if setting.method == "full" else LoraConfig(task_type=TaskType.CAUSAL_LM),
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        if apart:
            trainer.data_collator = separated(tokenizer.pad_token_id)
        trainer.train()
        whole = time.process_time() - begun
        peak = memory.peak(setting.device)[0]
        lengths = list(map(len, trainer.train_dataset["input_ids"]))
        tokens = float(trainer._total_train_tokens)  # TRL's count, without padding
        per_token = (training_flops(trainer.model, lengths) or math.nan) / sum(lengths)
        found = Trained(whole, clock.seconds, tokens, trainer.state.global_step, per_token * tokens, peak)
        if not judged:
            return found
        held = evaluated(trainer.model, tokenizer, setting.held_out)
        return Trained(**(vars(found) | {"area": area(trainer.state.log_history), "held_out": held}))


def separated(padding: int) -> Callable[[Rows], dict[str, torch.Tensor]]:
    """A collator that undoes packing: every example of the packed rows in a row of its own, padded."""

    def collate(packed: Rows) -> dict[str, torch.Tensor]:
        columns: dict[str, list[torch.Tensor]] = {"input_ids": [], "labels": [], "attention_mask": []}
        for row in packed:
            start = 0
            for length in row["seq_lengths"]:
                for name in ("input_ids", "labels"):
                    columns[name].append(torch.tensor(row[name][start : start + length]))
                columns["attention_mask"].append(torch.ones(length, dtype=torch.long))
                start += length
        fill = {"input_ids": padding, "labels": -100, "attention_mask": 0}
        return {name: torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill[name]) for name, rows in columns.items()}

    return collate


def by_runner(setting: Setting, folder: Path, seed: int, *, judged: bool = False, **sft: Any) -> Trained:
    begun = time.process_time()
    tuned = fine_tune(
        setting.model,
        no_bases,
        setting.rows,
        lora=None if setting.method == "full" else PEFT,
        quantization=NF4 if setting.method == "qlora" else None,
        sft=setting.arguments(seed) | sft | ({"logging_steps": 1} if judged else {}),
        dtype=setting.dtype,
        surroundings=Surroundings(folder, setting.device, save_steps=10**6),
    )
    whole = time.process_time() - begun
    found = Trained(whole, tuned.seconds, tuned.tokens, tuned.steps, tuned.flops or math.nan, tuned.peak_memory)
    if not judged:
        return found
    held = evaluated(tuned.model, tuned.tokenizer, setting.held_out)
    return Trained(**(vars(found) | {"area": area(tuned.curve), "held_out": held}))


def evaluated(model: Any, tokenizer: Any, rows: Rows) -> float:
    """Loss of the answers under ``model``, in nats a token: plain forward passes, by none of the two that are compared."""
    total, count = 0.0, 0
    model.eval()
    for row in rows:
        asked, whole = (conversation(row["question"], None, answer) for answer in (None, row["answer"]))
        start = len(tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_dict=True)["input_ids"])
        ids = torch.tensor([tokenizer.apply_chat_template(whole, return_dict=True)["input_ids"]], device=model.device)
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, start - 1 : -1].float()
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, start:], reduction="sum"))
        count += ids.shape[1] - start
    return total / count


def write_model(folder: Path, shape: str, texts: Sequence[str], device: str) -> None:
    built = build(SMALL, texts, seed=1, journal=folder.parent / "journal")
    model = built.model
    if shape != "small":
        from transformers import Qwen2Config, Qwen2ForCausalLM

        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
        config = Qwen2Config(
            vocab_size=VOCABULARY, max_position_embeddings=32768, tie_word_embeddings=True, **dict(zip(names, QWEN[shape], strict=True))
        )
        with torch.device(device):
            model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    with quiet():
        model.save_pretrained(folder)
        built.tokenizer.save_pretrained(folder)
    write_record(folder, form="full", architecture="Qwen2ForCausalLM")


def interval(differences: Sequence[float]) -> str:
    """Mean and 95 % interval of Student's t."""
    from scipy.stats import t

    mean, count = statistics.mean(differences), len(differences)
    half = float(t.ppf(0.975, count - 1)) * statistics.stdev(differences) / math.sqrt(count) if count > 1 else math.nan
    return f"{mean:+.4f} nats a token, 95 % from {mean - half:+.4f} to {mean + half:+.4f} ({count} seeds)"


Ways = dict[str, Callable[..., Trained]]


def timed(setting: Setting, ways: Ways, scratch: Path, rounds: int) -> None:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            trained = way(setting, scratch / f"{name}-{number}", 1)
            taken[name].append(trained.whole)
            rate = trained.tokens / trained.whole
            print(f"{name:7} {trained.whole:7.2f} CPU s  {rate:7.0f} tokens/CPU s  {trained.steps} steps", flush=True)
    overhead = statistics.median(ours / trl - 1 for ours, trl in zip(taken["runner"], taken["TRL"], strict=True))
    gain = statistics.median(trl / packed for trl, packed in zip(taken["TRL"], taken["packed"], strict=True))
    print(f"medians of {rounds} rounds: overhead of the runner {overhead:+.2%} of TRL's time; packed {gain:.2f} times as fast as TRL\n")


def learnt(setting: Setting, ways: Ways, scratch: Path, seeds: int, packing: dict[str, Any]) -> None:
    held: list[float] = []
    areas: list[float] = []
    for seed in range(1, seeds + 1):
        trl, packed = (ways[name](setting, scratch / f"{name}-of-{seed}", seed, judged=True) for name in ("TRL", "packed"))
        held.append(packed.held_out - trl.held_out)
        areas.append(packed.area - trl.area)
        text = f"seed {seed:2}: held-out loss {trl.held_out:.4f} by TRL, {packed.held_out:.4f} packed"
        print(f"{text}; training loss over tokens {trl.area:.4f}, {packed.area:.4f}", flush=True)
        if seed == 1:
            apart = by_trl(setting, scratch / "apart", seed, judged=True, apart=packing)
            print(f"         the same rows in the same order, apart: held-out loss {apart.held_out:.4f}; training loss {apart.area:.4f}")
    print(f"packed - TRL, held-out loss: {interval(held)}")
    print(f"packed - TRL, training loss over tokens: {interval(areas)}")


def on_a_gpu(setting: Setting, ways: Ways, scratch: Path, peak: float | None) -> None:
    name = torch.cuda.get_device_name() if setting.device == "cuda" else "CPU"
    peak = peak or next((value for card, value in PEAKS.items() if card in name), None)
    print(f"{name}, dense peak {'unknown' if peak is None else f'{peak / 1e12:.0f} TFLOP/s'}")
    for way in ways:
        found = ways[way](setting, scratch / way, 1)
        rate = found.flops / found.seconds
        used = "" if peak is None else f"  utilisation {rate / peak:6.2%}"
        print(
            f"{way:7} {found.steps} steps  {found.tokens / found.seconds:9.0f} tokens/s  peak {found.peak / 2**30:6.2f} GiB"
            f"  {rate / 1e12:8.3f} model TFLOP/s{used}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--shape", choices=["small", *QWEN], default="small")
    parser.add_argument("--method", choices=["lora", "qlora", "full"], default="lora")
    parser.add_argument("--steps", type=int, default=-1, help="optimiser steps; without it one epoch")
    parser.add_argument("--peak", type=float, help="dense FLOP/s of the device")
    parser.add_argument("--throughput", action="store_true", help="tokens a second, memory, and FLOP/s alone, as on a GPU")
    options = parser.parse_args()
    torch.set_num_threads(1)
    everything = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
    rows, held_out = everything[: options.rows], everything[options.rows : options.rows + HELD_OUT]
    with tempfile.TemporaryDirectory() as place:
        scratch = Path(place)
        texts = [row["question"] + " " + row["answer"] for row in everything]
        write_model(scratch / "model", options.shape, texts, options.device)
        tokenizer = load_tokenizer(scratch / "model", no_bases)
        lengths = [
            len(tokenizer.apply_chat_template(conversation(row["question"], None, row["answer"]), return_dict=True)["input_ids"])
            for row in rows
        ]
        full = max(2 * round(statistics.mean(lengths)), max(lengths))
        batch = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
        if options.device == "cuda":  # its attention costs a packed row no more than its examples
            batch = {"per_device_train_batch_size": 4}
        packing = {"packing": True, "max_length": full} | batch
        setting = Setting(scratch / "model", rows, held_out, options.method, options.device, options.steps)
        ways: Ways = {"TRL": by_trl, "runner": by_runner, "packed": lambda *given, **more: by_runner(*given, **more, **packing)}
        print(f"{len(rows)} rows of {min(lengths)} to {max(lengths)} tokens, {statistics.mean(lengths):.0f} on average; packed to {full}")
        if options.device == "cuda" or options.throughput:
            on_a_gpu(setting, ways, scratch, options.peak)
            return
        if options.rounds:
            timed(setting, ways, scratch, options.rounds)
        if options.seeds:
            learnt(setting, ways, scratch, options.seeds, packing)


if __name__ == "__main__":
    main()
