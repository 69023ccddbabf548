"""A run with many arms, scored by the real evaluation: systems, ranks and retrieval, some arms without a rank.

python -m tests.reports.wide_run FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from runner.evaluation.arms import Arm
from runner.evaluation.scoring import score
from tests.evaluation.test_scoring import rows
from tests.reports.fake_run import FakeRun

RANKS, RAGS = ("4", "8", "16"), ("none", "index")
BASELINE = {"system": "base", "rag": "none"}
WEIGHTS = 3000


def right(axes: dict[str, str]) -> int:
    """How many of 40 questions an arm answers rightly."""
    systems = {"base": 4, "full": 26, "qlora": 18, "gguf": 15}
    return systems[axes["system"]] + (6 if axes["rag"] == "index" else 0) + {"4": 0, "8": 4, "16": 3}.get(axes.get("rank", ""), 0)


def arms() -> list[dict[str, str]]:
    ranked = [{"system": system, "rank": rank, "rag": rag} for system in ("qlora", "gguf") for rank in RANKS for rag in RAGS]
    return [{"system": system, "rag": rag} for system in ("base", "full") for rag in RAGS] + ranked


def build(store: Path) -> Path:
    run = FakeRun(store, "wide")
    run.record["matrix"] = {"system": ["base", "full", "qlora", "gguf"], "rank": list(RANKS), "rag": list(RAGS)}
    _models(run)
    found, inputs, latency = [], [], []
    for axes in arms():
        # Other systems are right about other questions, so that not every difference is sure.
        shift = 20 if axes["system"] in ("qlora", "gguf") else 0
        answers = rows(right=right(axes))
        texts = [row["answer"] for row in answers]
        for place, row in enumerate(answers):
            row["answer"] = row["reference"] if (place + shift) % 40 < right(axes) else texts[-1].replace("39", str(place))
        found.append(Arm(axes, answers))
        model = axes["system"] + (f"[rank={axes['rank']}]" if "rank" in axes else "")
        name = run.add(
            "answers",
            "answer",
            {"main": ("answers", "")},
            axes=axes,
            files={
                "main/answers.jsonl": [{**row, "finish": "length" if place < 3 else "stop"} for place, row in enumerate(answers)],
                "main/answers.json": _settings(axes),
            },
            inputs={"model": [(model, "main")]},
            facts={"peak_memory": {"value": 5e8 + right(axes), "unit": "bytes"}, "tokens_per_second": {"value": 41.5, "unit": "tokens/s"}},
        )
        inputs.append((name, "main"))
        latency.append({"axes": axes, "mean": 0.5 + 0.01 * right(axes), "p50": 0.5, "p95": 0.9, "n": 40})
    scored = score(found, ["exact_match", "chrf", "held_out_loss"], baseline=BASELINE)
    run.add(
        "scores",
        "evaluate",
        {"main": ("scores", "")},
        files={"main/scores.json": scored.document, "main/items.jsonl": list(scored.items)},
        inputs={"answers": inputs},
        facts={"seconds_per_answer": {"value": latency, "unit": "seconds"}},
    )
    return run.save()


def _settings(axes: dict[str, str]) -> dict[str, Any]:
    searched = axes["rag"] == "index"
    return {
        "model_step": axes["system"],
        "form": "full",
        "prompt_file": "prompts/answer.j2",
        "generation": {"max_new_tokens": 64, "temperature": 0.0, "batch_size": 16 if searched else 8},
        "top_k": 3 if searched else 0,
        "selection": "similarity" if searched else "",
        "dropped": {"passages": 5 if searched else 0, "questions": 2 if searched else 0},
        "summarised": {"passages": 7 if searched else 0, "questions": 3 if searched else 0},
        "summaries": {"calls": 9 if searched else 0, "prompt_tokens": 1234 if searched else 0, "answer_tokens": 56 if searched else 0},
        "forgotten": {"exchanges": 4 if searched else 0, "questions": 1 if searched else 0},
    }


def _models(run: FakeRun) -> None:
    money = {"money": {"value": 0.25, "unit": "money"}}
    run.add("qa", "synthesize", {"main": ("examples", "")}, files={"main/examples.jsonl": []}, facts=money)
    full = {"main/model.json": {"form": "full"}, "main/model.safetensors": "x" * WEIGHTS}
    run.add("base", "model", {"main": ("model", "full")}, files=full)
    trained = {"model": [("base", "main")], "examples": [("qa", "main")]}
    run.add("full", "train", {"main": ("model", "full")}, files=full | _log(2.0), inputs=trained, facts=_facts(1_000_000, 100.0, 9e8))
    for rank in RANKS:
        adapter = {"main/model.json": {"form": "adapter"}, "main/adapter_model.safetensors": "x" * 10 * int(rank)}
        facts = _facts(1000 * int(rank), 0.1 * int(rank), 6e8 + 1e6 * int(rank))
        outputs = {"main": ("model", "adapter"), "step-2": ("model", "adapter")}
        files = adapter | _log(2.5 - 0.01 * int(rank))
        run.add("qlora", "train", outputs, axes={"rank": rank}, files=files, inputs=trained, facts=facts)
        quantization = {
            "quantization": "Q4_K_M",
            "tensors": {"Q4_K": {"count": 9}},
            "fallbacks": [],
            "file_bytes": 900,
            "bits_per_weight": 4.9,
        }
        quantization["calibration"] = {"texts": 12, "tokens": 1, "tensors": 9} if rank == "16" else None
        run.add(
            "gguf",
            "export",
            {"main": ("model", "gguf")},
            axes={"rank": rank},
            files={"main/quantization.json": quantization, "main/model.gguf": "x" * 900, "main/README.md": "card"},
            facts={"file_bytes": {"value": 900, "unit": "bytes"}},
            inputs={"model": [(f"qlora[rank={rank}]", "main")]},
        )


def _log(floor: float) -> dict[str, Any]:
    log = [{"step": step, "loss": floor + 1 / step} for step in (1, 2, 4)] + [{"step": step, "eval_loss": floor + 0.5} for step in (2, 4)]
    return {"main/log.jsonl": log}


def _facts(trained: int, percent: float, memory: float) -> dict[str, Any]:
    values = {
        "trainable_parameters": (trained, "parameters"),
        "trainable_percent": (percent, "%"),
        "tokens_per_second": (2000.0, "tokens/s"),
        "peak_memory": (memory, "bytes"),
        "peak_memory_of": ("GPU allocator", ""),
        "train_seconds": (30.0, "s"),
        "energy": (1500.0, "J"),
        "money": (0.5, "money"),
    }
    return {name: {"value": value, "unit": unit} for name, (value, unit) in values.items()}


if __name__ == "__main__":
    from runner.reports import render

    print(render(build(Path(sys.argv[1]))))
