"""Scores every arm's answers on the same questions, with bootstrap intervals and paired differences to a baseline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from runner.contract import MAIN, Artifact, Context, Fault, HubUse, Inputs, Output, Port, PromptUse, Struct, Upstream, doc
from runner.errors import StepError
from runner.evaluation.names import MetricName, expand
from runner.evaluation.settings import Embedder, Label, Number
from runner.teachers import opening, settings
from runner.teachers.settings import Calls, Teacher

if TYPE_CHECKING:
    from runner.evaluation.arms import Aligned
    from runner.evaluation.metrics import ItemMetric
    from runner.judging import Verdicts

VERSION = 2
PORTS = (Port("answers", "answers", arity="gather"),)
PRELOAD = ("evaluate", "rouge_score.rouge_scorer", "sacrebleu")
Resources = Calls


class Judge(Struct):
    """A teacher that judges answers. Every pair is judged in both orders."""

    teacher: Annotated[Teacher, doc("who judges")]
    rubric: Annotated[
        str | None,
        doc("template that asks for a score from 1 to 5 (`judge`); variables: question, answer, reference, passages, mark"),
    ] = None
    comparison: Annotated[
        str | None,
        doc("template that asks which answer is better (`win_rate`); variables: question, first, second, reference, mark"),
    ] = None
    against: Annotated[Literal["baseline", "reference"], doc("whose answers every arm is compared with (`win_rate`)")] = "baseline"
    attempts: Annotated[int, doc("times that the judge is asked, where its reply is no verdict", ge=1, le=10)] = 2
    max_unjudged: Annotated[
        float, doc("share of requests without a verdict past which the step fails; up to it these items have no score", ge=0, le=1)
    ] = 0.1


class Params(Struct):
    metrics: Annotated[
        list[MetricName],
        doc(
            "what is measured; rouge stands for rouge_1, rouge_2 and rouge_l, hit_at_k for a figure for each of `hit_at`, accuracy for "
            "accuracy and unparsable, abstention for abstention and false_abstention, win_rate also for length_adjusted_win_rate",
            min_length=1,
        ),
    ]
    baseline: Annotated[
        dict[str, str] | None, doc("the arm that every other arm is compared with, by its axis values; null: no comparisons")
    ] = None
    breakdown: Annotated[
        list[str] | None,
        doc(
            "figures also by group of questions, where there are several: `type`, `document`, or a name of their `extra`; "
            "null: by type and document"
        ),
    ] = None
    accuracy: Annotated[Label | Number | None, doc("how `accuracy` parses an answer and its reference")] = None
    key_terms: Annotated[list[str], doc("a glossary: further terms that count for `key_term_recall` where a reference uses them")] = []
    abstention_phrases: Annotated[
        list[str], doc("further patterns (Python's `re`, case ignored) by whose match in its first sentence an answer abstains")
    ] = []
    hit_at: Annotated[list[Annotated[int, Meta(ge=1)]], doc("each k of `hit_at_k`", unit="passages")] = []
    embedder: Annotated[Embedder | None, doc("what `embedding_similarity` compares texts by")] = None
    judge: Annotated[Judge | None, doc("who gives `judge` and `win_rate`")] = None
    samples: Annotated[int, doc("bootstrap draws", unit="draws", ge=100)] = 1000
    confidence: Annotated[float, doc("share of the draws inside an interval", gt=0, lt=1)] = 0.95
    seed: Annotated[int, doc("start of the random numbers", ge=0)] = 0


#: A setting, and the metrics that read it.
_SETTINGS: Mapping[str, tuple[MetricName, ...]] = {
    "accuracy": ("accuracy",),
    "embedder": ("embedding_similarity",),
    "judge": ("judge", "win_rate"),
    "key_terms": ("key_term_recall",),
    "abstention_phrases": ("abstention",),
    "hit_at": ("hit_at_k",),
}
_NEEDED = ("accuracy", "embedder", "hit_at", "judge")


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("scores")}


def measures(params: Params) -> Iterable[str]:
    return expand(params.metrics, params.hit_at)


def prompts(params: Params) -> Iterable[PromptUse]:
    if params.judge is not None and params.judge.rubric is not None:
        yield PromptUse("judge.rubric", params.judge.rubric, frozenset({"question", "answer", "reference", "passages", "mark"}))
    if params.judge is not None and params.judge.comparison is not None:
        yield PromptUse("judge.comparison", params.judge.comparison, frozenset({"question", "first", "second", "reference", "mark"}))


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}
    if params.embedder is not None and params.embedder.is_folder:
        found["embedder.model"] = [params.embedder.model]
    if params.judge is not None:
        found.update(opening.sources(params.judge.teacher, "judge.teacher"))
    return found


def hub(params: Params) -> Iterable[HubUse]:
    if params.embedder is not None and not params.embedder.is_folder:
        yield HubUse("embedder.model", "model", params.embedder.model, params.embedder.revision)
    if params.judge is not None:
        yield from opening.hub(params.judge.teacher, "judge.teacher")


def network(params: Params) -> Iterable[str]:
    return opening.network(params.judge.teacher) if params.judge is not None else ()


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    answers = upstream.get("answers", ())
    if params.baseline is not None and answers:
        arms = _axes(answers)
        if len(_matching(params.baseline, arms)) != 1:
            yield Fault("baseline", *_no_baseline(params.baseline, arms))
    producers = [producer for producer in answers if producer.kind == "answer"]
    for position, metric in enumerate(params.metrics):
        if metric in ("held_out_loss", "perplexity"):
            without = [producer.step for producer in producers if not getattr(producer.params, "reference_loss", True)]
            if without:
                yield Fault(f"metrics[{position}]", f"step {without[0]} does not measure the loss", "reference_loss: true in that step")
    most = max((getattr(producer.params, "top_k", 0) for producer in producers), default=0)
    for position, k in enumerate(params.hit_at):
        if 0 < most < k:
            yield Fault(f"hit_at[{position}]", f"no step that answers retrieves {k} passages", f"at most {most}, the largest top_k")
    yield from _setting_faults(params)


def _setting_faults(params: Params) -> Iterator[Fault]:
    for name, metrics in _SETTINGS.items():
        asked, value = [metric for metric in metrics if metric in params.metrics], getattr(params, name)
        if value and not asked:
            yield Fault(name, "no metric reads it", f"{' or '.join(f'`{metric}`' for metric in metrics)} among the metrics, or no such key")
        if asked and not value and name in _NEEDED:
            yield Fault(f"metrics[{params.metrics.index(asked[0])}]", f"`{asked[0]}` needs to know how", f"`{name}` beside the metrics")
    if params.embedder is not None and params.embedder.is_folder and params.embedder.revision is not None:
        yield Fault("embedder.revision", "a local folder has no revision", "no revision, or a hub id as model")
    for position, phrase in enumerate(params.abstention_phrases):
        try:
            re.compile(phrase)
        except re.error as error:
            yield Fault(f"abstention_phrases[{position}]", f"is no pattern: {error}", "a pattern of Python's `re`")
    if params.judge is not None:
        yield from settings.faults(params.judge.teacher, "judge.teacher")
        for field, metric in (("rubric", "judge"), ("comparison", "win_rate")):
            given, wanted = getattr(params.judge, field) is not None, metric in params.metrics
            if wanted and not given:
                yield Fault(f"judge.{field}", f"`{metric}` has no template to ask by", "a prompt file")
            if given and not wanted:
                yield Fault(f"judge.{field}", f"`{metric}` is not measured", f"`{metric}` among the metrics, or no such key")
        if params.judge.against == "reference" and "win_rate" not in params.metrics:
            yield Fault("judge.against", "`win_rate` is not measured", "`win_rate` among the metrics, or no such key")
        if "win_rate" in params.metrics and params.judge.against == "baseline" and params.baseline is None:
            yield Fault("judge.against", "there is no baseline to compare with", "a baseline, or against: reference")


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.evaluation.arms import Arm, align, read_answers
    from runner.evaluation.bootstrap import Resampling
    from runner.evaluation.cost import latency
    from runner.evaluation.scoring import score

    artifacts: Sequence[Artifact] = inputs["answers"]
    missing: list[str] = list(getattr(ctx, "missing", ()))
    axes = _axes(artifacts)
    baseline = _baseline(params.baseline, axes, missing, ctx)
    aligned = align([Arm(labels, read_answers(artifact.path / "answers.jsonl")) for labels, artifact in zip(axes, artifacts, strict=True)])
    names = list(expand(params.metrics, params.hit_at))
    verdicts = None
    if params.judge is not None:
        if baseline is None and params.judge.against == "baseline" and "win_rate" in params.metrics:
            ctx.warn("without its baseline there is nobody to win against: win_rate is left out")
            names = [name for name in names if "win_rate" not in name]
            if not names:
                raise StepError(
                    "the baseline failed, and nothing but win_rate is measured", where="metrics", remedy="mend the baseline's arm"
                )
        aligned, verdicts = _judged(params.judge, aligned, names, baseline, out, ctx)
    resampling = Resampling(params.samples, params.confidence, params.seed)
    scored = score(
        aligned,
        [_metric(name, params, ctx) for name in names],
        baseline=baseline,
        breakdowns=("type", "document") if params.breakdown is None else params.breakdown,
        resampling=resampling,
        missing=missing,
        progress=_progress(ctx, "scores"),
    )
    document = dict(scored.document)
    if verdicts is not None:
        counts = ("asked", "failed", "pairs", "consistent", "decided", "first")
        document["judging"] = {name: getattr(verdicts, name) for name in counts}
        _write_rows(out / MAIN / "judgements.jsonl", verdicts.rows)
        for message in verdicts.warnings:
            ctx.warn(message)
    _write_rows(out / MAIN / "items.jsonl", scored.items)
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"
    (out / MAIN / "scores.json").write_text(text, encoding="utf-8", newline="\n")
    for message in scored.warnings:
        ctx.warn(message)
    ctx.fact("arms", len(artifacts), "arms")
    ctx.fact("items", document["items"], "items")
    seconds = [
        {"axes": labels, **found}
        for labels, artifact in zip(axes, artifacts, strict=True)
        if (found := latency(artifact.path.parent / "provenance" / "latency.jsonl", aligned.items, resampling))
    ]
    if seconds:
        ctx.fact("seconds_per_answer", seconds, "seconds")


def _metric(name: str, params: Params, ctx: Context) -> ItemMetric:
    """A metric with what it needs."""
    from runner.evaluation import metrics

    if name in ("accuracy", "unparsable"):
        assert params.accuracy is not None
        return (metrics.Accuracy if name == "accuracy" else metrics.Unparsable)(params.accuracy)
    if name == "embedding_similarity":
        assert params.embedder is not None
        return metrics.EmbeddingSimilarity(_embed(params.embedder, ctx), params.embedder.model)
    if name == "key_term_recall":
        return metrics.KeyTermRecall(params.key_terms)
    if name in ("abstention", "false_abstention"):
        return (metrics.Abstention if name == "abstention" else metrics.FalseAbstention)(params.abstention_phrases)
    if name.startswith("hit_at_"):
        return metrics.HitAtK(int(name.removeprefix("hit_at_")))
    return metrics.METRICS[name]()


def _embed(embedder: Embedder, ctx: Context) -> Callable[[list[str]], Any]:
    from runner.retrieval.embedders import load
    from runner.retrieval.settings import SentenceTransformer

    folder = (ctx.root / embedder.model).resolve() if embedder.is_folder else None
    used = SentenceTransformer(
        model=embedder.model, revision=embedder.revision, max_seq_length=embedder.max_seq_length, batch_size=embedder.batch_size
    )
    return load(used, folder, device=ctx.resources.device).passages


def _judged(
    judge: Judge, aligned: Aligned, names: Sequence[str], baseline: dict[str, str] | None, out: Path, ctx: Context
) -> tuple[Aligned, Verdicts]:
    """The rows with the judge's verdicts in them."""
    from runner.judging import Verdicts, by_comparison, by_rubric

    verdicts, progress = Verdicts(), _progress(ctx, "verdicts")
    with opening.open_caller(judge.teacher, ctx, replies=out / "provenance" / "replies.jsonl") as caller:
        if "judge" in names and judge.rubric is not None:
            aligned = by_rubric(aligned, caller, ctx.prompt(judge.rubric), verdicts, attempts=judge.attempts, progress=progress)
        if "win_rate" in names and judge.comparison is not None:
            opponent, template = baseline if judge.against == "baseline" else None, ctx.prompt(judge.comparison)
            aligned = by_comparison(aligned, caller, template, verdicts, opponent=opponent, attempts=judge.attempts, progress=progress)
        if verdicts.failed > judge.max_unjudged * verdicts.asked:
            caller.forget_rejected()
            raise StepError(
                f"{verdicts.failed} of {verdicts.asked} requests got no verdict, more than max_unjudged {judge.max_unjudged:g} allows: "
                f"{verdicts.failure}",
                where="judge",
                remedy="mend the prompt or the teacher's settings; these are asked again in the next run",
            )
    return aligned, verdicts


