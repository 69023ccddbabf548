from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import InputError
from runner.evaluation.arms import Arm, read_answers
from runner.evaluation.bootstrap import Resampling, holm
from runner.evaluation.compare import compare, read_items
from runner.evaluation.metrics import HitAtK
from runner.evaluation.scoring import score

BASE, TUNED, RAG = {"system": "base"}, {"system": "tuned"}, {"system": "tuned", "rag": "index"}


def rows(count: int = 40, right: int = 10, **changes: Any) -> list[dict[str, Any]]:
    """Answers of which the first ``right`` are right, the others half right."""
    return [
        {
            "id": f"q{n}",
            "question": f"what is {n}?",
            "reference": f"number {n} of them all",
            "answer": f"number {n} of them all" if n < right else f"number {n} of some kind",
            "type": "factual" if n % 4 else "numeric",
            "documents": [f"doc{n % 3}"],
            "prompt_tokens": 10,
            "answer_tokens": n,
            "reference_loss": 2.0 - right / 40 + n / 100,
            "reference_tokens": 3 + n % 4,
            **changes,
        }
        for n in range(count)
    ]


#: What these answers can be scored by.
PLAIN = ["rouge_1", "rouge_2", "rouge_l", "bleu", "chrf", "exact_match", "token_f1", "held_out_loss", "perplexity", "false_abstention"]
ARMS = [Arm(BASE, rows(right=5)), Arm(TUNED, rows(right=20)), Arm(RAG, rows(right=25))]


def test_scores_of_three_arms() -> None:
    scored = score(ARMS, PLAIN, baseline=BASE)
    document = scored.document
    assert document["items"] == 40
    assert document["baseline"] == BASE
    assert [arm["axes"] for arm in document["arms"]] == [BASE, TUNED, RAG]
    exact = [arm["values"]["exact_match"] for arm in document["arms"]]
    assert [value["mean"] for value in exact] == [12.5, 50, 62.5]
    assert all(value["low"] < value["mean"] < value["high"] and value["n"] == 40 for value in exact)
    pairs = {(pair["metric"], pair["arm"].get("rag", "none")): pair for pair in document["paired"]}
    assert len(pairs) == len(document["paired"]) == 2 * len(PLAIN)
    better = pairs["exact_match", "none"]
    assert better["difference"] == 37.5
    assert (better["better"], better["worse"], better["ties"]) == (15, 0, 25)
    assert better["p_adjusted"] == pytest.approx(2 * better["p"])  # both arms are better in every draw
    for name in PLAIN:
        corrected = holm([pairs[name, rag]["p"] for rag in ("none", "index")])
        assert [pairs[name, rag]["p_adjusted"] for rag in ("none", "index")] == pytest.approx(corrected)
    assert pairs["held_out_loss", "none"]["better"] == 40  # lower is better
    assert pairs["held_out_loss", "none"]["difference"] < 0
    assert scored.warnings == []
    json.dumps(document, allow_nan=False)


def test_compare_gives_what_scores_hold(tmp_path: Path) -> None:
    resampling = Resampling(300, 0.9, 5)
    scored = score(ARMS, PLAIN, baseline=BASE, resampling=resampling)
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in scored.items))
    items = read_items(path)
    described = {metric["name"]: metric for metric in scored.document["metrics"]}
    for pair in scored.document["paired"]:
        metric = described[pair["metric"]]
        found = compare(
            items,
            pair["arm"],
            BASE,
            pair["metric"],
            aggregation=metric["aggregation"],
            higher_is_better=metric["higher_is_better"],
            resampling=resampling,
        )
        for field in ("difference", "low", "high", "p", "n", "better", "worse", "ties"):
            assert getattr(found, field) == pytest.approx(pair[field], rel=1e-9), (pair["metric"], field)
    with pytest.raises(InputError, match="share no item"):
        compare(items, BASE, {"system": "unknown"}, "bleu")


def test_arms_are_compared_on_the_items_that_all_answered() -> None:
    changed = rows(36)
    changed[3] = {**changed[3], "reference": "something else"}
    changed[4] = {**changed[4], "history": [{"role": "user", "content": "and"}, {"role": "assistant", "content": "yes"}]}
    scored = score([Arm(BASE, rows(40)), Arm(TUNED, list(reversed(changed)))], ["exact_match"], baseline=BASE)
    assert scored.document["items"] == 34
    assert scored.document["left_out"] == {"items": 6, "changed": 2}
    assert [row["id"] for row in scored.items[:34]] == [row["id"] for row in scored.items[34:]]
    assert scored.document["paired"][0]["ties"] == 34
    assert scored.warnings == [
        "6 of 40 items are left out, because not every arm answered the same ones (system=base 40, system=tuned 36)",
        "2 of them have the same id, but another question, history or reference in some arm",
    ]


def test_a_metric_without_a_value_for_some_items_leaves_them_out_of_itself_alone() -> None:
    gaps = rows()
    gaps[0]["reference_loss"] = None
    scored = score([Arm(BASE, rows()), Arm(TUNED, gaps)], ["exact_match", "held_out_loss"], baseline=BASE)
    assert [arm["values"]["held_out_loss"]["n"] for arm in scored.document["arms"]] == [39, 39]
    assert scored.document["arms"][0]["values"]["exact_match"]["n"] == 40
    assert "held_out_loss" not in scored.items[40]["values"]
    assert scored.warnings == ["Held-out loss is over 39 of 40 items: the others have no score in some arm"]


