"""Splits examples into parts such as train and test, by document, and measures what leaks from one part into another."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from runner.contract import Context, Fault, Inputs, Output, Port, Struct, Upstream, doc
from runner.errors import InputError, StepError

if TYPE_CHECKING:
    from runner.datasets import Leaks

VERSION = 2
PREVIEW = "examples of each part"


class Params(Struct):
    parts: Annotated[
        dict[str, Annotated[float, doc("share of the examples", gt=0, lt=1)]],
        doc("the parts and their shares, which add up to 1; each is an output: `splits.train`", min_length=2),
    ]
    group_by: Annotated[
        Literal["document", "topic", "none"],
        doc(
            "what stays together. document: all examples that share a document; topic: all of a topic, and so of their documents, found by "
            "k-means over TF-IDF of their words; none: nothing, so that documents stand in several parts"
        ),
    ] = "document"
    topics: Annotated[
        Annotated[int, Meta(ge=2)] | None, doc("for `group_by: topic`: the number of clusters; several for each part", unit="topics")
    ] = None
    seed: Annotated[int, doc("seed of the draw and of the clusters", ge=0)] = 0
    near_duplicate: Annotated[
        float,
        doc(
            "from which similarity two questions (with their contexts, if any) count as nearly equal: "
            "Jaccard similarity of 5-grams of characters",
            ge=0.1,
            le=1,
        ),
    ] = 0.8
    shown_files: Annotated[
        list[str],
        doc("texts that the model or the quantiser is shown besides (few-shot prompts, calibration texts): paths and globs"),
    ] = []
    leaking: Annotated[
        Literal["keep", "drop"],
        doc(
            "what becomes of an example of a held-out part whose question, or a nearly equal one, stands in a larger part or in what is "
            "shown; drop lists it"
        ),
    ] = "keep"
    max_leakage: Annotated[
        float,
        doc(
            "the largest share of a held-out part (any but the largest) that may have a counterpart in another part or in what is shown: "
            "the same document, context or question, or a nearly equal question; more is an error",
            ge=0,
            le=1,
        ),
    ] = 0.05


#: ``shown``: few-shot examples and calibration sets, which held-out parts are checked against.
PORTS = (
    Port("examples", "examples"),
    Port(
        "shown",
        "examples",
        arity="many",
        required=False,
        about="what the model is shown besides, as few-shot examples: no question of a held-out part may stand there",
    ),
)


def outputs(params: Params) -> Mapping[str, Output]:
    """Examples: every part by its name."""
    return {name: Output("examples") for name in params.parts}


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    total = math.fsum(params.parts.values())
    if not math.isclose(total, 1, abs_tol=1e-6):
        yield Fault("parts", f"the shares add up to {total:g}", "1")
    if (params.group_by == "topic") != (params.topics is not None):
        found = "is missing" if params.topics is None else f"has no use with `group_by: {params.group_by}`"
        yield Fault("topics", found, "a number of clusters, with `group_by: topic`")
    for name in params.parts:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or name in ("provenance", "main"):
            yield Fault(f"parts.{name}", "is no name for an output", "letters, digits, `_` and `-`, but not `main` or `provenance`")


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    return {"shown_files": params.shown_files} if params.shown_files else {}


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.datasets import Leaks, groups, read_rows, split, topics

    examples = list(read_rows(inputs["examples"].path / "examples.jsonl"))
    if not examples:
        raise StepError("there are no examples to split", where="examples", remedy="see why the step before gave none")
    unknown = sum(not example.get("documents") for example in examples)
    if unknown and params.group_by != "none":
        ctx.warn(f"{unknown} of {len(examples)} examples name no document and are split one by one")
    shown = [
        (f"{artifact.step}/{row['id']}", row) for artifact in inputs["shown"] or () for row in read_rows(artifact.path / "examples.jsonl")
    ]
    files = {
        str(path.relative_to(ctx.root)) if path.is_relative_to(ctx.root) else path.name: _text(path)
        for path in ctx.sources.get("shown_files", ())
    }

    def progress(done: int, total: int) -> None:
        ctx.check_cancelled()
        ctx.progress(done, 2 * total, "texts")  # each is hashed, then looked for

    grouped = groups(examples, "none" if params.group_by == "none" else "document")
    terms: list[Sequence[str]] = []
    if params.topics is not None:
        found = topics(examples, grouped, params.topics, params.seed)
        grouped, terms = [list(topic.places) for topic in found], [topic.terms for topic in found]
    parts = split(grouped, params.parts, params.seed)
    group_of = {place: number for number, group in enumerate(grouped) for place in group}
    leaks = Leaks(examples, params.near_duplicate, shown=shown, files=files, progress=progress)
    largest = _by_size(params)[0]
    dropped = _drop(params, parts, examples, leaks, ctx) if params.leaking == "drop" else {name: {} for name in parts}
    kept = {name: [place for place in places if place not in dropped[name]] for name, places in parts.items()}
    total, done = sum(len(places) for places in kept.values()), 0
    summaries: dict[str, dict[str, Any]] = {}
    for name, places in sorted(kept.items()):
        ctx.check_cancelled()
        _write(out / name / "examples.jsonl", (examples[place] for place in places))
        if dropped[name]:
            _write(out / name / "rejected.jsonl", [_rejected(examples[place], *why) for place, why in dropped[name].items()])
        elsewhere = [place for other, there in kept.items() if other != name for place in there]
        members = Counter(group_of[place] for place in places)
        summaries[name] = {
            "part": name, "examples": len(places), "share": round(len(places) / total, 6), "wanted": params.parts[name],
            "held_out": name != largest, "groups": len(members), "group_by": params.group_by, "dropped": len(dropped[name]),
            "repeated": len(leaks.repeats(places)), "leakage": leaks.leakage(places, elsewhere).row(),
        }  # fmt: skip
        if terms:
            summaries[name]["topics"] = [{"terms": terms[number], "examples": members[number]} for number in sorted(members)]
        text = json.dumps(summaries[name], ensure_ascii=False, sort_keys=True)
        (out / name / "split.json").write_text(text + "\n", encoding="utf-8")
        done += len(places)
        ctx.progress(total + done, 2 * total, "texts")
    _report(params, summaries, ctx)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"is no text in UTF-8: {error.reason} at byte {error.start}",
            where=path.name,
            remedy="name plain text under `shown_files`; read a data set by a `dataset` step and wire it to the port `shown`",
        ) from None


def _drop(
    params: Params, parts: Mapping[str, Sequence[int]], examples: Sequence[Any], leaks: Leaks, ctx: Context
) -> dict[str, dict[int, tuple[str, str]]]:
    """Places of each part to leave out, with the kind and name of the counterpart: a part gives way to larger ones and to what is shown."""
    dropped: dict[str, dict[int, tuple[str, str]]] = {}
    larger: list[int] = []
    for number, name in enumerate(_by_size(params)):
        dropped[name] = {}
        for place, found in zip(parts[name], leaks.counterparts(parts[name], larger) if number else [{}] * len(parts[name]), strict=True):
            kind = next((kind for kind in ("question", "near_question", "shown") if kind in found), None)
            if kind is not None:
                dropped[name][place] = (kind, found[kind])
        if dropped[name]:
            ctx.warn(
                f"{len(dropped[name])} of {len(parts[name])} examples left out of {name}: "
                "a larger part or what is shown has the same question or nearly so"
            )
        if len(dropped[name]) == len(parts[name]):
            raise StepError(
                f"nothing is left of {name}: a larger part or what is shown has each of its questions",
                where="leaking",
                remedy="drop duplicates in `mix`, or give more examples",
            )
        larger += [place for place in parts[name] if place not in dropped[name]]
    return dropped


def _by_size(params: Params) -> list[str]:
    """The parts, the largest first, which is the one that is not held out; of equal ones `train` is the larger."""
    return sorted(params.parts, key=lambda name: (-params.parts[name], name != "train", name))


def _rejected(example: Any, kind: str, twin: str) -> dict[str, Any]:
    where = f"in {twin}, which the model is shown" if kind == "shown" else f"in a larger part, as {twin}"
    return {
        "reason": "leaks",
        "detail": f"its question{', or nearly so, stands' if kind == 'near_question' else ' stands'} {where}",
        **example,
    }


def _write(file: Path, rows: Iterable[Any]) -> None:
    from runner.datasets import RowWriter

    with RowWriter(file) as writer:
        for row in rows:
            writer.write(row)


def _report(params: Params, summaries: Mapping[str, Mapping[str, Any]], ctx: Context) -> None:
    for name, summary in summaries.items():
        leak = summary["leakage"]
        ctx.fact(f"share_{name}", summary["share"])
        ctx.fact(f"leakage_{name}", leak["any"])
        ctx.log(
            f"{name}: {summary['examples']} examples in {summary['groups']} groups, {summary['share']:.1%} (wanted {summary['wanted']:.1%})"
        )
        if abs(summary["share"] - summary["wanted"]) > 0.05:
            shares = f"{summary['share']:.1%} of the examples and not {summary['wanted']:.1%}"
            kept_whole = {"document": "documents are", "topic": "topics are", "none": "examples are"}[params.group_by]
            ctx.warn(f"{name} has {shares}: {kept_whole} not cut" + (", and some were left out" if summary["dropped"] else ""))
        if not summary["held_out"]:
            continue
        if summary["repeated"]:
            ctx.warn(
                f"{summary['repeated']} of {summary['examples']} questions of {name} nearly repeat another of {name}: "
                "what is learnt of one counts several times in its scores"
            )
        if leak["any"] > params.max_leakage:
            words = {
                "document": "share a document", "context": "have the same context", "question": "have the same question",
                "near_question": "have a nearly equal question", "shown": "stand in what the model is shown besides",
            }  # fmt: skip
            found = ", ".join(f"{leak[kind]:.1%} {text}" for kind, text in words.items() if leak[kind])
            pairs = "; for instance " + ", ".join(f"{here} and {there}" for here, there, _ in leak["pairs"][:3])
            remedy = "set `leaking: drop`, or raise `max_leakage` and report it"
            raise StepError(
                f"{leak['any']:.1%} of {name} leaks from elsewhere, more than {params.max_leakage:.1%}: {found}{pairs}",
                where="max_leakage",
                remedy=f"set `group_by: document`; {remedy}" if params.group_by == "none" and leak["document"] else remedy,
            )
        if params.group_by == "none":
            ctx.warn(f"{name} is drawn example by example: what it shares with training besides its questions is not measured")
