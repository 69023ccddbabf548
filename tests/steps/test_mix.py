from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import Output, Upstream
from runner.errors import StepError
from runner.steps import mix
from tests.steps.local_context import LocalContext, artifact


def row(question: str, answer: str = "a", **more: Any) -> dict[str, Any]:
    return {"id": question, "question": question, "answer": answer, "documents": ["d"], "origin": "o", **more}


SETS = {
    "manual": [row(f"m{n}") for n in range(4)],
    "synthetic": [row(f"s{n}") for n in range(10)] + [row("M1", "A."), row("m2"), row("m3", "other")],
}
#: What only a search for near-duplicates finds: another answer, and nearly the same question.
NEAR = {
    **SETS,
    "nearly": [
        row(
            "Which optimiser did the authors of the paper choose for the second round of fine-tuning", "Adam, with a warm-up of 500 steps."
        ),
        row("Which optimizer did the authors of the paper choose for the second round of fine-tuning", "None."),
        row(
            "Which optimiser did the authors of the paper choose for the second round of fine-tuning?", "Adam, with a warmup of 500 steps."
        ),
    ],
}


def run(
    tmp_path: Path, sets: dict[str, list[dict[str, Any]]] | None = None, **params: Any
) -> tuple[list[str], dict[str, Any], LocalContext]:
    artifacts = []
    for name, rows in (sets or SETS).items():
        folder = tmp_path / name / "main"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "examples.jsonl").write_text("".join(json.dumps(example) + "\n" for example in rows))
        artifacts.append(artifact(folder, "examples", step=name))
    ctx = LocalContext(tmp_path / "ctx", tmp_path)
    mix.run(msgspec.convert(params, mix.Params), {"examples": artifacts}, tmp_path / "out", ctx)
    rows = [json.loads(line) for line in (tmp_path / "out" / "main" / "examples.jsonl").read_text().splitlines()]
    return [example["question"] for example in rows], json.loads((tmp_path / "out" / "main" / "mix.json").read_text()), ctx


#: A field of Params -> settings that must all give different mixes.
CASES: dict[str, list[dict[str, Any]]] = {
    "duplicates": [{"duplicates": value} for value in ("keep", "exact", "normalised", "question", "near", "near_question")],
    "near_duplicate": [{"duplicates": "near_question", "near_duplicate": value} for value in (0.5, 0.95)],
    "limits": [{}, {"limits": {"synthetic": 3}}],
    "weights": [{}, {"weights": {"manual": 0.8, "synthetic": 0.2}}],
    "seed": [{"limits": {"synthetic": 3}}, {"limits": {"synthetic": 3}, "seed": 1}],
}
PROVED: set[str] = set(CASES)


@pytest.mark.parametrize("field", CASES)
def test_every_field_changes_the_mix(tmp_path: Path, field: str) -> None:
    found = [tuple(run(tmp_path, NEAR, **params)[0]) for params in CASES[field]]
    assert len(set(found)) == len(found)


def test_counts_are_kept_with_the_mix(tmp_path: Path) -> None:
    questions, counts, ctx = run(tmp_path, limits={"synthetic": 3})
    assert len(questions) == 7
    assert counts == {"sets": [
        {"set": "manual", "given": 4, "duplicates": 0, "left_out": 0, "taken": 4},
        {"set": "synthetic", "given": 13, "duplicates": 2, "left_out": 8, "taken": 3},
    ]}  # fmt: skip
    assert ctx.facts == {"examples": 7, "duplicates": 2}
    assert ctx.messages[1] == "synthetic: 3 of 13 examples, 2 duplicates, 8 left out"


def test_a_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="`other` is no set of this mix"):
        run(tmp_path, limits={"other": 3})
    upstream = {"examples": [Upstream("manual", "dataset", None, Output("examples"))]}
    (fault,) = mix.check(msgspec.convert({"weights": {"manul": 1.0}}, mix.Params), upstream)
    assert (fault.path, fault.found, fault.expected) == ("weights.manul", "is no set of this mix", "manual")
    assert [f.path for f in mix.check(msgspec.convert({"weights": {"manual": 0.0}}, mix.Params), upstream)] == ["weights"]


def test_an_empty_mix_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="the mix holds no examples"):
        run(tmp_path, limits={"manual": 0, "synthetic": 0})
    _, _, ctx = run(tmp_path, limits={"manual": 0})
    assert ctx.warnings == ["nothing of manual is in the mix"]


def test_outputs_and_arms_of_one_step_are_sets_of_their_own(tmp_path: Path) -> None:
    made = [
        artifact(tmp_path / "train", "examples", step="splits"),
        artifact(tmp_path / "test", "examples", step="splits"),
        artifact(tmp_path / "main", "examples", step="qa", axes={"teacher": "a"}),
        artifact(tmp_path / "main", "examples", step="qa", axes={"teacher": "b"}),
    ]
    assert list(mix._names(made)) == ["splits.train", "splits.test", "qa", "qa[teacher=b]"]


def test_a_threshold_without_a_search_is_refused() -> None:
    (fault,) = mix.check(msgspec.convert({"near_duplicate": 0.9}, mix.Params), {})
    assert (fault.path, fault.found) == ("near_duplicate", "has no use with `duplicates: normalised`")
    assert not list(mix.check(msgspec.convert({"near_duplicate": 0.9, "duplicates": "near"}, mix.Params), {}))
