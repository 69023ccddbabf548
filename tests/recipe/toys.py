"""Small step kinds that have everything a step kind can have, so that the language is tested without any of the real ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Annotated, Any, Literal

import msgspec

from runner import contract
from runner.contract import MAIN, Fault, HubUse, Output, Port, PromptUse, Struct, Upstream, doc


class ReadParams(Struct):
    paths: Annotated[list[str], doc("files to read", min_length=1)] = msgspec.field(default_factory=lambda: ["recipes/corpus/*.md"])
    limit: Annotated[int | None, doc("characters to read of each", unit="characters")] = None


class CutParams(Struct):
    size: Annotated[int, doc("length of a chunk", unit="characters", ge=1)]
    overlap: Annotated[int, doc("characters shared with the next chunk", unit="characters", ge=0)] = 0
    share: Annotated[float, doc("share of the chunks that is kept", gt=0, le=1)] = 1.0
    keep: Annotated[bool, doc("keep the short ones")] = True


class Flat(Struct, tag_field="kind", tag="flat"):
    """Compares with every vector."""


class Graph(Struct, tag_field="kind", tag="graph"):
    """Walks a graph."""

    m: Annotated[int, doc("neighbours of a node", ge=2)] = 32


class SearchParams(Struct):
    engine: Annotated[Flat | Graph, doc("how vectors are searched")]


class Pretrained(Struct):
    id: Annotated[str, doc("its id", min_length=1)]
    revision: Annotated[str | None, doc("its revision")] = None


class ModelParams(Struct):
    pretrained: Annotated[Pretrained | None, doc("a model of the hub")] = None
    width: Annotated[int, doc("width of a small model made here", ge=0)] = 0


class Lora(Struct, tag_field="kind", tag="lora"):
    """Low-rank adapters."""

    r: Annotated[int, doc("rank", ge=1)] = 16
    lora_alpha: Annotated[int, doc("scale", ge=1)] = 16
    target_modules: Annotated[list[str], doc("modules that get an adapter")] = msgspec.field(default_factory=lambda: ["q_proj"])


class Qlora(Struct, tag_field="kind", tag="qlora"):
    """The same on a 4-bit base."""

    r: Annotated[int, doc("rank", ge=1)] = 16
    quant_type: Annotated[Literal["nf4", "fp4"], doc("4-bit type")] = "nf4"


class TuneParams(Struct):
    method: Annotated[Lora | Qlora, doc("what is trained")] = Lora()
    learning_rate: Annotated[float, doc("step size", gt=0)] = 1e-4
    max_steps: Annotated[int, doc("optimiser steps", ge=0)] = 0
    seed: Annotated[int, doc("start of the random numbers", ge=0)] = 0


class TuneResources(contract.Resources):
    concurrency: Annotated[int, doc("calls at a time", ge=1)] = 1
    api_key_env: Annotated[str, doc("environment variable that holds the key")] = "KEY"


class PackParams(Struct):
    quantization: Annotated[Literal["Q4_K_M", "Q8_0"], doc("type of the weights")] = "Q4_K_M"


class AskParams(Struct):
    prompt: Annotated[str | None, doc("template of the question")] = None
    count: Annotated[int, doc("questions for each chunk", ge=1)] = 1


class Nothing(Struct):
    """No parameters."""


class PartsParams(Struct):
    parts: Annotated[dict[Annotated[str, msgspec.Meta(pattern="^[a-z]+$")], float], doc("parts and their shares", min_length=1)] = (
        msgspec.field(default_factory=lambda: {"train": 0.9, "test": 0.1})
    )


class ReplyParams(Struct):
    prompt: Annotated[str | None, doc("template of the question")] = None
    top_k: Annotated[int, doc("passages", ge=1)] = 3


class JudgeParams(Struct):
    metrics: Annotated[list[Literal["f1", "exact"]], doc("what is measured", min_length=1, max_length=2)] = msgspec.field(
        default_factory=lambda: ["f1"]
    )


def _check_tune(params: TuneParams, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    for index, name in enumerate(params.method.target_modules if isinstance(params.method, Lora) else ()):
        if name not in ("q_proj", "v_proj"):
            yield Fault(f"method.target_modules[{index}]", f"the model has no module `{name}`", "one of q_proj, v_proj")
    if params.max_steps > 1000:
        yield Fault("", "trains for ever", "fewer steps")


def _check_cut(params: CutParams, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    if params.overlap >= params.size:
        yield Fault("overlap", f"{params.overlap} is as long as a chunk", f"less than {params.size}")


def _hub(params: ModelParams) -> Iterable[HubUse]:
    if params.pretrained is not None:
        yield HubUse("pretrained.id", "model", params.pretrained.id, params.pretrained.revision)


def _prompts(*variables: str) -> Callable[[Any], Iterable[PromptUse]]:
    def prompts(params: Any) -> Iterable[PromptUse]:
        if params.prompt is not None:
            yield PromptUse("prompt", params.prompt, frozenset(variables))

    return prompts


def _one(type_: str, form: str = "") -> Callable[[Any], Mapping[str, Output]]:
    return lambda params: {MAIN: Output(type_, form)}


EVERY_FORM = ("full", "adapter", "gguf")
_TABLE: dict[str, dict[str, Any]] = {
    "read": {
        "Params": ReadParams,
        "PORTS": (),
        "outputs": _one("documents"),
        "sources": lambda params: {"paths": params.paths},
    },
    "cut": {"Params": CutParams, "PORTS": (Port("documents", "documents"),), "outputs": _one("chunks"), "check": _check_cut},
    "search": {"Params": SearchParams, "PORTS": (Port("chunks", "chunks"),), "outputs": _one("index")},
    "model": {
        "Params": ModelParams,
        "PORTS": (Port("documents", "documents", required=False),),
        "outputs": _one("model", "full"),
        "hub": _hub,
    },
    "tune": {
        "Params": TuneParams,
        "Resources": TuneResources,
        "PORTS": (Port("model", "model", forms=("full",)), Port("examples", "examples")),
        "outputs": _one("model", "adapter"),
        "check": _check_tune,
    },
    "pack": {"Params": PackParams, "PORTS": (Port("model", "model", forms=("full", "adapter")),), "outputs": _one("model", "gguf")},
    "ask": {
        "Params": AskParams,
        "PORTS": (Port("chunks", "chunks"), Port("index", "index", required=False)),
        "outputs": _one("examples"),
        "prompts": _prompts("text", "count"),
    },
    "join": {"Params": Nothing, "PORTS": (Port("examples", "examples", arity="many"),), "outputs": _one("examples")},
    "parts": {
        "Params": PartsParams,
        "PORTS": (Port("examples", "examples"),),
        "outputs": lambda params: {name: Output("examples") for name in params.parts},
    },
    "reply": {
        "Params": ReplyParams,
        "PORTS": (Port("model", "model", forms=EVERY_FORM), Port("questions", "examples"), Port("index", "index", required=False)),
        "outputs": _one("answers"),
        "prompts": _prompts("question", "passages"),
    },
    "judge": {
        "Params": JudgeParams,
        "PORTS": (Port("answers", "answers", arity="gather"),),
        "outputs": _one("scores"),
        "measures": lambda params: params.metrics,
    },
}


def _run(params: Any, inputs: Any, out: Any, ctx: Any) -> None:
    raise NotImplementedError  # the language never runs a step


def _module(name: str, parts: Mapping[str, Any]) -> str:
    path = f"recipe_toys_{name}"
    module = ModuleType(path, f"The toy kind {name}.")
    for key, value in {"VERSION": 1, "run": _run, **parts}.items():
        setattr(module, key, value)
    sys.modules[path] = module
    return path


KINDS = {name: _module(name, parts) for name, parts in _TABLE.items()}
