"""A run folder in the formats of docs/run-record.md and docs/artifacts.md, filled with plausible figures, for looking at the report.

python -m tests.reports.fake_run FOLDER
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

#: Text that a hostile document could hold; it must appear as text on every page.
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)> | `tick` {{ 7*7 }} </table>"
SYSTEMS, RAGS = ("base", "lora", "qlora", "gguf"), ("none", "index")
METRICS = {
    "rouge_l": ("ROUGE-L", True, 34.0),
    "bleu": ("BLEU", True, 14.0),
    "exact_match": ("Exact match", True, 0.0),
    "token_f1": ("Token F1", True, 41.0),
    "held_out_loss": ("Held-out loss", False, 2.31),
}
QUESTIONS = (
    "What does the low-rank update replace in a dense layer?",
    "Why does the warm-up matter for the first optimiser steps?",
    "How many bits does a weight take in Q4_K_M on average?",
    "Which index structure gives exact neighbours?",
)


RECIPE = """recipe: 1
name: duo-dynamics
steps:
  lora:
    uses: train
    with: {method: {kind: lora, r: 16}, learning_rate: 2e-4, bf16: false, seed: 3407}
"""


class FakeRun:
    """Builds ``<store>/runs/<recipe>/<time>`` and the artifacts that it names."""

    def __init__(self, store: Path, recipe: str = "duo-dynamics", run: str = "2026-11-20T10-00-00") -> None:
        self.store, self.folder = store, store / "runs" / recipe / run
        (self.folder / "logs").mkdir(parents=True)
        self.record: dict[str, Any] = {
            "format": 1,
            "recipe": recipe,
            "title": "LoRA on Qwen2.5-3B-Instruct with Gemini-synthesised QA",
            "file": f"recipes/{recipe}.yaml",
            "run": run,
            "started": "2026-11-20T10:00:00Z",
            "finished": "2026-11-20T10:02:41Z",
            "status": "done",
            "seconds": 161.4,
            "overlays": [],
            "unpinned": False,
            "source": None,
            "stated": [],
            "deviations": [],
            "assumptions": [],
            "claims": [],
            "checks": [],
            "matrix": {},
            "environment": {
                "python": "3.11.7",
                "platform": "Linux-6.1-x86_64",
                "cpu": "AMD EPYC",
                "cores": 2,
                "memory_bytes": 8_200_000_000,
                "gpu": [],
                "libraries": {"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0", "faiss-cpu": "1.15.1"},
            },
            "instances": [],
        }

    def add(
        self,
        step: str,
        kind: str,
        outputs: Mapping[str, tuple[str, str]],
        *,
        axes: Mapping[str, str] | None = None,
        files: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Sequence[tuple[str, str]]] | None = None,
        **record: Any,
    ) -> str:
        """Add an instance; ``files`` maps ``output/name`` to rows (jsonl), a mapping (json) or text. Returns its id."""
        axes = dict(axes or {})
        name = f"{step}[{','.join(f'{axis}={label}' for axis, label in axes.items())}]" if axes else step
        key = hashlib.sha256(name.encode()).hexdigest()
        state = record.pop("state", "done")
        artifact = f"objects/{key[:2]}/{key}" if state in ("done", "hit") else None
        if artifact:
            for output in outputs:
                (self.store / artifact / output).mkdir(parents=True)
            for path, content in (files or {}).items():
                target = self.store / artifact / path
                if path.endswith(".jsonl"):
                    text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in content)
                else:
                    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, sort_keys=True)
                target.write_text(text, encoding="utf-8")
        (self.folder / "logs" / f"{name}.log").write_text(record.pop("log", "working\n"), encoding="utf-8")
        self.record["instances"].append(
            {
                "id": name,
                "step": step,
                "axes": axes,
                "kind": kind,
                "state": state,
                "why": "not in the store",
                "key": key,
                "seconds": 1.2,
                "artifact": artifact,
                "facts": {},
                "warnings": [],
                "error": None,
                "inputs": {port: [{"instance": i, "output": o} for i, o in refs] for port, refs in (inputs or {}).items()},
                "outputs": {output: {"type": kind, "form": form} for output, (kind, form) in outputs.items()},
                "params": {},
                **record,
            }
        )
        return name

    def save(self) -> Path:
        (self.folder / "run.json").write_text(json.dumps(self.record), encoding="utf-8")
        (self.folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
        return self.folder


def full(store: Path) -> Path:
    """A finished smoke run of the first recipe: eight arms, a hostile document, a rejected pair and a damaged PDF."""
    run = FakeRun(store)
    run.record |= {
        "overlays": ["profile smoke (recipes/duo-dynamics.yaml:96)", "--set vars.corpus=../papers"],
        "source": {"document": "Team Duo Dynamics - Fine-Tuning Qwen 2.5 3B Instruct", "url": "https://example.org/duo?a=1&b=2"},
        "deviations": [{"what": "split by document instead of at random", "why": "a random split of pairs from one chunk leaks"}],
        "stated": [{"path": "steps.lora.with.method.r", "where": "4, Hyperparameters"}],
        "assumptions": [
            {"path": "steps.lora.with.learning_rate", "why": "the source names none; TRL's LoRA guide value"},
            {"path": "steps.lora.with.*", "why": "the values of a notebook"},
        ],
        "matrix": {"system": list(SYSTEMS), "rag": list(RAGS)},
        "claims": [
            {
                "says": "the RAG implementation further improved the model's performance",
                "where": "section 8",
                "measure": {"step": "scores", "metric": "rouge_l", "at": {"system": "gguf", "rag": "index"}},
                "greater_than": {"step": "scores", "metric": "rouge_l", "at": {"system": "gguf", "rag": "none"}},
            }
        ],
        "checks": [
            {
                "says": "the tuned model beats its base on held-out loss",
                "measure": {"step": "scores", "metric": "held_out_loss", "at": {"system": "lora", "rag": "none"}},
                "less_than": {"step": "scores", "metric": "held_out_loss", "at": {"system": "base", "rag": "none"}},
            }
        ],
    }
    _data(run)
    _models(run)
    _answers_and_scores(run)
    return run.save()


def _data(run: FakeRun) -> None:
    files = [
        {"path": f"recipes/corpus/text-{n}.md", "verdict": "read", "reason": "", "pages": None, "characters": 5000 + 37 * n}
        for n in range(6)
    ]
    files += [
        {"path": "recipes/corpus/broken.pdf", "verdict": "damaged", "reason": "bad format (pdfium error 3)", "pages": 0, "characters": 0},
        {"path": f"recipes/corpus/{HOSTILE}.md", "verdict": "partly", "reason": HOSTILE, "pages": 3, "characters": 900},
    ]
    documents = [{"id": f"text-{n}", "text": "…"} for n in range(7)]
    run.add(
        "papers", "ingest", {"main": ("documents", "")}, files={"main/files.jsonl": files, "main/documents.jsonl": documents}, state="hit"
    )
    run.add(
        "chunks",
        "chunk",
        {"main": ("chunks", "")},
        files={"main/chunks.jsonl": [{"id": f"text-0#{n}"} for n in range(83)]},
        inputs={"documents": [("papers", "main")]},
    )
    index = {"embedder": {"kind": "lexical", "vocabulary": 2048}, "faiss": {"kind": "hnsw", "m": 32}, "count": 83, "dimension": 2048}
    run.add(
        "index",
        "index",
        {"main": ("index", "")},
        files={"main/index.json": index},
        facts={"recall_at_3": {"value": 0.9876, "unit": ""}},
        inputs={"chunks": [("chunks", "main")]},
    )
    teacher = {"provider": "extractive", "model": None, "prompt_digest": "ab" * 32}
    made = [
        {
            "id": f"q{n}",
            "question": QUESTIONS[n % 4],
            "answer": "…",
            "origin": "gemini_qa",
            "type": ("factual", "how", "why")[n % 3],
            "teacher": teacher,
        }
        for n in range(120)
    ]
    rejected = [{"reason": "schema", "detail": "answer missing"}] * 3 + [{"reason": "duplicate", "detail": ""}]
    run.add(
        "gemini_qa",
        "synthesize",
        {"main": ("examples", "")},
        files={"main/examples.jsonl": made, "main/rejected.jsonl": rejected},
        inputs={"documents": [("papers", "main")]},
        facts={
            "teacher": {"value": "extractive", "unit": ""},
            "calls": {"value": 124, "unit": "calls"},
            "cached": {"value": 60, "unit": "calls"},
        },
        warnings=["4 of 124 answers were rejected: schema 3, duplicate 1", HOSTILE],
    )
    read = {"files": [{"file": "recipes/data/manual.jsonl", "read": 14, "bad": 1}], "left_out": 3, "usable": 10, "taken": 10}
    read["filter"] = [{"condition": {"column": "lang", "one_of": ["en"]}, "left_out": 3}]
    run.add("manual", "dataset", {"main": ("examples", "")}, files={"main/examples.jsonl": made[:10], "main/dataset.json": read})
    rules = [("schema", 120, 120, 0), ("language", 120, 97, 2), ("quality", 118, 118, 7)]
    dropped = [{**made[0], "reason": "language", "detail": "it is in `de` (confidence 0.98)"}] * 2
    dropped += [{**made[1], "reason": "quality", "detail": f"grade 2: {HOSTILE}"}] * 7
    graded = {"calls": 110, "cached": 8, "tokens_in": 91_000, "tokens_out": 4_100, "money": 0.0345, "latency_p50": 0.8, "latency_p95": 2.4}
    run.add(
        "curated",
        "curate",
        {"main": ("examples", "")},
        files={
            "main/examples.jsonl": made[:111],
            "main/rejected.jsonl": dropped,
            "main/curation.json": {
                "given": 120,
                "taken": 111,
                "rules": [dict(zip(("rule", "given", "checked", "dropped"), rule, strict=True)) for rule in rules],
            },
        },
        inputs={"examples": [("gemini_qa", "main")]},
        facts={
            "teacher": {"value": "gemini gemini-3.8-flash", "unit": ""},
            "retried": {"value": 3, "unit": "calls"},
            "rejected": {"value": {"malformed": 2, "safety": 1}, "unit": ""},
            **{name: {"value": value, "unit": ""} for name, value in graded.items()},
        },
    )
    parts = {"train": (made[:108], 0.9), "test": (made[108:], 0.1)}
    files = {}
    for name, (rows, share) in parts.items():
        files[f"{name}/examples.jsonl"] = rows
        files[f"{name}/split.json"] = {
            "part": name,
            "share": share + 0.004,
            "wanted": share,
            "groups": 7,
            "dropped": int(name == "test"),
            "repeated": 2 * (name == "test"),
            "topics": [{"terms": ["attention", "head", "layer"], "examples": len(rows)}],
            "leakage": {
                "document": 0.0,
                "context": 0.0,
                "question": 0.0,
                "near_question": 0.25 * (name == "test"),
                "shown": 0.125 * (name == "test"),
                "any": 0.25 * (name == "test"),
                "answer": 0.0,
                "pairs": [],
            },
        }
    twin = {"reason": "leaks", "detail": "its question stands in a larger part, as q3", "question": QUESTIONS[3], "id": "q200"}
    files["test/rejected.jsonl"] = [twin]
    run.add(
        "splits", "split", {"train": ("examples", ""), "test": ("examples", "")}, files=files, inputs={"examples": [("gemini_qa", "main")]}
    )


def _models(run: FakeRun) -> None:
    run.add(
        "base",
        "model",
        {"main": ("model", "full")},
        files={"main/model.json": {"form": "full"}},
        seconds=18.2,
        facts={"peak_memory": {"value": 1.31e9, "unit": "bytes"}},
    )
    for name, floor in (("lora", 1.9), ("qlora", 2.0)):
        log = [{"step": n, "loss": floor + 1.4 * math.exp(-n / 12), "learning_rate": 2e-4} for n in range(1, 41)]
        log += [{"step": n, "eval_loss": floor + 0.2 + 1.3 * math.exp(-n / 12)} for n in (10, 20, 30, 40)]
        facts = {
            "peak_memory": {"value": 1.7e9, "unit": "bytes"},
            "tokens_per_second": {"value": 3456.7, "unit": "tokens/s"},
            "trainable_parameters": {"value": 1_343_488, "unit": "parameters"},
            "trainable_percent": {"value": 4.32, "unit": "%"},
            "allocator": {"value": "resident set", "unit": ""},
        }
        run.add(
            name,
            "train",
            {"main": ("model", "adapter")},
            files={"main/model.json": {"form": "adapter"}, "main/log.jsonl": log},
            facts=facts,
            seconds=9.6,
            params={"learning_rate": 2e-4, "method": {"kind": name, "r": 16}, "bf16": False, "seed": 3407, "optim": "adamw"},
            inputs={"model": [("base", "main")], "examples": [("splits", "train")]},
        )
    quantization = {
        "quantization": "Q4_K_M",
        "tensors": {
            "F32": {"count": 17, "bytes": 9000, "parameters": 2250},
            "Q4_K": {"count": 26, "bytes": 2_400_000, "parameters": 4_266_667},
            "Q6_K": {"count": 4, "bytes": 700_000, "parameters": 853_333},
        },
        "fallbacks": [],
        "bits_per_weight": 4.91,
        "file_bytes": 3_312_640,
    }
    run.add(
        "gguf",
        "export",
        {"main": ("model", "gguf")},
        files={"main/quantization.json": quantization, "main/model.gguf": "GGUF"},
        inputs={"model": [("lora", "main")]},
        params={"quantization": "Q4_K_M"},
    )


def _answers_and_scores(run: FakeRun) -> None:
    draw, arms, items, paired, inputs = random.Random(7), [], [], [], []
    gain = {"base": 0.0, "lora": 0.25, "qlora": 0.2, "gguf": 0.22}
    for system in SYSTEMS:
        for rag in RAGS:
            axes = {"system": system, "rag": rag}
            factor = 1 + gain[system] + (0.18 if rag == "index" else 0)
            retrieved = [{"chunk": "text-0#1", "document": "text-0", "page": 2, "score": 0.71}] if rag == "index" else []
            answers = [
                {
                    "id": f"q{108 + n}",
                    "question": QUESTIONS[n % 4],
                    "reference": "It replaces the update of the full matrix by a product of two thin ones.",
                    "answer": HOSTILE
                    if n == 0 and system == "base"
                    else f"{system} answers with {rag}: a product of two thin matrices. " * (1 + n % 2),
                    "prompt": "…",
                    "documents": ["text-0"],
                    "retrieved": retrieved,
                    "finish": "stop",
                }
                for n in range(12)
            ]
            name = run.add(
                "answers",
                "answer",
                {"main": ("answers", "")},
                axes=axes,
                files={"main/answers.jsonl": answers, "main/answers.json": {"form": "full"}},
                inputs={"model": [(system, "main")], "questions": [("splits", "test")]},
                warnings=["3 answers were cut off"] if rag == "index" else [],
            )
            inputs.append((name, "main"))
            values = {}
            for metric, (_, higher, level) in METRICS.items():
                mean = level * factor if higher else level / factor
                values[metric] = {"mean": mean, "low": mean * 0.93, "high": mean * 1.06, "n": 12}
                if (system, rag) != ("base", "none"):
                    difference = mean - level
                    width = abs(level) * 0.22
                    paired.append(
                        {
                            "metric": metric,
                            "arm": axes,
                            "baseline": {"system": "base", "rag": "none"},
                            "difference": difference,
                            "low": difference - width,
                            "high": difference + width,
                            "p": 0.01,
                            "p_adjusted": 0.04,
                            "n": 12,
                            "better": 8,
                            "worse": 3,
                            "ties": 1,
                        }
                    )
            arms.append({"axes": axes, "n": 12, "values": values})
            items += [
                {
                    "id": f"q{108 + n}",
                    "axes": axes,
                    "values": {
                        metric: max(0.0, mean + draw.gauss(0, 0.3) * mean) for metric in METRICS for mean in [values[metric]["mean"]]
                    },
                }
                for n in range(12)
            ]
    scores = {
        "metrics": [
            {
                "name": name,
                "title": title,
                "higher_is_better": higher,
                "aggregation": "mean",
                "unit": "of 100" if higher else "nats a token",
                "source": "Lin (2004)",
                "version": 1,
                "normalisation": "lower case, no articles, no punctuation",
            }
            for name, (title, higher, _) in METRICS.items()
        ],
        "items": 12,
        "baseline": {"system": "base", "rag": "none"},
        "arms": arms,
        "paired": paired,
        "missing_arms": [],
        "left_out": {"items": 2, "changed": 0},
        "bootstrap": {"samples": 1000, "confidence": 0.95, "seed": 0},
    }
    run.add(
        "scores",
        "evaluate",
        {"main": ("scores", "")},
        files={"main/scores.json": scores, "main/items.jsonl": items},
        inputs={"answers": inputs},
    )


def failed(store: Path) -> Path:
    """A run in which training failed, and all after it was blocked."""
    run = FakeRun(store)
    run.record |= {"status": "failed", "finished": "2026-11-20T10:00:09Z"}
    _data(run)
    run.add(
        "lora",
        "train",
        {"main": ("model", "adapter")},
        state="failed",
        log=f"line 1\n{HOSTILE}\n",
        error={"message": f"the loss became NaN at step 3 {HOSTILE}", "remedy": "lower learning_rate first"},
    )
    run.add("gguf", "export", {"main": ("model", "gguf")}, state="blocked", why="lora failed", seconds=None, key=None)
    return run.save()


def toy(store: Path) -> Path:
    """A run of kinds that the report knows nothing about."""
    run = FakeRun(store, recipe="toys")
    run.add("bricks", "toy", {"main": ("bricks", "")}, files={"main/wall.txt": "three\n"}, facts={"height": {"value": 3, "unit": "bricks"}})
    return run.save()


if __name__ == "__main__":
    from runner.reports import render

    print(render(full(Path(sys.argv[1]))))
