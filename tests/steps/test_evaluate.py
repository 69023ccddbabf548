from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import MAIN, Artifact, Output, Upstream
from runner.errors import StepError
from runner.steps import kind
from tests.evaluation.test_scoring import BASE, TUNED, rows
from tests.steps.local_context import LocalContext, artifact

KIND = kind("evaluate")
PARAMS: dict[str, Any] = {"metrics": ["rouge", "exact_match", "held_out_loss"], "baseline": {"system": "base"}}

#: Field -> (another value, the part of scores.json that must then differ).
CASES: dict[str, tuple[Any, Callable[[dict[str, Any]], Any]]] = {
    "metrics": (["bleu"], lambda scores: [list(arm["values"]) for arm in scores["arms"]]),
    "baseline": ({"system": "tuned"}, lambda scores: [pair["difference"] for pair in scores["paired"]]),
    "samples": (150, lambda scores: scores["arms"][0]["values"]["held_out_loss"]["low"]),
    "confidence": (0.5, lambda scores: scores["arms"][0]["values"]["held_out_loss"]["low"]),
    "seed": (1, lambda scores: scores["arms"][0]["values"]["held_out_loss"]["low"]),
}
PROVED = set(CASES)


class WithMissing(LocalContext):
    missing = ("answers[system=gguf,rag=none]",)


def answers(folder: Path, axes: dict[str, str], right: int, step: str = "answers") -> Artifact:
    folder.mkdir(parents=True)
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(right=right)), encoding="utf-8")
    return artifact(folder, Output("answers"), step, axes)


@pytest.fixture
def arms(tmp_path: Path) -> list[Artifact]:
    return [answers(tmp_path / "base", BASE, 5), answers(tmp_path / "tuned", TUNED, 20)]


@pytest.fixture
def run(tmp_path: Path, arms: list[Artifact]) -> Callable[..., tuple[Path, LocalContext]]:
    def run(
        params: dict[str, Any], name: str = "run", inputs: list[Artifact] | None = None, context: type[LocalContext] = LocalContext
    ) -> tuple[Path, LocalContext]:
        ctx = context(tmp_path / name, tmp_path)
        KIND.module.run(msgspec.convert(params, KIND.params), {"answers": inputs or arms}, tmp_path / name / "out", ctx)
        return tmp_path / name / "out" / MAIN, ctx

    return run


