"""Merges a model with its adapter and writes it as a quantised GGUF that llama.cpp runs, with a script that asks it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from runner.contract import MAIN, Context, Fault, Inputs, Memory, Output, Port, PromptUse, Struct, Upstream, doc

if TYPE_CHECKING:
    from runner.gguf.importance import Importance

VERSION = 2
PORTS = (
    Port("model", "model", forms=("full", "adapter")),
    Port("index", "index", required=False),
    Port("calibration", "examples", required=False, about="what the quantisation is calibrated on; not a part that is asked"),
)
PRELOAD = ("runner.training.preload", "gguf", "llama_cpp")


class Calibration(Struct):
    count: Annotated[Annotated[int, msgspec.Meta(ge=1)] | None, doc("examples of the sample, drawn by seed; null: all")] = 256
    max_length: Annotated[
        int, doc("longer conversations lose their earliest exchanges, and where that is not enough their end", unit="tokens", ge=8)
    ] = 512
    dtype: Annotated[Literal["float32", "bfloat16", "float16"], doc("type that the model is held in while it is measured")] = "float32"
    seed: Annotated[int, doc("draws the sample", ge=0)] = 42


class Params(Struct):
    quantization: Annotated[
        Literal["Q4_0", "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0", "F16", "BF16", "F32"],
        doc("llama.cpp's file type; K types mix a few tensors of more bits in"),
    ] = "Q4_K_M"
    pure: Annotated[bool, doc("give every matrix the base type of the file type, without the mix")] = False
    allow_fallback: Annotated[
        bool, doc("accept other types for tensors whose rows the quantisation's blocks do not divide; without it they fail the step")
    ] = False
    calibration: Annotated[
        Calibration | None,
        doc("measure on examples which columns of weights matter (llama.cpp's importance matrix), and round those with more care"),
    ] = None
    prompt: Annotated[str, doc("prompt file that the inference script renders; variables: question, passages", min_length=1)] = (
        "prompts/answer.j2"
    )
    top_k: Annotated[int, doc("passages that the inference script retrieves, where an index is bound", unit="passages", ge=1)] = 3
    max_new_tokens: Annotated[int, doc("longest answer of the inference script", unit="tokens", ge=1)] = 256


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("model", "gguf")}


def prompts(params: Params) -> Iterable[PromptUse]:
    yield PromptUse("prompt", params.prompt, frozenset({"question", "passages"}))


#: Types that are rounded value by value, so that a matrix changes nothing.
_UNWEIGHED = ("Q8_0", "F16", "BF16", "F32")


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    bound = bool(upstream.get("calibration"))
    if params.calibration is not None and not bound:
        yield Fault("calibration", "no examples are bound", "from: {calibration: STEP}, or calibration: null")
    if bound and params.calibration is None:
        yield Fault("calibration", "examples are bound, and nothing is calibrated", "calibration: {}, or no `calibration` in `from`")
    if params.calibration is not None and params.quantization in _UNWEIGHED:
        yield Fault("calibration", f"{params.quantization} does not weigh columns", "a type of 4, 5 or 6 bits, or no calibration")


def memory(params: Params, upstream: Mapping[str, Sequence[Upstream]], root: Path) -> Memory | None:
    """Of the calibration: the model, and one text. What follows is converted on the CPU, a tensor at a time."""
    from runner.training import footprint, lineage

    if params.calibration is None or (shape := lineage.shape(upstream["model"][0], root)) is None:
        return None
    return footprint.answering(shape, dtype=params.calibration.dtype, double_quant=None, rows=1, length=params.calibration.max_length)


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.gguf.bundle import add_script
    from runner.gguf.card import Origin, add_card
    from runner.gguf.check import verify
    from runner.gguf.export import export
    from runner.prompts import load
    from runner.training import describe
    from runner.training.stored import write_record

    def resolve(ref: str) -> Path:
        return ctx.artifact(ref).path

    def progress(done: int, total: int) -> None:
        ctx.progress(done, total, "parameters")
        ctx.check_cancelled()

    model, prompt, folder = inputs["model"], load(ctx.root, params.prompt), out / MAIN
    folder.mkdir(parents=True, exist_ok=True)
    info = describe(model.path, resolve)
    base = describe(info.base, resolve) if info.base is not None else info
    importance = _calibrated(params, inputs, ctx, prompt) if params.calibration else None
    report = export(
        base.weights,
        folder / "model.gguf",
        adapter=info.weights if info.form == "adapter" else None,
        tokenizer=info.tokenizer,
        quantization=params.quantization,
        pure=params.pure,
        allow_fallback=params.allow_fallback,
        importance=importance,
        calibrated_on=f"examples {inputs['calibration'].digest[:16]}" if importance else "",
        threads=ctx.resources.threads,
        progress=progress,
    )
    ctx.log("checking that llama.cpp loads the file, tokenizes as the model does and generates")
    verify(folder / "model.gguf", report.tensor_count, info.tokenizer, threads=ctx.resources.threads)
    (folder / "quantization.json").write_text(
        json.dumps(report.as_data(), ensure_ascii=False, sort_keys=True, indent=1) + "\n", encoding="utf-8", newline="\n"
    )
    write_record(folder, form="gguf", architecture=info.architecture, system_prompt=info.system_prompt)
    add_script(
        folder,
        prompt=prompt.file,
        templates={file: (ctx.root / file).read_text("utf-8-sig") for file in prompt.files},
        positions=info.config["max_position_embeddings"],
        index=inputs["index"].path if inputs.get("index") else None,
        system_prompt=info.system_prompt,
        top_k=params.top_k,
        max_new_tokens=params.max_new_tokens,
    )
    hub = base.record.get("hub") or {}
    adapter = json.loads((info.weights / "adapter_config.json").read_text(encoding="utf-8")) if info.form == "adapter" else None
    if not add_card(folder, Origin(info.architecture, hub.get("id", ""), hub.get("revision", ""), adapter)):
        ctx.warn("no Modelfile was written: Ollama's templates cannot say this model's chat template")
    for fallback in report.fallbacks:
        ctx.warn(f"another type than {params.quantization} gives: {fallback}")
    ctx.fact("file_bytes", report.file_bytes, "bytes")
    ctx.fact("bits_per_weight", report.bits_per_weight, "bits")
    if importance:
        ctx.fact("calibration_examples", importance.texts)
        ctx.fact("calibration_tokens", importance.tokens, "tokens")


def _calibrated(params: Params, inputs: Inputs, ctx: Context, prompt: Any) -> Importance:
    """The importance matrix of the model as it is exported, over a sample of the calibration examples in their chat template."""
    from runner.gguf.importance import measure
    from runner.training import describe, device_of, load
    from runner.training.rows import conversations, read_examples, rows_of

    def resolve(ref: str) -> Path:
        return ctx.artifact(ref).path

    def progress(done: int, total: int) -> None:
        ctx.progress(done, total, "calibration tokens")
        ctx.check_cancelled()

    settings = params.calibration
    assert settings is not None
    examples = list(read_examples(inputs["calibration"].path))
    if settings.count is not None and settings.count < len(examples):
        drawn = random.Random(settings.seed).sample(range(len(examples)), settings.count)
        examples = [examples[index] for index in sorted(drawn)]
    elif settings.count is not None and settings.count > len(examples):
        ctx.warn(f"calibrated on all {len(examples)} examples, fewer than calibration.count {settings.count}")
    loaded = load(inputs["model"].path, resolve, device=device_of(ctx.resources.device), dtype=settings.dtype, as_trained=False)
    model = loaded.model.merge_and_unload() if hasattr(loaded.model, "merge_and_unload") else loaded.model
    texts = conversations(
        rows_of(examples, lambda question: prompt.render(question=question, passages=[]), loaded.system_prompt),
        loaded.tokenizer,
        settings.max_length,
        describe(inputs["model"].path, resolve).config["max_position_embeddings"],
        "calibration examples",
        ctx,
    )
    return measure(model, texts, journal=ctx.journal / "importance.npz", progress=progress)
