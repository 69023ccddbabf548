"""Cuts documents into overlapping chunks at headings, paragraphs and sentences; each knows its document, section, page and span."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, Struct, Upstream, doc
from runner.errors import StepError

VERSION = 1


class Tokenizer(Struct):
    path: Annotated[str | None, doc("a local tokenizer.json")] = None
    id: Annotated[str | None, doc("a model on the hub whose tokenizer.json is used")] = None
    revision: Annotated[str | None, doc("the hub's revision of that model")] = None


class Params(Struct):
    size: Annotated[int, doc("the longest that a chunk may be, in `unit`", ge=1)]
    overlap: Annotated[int, doc("how much of a chunk the next one may repeat, in `unit`; less than `size`", ge=0)] = 0
    unit: Annotated[Literal["characters", "tokens"], doc("what `size` and `overlap` count; tokens are those of `tokenizer`")] = "characters"
    tokenizer: Annotated[Tokenizer | None, doc("whose tokens are counted, when `unit` is tokens")] = None
    by: Annotated[
        Literal["format", "markdown", "text"],
        doc("which boundaries count: those of Markdown, of plain text, or of each document's own format"),
    ] = "format"


PORTS = (Port("documents", "documents"),)


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("chunks")}


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    if params.overlap >= params.size:
        yield Fault("overlap", f"{params.overlap} is not less than the size {params.size}", f"0 to {params.size - 1}")
    if params.unit == "tokens" and params.tokenizer is None:
        yield Fault("unit", "tokens of no tokenizer", "`tokenizer: {path: ...}` or `tokenizer: {id: ...}`")
    if params.unit == "characters" and params.tokenizer is not None:
        yield Fault("tokenizer", "is not used: `unit` is characters", "`unit: tokens`")
    if params.tokenizer is not None:
        if (params.tokenizer.path is None) == (params.tokenizer.id is None):
            yield Fault("tokenizer", "needs exactly one of `path` and `id`")
        if params.tokenizer.revision is not None and params.tokenizer.id is None:
            yield Fault("tokenizer.revision", "is that of no hub model", "`id` beside it")


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    path = params.tokenizer.path if params.tokenizer else None
    return {"tokenizer.path": [path]} if path else {}


def hub(params: Params) -> Iterable[HubUse]:
    if params.tokenizer and params.tokenizer.id:
        yield HubUse("tokenizer.id", "model", params.tokenizer.id, params.tokenizer.revision)


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.datasets import RowWriter, count_rows, read_rows
    from runner.documents import Document, Splitter

    documents = inputs["documents"].path / "documents.jsonl"
    total, chunks = count_rows(documents), 0
    splitter = Splitter(params.size, params.overlap, params.by, _tokenizer(params, ctx))
    with RowWriter(out / MAIN / "chunks.jsonl") as rows:
        for done, row in enumerate(read_rows(documents)):
            ctx.check_cancelled()
            ctx.progress(done, total, "documents")
            for chunk in splitter.split(Document.of(row)):
                rows.write(chunk.row())
                chunks += 1
    ctx.progress(total, total, "documents")
    if not chunks:
        raise StepError(f"{total} documents gave no chunk", remedy="give documents with text")
    ctx.fact("chunks", chunks)


def _tokenizer(params: Params, ctx: Context) -> Path | None:
    if params.tokenizer is None:
        return None
    if params.tokenizer.path is not None:
        return Path(ctx.sources["tokenizer.path"][0])
    from huggingface_hub import hf_hub_download

    assert params.tokenizer.id is not None
    try:
        return Path(hf_hub_download(params.tokenizer.id, "tokenizer.json", revision=params.tokenizer.revision))
    except Exception as error:  # the hub's client raises errors of several libraries
        raise StepError(
            f"its tokenizer.json cannot be had: {error}", where=params.tokenizer.id, remedy="check the id and the network, or use `path`"
        ) from error