def scores(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("field", sorted(CASES))
def test_every_field_is_used(field: str, run: Any) -> None:
    value, part = CASES[field]
    before, after = scores(run(PARAMS)[0]), scores(run({**PARAMS, field: value}, "after")[0])
    assert part(before) != part(after)


def test_payload_is_what_the_formats_say(run: Any) -> None:
    folder, ctx = run(PARAMS)
    found = scores(folder)
    assert set(found) >= {"metrics", "items", "baseline", "arms", "paired", "missing_arms"}
    assert [metric["name"] for metric in found["metrics"]] == ["rouge_1", "rouge_2", "rouge_l", "exact_match", "held_out_loss"]
    assert found["baseline"] == BASE
    assert set(found["arms"][1]["values"]["rouge_l"]) == {"mean", "low", "high", "n"}
    assert set(found["paired"][0]) == {
        "metric", "arm", "baseline", "difference", "low", "high", "p", "p_adjusted", "n", "better", "worse", "ties",
    }  # fmt: skip
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(items) == 80
    assert set(items[0]["values"]) == {metric["name"] for metric in found["metrics"]}
    assert ctx.last_progress == (400, 400, "scores")
    assert ctx.facts == {"arms": 2, "items": 40}
    assert ctx.warnings == []


def test_the_same_answers_give_the_same_bytes(run: Any) -> None:
    first, second = run(PARAMS)[0], run(PARAMS, "again")[0]
    for name in ("scores.json", "items.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_without_a_baseline_nothing_is_compared(run: Any) -> None:
    found = scores(run({"metrics": ["bleu"]})[0])
    assert (found["baseline"], found["paired"]) == (None, [])


def test_a_failed_arm_is_named(run: Any) -> None:
    folder, ctx = run(PARAMS, context=WithMissing)
    assert scores(folder)["missing_arms"] == ["answers[system=gguf,rag=none]"]
    assert ctx.warnings == []


def test_a_failed_baseline_leaves_scores_without_comparisons(run: Any) -> None:
    folder, ctx = run({**PARAMS, "baseline": {"system": "gguf"}}, context=WithMissing)
    assert scores(folder)["paired"] == []
    assert ctx.warnings == ["the baseline answers[system=gguf,rag=none] failed, so the other arms are compared with nothing"]


def test_a_baseline_that_is_not_one_arm(run: Any, tmp_path: Path, arms: list[Artifact]) -> None:
    with pytest.raises(StepError) as caught:
        run({**PARAMS, "baseline": {"system": "bsae"}})
    assert str(caught.value) == (
        "baseline: there is no arm system=bsae to be the baseline\n  name exactly one of: system=base; system=tuned"
    )
    third = answers(tmp_path / "rag", {**TUNED, "rag": "index"}, 9)
    with pytest.raises(StepError, match="baseline: system=tuned matches 2 arms"):
        run({**PARAMS, "baseline": TUNED}, inputs=[*arms, third])


def test_answers_of_several_steps_are_told_apart_by_the_step(run: Any, tmp_path: Path) -> None:
    gathered = [answers(tmp_path / step, {}, right, step) for step, right in [("plain", 5), ("better", 20)]]
    found = scores(run({"metrics": ["exact_match"], "baseline": {"step": "plain"}}, inputs=gathered)[0])
    assert [arm["axes"] for arm in found["arms"]] == [{"step": "plain"}, {"step": "better"}]
    assert found["paired"][0]["difference"] == 37.5


def test_a_baseline_is_looked_up_before_the_run() -> None:
    upstream = {
        "answers": [Upstream("answers", "answer", None, Output("answers"), axes) for axes in (BASE, TUNED, {**TUNED, "rag": "index"})]
    }

    def faults(baseline: dict[str, str] | None) -> list[tuple[str, str, str]]:
        params = msgspec.convert({**PARAMS, "metrics": ["bleu"], "baseline": baseline}, KIND.params)
        return [(fault.path, fault.found, fault.expected) for fault in KIND.check(params, upstream)]

    assert faults(BASE) == faults(None) == faults({"rag": "index"}) == []
    assert faults({"system": "bsae"}) == [
        (
            "baseline",
            "there is no arm system=bsae to be the baseline",
            "exactly one of: system=base; system=tuned; system=tuned, rag=index",
        )
    ]
    assert faults(TUNED) == [("baseline", "system=tuned matches 2 arms", "exactly one of: system=tuned; system=tuned, rag=index")]


def test_the_metrics_that_claims_may_name() -> None:
    params = msgspec.convert({"metrics": ["rouge", "bleu"]}, KIND.params)
    assert list(KIND.measures(params)) == ["rouge_1", "rouge_2", "rouge_l", "bleu"]


def test_losses_that_were_not_asked_for_are_found_before_the_run() -> None:
    class Answer(msgspec.Struct):
        reference_loss: bool

    params = msgspec.convert(PARAMS, KIND.params)
    upstream = {"answers": [Upstream("answers", "answer", Answer(False), Output("answers"), BASE)]}
    [fault] = KIND.check(params, upstream)
    assert (fault.path, fault.found, fault.expected) == (
        "metrics[2]", "step answers does not measure the loss", "reference_loss: true in that step",
    )  # fmt: skip
    assert list(KIND.check(params, {"answers": [Upstream("answers", "answer", Answer(True), Output("answers"), BASE)]})) == []
    assert list(KIND.check(msgspec.convert({"metrics": ["bleu"]}, KIND.params), upstream)) == []


@pytest.mark.parametrize("wrong", [{"metrics": []}, {"metrics": ["rogue"]}, {**PARAMS, "confidence": 1}, {**PARAMS, "samples": 10}, {}])
def test_wrong_params_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, KIND.params)
