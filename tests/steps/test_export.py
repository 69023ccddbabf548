"""The export step: every parameter matters, what it writes is whole, and what cannot be exported is said."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
import pytest

from runner.contract import Output, Resources, Upstream
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


#: Turns before the first example's question.
HISTORY: Any = [{"role": "user", "content": "What is a rank?"}, {"role": "assistant", "content": "A number."}]


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
        (root / "examples").mkdir()
        rows: list[dict[str, Any]] = [
            {"id": str(number), "question": f"Why {number}?", "answer": text} for number, text in enumerate(tiny.TEXTS)
        ]
        rows[0]["history"] = HISTORY
        (root / "examples" / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def inputs(self, model: str = "adapter", *, searched: bool = False, calibrated: bool = False) -> dict[str, Any]:
        inputs = {"model": artifact(self.root / model, Output("model", "adapter" if model == "adapter" else "full"))}
        others = {"index": searched, "examples": calibrated}
        ports = {"index": "index", "examples": "calibration"}
        return inputs | {ports[name]: artifact(self.root / name, Output(name)) for name, bound in others.items() if bound}

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
    passage = {"id": "d#1", "text": "A {{ text }}.", "title": "T", "section": "S", "page": 1, "document": "d", "score": 0.5}
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


def test_a_calibrated_export_says_on_what_and_keeps_the_matrix(world: World, tmp_path: Path) -> None:
    context = world.run(tmp_path, world.inputs(calibrated=True), calibration={"count": 3, "max_length": 40})
    out = tmp_path / "out" / "main"
    assert (out / "imatrix.gguf").is_file()
    assert context.facts["calibration_examples"] == 3
    assert 60 < context.facts["calibration_tokens"] <= 120
    assert "measured over 3 texts" in (out / "README.md").read_text()
    counted = json.loads((out / "quantization.json").read_text())["calibration"]
    assert counted == {"texts": 3, "tokens": context.facts["calibration_tokens"], "tensors": 14}
    world.run(tmp_path / "plain", world.inputs())
    plain, calibrated = (files(folder / "out" / "main")["model.gguf"] for folder in (tmp_path / "plain", tmp_path))
    assert plain != calibrated


def test_the_model_is_calibrated_as_it_is_exported(world: World, tmp_path: Path) -> None:
    """On the conversations that it is trained on, earlier turns and all, its adapter merged."""
    from transformers import AutoTokenizer

    from runner.gguf.importance import measure
    from runner.prompts import load
    from tests.gguf.test_importance import opened

    world.run(tmp_path, world.inputs(calibrated=True), calibration={"count": None})
    tokens = AutoTokenizer.from_pretrained(world.root / "full")
    prompt = load(world.root, "prompts/answer.j2")
    texts = []
    for number, answer in enumerate(tiny.TEXTS):
        said = ("Answer briefly.", prompt.render(question=f"Why {number}?", passages=[]), answer)
        turns = [{"role": role, "content": text} for role, text in zip(("system", "user", "assistant"), said, strict=True)]
        turns[1:1] = HISTORY if number == 0 else []
        texts.append(tokens.apply_chat_template(turns, return_dict=True)["input_ids"])
    from peft import PeftModel

    merged = PeftModel.from_pretrained(opened(world.root / "full"), world.root / "adapter").merge_and_unload()
    expected = measure(merged, texts).sums["model.layers.1.mlp.down_proj.weight"]
    stored = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "out" / "main" / "imatrix.gguf").tensors}
    np.testing.assert_allclose(stored["blk.1.ffn_down.weight.in_sum2"][0], expected, rtol=1e-5)


def test_conversations_that_are_too_long_begin_later_and_are_said_so(world: World, tmp_path: Path) -> None:
    """Down to 60 tokens, where the first example still ends with its answer: without its earlier turns it has 55."""
    context = world.run(tmp_path, world.inputs(calibrated=True), calibration={"count": None, "max_length": 60})
    assert context.warnings[0] == "1 of 4 calibration examples begin later: 1 earliest exchange left out to fit max_length 60"


def test_a_model_without_a_chat_template_cannot_be_calibrated(world: World, tmp_path: Path) -> None:
    shutil.copytree(world.root / "full", tmp_path / "full")
    (tmp_path / "full" / "chat_template.jinja").unlink()
    inputs = world.inputs(calibrated=True) | {"model": artifact(tmp_path / "full", Output("model", "full"))}
    with pytest.raises(StepError, match="the model has no chat template"):
        world.run(tmp_path, inputs, calibration={})


def test_fewer_examples_than_asked_for_are_said(world: World, tmp_path: Path) -> None:
    context = world.run(tmp_path, world.inputs(calibrated=True), calibration={"count": 5})
    assert context.warnings == ["calibrated on all 4 examples, fewer than calibration.count 5"]


@pytest.mark.parametrize(
    ("params", "bound", "found"),
    [
        ({"calibration": {}}, False, "no examples are bound"),
        ({}, True, "examples are bound, and nothing is calibrated"),
        ({"calibration": {}, "quantization": "Q8_0"}, True, "Q8_0 does not weigh columns"),
        ({"calibration": {}}, True, None),
        ({}, False, None),
    ],
)
def test_calibration_is_bound_and_asked_for_or_neither(params: dict[str, Any], bound: bool, found: str | None) -> None:
    upstream = {"calibration": [Upstream("splits", "split", None, Output("examples"))]} if bound else {}
    faults = list(export.check(msgspec.convert(params, export.Params), upstream))
    assert [(fault.path, fault.found) for fault in faults] == ([("calibration", found)] if found else [])


@pytest.mark.parametrize(("dtype", "gigabytes"), [("float16", 6.9), ("float32", 13.5)])
def test_a_calibration_is_estimated_for_the_plan(dtype: str, gigabytes: float, tmp_path: Path) -> None:
    from runner.steps import model

    pretrained = msgspec.convert({"pretrained": {"id": "Qwen/Qwen2.5-3B-Instruct"}}, model.Params)
    upstream = {"model": [Upstream("base", "model", pretrained, Output("model", "full"))]}
    params = msgspec.convert({"calibration": {"dtype": dtype}}, export.Params)
    estimate = export.memory(params, upstream, tmp_path)
    assert estimate is not None
    assert estimate.total == pytest.approx(gigabytes * 1e9, rel=0.1)
    assert export.memory(export.Params(), upstream, tmp_path) is None


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
#: Field of the calibration -> the other value.
CALIBRATION: dict[str, Any] = {"count": 2, "max_length": 30, "dtype": "bfloat16", "seed": 1}
PROVED: set[str] = {*CASES, *(f"calibration.{field}" for field in CALIBRATION)}


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


@pytest.mark.parametrize("field", CALIBRATION)
def test_every_setting_of_the_calibration_changes_the_outcome(field: str, world: World, tmp_path: Path) -> None:
    def outcome(name: str, **values: Any) -> bytes:
        world.run(tmp_path / name, world.inputs("full", calibrated=True), calibration={"count": 3} | values)
        return (tmp_path / name / "out" / "main" / "imatrix.gguf").read_bytes()

    assert outcome("default") != outcome("changed", **{field: CALIBRATION[field]})
