"""Answers questions with a model, with or without retrieved passages, and measures the loss of the reference answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from runner import contract
from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Memory, Output, Port, PromptUse, Struct, Template, Upstream, doc
from runner.errors import InputError, StepError
from runner.retrieval.settings import CrossEncoder, Selection, Similarity, is_folder

if TYPE_CHECKING:
    from runner.answering import Rule
    from runner.retrieval.selection import Selector

VERSION = 2
PREVIEW = "questions"
PORTS = (
    Port("questions", "examples"),
    Port("model", "model", forms=("full", "adapter", "gguf")),
    Port("index", "index", required=False),
)
PRELOAD = ("runner.training.preload", "runner.retrieval.preload", "llama_cpp")
_SEARCHED_TOGETHER = 64  # questions; a reranker reads twenty passages for each


class Resources(contract.Resources):
    gpu_layers: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        doc("layers of a GGUF that go to the GPU, where llama-cpp-python has one; null: all", unit="layers"),
    ] = None


class DropPassages(Struct, tag_field="kind", tag="drop-passages"):
    """Passages are left out, the worst first."""


class Truncate(Struct, tag_field="kind", tag="truncate"):
    """Passages are left out, the worst first, but of the last of them stays what there is room for, in whole sentences or else words."""


class Summarise(Struct, tag_field="kind", tag="summarise"):
    """The model itself summarises passages with respect to the question, the worst first; where that is not enough, they are left out.

    A passage is cut into pieces that fit into the context with the prompt. It stays as it is when it has no more than `max_new_tokens`
    tokens, and when its summary is no shorter; an empty summary leaves it out.
    """

    prompt: Annotated[str, doc("prompt file that asks for a summary of (a piece of) a passage; variables: question, passage", min_length=1)]
    max_new_tokens: Annotated[int, doc("longest summary of a piece; made greedily; longer ones are cut", unit="tokens", ge=1)] = 128


class Fail(Struct, tag_field="kind", tag="fail"):
    """The step fails, and names the question."""


class Params(Struct):
    prompt: Annotated[str, doc("prompt file of the user's message; variables: question, passages (may be empty)", min_length=1)]
    top_k: Annotated[int, doc("passages retrieved for a question, where an index is bound", unit="passages", ge=1)] = 3
    selection: Annotated[Selection, doc("how they are selected from what the search finds")] = Similarity()
    max_new_tokens: Annotated[int, doc("longest answer; longer ones are cut and marked", unit="tokens", ge=1)] = 256
    temperature: Annotated[float, doc("0 takes the likeliest token always (greedy); above it tokens are drawn", ge=0)] = 0.0
    top_p: Annotated[float, doc("draw from the likeliest tokens that make up this probability; needs a temperature", gt=0, le=1)] = 1.0
    seed: Annotated[int, doc("seed of the draws", ge=0)] = 0
    batch_size: Annotated[int, doc("questions answered together; moves last bits of the values", unit="questions", ge=1, le=64)] = 16
    context_window: Annotated[
        int | None, doc("tokens that prompt and answer may have together; null: as many as the model has positions", unit="tokens")
    ] = None
    overflow: Annotated[
        DropPassages | Truncate | Summarise | Fail,
        doc("what is done about passages with which a prompt does not fit; counted in answers.json"),
    ] = DropPassages()
    reference_loss: Annotated[
        bool, doc("also compute the loss of each reference answer after the same prompt (mean negative log-likelihood)", unit="nats/token")
    ] = True
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], doc("type of the weights of a full model or adapter; a GGUF has its own")
    ] = "float32"


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("answers")}


def prompts(params: Params) -> Iterable[PromptUse]:
    yield PromptUse("prompt", params.prompt, frozenset({"question", "passages"}))
    if isinstance(params.overflow, Summarise):
        yield PromptUse("overflow.prompt", params.overflow.prompt, frozenset({"question", "passage"}))


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    reranker = params.selection
    return {"selection.model": [reranker.model]} if isinstance(reranker, CrossEncoder) and is_folder(reranker.model) else {}


def hub(params: Params) -> Iterable[HubUse]:
    reranker = params.selection
    if isinstance(reranker, CrossEncoder) and not is_folder(reranker.model):
        yield HubUse("selection.model", "model", reranker.model, reranker.revision)


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    if params.temperature == 0 and params.top_p != 1:
        yield Fault("top_p", "it has no effect at temperature 0", "1, or a temperature above 0")
    window = params.context_window
    if window is not None and window <= params.max_new_tokens:
        yield Fault("context_window", f"{window} tokens leave no room for a prompt", f"more than max_new_tokens ({params.max_new_tokens})")
    if window is not None and isinstance(params.overflow, Summarise) and window <= 2 * params.overflow.max_new_tokens:
        yield Fault("overflow.max_new_tokens", f"a text of that length and its summary do not fit into {window} tokens", "less than half")
    for model in upstream.get("model", ()):
        for sample in model.reads.get("calibration", ()):
            if any(_drawn_from(asked, sample) or _drawn_from(sample, asked) for asked in upstream.get("questions", ())):
                yield Fault(
                    "", f"the questions are among what `{model.step}` is calibrated on", "questions that a calibration has not seen"
                )


def _drawn_from(part: Upstream, whole: Upstream) -> bool:
    """Whether examples are those of another step, or a split, a choice or a mix of them."""
    same = (part.step, part.name, part.axes) == (whole.step, whole.name, whole.axes)
    return same or any(_drawn_from(before, whole) for before in part.reads.get("examples", ()))


def memory(params: Params, upstream: Mapping[str, Sequence[Upstream]], root: Path) -> Memory | None:
    from runner.training import footprint, lineage

    model = upstream["model"][0]
    shape = lineage.shape(model, root) if model.output.form != "gguf" else None
    if shape is None:
        return None
    length = params.context_window or footprint.PROMPT + params.max_new_tokens
    quantized = lineage.four_bits(lineage.method(model))
    return footprint.answering(shape, **quantized, dtype=params.dtype, rows=params.batch_size, length=length)


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from dataclasses import asdict

    from runner.answering import Generation, answer_all, open_answerer

    questions = _questions(inputs["questions"].path / "examples.jsonl")[: ctx.preview]
    passages = _retrieve(params, inputs, [(row["question"], row.get("history", ())) for row in questions], ctx)

    model = inputs["model"]
    answerer = open_answerer(
        model.path,
        model.form,
        lambda ref: ctx.artifact(ref).path,
        device=ctx.resources.device,
        dtype=params.dtype,
        threads=ctx.resources.threads,
        gpu_layers=ctx.resources.gpu_layers,
    )
    if (params.context_window or 0) > answerer.limit:
        raise StepError(
            f"context_window is {params.context_window} tokens, the model of {model.step} has {answerer.limit} positions",
            remedy=f"set context_window to at most {answerer.limit}, or leave it out",
        )

    def progress(done: float) -> None:
        ctx.progress(done, len(questions), "questions")
        ctx.check_cancelled()

    generation = Generation(params.max_new_tokens, params.temperature, params.top_p, params.seed)
    rows, sums, rate = answer_all(
        answerer,
        questions,
        passages,
        ctx.prompt(params.prompt),
        generation,
        batch_size=params.batch_size,
        window=params.context_window or answerer.limit,
        overflow=rule(params, ctx.prompt),
        reference_loss=params.reference_loss,
        journal=ctx.journal / "answers.jsonl",
        progress=progress,
    )
    _write(out, rows, params.batch_size)
    summary = {
        "model_step": model.step,
        "form": model.form,
        "prompt_file": params.prompt,
        "generation": {name: getattr(params, name) for name in ("max_new_tokens", "temperature", "top_p", "seed", "batch_size")},
        "top_k": params.top_k if inputs.get("index") else 0,
        "selection": _tag(params.selection) if inputs.get("index") else "",
        "overflow": _tag(params.overflow),
        **asdict(sums),
    }
    (out / MAIN / "answers.json").write_text(_json(summary) + "\n", encoding="utf-8", newline="\n")
    for done, share in (("left out of", sums.dropped), ("cut in", sums.truncated), ("put in summary into", sums.summarised)):
        if share.questions:
            counts = _counted(share.passages, "passage"), _counted(share.questions, "prompt")
            ctx.warn(f"{counts[0]} {done} {counts[1]} that did not fit into the context")
    if sums.forgotten.questions:
        ctx.warn(f"{sums.forgotten.exchanges} exchanges before {sums.forgotten.questions} questions were left out: they did not fit")
    if rate:
        ctx.fact("tokens_per_second", round(rate, 2), "tokens/s")
    answerer.close()


def rule(params: Params, load: Callable[[str], Template]) -> Rule:
    """The rule that ``overflow`` names, for ``runner.answering``; ``load`` opens a prompt file."""
    from runner.answering import Summaries

    overflow = params.overflow
    return Summaries(load(overflow.prompt), overflow.max_new_tokens) if isinstance(overflow, Summarise) else _tag(overflow)


def selector(params: Params, index: Path, root: Path, device: str) -> Selector:
    """What searches the index in the folder ``index`` as ``selection`` says. ``root`` is the project's folder."""
    from runner.retrieval import open_index
    from runner.retrieval.selection import Selector

    reranker = params.selection
    folder = (root / reranker.model).resolve() if isinstance(reranker, CrossEncoder) and is_folder(reranker.model) else None
    return Selector(open_index(index, device=device), params.selection, folder=folder, device=device)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _tag(choice: Any) -> Any:
    return choice.__struct_config__.tag


