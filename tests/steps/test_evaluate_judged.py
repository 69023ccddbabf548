"""Judging by a server that speaks OpenAI's protocol: with an opinion, with a leaning to what stands first, refusing, and too dear."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import MAIN, Artifact, Output
from runner.errors import StepError
from runner.steps import kind
from runner.teachers.settings import Calls
from tests.evaluation.test_scoring import BASE, TUNED, rows
from tests.steps.local_context import LocalContext, artifact
from tests.teachers.openai_server import Answer, openai, says

ROOT = Path(__file__).resolve().parents[2]
KIND = kind("evaluate")
TEACHER = {"provider": "openai", "model": "gpt-5-mini"}
JUDGE = {"teacher": TEACHER, "comparison": "prompts/judge/compare.j2"}
COMPARED: dict[str, Any] = {"metrics": ["win_rate"], "baseline": BASE, "judge": JUDGE, "samples": 100}
GRADED: dict[str, Any] = {"metrics": ["judge"], "baseline": BASE, "judge": {"teacher": TEACHER, "rubric": "prompts/judge/rubric.j2"}}

Run = Callable[..., tuple[dict[str, Any], LocalContext]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two arms of 40 questions, of which the first answers 5 right and the second 20."""
    gathered: list[Artifact] = []
    for axes, right in ((BASE, 5), (TUNED, 20)):
        folder = tmp_path / axes["system"]
        folder.mkdir()
        (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(right=right)), encoding="utf-8")
        gathered.append(artifact(folder, Output("answers"), "answers", axes))

    def run(params: dict[str, Any], endpoint: str, name: str = "run", **calls: Any) -> tuple[dict[str, Any], LocalContext]:
        resources = Calls(backoff=0.01, retries=1, endpoint=endpoint, concurrency=4, **calls)
        ctx = LocalContext(tmp_path / name, ROOT, resources, secrets={"JUDGES_KEY": "key-4711"})
        KIND.module.run(msgspec.convert(params, KIND.params), {"answers": gathered}, tmp_path / name / "out", ctx)
        found: dict[str, Any] = json.loads((tmp_path / name / "out" / MAIN / "scores.json").read_text(encoding="utf-8"))
        return found, ctx

    return run


def shown(body: dict[str, Any]) -> tuple[str, str]:
    """The two answers of a comparison, in their order."""
    match = re.search(r"First answer: (.*)\n\nSecond answer: (.*)\n", body["messages"][0]["content"])
    assert match is not None
    return match[1], match[2]


def prefers(better: str) -> Answer:
    return says(json.dumps({"reason": "so it is", "better": better}))


def by_worth(number: int, body: dict[str, Any]) -> Answer:
    """Prefers the right answer, wherever it stands."""
    first, second = shown(body)
    return prefers("tie" if ("all" in first) == ("all" in second) else "first" if "all" in first else "second")


def test_a_judge_with_an_opinion_decides(run: Run) -> None:
    with openai(by_worth) as server:
        found, ctx = run(COMPARED, server.url)
        assert len(server.requests) == 30  # the 15 pairs whose texts differ, in both orders
    base, tuned = [arm["values"]["win_rate"]["mean"] for arm in found["arms"]]
    assert (base, tuned) == (50, 50 + 100 * 15 / 40 / 2)
    assert found["judging"] == {"asked": 30, "failed": 0, "pairs": 15, "consistent": 15, "decided": 30, "first": 15}
    assert ctx.warnings == []


@pytest.mark.parametrize(("place", "first"), [("first", 30), ("second", 0)])
def test_a_judge_that_goes_by_the_place_is_told_of(run: Run, place: str, first: int) -> None:
    with openai(lambda number, body: prefers(place)) as server:
        found, ctx = run(COMPARED, server.url)
    assert [arm["values"]["win_rate"]["mean"] for arm in found["arms"]] == [50, 50]  # whatever the place, it cancels out
    assert found["paired"][0]["ties"] == 40
    assert found["judging"] == {"asked": 30, "failed": 0, "pairs": 15, "consistent": 0, "decided": 30, "first": first}
    assert ctx.warnings == [
        f"the judge gave the same verdict in both orders for only 0 of 15 pairs; of 30 verdicts that were no tie, {first} went to what "
        "stood first: the win rate says more about order than about answers"
    ]


