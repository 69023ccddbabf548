"""Has a teacher write question-answer pairs about documents or chunks, each with its source."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, field

from runner import contract
from runner.contract import MAIN, Context, Fault, Inputs, Output, Port, PromptUse, Struct, Upstream, doc
from runner.errors import InputError

if TYPE_CHECKING:
    from runner.teachers.calls import Caller
    from runner.teachers.intake import Intake
    from runner.teachers.synthesis import Plan, Unit, Writer

VERSION = 1
PORTS = (
    Port("documents", "documents", required=False),
    Port("chunks", "chunks", required=False),
    Port("index", "index", required=False),
)
#: The ports that a mode reads: these and no others must be bound.
_READS = {"whole-document": {"documents"}, "per-chunk": {"chunks"}, "retrieve-then-answer": {"chunks", "index"}}
_PASSAGES = 5
_VARIABLES = frozenset({"title", "section", "page", "text", "count", "types", "mark"})
_ANSWER_VARIABLES = frozenset({"question", "passages", "mark"})


class QuestionTypes(Struct):
    """Weights; a type with weight 0 is not asked for. All 0: all types alike."""

    definition: Annotated[float, doc("what a term is or stands for", ge=0)] = 0
    factual: Annotated[float, doc("a fact that the text states", ge=0)] = 0
    numeric: Annotated[float, doc("a number with its unit and condition", ge=0)] = 0
    reason: Annotated[float, doc("why something is so", ge=0)] = 0
    procedure: Annotated[float, doc("how something works or is done", ge=0)] = 0
    comparison: Annotated[float, doc("how two things differ", ge=0)] = 0
    multi_step: Annotated[float, doc("what follows from statements in several places", ge=0)] = field(default=0, name="multi-step")


class Extractive(Struct, tag_field="provider", tag="extractive"):
    """No language model: questions by grammatical patterns, answers word for word from the text. Offline and deterministic."""


class GoogleGenerativeAI(Struct, tag_field="provider", tag="google-generativeai"):
    """Gemini, through the SDK google-generativeai."""

    model: Annotated[str, doc("a served model; the version that answers is recorded, and a warning tells when it is another", min_length=1)]
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=2)] | None,
        doc("spread of the answers; null leaves it to the model, as Gemini 3.6 and later want it"),
    ] = None
    max_output_tokens: Annotated[int, doc("longest reply; a reply that reaches it is rejected as truncated", unit="tokens", ge=1)] = 8192


class Params(Struct):
    mode: Annotated[
        Literal["whole-document", "per-chunk", "retrieve-then-answer"],
        doc("what the teacher sees: a document, a chunk, or, for a question that it made from a chunk, what the index finds"),
    ]
    prompt: Annotated[str, doc("template that asks for pairs, or in retrieve-then-answer for one answer", min_length=1)]
    teacher: Annotated[Extractive | GoogleGenerativeAI, doc("who writes")]
    questions_prompt: Annotated[str | None, doc("template that asks for questions; for retrieve-then-answer, and required there")] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=1)] | None, doc("passages found for a question; for retrieve-then-answer alone; null: 5", unit="chunks")
    ] = None
    count: Annotated[int, doc("pairs asked for from each document or chunk", unit="pairs", ge=1, le=200)] = 3
    question_types: Annotated[QuestionTypes, doc("types of question and their weights; empty: all types alike")] = QuestionTypes()
    at_most: Annotated[int, doc("documents or chunks taken, drawn by the seed; 0: all", ge=0)] = 0
    seed: Annotated[int, doc("seed of the draws of texts and question types")] = 0
    max_rejected: Annotated[float, doc("share of rejected pairs past which the step fails", ge=0, le=1)] = 0.2


class Resources(contract.Resources):
    concurrency: Annotated[int, doc("calls at a time", ge=1, le=256)] = 4
    retries: Annotated[int, doc("further tries of a call that failed for a passing reason", ge=0, le=100)] = 5
    backoff: Annotated[
        float, doc("wait before the first further try, doubled each time, unless the server names one", unit="seconds", gt=0)
    ] = 1.0
    request_timeout: Annotated[float, doc("wait for one answer", unit="seconds", gt=0)] = 120.0
    api_key_env: Annotated[
        str, doc("environment variable that holds the API key; never the key itself", pattern="^[A-Z_][A-Z0-9_]*$", max_length=64)
    ] = "GOOGLE_API_KEY"
    endpoint: Annotated[str, doc("address instead of the provider's own; empty: the provider's own")] = ""


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("examples")}


def prompts(params: Params) -> Iterable[PromptUse]:
    retrieves = params.mode == "retrieve-then-answer"
    yield PromptUse("prompt", params.prompt, _ANSWER_VARIABLES if retrieves else _VARIABLES)
    if params.questions_prompt and retrieves:
        yield PromptUse("questions_prompt", params.questions_prompt, _VARIABLES)


def network(params: Params) -> Iterable[str]:
    if isinstance(params.teacher, GoogleGenerativeAI):
        yield "Gemini API"


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    bound = {port for port, producers in upstream.items() if producers}
    for port in sorted(_READS[params.mode] - bound):
        yield Fault("mode", f"{params.mode} reads the port `{port}`, and nothing is bound to it", f"from: {{{port}: STEP}}")
    for port in sorted(bound - _READS[params.mode]):
        yield Fault("mode", f"{params.mode} does not read the port `{port}`", "from: {" + ", ".join(sorted(_READS[params.mode])) + "}")
    if params.mode == "retrieve-then-answer":
        if params.questions_prompt is None:
            yield Fault("questions_prompt", "missing; retrieve-then-answer makes its questions with it", "a template's path")
    else:
        for name in ("questions_prompt", "top_k"):
            if getattr(params, name) is not None:
                yield Fault(name, f"{params.mode} does not use it", "mode: retrieve-then-answer, or no such key")


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.teachers import QUESTION_TYPES, AnswerCache, Caller, Connection, open_teacher
    from runner.teachers.intake import Intake
    from runner.teachers.synthesis import Plan, Writer

    resources: Resources = ctx.resources
    settings = {name: getattr(params.teacher, name) for name in params.teacher.__struct_fields__}
    provider = str(params.teacher.__struct_config__.tag)
    remote = isinstance(params.teacher, GoogleGenerativeAI)
    key = ctx.secret(resources.api_key_env) if remote else ""
    teacher = open_teacher(provider, Connection(key, resources.endpoint, resources.request_timeout), **settings)
    cache = AnswerCache(ctx.cache("teacher") / f"{provider}--{teacher.model.replace('/', '-')}") if teacher.remote else None
    caller = Caller(
        teacher,
        cache,
        concurrency=resources.concurrency,
        retries=resources.retries,
        backoff=resources.backoff,
        secrets=(key,),
        between=ctx.check_cancelled,
    )
    weights = {name: getattr(params.question_types, name.replace("-", "_")) for name in QUESTION_TYPES}
    if not any(weights.values()):
        weights = dict.fromkeys(QUESTION_TYPES, 1.0)
    plan = Plan(params.count, weights, params.seed, params.at_most)
    rows = _Texts(inputs, params.mode, plan)
    ctx.progress(0, rows.total, rows.noun)
    ctx.log(f"{provider} writes {params.count} pairs for each of {rows.total} {rows.noun}")
    try:
        with Intake(out / MAIN, rows.total * params.count, params.max_rejected, caller.forget_rejected) as intake:
            if params.mode == "retrieve-then-answer":
                _retrieve_then_answer(params, inputs["index"].path, rows, plan, caller, Writer(teacher), intake, ctx)
            else:
                _write_pairs(params, rows, plan, caller, Writer(teacher), intake, ctx)
            intake.finish()
    finally:
        if cache is not None:
            cache.close()
        _report(caller, ctx)
    ctx.fact("pairs", intake.taken, "pairs")
    ctx.fact("pairs_wanted", intake.wanted, "pairs")
    ctx.fact("pairs_rejected", dict(sorted(intake.rejected.items())))


class _Texts:
    """The documents or chunks to write about, streamed from their file; ``total`` of them."""

    def __init__(self, inputs: Inputs, mode: str, plan: Plan) -> None:
        self.noun = "documents" if mode == "whole-document" else "chunks"
        self._file = inputs[self.noun].path / f"{self.noun}.jsonl"
        self._taken = plan.choose(row["id"] for row in _rows(self._file))
        self.total = len(self._taken)
        if not self.total:
            raise InputError(f"there are no {self.noun} to write about", where=inputs[self.noun].step)

    def __iter__(self) -> Iterator[Unit]:
        from runner.teachers.synthesis import Unit

        build = Unit.of_document if self.noun == "documents" else Unit.of_chunk
        return (build(row) for row in _rows(self._file) if row["id"] in self._taken)


def _write_pairs(params: Params, texts: _Texts, plan: Plan, caller: Caller, writer: Writer, intake: Intake, ctx: Context) -> None:
    from runner.teachers.synthesis import pair_request

    prompt = ctx.prompt(params.prompt)
    asked: deque[Unit] = deque()

    def requests() -> Iterator[Any]:
        for unit in texts:
            asked.append(unit)
            yield pair_request(unit, prompt, plan)

    for done, outcome in enumerate(caller.ask_all(requests()), 1):
        for row, rejection in writer.pairs(asked.popleft(), outcome):
            intake.put(row, rejection, params.count if outcome.rejected else 1)
        ctx.progress(done, texts.total, texts.noun)


def _retrieve_then_answer(
    params: Params, index_path: Path, texts: _Texts, plan: Plan, caller: Caller, writer: Writer, intake: Intake, ctx: Context
) -> None:
    from runner.retrieval import open_index
    from runner.teachers.decoding import Rejected
    from runner.teachers.synthesis import Unit, answer_request, question_request
    from runner.teachers.tasks import Question

    assert params.questions_prompt is not None  # check() holds the recipe to it
    prompt, questions_prompt = ctx.prompt(params.prompt), ctx.prompt(params.questions_prompt)
    calls = texts.total * (1 + params.count)
    asked: deque[Unit] = deque()

    def question_requests() -> Iterator[Any]:
        for unit in texts:
            asked.append(unit)
            yield question_request(unit, questions_prompt, plan)

    questions: list[tuple[Unit, int, Question]] = []
    for done, outcome in enumerate(caller.ask_all(question_requests()), 1):
        unit = asked.popleft()
        if outcome.rejected:
            intake.put(None, writer.rejection(unit, outcome.rejected), params.count)
        questions += [(unit, number, item) for number, item in enumerate(outcome.items, 1) if isinstance(item, Question)]
        ctx.progress(done, calls, "calls")

    index = open_index(index_path, device=ctx.resources.device)
    waiting: deque[tuple[Unit, Question, list[Unit]]] = deque()

    def answer_requests() -> Iterator[Any]:
        for begin in range(0, len(questions), 64):
            batch = questions[begin : begin + 64]
            found = index.search([question.question for _, _, question in batch], params.top_k or _PASSAGES)
            for (unit, number, question), hits in zip(batch, found, strict=True):
                if not hits:
                    nothing = Rejected("unanswerable", "the index found nothing")
                    intake.put(None, writer.rejection(unit, nothing, question=question.question))
                    continue
                passages = [{**hit.chunk, "score": hit.score} for hit in hits]
                waiting.append((unit, question, [Unit.of_chunk(row) for row in passages]))
                yield answer_request(question, number, unit, passages, prompt)

    for done, outcome in enumerate(caller.ask_all(answer_requests()), texts.total + 1):
        unit, question, passages = waiting.popleft()
        intake.put(*writer.answer(unit, question, passages, outcome))
        ctx.progress(done, texts.total + len(questions), "calls")


def _report(caller: Caller, ctx: Context) -> None:
    """Facts and warnings, after a failure too: what was paid for is said."""
    from runner.teachers.models import other_versions

    tally, teacher = caller.tally, caller.teacher
    ctx.fact("teacher", f"{teacher.provider} {teacher.model}" if teacher.remote else teacher.provider)
    for name, unit in (("calls", "calls"), ("cached", "calls"), ("retried", "calls"), ("tokens_in", "tokens"), ("tokens_out", "tokens")):
        ctx.fact(name, getattr(tally, name), unit)
    ctx.fact("lost_in_flight", tally.lost, "calls")
    ctx.fact("rejected", dict(sorted(tally.rejected.items())))
    ctx.fact("reported_models", dict(sorted(tally.models.items())))
    if tally.lost:
        ctx.warn(f"{tally.lost} calls were in flight when an earlier run was killed; they were asked again, and may be paid for twice")
    for model, replies in other_versions(teacher.model, tally.models):
        ctx.warn(f"{replies} replies come from {model}, not from {teacher.model} as asked: the provider routes it elsewhere")
    if caller.cache is not None and caller.cache.damaged:
        ctx.warn(f"{caller.cache.damaged} lines of the teacher's answer record are damaged and were passed over")


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError:
                raise InputError("not a JSON object", where=f"{file.name}:{number}") from None
