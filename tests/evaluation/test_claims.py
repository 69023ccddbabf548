"""Claims against a run whose scores were really computed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.evaluation.arms import Arm
from runner.evaluation.claims import Verdict, answer_checks, answer_claims
from runner.evaluation.scoring import score
from tests.evaluation.test_scoring import BASE, RAG, TUNED, rows

CLOSE = {"system": "close"}


def instance(step: str, axes: Mapping[str, str] | None = None, state: str = "done", **more: Any) -> dict[str, Any]:
    labels = ",".join(f"{axis}={label}" for axis, label in (axes or {}).items())
    name = f"{step}[{labels}]" if labels else step
    return {"id": name, "step": step, "axes": dict(axes or {}), "state": state, "artifact": None, "facts": {}, "outputs": {}, **more}


def evaluation(
    folder: Path, arms: Sequence[Arm], step: str = "scores", axes: Mapping[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    scored = score(arms, ["exact_match", "bleu", "held_out_loss"], baseline=BASE if arms[0].axes == BASE else None, **more)
    name = "-".join([step, *(axes or {}).values()])
    target = folder / "objects" / name / "main"
    target.mkdir(parents=True)
    (target / "scores.json").write_text(json.dumps(scored.document))
    (target / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in scored.items))
    return instance(step, axes, artifact=f"objects/{name}", outputs={"main": {"type": "scores", "form": ""}})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("artifacts")
    arms = [Arm(BASE, rows(right=5)), Arm(TUNED, rows(right=20)), Arm(RAG, rows(right=35)), Arm(CLOSE, rows(right=7))]
    instances = [
        evaluation(folder, arms, missing=["answers[system=gguf]"]),
        evaluation(folder, [Arm({"system": "other"}, rows(right=5))], "others"),
        *(
            evaluation(folder, [Arm({"system": "x", "size": size}, rows(right=right))], "sized", {"size": size})
            for size, right in [("s", 5), ("l", 30)]
        ),
        instance(
            "gguf", {"system": "tuned"}, facts={"file_bytes": {"value": 2_000_000, "unit": "bytes"}, "kind": {"value": "Q4", "unit": ""}}
        ),
        instance("gguf", {"system": "base"}, facts={"file_bytes": {"value": 1_999_999.5, "unit": "bytes"}}),
        instance("broken", state="failed", error={"message": "out of memory", "remedy": ""}),
        instance("after", state="blocked", why="broken failed", outputs={"main": {"type": "scores", "form": ""}}),
    ]
    return {"instances": instances, "overlays": []}, folder


def exact(at: Mapping[str, str], metric: str = "exact_match", step: str = "scores") -> dict[str, Any]:
    return {"step": step, "metric": metric, "at": dict(at)}


def size(system: str) -> dict[str, Any]:
    return {"step": "gguf", "fact": "file_bytes", "at": {"system": system}}


def answer(run: tuple[dict[str, Any], Path], **claim: Any) -> Verdict:
    record, folder = run
    [verdict] = answer_claims([{"says": "so", "where": "section 1", **claim}], record, folder)
    assert (verdict.says, verdict.where) == ("so", "section 1")
    return verdict


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        # two arms of one evaluation: the paired interval, from scores.json or from the items
        ({"measure": exact(CLOSE), "greater_than": exact(BASE)}, "inconclusive"),
        ({"measure": exact(RAG), "greater_than": exact(BASE)}, "reproduced"),
        ({"measure": exact(BASE), "greater_than": exact(RAG)}, "not reproduced"),
        ({"measure": exact(BASE), "less_than": exact(RAG)}, "reproduced"),
        ({"measure": exact(CLOSE), "greater_than": exact(RAG)}, "not reproduced"),
        ({"measure": exact(RAG, "bleu"), "greater_than": exact(CLOSE, "bleu")}, "reproduced"),
        ({"measure": exact(RAG, "held_out_loss"), "less_than": exact(CLOSE, "held_out_loss")}, "reproduced"),
        ({"measure": exact(RAG, "held_out_loss"), "greater_than": exact(CLOSE, "held_out_loss")}, "not reproduced"),
        ({"measure": exact(BASE), "greater_than": exact(BASE)}, "not reproduced"),
        ({"measure": exact(CLOSE), "equals": {**exact(BASE), "tolerance": 50}}, "reproduced"),
        ({"measure": exact(RAG), "equals": {**exact(BASE), "tolerance": 5}}, "not reproduced"),
        ({"measure": exact(CLOSE), "equals": {**exact(BASE), "tolerance": 5}}, "inconclusive"),
        # an arm and a number: the arm's interval, 12.5 [2.5, 22.5]
        ({"measure": exact(BASE), "greater_than": 1}, "reproduced"),
        ({"measure": exact(BASE), "greater_than": 12}, "inconclusive"),
        ({"measure": exact(BASE), "greater_than": 60}, "not reproduced"),
        ({"measure": exact(BASE), "less_than": 60}, "reproduced"),
        ({"measure": exact(BASE), "less_than": 0}, "not reproduced"),
        ({"measure": exact(BASE), "equals": {"value": 12, "tolerance": 30}}, "reproduced"),
        ({"measure": exact(BASE), "equals": {"value": 12, "tolerance": 1}}, "inconclusive"),
        ({"measure": exact(BASE), "equals": {"value": 80, "tolerance": 1}}, "not reproduced"),
        # arms of different evaluations: their intervals
        ({"measure": exact(RAG), "greater_than": exact({}, step="others")}, "reproduced"),
        ({"measure": exact(CLOSE), "greater_than": exact({}, step="others")}, "inconclusive"),
        ({"measure": exact({"size": "l"}, step="sized"), "greater_than": exact({"size": "s"}, step="sized")}, "reproduced"),
        # non-inferiority: as far below as the margin, and as far above as it will
        ({"measure": exact(RAG), "greater_than": exact(BASE), "margin": 5}, "reproduced"),
        ({"measure": exact(CLOSE), "greater_than": exact(BASE), "margin": 5}, "reproduced"),
        ({"measure": exact(BASE), "greater_than": exact(CLOSE), "margin": 50}, "reproduced"),
        ({"measure": exact(BASE), "greater_than": exact(CLOSE), "margin": 5}, "inconclusive"),
        ({"measure": exact(BASE), "greater_than": exact(RAG), "margin": 5}, "not reproduced"),
        ({"measure": exact(RAG), "less_than": exact(BASE), "margin": 5}, "not reproduced"),
        ({"measure": exact(RAG), "less_than": exact(BASE), "margin": 95}, "reproduced"),
        ({"measure": exact(CLOSE), "less_than": exact(BASE), "margin": 5}, "inconclusive"),
        ({"measure": exact(BASE), "greater_than": 23, "margin": 22}, "reproduced"),
        ({"measure": size("tuned"), "less_than": size("base"), "margin": 1}, "reproduced"),
        ({"measure": size("tuned"), "less_than": size("base"), "margin": 0.25}, "not reproduced"),
        # facts: plain numbers
        ({"measure": size("tuned"), "greater_than": size("base")}, "reproduced"),
        ({"measure": size("tuned"), "less_than": size("base")}, "not reproduced"),
        ({"measure": size("tuned"), "less_than": 2_000_000}, "not reproduced"),
        ({"measure": size("tuned"), "equals": {"value": 2_000_000.5, "tolerance": 0.5}}, "reproduced"),
        ({"measure": size("tuned"), "equals": {**size("base"), "tolerance": 0.1}}, "not reproduced"),
    ],
)
def test_verdicts(run: tuple[dict[str, Any], Path], claim: dict[str, Any], verdict: str) -> None:
    found = answer(run, **claim)
    assert found.verdict == verdict, found.detail
    assert found.measured is not None
    assert found.against is not None


@pytest.mark.parametrize(
    ("measure", "detail"),
    [
        (exact({"system": "gguf"}), "answers[system=gguf] failed"),
        (exact({"system": "nobody"}, step="others"), "step others has no arm at system=nobody; it has system=other"),
        (exact({"system": "tuned"}), "2 arms of scores match system=tuned: system=tuned; system=tuned, rag=index"),
        (exact(RAG, "rouge_l"), "rouge_l was not scored, only exact_match, bleu, held_out_loss"),
        (exact({}, step="nothing"), "this run has no step nothing"),
        (exact({}, step="gguf"), "step gguf is no evaluation, so it has no metric exact_match"),
        (exact({}, step="after"), "after is blocked: broken failed"),
        ({"step": "broken", "fact": "file_bytes"}, "broken failed: out of memory"),
        ({**size("tuned"), "fact": "speed"}, "gguf[system=tuned] recorded no fact speed, only file_bytes, kind"),
        ({**size("tuned"), "fact": "kind"}, "the fact kind of gguf[system=tuned] is no number: 'Q4'"),
        ({**size("tuned"), "at": {}}, "2 arms of gguf match no axis: gguf[system=tuned]; gguf[system=base]"),
    ],
)
def test_what_was_not_measured_says_why(run: tuple[dict[str, Any], Path], measure: dict[str, Any], detail: str) -> None:
    found = answer(run, measure=measure, greater_than=0)
    assert (found.verdict, found.detail) == ("not measured", detail)
    found = answer(run, measure=exact(BASE), greater_than=measure)
    assert found.verdict == "not measured"
    assert found.detail.startswith(detail)
    assert found.measured is not None


def test_details_hold_the_figures(run: tuple[dict[str, Any], Path]) -> None:
    detail = answer(run, measure=exact(RAG), greater_than=exact(BASE)).detail
    assert detail.startswith("exact_match 87.5 [")
    assert "(scores, system=tuned, rag=index); asked: greater than exact_match 12.5 [" in detail
    assert "paired difference 75 [" in detail
    assert detail.endswith("over 40 items, p = 0.001")
    detail = answer(run, measure=size("tuned"), less_than=1_999_000, margin=1_500).detail
    assert "; asked: less than 1,999,000, with a margin of 1500; difference 1000" in detail
    detail = answer(run, measure=size("tuned"), less_than=3_000_000).detail
    assert detail == "file_bytes 2,000,000 bytes (gguf, system=tuned); asked: less than 3,000,000; difference -1,000,000"


def test_an_overlay_makes_claims_incomparable_but_not_checks(run: tuple[dict[str, Any], Path]) -> None:
    record, folder = run
    changed = {**record, "overlays": ["profile smoke"]}
    claims = [
        {"says": "a", "measure": exact(RAG), "greater_than": exact(BASE)},
        {"says": "b", "measure": exact({}, step="no"), "less_than": 1},
    ]
    first, second = answer_claims(claims, changed, folder)
    assert first.verdict == "not comparable"
    assert first.detail.startswith("an overlay changed this run (profile smoke); measured anyway: exact_match 87.5 [")
    assert second.verdict == "not measured"
    checks = [*claims, {"says": "c", "measure": exact(CLOSE), "greater_than": exact(BASE)}]
    assert [found.verdict for found in answer_checks(checks, changed, folder)] == ["holds", "not measured", "does not hold"]


def test_a_damaged_evaluation_is_not_measured(run: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    record, _ = run
    [found] = answer_claims([{"says": "a", "measure": exact(RAG), "greater_than": 0}], record, tmp_path)
    assert found.verdict == "not measured"
    assert found.detail.startswith("scores.json cannot be read")


def test_no_claims_no_verdicts() -> None:
    assert answer_claims([], {}, Path("nowhere")) == []
    assert answer_checks([], {}, Path("nowhere")) == []


def test_a_verdict_has_its_finding_in_parts(run: tuple[dict[str, Any], Path]) -> None:
    found = answer(run, measure=exact(RAG), greater_than=exact(BASE))
    assert found.relation == "greater than"
    assert found.difference is not None
    assert (found.difference.value, found.difference.items) == (75.0, 40)
    assert found.difference.p == pytest.approx(0.001, abs=1e-4)
    assert found.measured is not None
    assert found.reason == ""
    found = answer(run, measure=size("tuned"), equals={"value": 2_000_100, "tolerance": 200})
    assert (found.relation, found.tolerance) == ("equal to", 200)
    assert found.difference is not None
    assert (found.difference.value, found.difference.p) == (-100, None)
    found = answer(run, measure=exact({"system": "gguf"}), less_than=1)
    assert (found.relation, found.reason, found.difference) == ("less than", "answers[system=gguf] failed", None)


def test_losses_of_two_tokenizers_answer_no_claim(tmp_path: Path) -> None:
    other = [{**row, "reference_tokens": row["reference_tokens"] + 1} for row in rows(right=20)]
    record = {"instances": [evaluation(tmp_path, [Arm(BASE, rows(right=5)), Arm(TUNED, other)])], "overlays": []}
    claim = {"says": "", "measure": exact(TUNED, "held_out_loss"), "less_than": exact(BASE, "held_out_loss")}
    [verdict] = answer_claims([claim], record, tmp_path)
    assert verdict.verdict == "not measured"
    assert verdict.reason == (
        "held_out_loss of these arms is not comparable: 40 of 40 references have another number of tokens: their tokenizers differ"
    )
    [plain] = answer_claims([{**claim, "measure": exact(TUNED), "less_than": None, "greater_than": exact(BASE)}], record, tmp_path)
    assert plain.verdict == "reproduced"
