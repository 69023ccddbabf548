"""Scores every arm's answers on the same questions, with bootstrap intervals and paired differences to a baseline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from runner.contract import MAIN, Artifact, Context, Fault, Inputs, Output, Port, Struct, Upstream, doc
from runner.errors import StepError
from runner.evaluation.names import MetricName, expand

VERSION = 1
PORTS = (Port("answers", "answers", arity="gather"),)
PRELOAD = ("evaluate", "rouge_score.rouge_scorer", "sacrebleu")


class Params(Struct):
    metrics: Annotated[list[MetricName], doc("what is measured; rouge stands for rouge_1, rouge_2 and rouge_l", min_length=1)]
    baseline: Annotated[
        dict[str, str] | None, doc("the arm that every other arm is compared with, by its axis values; null: no comparisons")
    ] = None
    samples: Annotated[int, doc("bootstrap draws", unit="draws", ge=100)] = 1000
    confidence: Annotated[float, doc("share of the draws inside an interval", gt=0, lt=1)] = 0.95
    seed: Annotated[int, doc("start of the random numbers", ge=0)] = 0


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("scores")}


def measures(params: Params) -> Iterable[str]:
    return expand(params.metrics)


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    if params.baseline is not None and upstream.get("answers"):
        arms = _axes(upstream["answers"])
        if len(_matching(params.baseline, arms)) != 1:
            yield Fault("baseline", *_no_baseline(params.baseline, arms))
    if "held_out_loss" in params.metrics:
        for producer in upstream.get("answers", ()):
            if producer.kind == "answer" and not getattr(producer.params, "reference_loss", True):
                position = params.metrics.index("held_out_loss")
                yield Fault(f"metrics[{position}]", f"step {producer.step} does not measure the loss", "reference_loss: true in that step")
                return


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.evaluation.bootstrap import Resampling
    from runner.evaluation.scoring import Arm, read_answers, score

    artifacts: Sequence[Artifact] = inputs["answers"]
    missing: list[str] = list(getattr(ctx, "missing", ()))
    axes = _axes(artifacts)
    baseline = _baseline(params.baseline, axes, missing, ctx)

    def progress(done: int, total: int) -> None:
        ctx.progress(done, total, "scores")
        ctx.check_cancelled()

    scored = score(
        [Arm(labels, read_answers(artifact.path / "answers.jsonl")) for labels, artifact in zip(axes, artifacts, strict=True)],
        expand(params.metrics),
        baseline=baseline,
        resampling=Resampling(params.samples, params.confidence, params.seed),
        missing=missing,
        progress=progress,
    )
    folder = out / MAIN
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "items.jsonl").open("w", encoding="utf-8", newline="\n") as lines:
        for row in scored.items:
            lines.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
    text = json.dumps(scored.document, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"
    (folder / "scores.json").write_text(text, encoding="utf-8", newline="\n")
    for message in scored.warnings:
        ctx.warn(message)
    ctx.fact("arms", len(artifacts), "arms")
    ctx.fact("items", scored.document["items"], "items")


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