def _progress(ctx: Context, unit: str) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        ctx.progress(done, total, unit)
        ctx.check_cancelled()

    return progress


def _write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    from runner.datasets import RowWriter

    with RowWriter(file) as writer:
        for row in rows:
            writer.write(row)


def _axes(artifacts: Sequence[Artifact] | Sequence[Upstream]) -> list[dict[str, str]]:
    """What tells the arms apart: their axis values, and the step where answers of several steps are gathered."""
    several = len({artifact.step for artifact in artifacts}) > 1
    return [{**({"step": artifact.step} if several else {}), **artifact.axes} for artifact in artifacts]


def _baseline(
    wanted: Mapping[str, str] | None, arms: Sequence[dict[str, str]], missing: Sequence[str], ctx: Context
) -> dict[str, str] | None:
    if wanted is None:
        return None
    matching = _matching(wanted, arms)
    if len(matching) == 1:
        return matching[0]
    failed = [
        arm for arm in missing if {f"{axis}={label}" for axis, label in wanted.items()} <= set(arm.partition("[")[2].rstrip("]").split(","))
    ]
    if failed and not matching:
        ctx.warn(f"the baseline {failed[0]} failed, so the other arms are compared with nothing")
        return None
    found, remedy = _no_baseline(wanted, arms)
    raise StepError(found, where="baseline", remedy=f"name {remedy}")


def _matching(wanted: Mapping[str, str], arms: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [axes for axes in arms if wanted.items() <= axes.items()]


def _no_baseline(wanted: Mapping[str, str], arms: Sequence[dict[str, str]]) -> tuple[str, str]:
    """What is wrong with a baseline that is not exactly one arm, and what would be right."""
    matching = _matching(wanted, arms)
    found = f"{_called(wanted)} matches {len(matching)} arms" if matching else f"there is no arm {_called(wanted)} to be the baseline"
    listed = [_called(axes) or "one arm without axes" for axes in matching or arms]
    return found, f"exactly one of: {'; '.join(listed[:6])}" + ("; ..." if len(listed) > 6 else "")


def _called(axes: Mapping[str, str]) -> str:
    return ", ".join(f"{axis}={label}" for axis, label in axes.items())
