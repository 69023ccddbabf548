"""What `recipe plan` says of GPU memory."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from runner.cli import call
from runner.cli.footprints import CARDS, verdict
from runner.contract import Memory

RECIPE = """\
recipe: 1
name: sizes
steps:
  data: {{uses: dataset, with: {{path: data.jsonl}}}}
  base:
    uses: model
    with: {{{model}}}
  qlora:
    uses: train
    from: {{model: base, examples: data}}
    with:
      method: {{kind: qlora, r: "${{matrix.rank}}", target_modules: all-linear, bnb_4bit_compute_dtype: {dtype}}}
      dtype: {dtype}
      optim: paged_adamw_32bit
      seed: "${{matrix.seed}}"
  full: {{uses: train, like: qlora, with: {{method: {{kind: full}}, dtype: bfloat16}}}}
  further: {{uses: train, from: {{model: qlora, examples: data}}, with: {{method: {{kind: continue}}, dtype: {dtype}}}}}
  answers:
    uses: answer
    from: {{model: "${{matrix.system}}", questions: data}}
    with: {{prompt: prompt.j2, dtype: {dtype}, max_new_tokens: 64}}
matrix:
  seed: [1, 2]
  rank: [4, 8]
  system: [base, qlora, further, full]
"""

QWEN_7B = "pretrained: {id: Qwen/Qwen2.5-7B-Instruct}"


def plan(project: Path, capfd: pytest.CaptureFixture[str], model: str = QWEN_7B, dtype: str = "float16", *arguments: str) -> str:
    (project / "recipes").mkdir(exist_ok=True)
    (project / "recipes/sizes.yaml").write_text(RECIPE.format(model=model, dtype=dtype))
    (project / "data.jsonl").write_text('{"question": "Q", "answer": "A"}\n')
    (project / "prompt.j2").write_text("{{ question }}")
    capfd.readouterr()
    assert call(("plan", "recipes/sizes.yaml", "--unpinned", *arguments)) == 0
    return capfd.readouterr().out


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RECIPE_ARTIFACTS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(said: str) -> dict[tuple[str, str], list[str]]:
    """Rows by step and arm: what it is about, and a verdict for each card."""
    lines = [line for line in said[said.index("GPU memory at the peak") :].splitlines()[2:] if line.startswith("  ")]
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    cells = 1 + len(CARDS)
    return {(row[0], "  ".join(row[1:-cells])): row[-cells:] for row in rows}


def test_arms_are_shown_together_where_they_need_as_much(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = table(plan(project, capfd))
    assert set(found) == {
        ("qlora", ""), ("full", ""), ("further", ""),
        ("answers", "system=base"), ("answers", "system=qlora"), ("answers", "system=further"), ("answers", "system=full"),
    }  # fmt: skip
    assert found["qlora", ""][1:] == ["fits", "fits", "fits"]
    assert found["full", ""][1:3] == ["does not fit", "does not fit"]
    assert found["full", ""][3].endswith("GB of it in main memory")
    assert found["answers", "system=base"][1:] == ["does not fit", "fits", "fits"]
    assert found["answers", "system=further"] == found["answers", "system=qlora"]
    assert found["answers", "system=base"] == found["answers", "system=full"]


def test_a_card_without_bfloat16_is_told(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = plan(project, capfd, QWEN_7B, "bfloat16")
    verdicts = {step: row[1] for (step, _), row in table(said).items()}
    assert verdicts["qlora"] == "no bfloat16"
    assert verdicts["full"] == "does not fit"  # in any type
    assert said.splitlines()[-1].startswith("no bfloat16: ")
    assert "no bfloat16: " not in plan(project, capfd, QWEN_7B, "float16", "--until", "qlora")


@pytest.mark.parametrize("model", ["pretrained: {id: team/unknown}", "pretrained: {id: Qwen/Qwen2.5-7B-Instruct-AWQ}"])
def test_nothing_is_said_where_nothing_is_known(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(project / "cache"))
    assert "GPU memory" not in plan(project, capfd, model)


def test_nothing_is_said_of_models_that_any_card_holds(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (project / "small").mkdir()
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 500}
    (project / "small/config.json").write_text(json.dumps({"model_type": "qwen2", **shape}))
    assert "GPU memory" not in plan(project, capfd, "local: {path: small}")
    (project / "small/config.json").write_text(json.dumps({"model_type": "qwen2", **shape, "hidden_size": 4096, "vocab_size": 500_000}))
    assert ("qlora", "") in table(plan(project, capfd, "local: {path: small}"))


def test_json_has_the_bytes(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(plan(project, capfd, QWEN_7B, "float16", "--format", "json"))["instances"]
    found = {row["id"]: row["gpu_memory"] for row in rows}
    assert found["data"] is None
    assert found["base"] is None
    assert 5e9 < found["qlora[seed=1,rank=4]"]["total"] < found["qlora[seed=1,rank=8]"]["total"] < 16e9
    assert found["full[seed=1]"]["paged"] > 50e9
    assert found["full[seed=1]"]["bfloat16"] is True


def test_verdicts() -> None:
    assert verdict(Memory(9), 10, bfloat16=False) == "fits"
    assert verdict(Memory(10), 10, bfloat16=False) == "fits, but only just"
    assert verdict(Memory(10, bfloat16=True), 10, bfloat16=False) == "no bfloat16"
    assert verdict(Memory(11, bfloat16=True), 10, bfloat16=False) == "does not fit"
    assert verdict(Memory(11), 10, bfloat16=True) == "does not fit"
    assert verdict(Memory(12_000_000_000, 2_000_000_000), 10_000_000_000, bfloat16=True) == "fits, 2.0 GB of it in main memory"
    assert verdict(Memory(12_000_000_001, 2_000_000_000), 10_000_000_000, bfloat16=True) == "does not fit"