def test_a_leaning_to_the_first_place_does_not_move_the_win_rate_off_its_side(run: Run) -> None:
    """Every third pair goes by the place alone: it counts as a tie, and too few of them are worth a warning."""

    def leaning(number: int, body: dict[str, Any]) -> Answer:
        numbers = re.search(r"number (\d+)", shown(body)[0])
        assert numbers is not None
        return prefers("first") if int(numbers[1]) % 3 == 0 else by_worth(number, body)

    with openai(leaning) as server:
        found, ctx = run(COMPARED, server.url)
    counts = found["judging"]
    assert (counts["pairs"], counts["consistent"], counts["decided"], counts["first"]) == (15, 10, 30, 20)
    assert found["arms"][1]["values"]["win_rate"]["mean"] == 50 + 100 * 10 / 40 / 2
    assert ctx.warnings == []


def test_refusals_and_what_is_no_verdict_are_left_out_and_counted(run: Run) -> None:
    """One answer is refused by the server, one by the model, and one gets a sentence instead of a score."""
    odd = {
        "what is 30?": says("", finish="content_filter"),
        "what is 31?": says(None, refusal="I cannot help with that."),
        "what is 32?": says("A good answer: 5 of 5."),
    }

    def graded(number: int, body: dict[str, Any]) -> Answer:
        prompt = body["messages"][0]["content"]
        asked = re.search(r"Question: (.*)", prompt)
        assert asked is not None
        return odd.get(asked[1], says(json.dumps({"score": 5 if "of some kind" not in prompt else 2, "reason": "because"})))

    with openai(graded) as server:
        found, ctx = run(GRADED, server.url)
    assert [arm["values"]["judge"]["n"] for arm in found["arms"]] == [37, 37]
    assert found["arms"][0]["values"]["judge"]["mean"] == pytest.approx((5 * 5 + 32 * 2) / 37)
    assert found["arms"][1]["values"]["judge"]["mean"] == pytest.approx((20 * 5 + 17 * 2) / 37)
    assert (found["judging"]["asked"], found["judging"]["failed"]) == (80, 6)
    [warning] = ctx.warnings
    assert warning.startswith("6 of 80 requests to the judge got no verdict, and their items no score: system=base: q30: safety: the reply")
    with (
        openai(graded) as server,
        pytest.raises(StepError, match=r"6 of 80 requests got no verdict, more than max_unjudged 0\.05 allows: system=base: q30: safety"),
    ):
        run({**GRADED, "judge": {**GRADED["judge"], "max_unjudged": 0.05}}, server.url, "strict")


def test_a_judge_that_gives_no_verdicts_fails_the_step(run: Run) -> None:
    with (
        openai(says("no JSON")) as server,
        pytest.raises(StepError, match=r"judge: 80 of 80 requests got no verdict, more than max_unjudged 0\.1 allows: system=base: q0"),
    ):
        run(GRADED, server.url)


def test_verdicts_are_kept_and_asked_for_once(run: Run, tmp_path: Path) -> None:
    key = {"api_key_env": "JUDGES_KEY"}
    with openai(says('{"score": 4, "reason": "because"}')) as server:
        found, ctx = run(GRADED, server.url, **key)
        asked = len(server.requests)
        assert 0 < asked < 80  # answers that both arms gave are one request
        run({**GRADED, "seed": 3}, server.url, **key)
        assert len(server.requests) == asked
    assert [arm["values"]["judge"]["mean"] for arm in found["arms"]] == [4, 4]
    assert found["judging"] == {"asked": 80, "failed": 0, "pairs": 0, "consistent": 0, "decided": 0, "first": 0}
    verdicts = [json.loads(line) for line in (tmp_path / "run/out/main/judgements.jsonl").read_text().splitlines()]
    assert verdicts[0] == {"metric": "judge", "axes": BASE, "id": "q0", "score": 4, "reason": "because"}
    assert (ctx.facts["calls"], len(verdicts)) == (asked, 80)
    assert "key-4711" not in "".join(path.read_text() for path in (tmp_path / "run").rglob("*") if path.is_file())


def test_a_judge_whose_budget_is_spent_goes_on_in_the_next_run(run: Run) -> None:
    with openai(by_worth) as server:
        whole, _ = run(COMPARED, server.url, "whole")
        asked = len(server.requests)
    prices = {"price_input": 1.0, "price_output": 2.0}
    with openai(by_worth) as server:
        with pytest.raises(StepError, match="the budget of money is spent"):
            run(COMPARED, server.url, budget_money=10.5 * 0.00014, **prices)
        before = len(server.requests)
        assert 0 < before < asked
        found, ctx = run(COMPARED, server.url, **prices)
        assert len(server.requests) == asked  # nothing is asked for twice
    assert found == whole
    assert ctx.facts["cached"] == before
    assert ctx.facts["money"] == pytest.approx((asked - before) * (100 * 1.0 + 20 * 2.0) / 1e6)
