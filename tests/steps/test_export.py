"""The export step: every parameter matters, what it writes is whole, and what cannot be exported is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import Output, Resources
from runner.errors import StepError
from runner.gguf.llama import Model
from runner.steps import export
from tests.gguf import tiny
from tests.gguf.test_bundle import index
from tests.steps.local_context import LocalContext, artifact

PROMPTS = {
    "prompts/answer.j2": "{% include 'prompts/shared/_passages.j2' %}\nQuestion: {{ question }}\n",
    "prompts/shared/_passages.j2": "{% for passage in passages %}\n{% include 'prompts/shared/_passage.j2' %}\n{% endfor %}\n",
    "prompts/shared/_passage.j2": "{{ passage.text }}\n",
    "prompts/other.j2": "{{ question }}{% if passages %}!{% endif %}",
}


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in PROMPTS.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        tiny.model(root / "full", initializer_range=0.05)
        tiny.adapter(root / "adapter", root / "full")
        tiny.model(root / "narrow", intermediate_size=320)
        index(root / "index")

    def inputs(self, model: str = "adapter", *, searched: bool = False) -> dict[str, Any]:
        inputs = {"model": artifact(self.root / model, Output("model", "adapter" if model == "adapter" else "full"))}
        return inputs | ({"index": artifact(self.root / "index", Output("index"))} if searched else {})

    def run(self, folder: Path, inputs: Mapping[str, Any], **values: Any) -> LocalContext:
        base = artifact(self.root / "full", Output("model", "full"))
        context = LocalContext(folder, self.root, Resources(device="cpu", threads=1), artifacts={"base-key/main": base})
        export.run(msgspec.convert(values, export.Params), inputs, folder / "out", context)
        return context


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_adapter_becomes_one_file_with_all_that_is_needed(world: World, tmp_path: Path) -> None:
    context = world.run(tmp_path, world.inputs(searched=True))
    out = tmp_path / "out" / "main"
    assert {name for name in files(out) if "/" not in name} == {
        "model.gguf",
        "model.json",
        "quantization.json",
        "inference.py",
        "inference.json",
        "README.md",
        "Modelfile",
    }
    assert files(out / "index") == files(world.root / "index")
    assert json.loads((out / "model.json").read_text()) == {"form": "gguf", "architecture": "qwen2", "system_prompt": "Answer briefly."}
    report = json.loads((out / "quantization.json").read_text())
    assert report["fallbacks"] == []
    assert sum(entry["count"] for entry in report["tensors"].values()) == 26
    assert context.facts["file_bytes"] == report["file_bytes"] == (out / "model.gguf").stat().st_size
    assert context.facts["bits_per_weight"] == report["bits_per_weight"]
    assert context.last_progress == (report["parameters"], report["parameters"], "parameters")
    with Model(out / "model.gguf") as model:
        assert model.render([{"role": "user", "content": "Why?"}]) == "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"


def test_the_script_renders_the_prompt_as_the_runner_does(world: World, tmp_path: Path) -> None:
    from runner.gguf.inference import prompt
    from runner.prompts import load

    world.run(tmp_path, world.inputs())
    settings = json.loads((tmp_path / "out" / "main" / "inference.json").read_text())
    assert settings["templates"].keys() == PROMPTS.keys() - {"prompts/other.j2"}
    passage = {"text": "A {{ text }}.", "title": "T", "section": "S", "page": 1, "document": "d", "score": 0.5}
    for passages in ([], [passage], [passage, passage]):
        assert prompt(settings, "Why?", passages) == load(world.root, "prompts/answer.j2").render(question="Why?", passages=passages)


def test_the_script_answers(world: World, tmp_path: Path) -> None:
    world.run(tmp_path, world.inputs(), max_new_tokens=5)
    command = [sys.executable, "-I", str(tmp_path / "out" / "main" / "inference.py"), "Why?"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.strip()


def test_the_same_input_gives_the_same_bytes(world: World, tmp_path: Path) -> None:
    for name in ("one", "two"):
        world.run(tmp_path / name, world.inputs(searched=True))
    assert files(tmp_path / "one" / "out") == files(tmp_path / "two" / "out")


def test_a_full_model_and_its_adapter_differ(world: World, tmp_path: Path) -> None:
    for name in ("full", "adapter"):
        world.run(tmp_path / name, world.inputs(name))
    one, two = (files(tmp_path / name / "out" / "main")["model.gguf"] for name in ("full", "adapter"))
    assert one != two
    assert len(one) == len(two)


def test_an_allowed_fall_back_is_said(world: World, tmp_path: Path) -> None:
    context = world.run(tmp_path, world.inputs("narrow"), allow_fallback=True)
    assert context.warnings == [
        "another type than Q4_K_M gives: blk.0.ffn_down.weight: 320 columns are not divisible by 256, Q5_0 instead of Q4_K",
        "another type than Q4_K_M gives: blk.1.ffn_down.weight: 320 columns are not divisible by 256, Q8_0 instead of Q6_K",
    ]


def test_the_prompt_is_declared() -> None:
    (use,) = export.prompts(export.Params())
    assert (use.field, use.file, use.variables) == ("prompt", "prompts/answer.j2", {"question", "passages"})


#: Field -> the model, and the other value.
CASES: dict[str, tuple[str, Any]] = {
    "quantization": ("full", "Q8_0"),
    "pure": ("full", True),
    "allow_fallback": ("narrow", True),
    "prompt": ("full", "prompts/other.j2"),
    "top_k": ("full", 5),
    "max_new_tokens": ("full", 7),
}
PROVED: set[str] = set(CASES)


@pytest.mark.parametrize("field", CASES)
def test_every_parameter_changes_the_outcome(field: str, world: World, tmp_path: Path) -> None:
    model, value = CASES[field]

    def outcome(name: str, **values: Any) -> object:
        try:
            world.run(tmp_path / name, world.inputs(model), **values)
        except StepError as error:
            return str(error)
        return files(tmp_path / name / "out")

    assert outcome("default") != outcome("changed", **{field: value})