def test_few_items_are_said() -> None:
    assert score([Arm({}, rows(3))], ["bleu"]).warnings == ["3 items are few: bootstrap intervals are too narrow below about 30"]


def without(rows: list[dict[str, Any]], field: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != field} for row in rows]


@pytest.mark.parametrize(
    ("arms", "metric", "message"),
    [
        ([], "bleu", "there is no arm to evaluate"),
        ([Arm({}, [])], "bleu", "the answers are empty"),
        ([Arm(BASE, rows(2)), Arm(TUNED, rows(4)[2:])], "bleu", "no item was answered by every arm (system=base: 2; system=tuned: 2)"),
        ([Arm(BASE, rows(2)), Arm(BASE, rows(2))], "bleu", "two sets of answers are both called system=base"),
        (
            [Arm(BASE, without(rows(), "reference_loss"))],
            "held_out_loss",
            "held_out_loss has nothing to score: the answers of system=base hold no reference_loss",
        ),
    ],
)
def test_what_cannot_be_scored(arms: list[Arm], metric: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        score(arms, [metric])
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        (
            ['{"id": "a", "reference": "r", "answer": "x"}', '{"id": "a", "reference": "r", "answer": "y"}'],
            ":2",
            "the item a is answered twice",
        ),
        (['{"id": "a", "reference": null, "answer": "x"}'], ":1", "the row has no text as reference"),
        (["{"], "", "the answers cannot be read"),
        (["[]"], "", "the answers cannot be read"),
    ],
)
def test_broken_answers(tmp_path: Path, lines: list[str], place: str, message: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError) as caught:
        read_answers(path)
    assert caught.value.message.startswith(message)
    assert caught.value.where == f"{path}{place}"


def test_progress_reaches_its_total() -> None:
    seen: list[tuple[int, int]] = []
    score(ARMS, ["bleu", "exact_match"], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (240, 240)


def test_an_arm_without_a_score_is_left_out_of_that_metric_alone() -> None:
    found = [{"chunk": "c1"}, {"chunk": "c2"}]
    searched = rows(right=20, retrieved=found, chunks=["c2"])
    scored = score(
        [Arm(BASE, rows(right=5)), Arm(TUNED, searched), Arm(RAG, searched)], [HitAtK(1), HitAtK(2), "exact_match"], baseline=BASE
    )
    values = [arm["values"] for arm in scored.document["arms"]]
    assert [sorted(each) for each in values] == [["exact_match"], *[["exact_match", "hit_at_1", "hit_at_2"]] * 2]
    assert (values[1]["hit_at_1"]["mean"], values[1]["hit_at_2"]["mean"]) == (0, 100)
    assert {pair["metric"] for pair in scored.document["paired"]} == {"exact_match"}
    assert scored.warnings == [
        "Hit@1, Hit@2: for 2 of 3 arms, there is nothing to score of system=base, the baseline among them, so no arm is compared with it"
    ]
    items = [row for row in scored.items if row["axes"] == BASE]
    assert all(set(row["values"]) == {"exact_match"} for row in items)


def test_losses_of_two_tokenizers_are_not_compared(tmp_path: Path) -> None:
    other = [{**row, "reference_tokens": row["reference_tokens"] + 1} for row in rows(right=20)]
    scored = score([Arm(BASE, rows(right=5)), Arm(TUNED, other)], ["perplexity", "exact_match"], baseline=BASE)
    assert [pair["metric"] for pair in scored.document["paired"]] == ["exact_match"]
    reason = "40 of 40 references have another number of tokens: their tokenizers differ"
    assert scored.document["not_comparable"] == [{"metric": "perplexity", "arms": [BASE, TUNED], "reason": reason}]
    assert scored.warnings == [f"Perplexity of system=base and system=tuned is not comparable: {reason}"]


def test_breakdowns_are_the_scores_of_their_items() -> None:
    scored = score(ARMS, ["exact_match", "bleu"], breakdowns=["type", "document", "level"])
    groups = {(row["by"], row["group"]): row for row in scored.document["breakdowns"]}
    assert [*groups] == [("type", "factual"), ("type", "numeric"), ("document", "doc0"), ("document", "doc1"), ("document", "doc2")]
    assert [row["items"] for row in groups.values()] == [30, 10, 14, 13, 13]
    alone = score([Arm(arm.axes, [row for row in arm.rows if row["type"] == "numeric"]) for arm in ARMS], ["exact_match", "bleu"])
    assert [arm["values"] for arm in groups["type", "numeric"]["arms"]] == [arm["values"] for arm in alone.document["arms"]]
    assert "no item has a value of `level`, so there is no breakdown by it" in scored.warnings
    kept = [Arm(BASE, [{**row, "extra": {"level": int(row["id"][1:]) % 2}} for row in rows()])]
    assert {row["group"] for row in score(kept, ["bleu"], breakdowns=["level"]).document["breakdowns"]} == {"0", "1"}
    assert score([Arm(BASE, rows(type="all one"))], ["bleu"], breakdowns=["type"]).document["breakdowns"] == []


def test_tokens_of_an_arm() -> None:
    assert score(ARMS, ["bleu"]).document["arms"][0]["tokens"] == {"prompt_tokens": 10, "answer_tokens": 19.5}
