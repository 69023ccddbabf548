"""Answers questions with a model, with or without retrieved passages, and measures the loss of the reference answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from runner import contract
from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, PromptUse, Struct, Upstream, doc
from runner.errors import InputError, StepError
from runner.retrieval.settings import CrossEncoder, Selection, Similarity, is_folder

VERSION = 2
PREVIEW = "questions"
PORTS = (
    Port("questions", "examples"),
    Port("model", "model", forms=("full", "adapter", "gguf")),
    Port("index", "index", required=False),
)
PRELOAD = ("runner.training.preload", "runner.retrieval.preload", "llama_cpp")
_SEARCHED_TOGETHER = 256  # questions


class Resources(contract.Resources):
    gpu_layers: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        doc("layers of a GGUF that go to the GPU, where llama-cpp-python has one; null: all", unit="layers"),
    ] = None


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
        Literal["drop-passages", "fail"],
        doc("a prompt that does not fit: leave out passages from the worst on, counted in answers.json, or fail the step"),
    ] = "drop-passages"
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


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.answering import Generation, answer_all, open_answerer

    questions = _questions(inputs["questions"].path / "examples.jsonl")[: ctx.preview]
    passages = _retrieve(params, inputs, [row["question"] for row in questions], ctx)

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
    rows, dropped, rate = answer_all(
        answerer,
        questions,
        passages,
        ctx.prompt(params.prompt),
        generation,
        batch_size=params.batch_size,
        window=params.context_window or answerer.limit,
        overflow=params.overflow,
        reference_loss=params.reference_loss,
        journal=ctx.journal / "answers.jsonl",
        progress=progress,
    )
    _write(out, rows)
    summary = {
        "model_step": model.step,
        "form": model.form,
        "prompt_file": params.prompt,
        "generation": {name: getattr(params, name) for name in ("max_new_tokens", "temperature", "top_p", "seed", "batch_size")},
        "top_k": params.top_k if inputs.get("index") else 0,
        "selection": (params.selection.__struct_config__.tag or "") if inputs.get("index") else "",
        "dropped": {"passages": dropped.passages, "questions": dropped.questions},
    }
    (out / MAIN / "answers.json").write_text(_json(summary) + "\n", encoding="utf-8", newline="\n")
    if dropped.questions:
        ctx.warn(f"{dropped.passages} passages were left out of {dropped.questions} prompts that did not fit into the context")
    if rate:
        ctx.fact("tokens_per_second", round(rate, 2), "tokens/s")
    answerer.close()


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


def _retrieve(params: Params, inputs: Inputs, texts: list[str], ctx: Context) -> list[list[dict[str, Any]]]:
    if inputs.get("index") is None:
        return [[] for _ in texts]
    from runner.answering import passages_of
    from runner.retrieval import open_index
    from runner.retrieval.selection import Selector

    reranker, device = params.selection, ctx.resources.device
    folder = (ctx.root / reranker.model).resolve() if isinstance(reranker, CrossEncoder) and is_folder(reranker.model) else None
    index = Selector(open_index(inputs["index"].path, device=device), params.selection, folder=folder, device=device)
    found = []
    for start in range(0, len(texts), _SEARCHED_TOGETHER):
        found += [passages_of(hits) for hits in index.search(texts[start : start + _SEARCHED_TOGETHER], params.top_k)]
        ctx.check_cancelled()
    return found


def _write(out: Path, rows: Iterable[dict[str, Any]]) -> None:
    (out / MAIN).mkdir(parents=True, exist_ok=True)
    (out / "provenance").mkdir(exist_ok=True)
    with (
        (out / MAIN / "answers.jsonl").open("w", encoding="utf-8", newline="\n") as answers,
        (out / "provenance" / "latency.jsonl").open("w", encoding="utf-8", newline="\n") as latency,
    ):
        for row in rows:
            latency.write(_json({"id": row["id"], "seconds": round(row.pop("seconds"), 6)}) + "\n")
            answers.write(_json(row) + "\n")


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, sort_keys=True)
