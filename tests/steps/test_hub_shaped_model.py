"""A model as hubs serve them (bfloat16, in shards, with generation settings of its own) through model, train, export and answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.answering import Generation
from runner.answering.gguf import GgufAnswerer
from runner.answering.transformers import TransformersAnswerer
from runner.contract import Artifact, Resources
from runner.steps import answer, export, model, train
from tests.gguf import tiny
from tests.steps.local_context import LocalContext, artifact

EXAMPLES = [
    {"id": str(n), "question": f"What is stored in slot {n}?", "answer": f"The {what} is stored in slot {n}.", "documents": []}
    for n, what in enumerate(("weight", "scale", "query", "key", "value", "block"))
]
LORA = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}


def sharded(folder: Path) -> Path:
    from transformers import AutoModelForCausalLM

    tiny.model(folder, dtype="bfloat16", num_hidden_layers=2, initializer_range=0.05)
    weights = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.json").unlink()
    weights.save_pretrained(folder, max_shard_size="600KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    settings = json.loads((folder / "generation_config.json").read_text())
    own = {"do_sample": True, "repetition_penalty": 1.5, "temperature": 0.7, "top_k": 20, "top_p": 0.8}
    (folder / "generation_config.json").write_text(json.dumps(settings | own))
    return folder


class Project:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.artifacts: dict[str, Artifact] = {}
        (root / "prompts").mkdir()
        (root / "prompts" / "answer.j2").write_text("{{ question }}{% for passage in passages %}{{ passage.text }}{% endfor %}")
        (root / "examples").mkdir()
        (root / "examples" / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in EXAMPLES))
        self.examples = artifact(root / "examples", "examples", "examples")
        self.local = sharded(root / "local")

    def run(self, step: Any, name: str, values: dict[str, Any], inputs: dict[str, Any]) -> Artifact:
        resources = msgspec.convert({"device": "cpu", "threads": 1}, getattr(step, "Resources", Resources))
        context = LocalContext(
            self.root / f"{name}-work", self.root, resources, {"local.path": sorted(self.local.iterdir())}, self.artifacts
        )
        params = msgspec.convert(values, step.Params)
        step.run(params, inputs, self.root / name, context)
        made = artifact(self.root / name / "main", step.outputs(params)["main"], name)
        self.artifacts[made.ref] = made
        return made

    def answers(self, model: Artifact, dtype: str = "float32") -> list[dict[str, Any]]:
        values = {"prompt": "prompts/answer.j2", "max_new_tokens": 40, "dtype": dtype}
        made = self.run(answer, f"answers-{model.step}-{dtype}", values, {"questions": self.examples, "model": model, "index": None})
        return [json.loads(line) for line in (made.path / "answers.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.shared
def test_qwens_own_tokenizer_and_template(tmp_path: Path) -> None:
    """Trained, answered and exported with the vocabulary of Qwen2.5-3B-Instruct, whose template brings a system prompt of its own."""
    tokenizer = Path(__file__).parents[3] / "shared/data/models/tokenizers/qwen2.5"
    if not tokenizer.is_dir():
        pytest.skip("needs ../shared/data/models/tokenizers")
    project = Project(tmp_path)
    for file in project.local.iterdir():
        file.unlink()
    tiny.model(
        project.local, dtype="bfloat16", vocab_size=151_936, num_hidden_layers=1, hidden_size=64, intermediate_size=64,
        bos_token_id=151_643, eos_token_id=151_645, pad_token_id=151_643, max_position_embeddings=1024,
    )  # fmt: skip
    (project.local / "model.json").unlink()
    for file in tokenizer.iterdir():
        shutil.copyfile(file, project.local / file.name)
    base = project.run(model, "base", {"local": {"path": "local"}}, {"documents": None})
    settings = {"max_steps": 1, "learning_rate": 1e-2, "max_length": 128, "dtype": "bfloat16", "method": LORA | {"kind": "lora"}}
    lora = project.run(train, "lora", settings, {"model": base, "examples": project.examples, "evaluation": None})
    gguf = project.run(export, "gguf", {"quantization": "F16", "allow_fallback": True}, {"model": lora, "index": None})
    tuned = TransformersAnswerer(lora.path, lambda ref: project.artifacts[ref].path, threads=1)
    exported = GgufAnswerer(gguf.path, threads=1)
    one, other = tuned.prompt("Why?"), exported.prompt("Why?")
    assert one == other
    assert one.text == (
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    [left], [right] = (model.answer([one], Generation(1), ["It is stored in slot 1,234."]) for model in (tuned, exported))
    assert left.reference_tokens == right.reference_tokens
    assert left.reference_loss == pytest.approx(right.reference_loss, rel=1e-3)
    llama = exported._model
    assert tuned._ends == [token for token in range(llama.vocab_size) if llama.ends(token)]
    exported.close()


def test_every_step_takes_it_and_all_forms_agree(tmp_path: Path) -> None:
    project = Project(tmp_path)
    base = project.run(model, "base", {"local": {"path": "local"}}, {"documents": None})
    assert [path.name for path in base.path.iterdir()] == ["model.json"]

    settings = {
        "max_steps": 30, "per_device_train_batch_size": 3, "learning_rate": 3e-3, "max_length": 128, "dtype": "bfloat16", "bf16": True,
        "prompt": "prompts/answer.j2", "method": LORA | {"kind": "lora"},
    }  # fmt: skip
    trained = {"model": base, "examples": project.examples, "evaluation": None}
    lora = project.run(train, "lora", settings, trained)
    qlora = project.run(train, "qlora", settings | {"method": LORA | {"kind": "qlora"}}, trained)
    gguf = project.run(export, "gguf", {"quantization": "F16"}, {"model": lora, "index": None})

    def loss(rows: list[dict[str, Any]]) -> float:
        tokens = sum(row["reference_tokens"] for row in rows)
        return sum(row["reference_loss"] * row["reference_tokens"] for row in rows) / tokens

    tuned = project.answers(lora)
    untuned = loss(project.answers(base))
    assert loss(tuned) < untuned / 2
    assert loss(project.answers(qlora)) < untuned / 2
    assert loss(project.answers(lora, "bfloat16")) == pytest.approx(loss(tuned), rel=0.1)
    exported = project.answers(gguf)
    assert loss(exported) == pytest.approx(loss(tuned), rel=0.02)
    assert [row["prompt"] for row in exported] == [row["prompt"] for row in tuned]
    assert [row["answer"] for row in exported] == [row["answer"] for row in tuned]
    assert {row["finish"] for row in tuned} == {"stop"}, "the end of the turn is learnt"
