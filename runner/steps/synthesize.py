"""Has a teacher write question-answer pairs about documents or chunks, each with its source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, field
from msgspec.structs import fields

from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, PromptUse, Struct, Upstream, doc
from runner.errors import InputError
from runner.teachers import opening, settings

if TYPE_CHECKING:
    from runner.retrieval import Index
    from runner.teachers.synthesis import Pairs, Retrieved, Synthesis
    from runner.teachers.synthesis.intake import Intake
    from runner.teachers.synthesis.texts import Texts

VERSION = 2
PORTS = (
    Port("documents", "documents", required=False, about="for whole-document"),
    Port("chunks", "chunks", required=False, about="for per-chunk and retrieve-then-answer"),
    Port("index", "index", required=False, about="for retrieve-then-answer; in per-chunk it finds partners for multi-hop questions"),
)
PREVIEW = "documents or chunks"
Resources = settings.Calls

#: The ports that a mode reads; the first must be bound, and no other port than these.
_READS = {"whole-document": ("documents",), "per-chunk": ("chunks", "index"), "retrieve-then-answer": ("chunks", "index")}
_PASSAGES, _PARTNERS = 5, 2
_VARIABLES = frozenset({"title", "section", "page", "text", "count", "types", "asked", "mark"})
_ANSWER_VARIABLES = frozenset({"question", "passages", "mark"})
_MULTI_HOP_VARIABLES = frozenset({"passages", "count", "asked", "mark"})


class QuestionTypes(Struct):
    """Weights; a type with weight 0 is not asked for. All 0: all types alike that the mode can ask for."""

    definition: Annotated[float, doc("what a term is or stands for", ge=0)] = 0
    factual: Annotated[float, doc("a fact that the text states", ge=0)] = 0
    numeric: Annotated[float, doc("a number with its unit and condition", ge=0)] = 0
    procedure: Annotated[float, doc("how something works or is done", ge=0)] = 0
    analytical: Annotated[float, doc("why something is so", ge=0)] = 0
    comparative: Annotated[float, doc("how two things differ", ge=0)] = 0
    hypothetical: Annotated[float, doc("what happens under a condition", ge=0)] = 0
    multi_hop: Annotated[
        float,
        doc("what follows only from two chunks, or in whole-document from two places; not for retrieve-then-answer", ge=0),
    ] = field(default=0, name="multi-hop")


class Params(Struct):
    mode: Annotated[
        Literal["whole-document", "per-chunk", "retrieve-then-answer"],
        doc("what the teacher sees: a document, a chunk, or, for a question that it made from a chunk, what the index finds"),
    ]
    prompt: Annotated[str, doc("template that asks for pairs, or in retrieve-then-answer for one answer", min_length=1)]
    teacher: Annotated[settings.Teacher, doc("who writes")]
    questions_prompt: Annotated[str | None, doc("template that asks for questions; for retrieve-then-answer, and required there")] = None
    multi_hop_prompt: Annotated[
        str | None, doc("template that asks for pairs about several chunks; for per-chunk, and required there for multi-hop questions")
    ] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        doc(
            "passages found for a question in retrieve-then-answer (null: 5), or chunks shown beside a chunk for a multi-hop question in "
            "per-chunk (null: 2), found by the index where one is bound, else by the rare terms that they share",
            unit="chunks",
        ),
    ] = None
    count: Annotated[int, doc("pairs asked for from each document or chunk at a time", unit="pairs", ge=1, le=200)] = 3
    per_document: Annotated[int, doc("most pairs about one document; 0: no limit", unit="pairs", ge=0)] = 0
    total: Annotated[
        int,
        doc(
            "pairs wanted in all: no more are asked for, and a warning tells when there are fewer; 0: `count` from each document or chunk",
            unit="pairs",
            ge=0,
        ),
    ] = 0
    samples: Annotated[
        int,
        doc(
            "how often a document or chunk may be asked while pairs are missing, each time for other questions, with the next sample index",
            ge=1,
            le=100,
        ),
    ] = 1
    attempts: Annotated[
        int, doc("tries of a request whose reply is rejected (malformed, blocked, ...), each with the next sample index", ge=1, le=20)
    ] = 3
    question_types: Annotated[
        QuestionTypes,
        doc("types of question and their weights, kept exactly in what is asked; empty: all types alike that the mode can ask for"),
    ] = QuestionTypes()
    at_most: Annotated[int, doc("documents or chunks taken, drawn by the seed; 0: all", ge=0)] = 0
    seed: Annotated[int, doc("seed of the draws of texts and question types")] = 0
    max_rejected: Annotated[
        float,
        doc("share of rejected pairs past which the step fails; texts with nothing to ask and repeated questions do not count", ge=0, le=1),
    ] = 0.2


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("examples")}


def prompts(params: Params) -> Iterable[PromptUse]:
    retrieves = params.mode == "retrieve-then-answer"
    yield PromptUse("prompt", params.prompt, _ANSWER_VARIABLES if retrieves else _VARIABLES)
    if params.questions_prompt and retrieves:
        yield PromptUse("questions_prompt", params.questions_prompt, _VARIABLES)
    if params.multi_hop_prompt and params.mode == "per-chunk":
        yield PromptUse("multi_hop_prompt", params.multi_hop_prompt, _MULTI_HOP_VARIABLES)


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    return opening.sources(params.teacher)


def hub(params: Params) -> Iterable[HubUse]:
    return opening.hub(params.teacher)


def network(params: Params) -> Iterable[str]:
    return opening.network(params.teacher)


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    yield from settings.faults(params.teacher)
    bound = {port for port, producers in upstream.items() if producers}
    reads, hops = _READS[params.mode], _weights(params).get("multi-hop", 0) > 0
    needed = set(reads if params.mode == "retrieve-then-answer" else reads[:1])
    for port in sorted(needed - bound):
        yield Fault("mode", f"{params.mode} reads the port `{port}`, and nothing is bound to it", f"from: {{{port}: STEP}}")
    for port in sorted(bound - set(reads)):
        yield Fault("mode", f"{params.mode} does not read the port `{port}`", "from: {" + ", ".join(reads) + "}")
    if params.mode == "retrieve-then-answer":
        if params.questions_prompt is None:
            yield Fault("questions_prompt", "missing; retrieve-then-answer makes its questions with it", "a template's path")
        if hops:
            yield Fault(
                "question_types.multi-hop", "retrieve-then-answer asks about one chunk at a time", "mode: per-chunk or whole-document"
            )
    elif params.questions_prompt is not None:
        yield Fault("questions_prompt", f"{params.mode} does not use it", "mode: retrieve-then-answer, or no such key")
    if params.mode == "per-chunk" and hops:
        if params.multi_hop_prompt is None:
            yield Fault("multi_hop_prompt", "missing; per-chunk asks its multi-hop questions with it", "a template's path")
    else:
        why = "no multi-hop question is asked" if params.mode == "per-chunk" else f"{params.mode} does not use it"
        if params.multi_hop_prompt is not None:
            yield Fault("multi_hop_prompt", why, "mode: per-chunk with multi-hop questions, or no such key")
        if params.mode != "retrieve-then-answer" and params.top_k is not None:
            yield Fault("top_k", why, "mode: retrieve-then-answer, or per-chunk with multi-hop questions, or no such key")
        if params.mode == "per-chunk" and "index" in bound:
            yield Fault(
                "question_types", "nothing reads the port `index`: no multi-hop question is asked", "question_types: {multi-hop: 1}"
            )


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.teachers.synthesis import Synthesis
    from runner.teachers.synthesis.intake import Intake
    from runner.teachers.synthesis.planning import Plan
    from runner.teachers.synthesis.texts import Texts, Unit

    noun = "documents" if params.mode == "whole-document" else "chunks"
    texts = Texts(inputs[noun].path / f"{noun}.jsonl", Unit.of_document if noun == "documents" else Unit.of_chunk)
    if not texts:
        raise InputError(f"there are no {noun} to write about", where=inputs[noun].step)
    opened: list[Index] = []
    plan = Plan(params.count, _weights(params), params.seed, params.at_most, params.per_document, params.total, params.samples)
    with (
        opening.open_caller(params.teacher, ctx, replies=out / "provenance" / "replies.jsonl") as caller,
        Intake(out / MAIN, 1 if ctx.preview else params.max_rejected, caller.forget_rejected) as intake,
    ):
        synthesis = Synthesis(
            texts,
            plan,
            caller,
            _way(params, inputs, texts, opened, ctx),
            intake,
            attempts=params.attempts,
            progress=lambda done, calls: ctx.progress(done, calls, "calls"),
        )
        if not ctx.preview:
            ctx.log(f"{caller.teacher.provider} is asked for {synthesis.wanted} pairs about {params.at_most or len(texts)} {noun}")
        try:
            synthesis.run(ctx.preview)
            intake.finish()
        finally:
            _report(synthesis, intake, ctx)
            for warning in (warning for index in opened for warning in index.warnings):
                ctx.warn(warning)
    if intake.taken < params.total and not ctx.preview:
        ctx.warn(
            f"{intake.taken} of {params.total} pairs were written: the {noun} gave no more in {params.samples} samples of each; "
            "raise samples or count, or add documents"
        )


def _way(params: Params, inputs: Inputs, texts: Texts, opened: list[Index], ctx: Context) -> Pairs | Retrieved:
    from runner.teachers.synthesis import Pairs, Retrieved
    from runner.teachers.synthesis.partners import RareTerms

    prompt = ctx.prompt(params.prompt)
    find = _finder(inputs["index"].path, opened, ctx) if inputs.get("index") else None
    if params.mode == "retrieve-then-answer":
        assert params.questions_prompt is not None  # check() holds the recipe to it
        assert find is not None
        return Retrieved(ctx.prompt(params.questions_prompt), prompt, lambda questions: find(questions, params.top_k or _PASSAGES))
    if params.mode == "whole-document" or params.multi_hop_prompt is None:
        return Pairs(prompt)
    near = RareTerms(texts) if find is None else lambda unit, k: [row["id"] for row in find([unit.text], k)[0] if row["id"] in texts]
    return Pairs(prompt, ctx.prompt(params.multi_hop_prompt), near, params.top_k or _PARTNERS)


def _finder(index: Path, opened: list[Index], ctx: Context) -> Callable[[Sequence[str], int], list[list[dict[str, Any]]]]:
    """Chunks that the index finds for each text, with their scores. The index is opened, into ``opened``, at the first search."""

    def find(texts: Sequence[str], k: int) -> list[list[dict[str, Any]]]:
        from runner.retrieval import open_index

        if not opened:
            opened.append(open_index(index, device=ctx.resources.device))
        return [[{**hit.chunk, "score": hit.score} for hit in hits] for hits in opened[0].search(texts, k)]

    return find


def _weights(params: Params) -> dict[str, float]:
    weights = {type.encode_name: float(getattr(params.question_types, type.name)) for type in fields(QuestionTypes)}
    if any(weights.values()):
        return weights
    one_text = params.mode == "retrieve-then-answer" or (params.mode == "per-chunk" and params.multi_hop_prompt is None)
    return {name: 0.0 if name == "multi-hop" and one_text else 1.0 for name in weights}


def _report(synthesis: Synthesis, intake: Intake, ctx: Context) -> None:
    """What came of it, after a failure too."""
    ctx.fact("pairs", intake.taken, "pairs")
    ctx.fact("pairs_wanted", synthesis.wanted, "pairs")
    ctx.fact("pairs_rejected", dict(sorted(intake.rejected.items())))
    ctx.fact("types_wanted", dict(sorted(synthesis.types_wanted.items())))
    ctx.fact("types_reached", dict(sorted(synthesis.types_reached.items())))
