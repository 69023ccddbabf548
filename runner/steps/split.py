"""Splits examples into parts such as train and test, by document, and measures what leaks from one part into another."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from runner.contract import Context, Fault, Inputs, Output, Port, Struct, Upstream, doc
from runner.errors import StepError

VERSION = 1


class Params(Struct):
    parts: Annotated[
        dict[str, Annotated[float, doc("share of the examples", gt=0, lt=1)]],
        doc("the parts and their shares, which add up to 1; each is an output: `splits.train`", min_length=2),
    ]
    group_by: Annotated[
        Literal["document", "none"],
        doc("what stays together. document: all examples that share a document; none: nothing, so that documents stand in several parts"),
    ] = "document"
    seed: Annotated[int, doc("seed of the draw", ge=0)] = 0
    near_duplicate: Annotated[
        float, doc("from which similarity two questions count as nearly equal: Jaccard similarity of character 5-grams", gt=0, le=1)
    ] = 0.8
    leaking: Annotated[
        Literal["keep", "drop"],
        doc("what becomes of an example of a held-out part whose question, or a nearly equal one, stands in a larger part; drop lists it"),
    ] = "keep"
    max_leakage: Annotated[
        float,
        doc(
            "the largest share of a held-out part (any but the largest) that may have a counterpart in another part, by document, by "
            "question or by a nearly equal question; more is an error",
            ge=0,
            le=1,
        ),
    ] = 0.05


PORTS = (Port("examples", "examples"),)


def outputs(params: Params) -> Mapping[str, Output]:
    """Examples: every part by its name."""
    return {name: Output("examples") for name in params.parts}


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    total = math.fsum(params.parts.values())
    if not math.isclose(total, 1, abs_tol=1e-6):
        yield Fault("parts", f"the shares add up to {total:g}", "1")
    for name in params.parts:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or name in ("provenance", "main"):
            yield Fault(f"parts.{name}", "is no name for an output", "letters, digits, `_` and `-`, but not `main` or `provenance`")


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.datasets import groups, leakage, read_rows, split

    examples = list(read_rows(inputs["examples"].path / "examples.jsonl"))
    unknown = sum(not example.get("documents") for example in examples)
    if unknown and params.group_by == "document":
        ctx.warn(f"{unknown} of {len(examples)} examples name no document and are split one by one")
    grouped = groups(examples, params.group_by)
    parts = split(grouped, params.parts, params.seed)
    group_of = {place: number for number, group in enumerate(grouped) for place in group}
    dropped = _drop(params, parts, examples, ctx) if params.leaking == "drop" else {name: {} for name in parts}
    kept = {name: [place for place in places if place not in dropped[name]] for name, places in parts.items()}
    total = sum(len(places) for places in kept.values())
    summaries: dict[str, dict[str, Any]] = {}
    for done, (name, places) in enumerate(sorted(kept.items())):
        ctx.check_cancelled()
        ctx.progress(done, len(parts), "parts")
        here = [examples[place] for place in places]
        elsewhere = [examples[place] for other, there in kept.items() if other != name for place in there]
        _write(out / name / "examples.jsonl", here)
        if dropped[name]:
            _write(out / name / "rejected.jsonl", [_rejected(examples[place], twin) for place, twin in dropped[name].items()])
        summaries[name] = {
            "part": name, "examples": len(here), "share": round(len(here) / total, 6), "wanted": params.parts[name],
            "groups": len({group_of[place] for place in places}), "group_by": params.group_by, "dropped": len(dropped[name]),
            "leakage": leakage(here, elsewhere, params.near_duplicate).row(),
        }  # fmt: skip
        text = json.dumps(summaries[name], ensure_ascii=False, sort_keys=True)
        (out / name / "split.json").write_text(text + "\n", encoding="utf-8")
    ctx.progress(len(parts), len(parts), "parts")
    _report(params, summaries, ctx)


def _drop(params: Params, parts: Mapping[str, Sequence[int]], examples: Sequence[Any], ctx: Context) -> dict[str, dict[int, str]]:
    """Places of each part to leave out, with the id of the counterpart: a part gives way to all larger ones."""
    from runner.datasets import counterparts

    dropped: dict[str, dict[int, str]] = {}
    larger: list[Any] = []
    for name in sorted(parts, key=lambda name: (-params.parts[name], name)):
        here = [examples[place] for place in parts[name]]
        twins = [found.get("question") or found.get("near_question") for found in counterparts(here, larger, params.near_duplicate)]
        dropped[name] = {place: twin for place, twin in zip(parts[name], twins, strict=True) if twin is not None}
        if dropped[name]:
            ctx.warn(f"{len(dropped[name])} of {len(here)} examples left out of {name}: a larger part has the same question or nearly so")
        if len(dropped[name]) == len(here):
            raise StepError(
                f"nothing is left of {name}: a larger part has each of its questions",
                where="leaking",
                remedy="drop duplicates in `mix`, or give more examples",
            )
        larger += [example for place, example in zip(parts[name], here, strict=True) if place not in dropped[name]]
    return dropped


def _rejected(example: Any, twin: str) -> dict[str, Any]:
    return {"reason": "leaks", "detail": f"its question stands in a larger part, as {twin}", **example}


def _write(file: Path, rows: Iterable[Any]) -> None:
    from runner.datasets import RowWriter

    with RowWriter(file) as writer:
        for row in rows:
            writer.write(row)


def _report(params: Params, summaries: Mapping[str, Mapping[str, Any]], ctx: Context) -> None:
    largest = max(sorted(summaries), key=lambda name: params.parts[name])
    for name, summary in summaries.items():
        leak = summary["leakage"]
        ctx.fact(f"share_{name}", summary["share"])
        ctx.fact(f"leakage_{name}", leak["any"])
        ctx.log(
            f"{name}: {summary['examples']} examples in {summary['groups']} groups, {summary['share']:.1%} (wanted {summary['wanted']:.1%})"
        )
        if abs(summary["share"] - summary["wanted"]) > 0.05:
            shares = f"{summary['share']:.1%} of the examples and not {summary['wanted']:.1%}"
            ctx.warn(f"{name} has {shares}: nearer is not possible without cutting documents")
        if name != largest and leak["any"] > params.max_leakage:
            kinds = {"document": "share a document", "question": "have the same question", "near_question": "have a nearly equal question"}
            found = ", ".join(f"{leak[kind]:.1%} {text}" for kind, text in kinds.items() if leak[kind])
            pair = "; for instance {} and {}".format(*leak["pairs"][0]) if leak["pairs"] else ""
            remedy = "set `leaking: drop`, or raise `max_leakage` and report it"
            raise StepError(
                f"{leak['any']:.1%} of {name} leaks from other parts, more than {params.max_leakage:.1%}: {found}{pair}",
                where="max_leakage",
                remedy=f"set `group_by: document`; {remedy}" if params.group_by == "none" and leak["document"] else remedy,
            )