def _questions(file: Path) -> list[dict[str, Any]]:
    found = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"row {number} is not valid JSON: {error}", where=f"{file.name}:{number}") from None
            missing = [name for name in ("id", "question") if not isinstance(row, dict) or not row.get(name)]
            if missing:
                raise InputError(f"row {number} has no {' and no '.join(missing)}", where=f"{file.name}:{number}")
            found.append(row)
    if not found:
        raise InputError("there are no questions", where=file.name, remedy="bind examples that hold some")
    return found


def _retrieve(params: Params, inputs: Inputs, asked: list[tuple[str, Any]], ctx: Context) -> list[list[dict[str, Any]]]:
    if inputs.get("index") is None:
        return [[] for _ in asked]
    from runner.answering import retrieve

    index = selector(params, inputs["index"].path, ctx.root, ctx.resources.device)
    found: list[list[dict[str, Any]]] = []
    for start in range(0, len(asked), _SEARCHED_TOGETHER):
        ctx.progress(start, len(asked), "questions searched")
        found += retrieve(index, asked[start : start + _SEARCHED_TOGETHER], params.top_k)
        ctx.check_cancelled()
    for warning in index.warnings:
        ctx.warn(warning)
    return found


def _write(out: Path, rows: Iterable[dict[str, Any]], batch_size: int) -> None:
    (out / MAIN).mkdir(parents=True, exist_ok=True)
    (out / "provenance").mkdir(exist_ok=True)
    with (
        (out / MAIN / "answers.jsonl").open("w", encoding="utf-8", newline="\n") as answers,
        (out / "provenance" / "latency.jsonl").open("w", encoding="utf-8", newline="\n") as latency,
    ):
        for number, row in enumerate(rows):
            took = {"id": row["id"], "batch": number // batch_size, "seconds": round(row.pop("seconds"), 6)}
            latency.write(_json(took) + "\n")
            answers.write(_json(row) + "\n")


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, sort_keys=True)
