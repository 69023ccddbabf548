"""Cuts documents into chunks, by structure, sentences or separators; each knows its document, section, page and span."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, Struct, Upstream, doc
from runner.errors import StepError

VERSION = 2
PREVIEW = "documents"

Markup = Literal["format", "markdown", "text"]


class Tokenizer(Struct):
    path: Annotated[str | None, doc("a local tokenizer.json")] = None
    id: Annotated[str | None, doc("a model on the hub whose tokenizer.json is used")] = None
    revision: Annotated[str | None, doc("the hub's revision of that model")] = None


class Structure(Struct, tag_field="kind", tag="structure"):
    """At headings, blocks, list items, and where these are too long at sentences, lines, words. A chunk ends before the highest
    of these that is in reach, and one that begins within a section ends with it: small sections stay together, large ones end alone."""

    markup: Annotated[
        Markup,
        doc(
            "how parts are found: those of Markdown, of plain text (blank lines), or of each document's own format; code, tables and "
            "formulas of Markdown, and tables of PDFs, are torn only where they are longer than a chunk"
        ),
    ] = "format"
    language: Annotated[str, doc("whose rules for the ends of sentences are used, as an ISO 639 code", pattern="^[a-z]{2,3}$")] = "en"


class Sentence(Struct, tag_field="kind", tag="sentence"):
    """Whole sentences, as many as fit, across paragraphs but not past a heading."""

    markup: Annotated[Markup, doc("how headings, code, tables and formulas are found; as for `structure`")] = "format"
    language: Annotated[str, doc("whose rules for the ends of sentences are used, as an ISO 639 code", pattern="^[a-z]{2,3}$")] = "en"


class Recursive(Struct, tag_field="kind", tag="recursive"):
    """At separators, each tried on what the one before has left too long: LangChain's RecursiveCharacterTextSplitter, chunk for
    chunk. Lengths are sums over the parts, as there, so that with tokens a chunk may be longer than `size`."""

    separators: Annotated[
        list[Annotated[str, doc('a text or a regular expression; "": between any two characters')]] | Literal["text", "markdown"],
        doc(
            "what to cut at, the coarsest first; text: LangChain's default (blank line, line, space, any character); markdown: its list "
            "for Markdown, which is made for `is_separator_regex: true`"
        ),
    ] = "text"
    keep_separator: Annotated[
        Literal["start", "end", "none"],
        doc("where a separator goes: to the start of what follows it (LangChain's True), to the end of what precedes it, nowhere (False)"),
    ] = "start"
    is_separator_regex: Annotated[bool, doc("whether the separators are regular expressions")] = False
    strip_whitespace: Annotated[bool, doc("whether white space is taken off both ends of a chunk")] = True


class Params(Struct):
    size: Annotated[int, doc("the longest that a chunk may be, in `unit`", ge=1)]
    overlap: Annotated[int, doc("how much of a chunk the next one may repeat, in `unit`; less than `size`", ge=0)] = 0
    unit: Annotated[Literal["characters", "tokens"], doc("what `size` and `overlap` count; tokens are those of `tokenizer`")] = "characters"
    tokenizer: Annotated[Tokenizer | None, doc("whose tokens are counted, when `unit` is tokens")] = None
    splitter: Annotated[Structure | Sentence | Recursive, doc("where documents are cut")] = Structure()


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
    if isinstance(params.splitter, Recursive) and not isinstance(params.splitter.separators, str):
        yield from _check_separators(params.splitter.separators, params.splitter.is_separator_regex)


def _check_separators(separators: Sequence[str], patterns: bool) -> Iterable[Fault]:
    if not separators:
        yield Fault("splitter.separators", "is empty", "at least one separator")
    if "" in separators[:-1]:
        yield Fault(f"splitter.separators[{separators.index('')}]", "those after it are not used", "it comes last")
    for number, pattern in enumerate(separators if patterns else ()):
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            yield Fault(f"splitter.separators[{number}]", f"is no regular expression: {error}")
        else:
            if groups:
                yield Fault(f"splitter.separators[{number}]", "captures a group, whose text would be repeated", "(?:...) instead of (...)")


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
    total = total if ctx.preview is None else min(total, ctx.preview)
    splitter = Splitter(params.size, params.overlap, _by(params), _tokenizer(params, ctx))
    with RowWriter(out / MAIN / "chunks.jsonl") as rows:
        for done, row in enumerate(islice(read_rows(documents), total)):
            ctx.progress(done, total, "documents")
            for chunk in splitter.split(Document.of(row)):
                rows.write(chunk.row())
                chunks += 1
                if chunks % 1000 == 0:
                    ctx.check_cancelled()
    ctx.progress(total, total, "documents")
    if not chunks:
        raise StepError(f"{total} documents gave no chunk", remedy="give documents with text")
    ctx.fact("chunks", chunks)


def _by(params: Params) -> Any:
    """The library's settings for the splitter."""
    from runner import documents
    from runner.documents.chunks.recursive import SEPARATORS

    splitter = params.splitter
    if isinstance(splitter, Recursive):
        separators = SEPARATORS[splitter.separators] if isinstance(splitter.separators, str) else splitter.separators
        return documents.Recursive(separators, splitter.keep_separator, splitter.is_separator_regex, splitter.strip_whitespace)
    kind = documents.Structure if isinstance(splitter, Structure) else documents.Sentences
    return kind(splitter.markup, splitter.language)


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
