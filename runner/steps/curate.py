"""Sorts out poor question-answer pairs by named rules: each counts what it drops, and every victim is kept on a list."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, PromptUse, Struct, Upstream, doc
from runner.errors import StepError
from runner.teachers import opening, settings
from runner.teachers.settings import Calls, Teacher

if TYPE_CHECKING:
    from runner.datasets.curation import Example, Rule, Sorting

VERSION = 1
PREVIEW = "examples"
Resources = Calls
PORTS = (
    Port("examples", "examples"),
    Port("chunks", "chunks", required=False, about="where `supported` and `quality` find the text of pairs that name their chunks"),
    Port("documents", "documents", required=False, about="the same for pairs that name documents only"),
    Port("held_out", "examples", arity="many", required=False, about="test sets whose questions `unseen` keeps out"),
)

_Most = Annotated[int, Meta(ge=1)] | None


class Schema(Struct):
    """Question and answer hold text, and so do the fields that are asked for."""

    require: Annotated[
        list[Literal["answers", "chunks", "context", "documents", "source", "teacher", "type"]],
        doc("further fields that must hold something"),
    ] = []
    types: Annotated[Annotated[list[str], Meta(min_length=1)] | None, doc("the types of question that pass; null: all")] = None


class Length(Struct):
    """Question and answer are neither too short nor too long; the limits are included."""

    unit: Annotated[Literal["characters", "words"], doc("what the limits count; words stand between spaces")] = "characters"
    min_question: Annotated[int, doc("the shortest question, in `unit`", ge=0)] = 0
    max_question: Annotated[_Most, doc("the longest question, in `unit`; null: no limit")] = None
    min_answer: Annotated[int, doc("the shortest answer, in `unit`", ge=0)] = 0
    max_answer: Annotated[_Most, doc("the longest answer, in `unit`; null: no limit")] = None


class Language(Struct):
    """The pair is not surely in another language, by py3langid; where none can be told, it passes unchecked."""

    allowed: Annotated[list[str], doc("languages that pass, by their ISO 639-1 codes (`en`)", min_length=1)]
    min_confidence: Annotated[float, doc("how sure another language must be, for a pair to be dropped", gt=0, le=1)] = 0.8


class Supported(Struct):
    """The text that an answer comes from holds its words and its numbers. A comparison of words: it sees no negation."""

    min_share: Annotated[
        float,
        doc("share of the answer's words of four letters and more, compared without their endings, that the text must hold", ge=0, le=1),
    ] = 0.6
    numbers: Annotated[bool, doc("the text must hold each number of the answer, by value")] = True


class Standalone(Struct):
    """The question can be understood without its text: it names its subject, and does not say "the passage", "Table 2", "our results",
    or "it" before any noun. The patterns are English."""

    also: Annotated[list[str], doc("further patterns (Python's `re`, case ignored) that no question may hold")] = []


class Duplicates(Struct):
    """No two pairs are the same; the first stays."""

    compare: Annotated[
        Literal["exact", "normalised", "question"],
        doc(
            "exact: same question and answer; normalised: the same up to case, punctuation and spaces; "
            "question: same question up to these, whatever the answer"
        ),
    ] = "normalised"


class NearDuplicates(Struct):
    """No two pairs are nearly equal; the first stays. Candidates by MinHash, each verified."""

    compare: Annotated[Literal["question", "pair"], doc("what is compared: questions, or question and answer together")] = "pair"
    near: Annotated[float, doc("from which Jaccard similarity of 5-grams two count as nearly equal", ge=0.1, le=1)] = 0.8


class Unseen(Struct):
    """No question of a test set is trained on, nor one that is nearly equal."""

    near: Annotated[float, doc("from which Jaccard similarity of 5-grams two questions count as nearly equal", ge=0.1, le=1)] = 0.8


class Quality(Struct):
    """A teacher grades each pair against its text from 1 to 5. The grade stays with the pair, as `quality`."""

    teacher: Annotated[Teacher, doc("who grades")]
    prompt: Annotated[str, doc("template that asks for a grade; variables: question, answer, text (may be empty), mark", min_length=1)]
    min_score: Annotated[int, doc("the lowest grade that passes", ge=2, le=5)] = 4
    attempts: Annotated[int, doc("times that a teacher is asked for a grade, where its reply is no grade", ge=1, le=10)] = 2
    max_ungraded: Annotated[
        float, doc("share of pairs without a grade past which the step fails; up to it they are dropped", ge=0, le=1)
    ] = 0.1


class Params(Struct):
    """A rule that is left out (null) is not applied. They are applied in this order, and a pair is dropped by the first that it breaks."""

    schema: Annotated[Schema | None, doc("1. question and answer hold text, and so do the fields that are asked for")] = None
    length: Annotated[Length | None, doc("2. question and answer are neither too short nor too long")] = None
    language: Annotated[Language | None, doc("3. the pair is not surely in another language")] = None
    standalone: Annotated[Standalone | None, doc("4. the question can be understood without its text in sight")] = None
    supported: Annotated[
        Supported | None,
        doc("5. the text that an answer comes from holds its words and numbers; that text is its chunks, `context`, documents or quote"),
    ] = None
    duplicates: Annotated[Duplicates | None, doc("6. no two pairs are the same")] = None
    near_duplicates: Annotated[NearDuplicates | None, doc("7. no two pairs are nearly equal")] = None
    unseen: Annotated[Unseen | None, doc("8. no example of the port `held_out` asks the same or nearly so")] = None
    quality: Annotated[Quality | None, doc("9. a teacher's grade is high enough")] = None


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("examples")}


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    if all(getattr(params, name) is None for name in Params.__struct_fields__):
        yield Fault("", "applies no rule", "one of " + ", ".join(f"`{name}`" for name in Params.__struct_fields__))
    if params.length is not None:
        for name in ("question", "answer"):
            least, most = getattr(params.length, f"min_{name}"), getattr(params.length, f"max_{name}")
            if most is not None and most < least:
                yield Fault(f"length.max_{name}", f"{most} is less than the shortest, {least}", f"at least {least}")
    if params.quality is not None:
        yield from settings.faults(params.quality.teacher, "quality.teacher")
    for port in ("chunks", "documents"):
        if upstream.get(port) and params.supported is None and params.quality is None:
            yield Fault("", f"no rule reads the port `{port}`", "`supported` or `quality`, or nothing bound to it")
    if upstream.get("held_out") and params.unseen is None:
        yield Fault("", "no rule reads the port `held_out`", "`unseen`, or nothing bound to it")
    if params.unseen is not None and not upstream.get("held_out"):
        yield Fault("unseen", "no test set is bound", "from: {held_out: STEP}")


def prompts(params: Params) -> Iterable[PromptUse]:
    if params.quality is not None:
        yield PromptUse("quality.prompt", params.quality.prompt, frozenset({"question", "answer", "text", "mark"}))


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    return opening.sources(params.quality.teacher, "quality.teacher") if params.quality is not None else {}


def hub(params: Params) -> Iterable[HubUse]:
    return opening.hub(params.quality.teacher, "quality.teacher") if params.quality is not None else ()


def network(params: Params) -> Iterable[str]:
    return opening.network(params.quality.teacher) if params.quality is not None else ()


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from itertools import islice

    from runner.datasets import RowWriter, curation, read_rows
    from runner.datasets.evidence import evidence

    given = list(islice(read_rows(inputs["examples"].path / "examples.jsonl"), ctx.preview))
    texts: dict[str, str] = {}
    if params.supported or params.quality:
        rows = {port: read_rows(bound.path / f"{port}.jsonl") for port in ("chunks", "documents") if (bound := inputs.get(port))}
        texts = evidence(given, **rows)
    held_out = [
        (f"{bound.step}/{row['id']}", row) for bound in inputs.get("held_out") or () for row in read_rows(bound.path / "examples.jsonl")
    ]
    kept, sorting = curation.curate(
        given, _rules(params, texts, held_out), progress=lambda done, total: ctx.progress(done, total, "examples by rules")
    )
    if params.quality is not None:
        kept = _graded(params.quality, kept, texts, sorting, out, ctx)
    with RowWriter(out / MAIN / "examples.jsonl") as examples:
        for example in kept:
            examples.write(example)
    with RowWriter(out / MAIN / "rejected.jsonl") as victims:
        for rule, detail, example in sorting.victims:
            victims.write({**example, "reason": rule, "detail": detail})
    counts = [{"rule": name, **asdict(count)} for name, count in sorting.counts.items()]
    summary = {"given": len(given), "taken": len(kept), "rules": counts}
    (out / MAIN / "curation.json").write_text(json.dumps(summary, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    _report(sorting, len(given), len(kept), ctx)


def _report(sorting: Sorting, given: int, kept: int, ctx: Context) -> None:
    for name, count in sorting.counts.items():
        unchecked = count.given - count.checked
        ctx.log(f"{name}: {count.dropped} of {count.given} dropped" + (f", {unchecked} could not be judged" if unchecked else ""))
        if count.given and not count.checked:
            ctx.warn(f"{name} could judge none of {count.given} examples" + (": none names a text" if name == "supported" else ""))
    ctx.fact("examples", kept)
    ctx.fact("dropped", {name: count.dropped for name, count in sorting.counts.items()})
    if not given:
        raise StepError("there are no examples to curate", where="examples", remedy="see why the step before gave none")
    if not kept:
        worst = max(sorting.counts, key=lambda name: sorting.counts[name].dropped)
        first = next(detail for rule, detail, _ in sorting.victims if rule == worst)
        raise StepError(
            f"none of {given} examples is left; `{worst}` dropped {sorting.counts[worst].dropped}, the first because {first}",
            remedy="ease the rule, or look at how the examples were made: `recipe run RECIPE --only STEP --preview 20`",
        )


def _rules(params: Params, texts: Mapping[str, str], held_out: Sequence[tuple[str, Example]]) -> dict[str, Callable[[list[Example]], Rule]]:
    """The rules that are applied, in their order: each is made for the examples that come to it."""
    from runner.datasets import curation

    made: dict[str, Callable[[list[Example]], Rule]] = {}
    for name in ("schema", "length", "language", "standalone", "supported", "duplicates", "near_duplicates", "unseen"):
        rule = getattr(params, name)
        if rule is not None:
            values = {field: getattr(rule, field) for field in rule.__struct_fields__}
            if name == "supported":
                values["evidence"] = lambda example: texts.get(example["id"])
            if name == "unseen":
                values["held_out"] = held_out
            made[name] = partial(_make, getattr(curation, name), values, name in ("near_duplicates", "unseen"))
    return made


def _make(rule: Callable[..., Rule], values: Mapping[str, Any], among: bool, examples: list[Example]) -> Rule:
    return rule(examples, **values) if among else rule(**values)


def _graded(
    quality: Quality, examples: list[Example], texts: Mapping[str, str], sorting: Sorting, out: Path, ctx: Context
) -> list[Example]:
    """The examples whose grade is high enough, each with its grade."""
    from runner.datasets.conversations import told
    from runner.teachers import Rejected
    from runner.teachers.grading import grades

    wrong: dict[str, str] = {}
    scores: dict[str, int] = {}
    with opening.open_caller(quality.teacher, ctx, replies=out / "provenance" / "replies.jsonl") as caller:
        asked = [{**example, "question": told(example)} for example in examples]
        found = grades(asked, texts, caller, ctx.prompt(quality.prompt), attempts=quality.attempts)
        for done, (example, grade) in enumerate(zip(examples, found, strict=True), 1):
            if isinstance(grade, Rejected):
                wrong[example["id"]] = f"no grade: {grade}"
            else:
                scores[example["id"]] = grade.score
                if grade.score < quality.min_score:
                    wrong[example["id"]] = f"grade {grade.score}: {grade.reason}"
            ctx.progress(done, len(examples), "examples")
        ungraded = len(examples) - len(scores)
        if ungraded > quality.max_ungraded * len(examples) and not ctx.preview:
            caller.forget_rejected()
            first = next(text for text in wrong.values() if text.startswith("no grade"))
            raise StepError(
                f"{ungraded} of {len(examples)} examples got no grade, more than max_ungraded {quality.max_ungraded:g} allows: {first}",
                where="quality",
                remedy="mend the prompt or the teacher's settings; these are asked again in the next run",
            )
    kept = list(sorting.judge("quality", examples, lambda example: wrong.get(example["id"])))
    return [{**example, "quality": scores[example["id"]]} for example in kept]
