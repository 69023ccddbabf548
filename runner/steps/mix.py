"""Makes one set of examples out of several: limits and shares per set, duplicates dropped and counted, origins kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from runner.contract import MAIN, Artifact, Context, Fault, Inputs, Output, Port, Struct, Upstream, doc
from runner.errors import StepError

VERSION = 2
PREVIEW = "examples"

Duplicates = Literal["keep", "exact", "normalised", "question", "near", "near_question"]


class Params(Struct):
    duplicates: Annotated[
        Duplicates,
        doc(
            "which examples count as one, of which the first stays. exact: same question (with its context, if any) and answer; "
            "normalised: the same up to case, punctuation and spaces; question: same question up to these, whatever the answer; "
            "near: nearly the same question and answer; near_question: nearly the same question, whatever the answer; keep: none"
        ),
    ] = "normalised"
    near_duplicate: Annotated[
        Annotated[float, Meta(ge=0.1, le=1)] | None,
        doc(
            "for near and near_question: from which Jaccard similarity of 5-grams of characters two texts count as one; 0.8 when not given"
        ),
    ] = None
    limits: Annotated[
        dict[str, Annotated[int, doc("examples", ge=0)]], doc("the most that is taken of a set, by the step that made it", unit="examples")
    ] = {}
    weights: Annotated[
        dict[str, Annotated[float, doc("share", ge=0)]],
        doc("wanted proportions of sets, by the step that made them: as much is taken as these allow; of sets without a weight all"),
    ] = {}
    seed: Annotated[int, doc("seed of the draw where a limit or a weight leaves examples out", ge=0)] = 0


PORTS = (Port("examples", "examples", arity="many"),)


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("examples")}


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    steps = [producer.step for producer in upstream.get("examples", ())]
    for field, values in (("limits", params.limits), ("weights", params.weights)):
        for name in values:
            if name.split(".")[0] not in steps:
                yield Fault(f"{field}.{name}", "is no set of this mix", " or ".join(dict.fromkeys(steps)))
    if params.near_duplicate is not None and params.duplicates not in ("near", "near_question"):
        yield Fault("near_duplicate", f"has no use with `duplicates: {params.duplicates}`", "`duplicates: near` or `near_question`")
    if params.weights and not any(params.weights.values()):
        yield Fault("weights", "are all 0", "a positive weight")


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.datasets import RowWriter, mix, read_rows

    sets = _names(inputs["examples"])
    for field, values in (("limits", params.limits), ("weights", params.weights)):
        for name in values.keys() - sets.keys():
            raise StepError(f"`{name}` is no set of this mix", where=field, remedy=f"the sets are {', '.join(sets)}")

    def compared(done: int, total: int) -> None:
        ctx.check_cancelled()
        ctx.progress(done, total, "examples")

    mixed = mix(
        {name: read_rows(artifact.path / "examples.jsonl") for name, artifact in sets.items()},
        duplicates=params.duplicates, limits=params.limits, weights=params.weights, seed=params.seed,
        near=0.8 if params.near_duplicate is None else params.near_duplicate, progress=compared,
    )  # fmt: skip
    if not mixed.examples:
        raise StepError("the mix holds no examples", remedy="raise the limits, or give sets that are not empty")
    folder = out / MAIN
    with RowWriter(folder / "examples.jsonl") as rows:
        for example in mixed.examples:
            rows.write(example)
    counts = [{"set": name, **asdict(count)} for name, count in mixed.counts.items()]
    (folder / "mix.json").write_text(json.dumps({"sets": counts}, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    for name, count in mixed.counts.items():
        ctx.log(f"{name}: {count.taken} of {count.given} examples, {count.duplicates} duplicates, {count.left_out} left out")
        if not count.taken and count.given:
            ctx.warn(f"nothing of {name} is in the mix")
    ctx.progress(len(mixed.examples), len(mixed.examples), "examples")
    ctx.fact("examples", len(mixed.examples))
    ctx.fact("duplicates", sum(count.duplicates for count in mixed.counts.values()))


def _names(artifacts: Sequence[Artifact]) -> dict[str, Artifact]:
    """Sets by name: that of the step, with the output where it has several, and the axes where a step is there more than once."""
    named: dict[str, Artifact] = {}
    for artifact in artifacts:
        output = artifact.ref.rsplit("/", 1)[-1]
        name = artifact.step if output == MAIN else f"{artifact.step}.{output}"
        if name in named:
            name += f"[{','.join(f'{axis}={label}' for axis, label in artifact.axes.items())}]"
        number = 2
        while name in named:
            name, number = f"{name} ({number})", number + 1
        named[name] = artifact
    return named
