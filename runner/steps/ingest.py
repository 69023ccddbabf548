"""Reads papers and other documents (Markdown, text, PDF) into clean text with pages and sections, with a verdict on each file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from runner import contract
from runner.contract import MAIN, Context, Inputs, Output, Port, Struct, doc
from runner.errors import InputError, StepError

VERSION = 1

CleaningRule = Literal["html", "links", "control-characters", "special-symbols", "whitespace"]


class Params(Struct):
    paths: Annotated[
        list[str], doc("files, folders and globs (`**` for any depth); of a folder, the files with a known extension", min_length=1)
    ]
    clean: Annotated[
        list[CleaningRule],
        doc(
            "what to remove, in this order; code, formulas and tables of Markdown stay as they are. html: tags, comments, entities; "
            "links: the targets of links and images; control-characters: invisible ones too; special-symbols: pictures, ornaments, "
            "ligatures; whitespace: repeated and trailing spaces, blank lines"
        ),
    ] = []
    on_unreadable: Annotated[
        Literal["fail", "skip"], doc("a file that gives no text (scanned, encrypted, damaged, empty): fail, or leave it out and say so")
    ] = "fail"


class Resources(contract.Resources):
    file_timeout: Annotated[float, doc("time for reading one PDF; what takes longer counts as damaged", unit="seconds", gt=0)] = 120
    file_memory: Annotated[int, doc("memory for reading one PDF; what needs more counts as damaged", unit="megabytes", ge=256)] = 4096


PORTS: tuple[Port, ...] = ()


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("documents")}


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    return {"paths": params.paths}


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.datasets import RowWriter
    from runner.documents import FORMATS, PdfReader, document_ids, read_document

    found = list(ctx.sources["paths"])
    named = {(ctx.root / path).resolve() for path in params.paths}
    files = [path for path in found if path.suffix.lower() in FORMATS or path.resolve() in named]
    if len(files) < len(found):
        ctx.log(f"{len(found) - len(files)} of {len(found)} files have no known extension and are left out")
    ids = document_ids(files, params.paths, ctx.root)
    names = {path: Path(os.path.relpath(path, ctx.root)).as_posix() for path in files}
    verdicts, digests = [], dict[str, str]()
    folder = out / MAIN
    with PdfReader(ctx.resources.file_timeout, ctx.resources.file_memory) as pdf, RowWriter(folder / "documents.jsonl") as documents:
        for done, path in enumerate(files):
            ctx.check_cancelled()
            ctx.progress(done, len(files), "files")
            document, verdict = read_document(path, ids[path], params.clean, pdf=pdf, name=names[path])
            verdicts.append(verdict)
            if document is not None:
                documents.write(document.row())
                twin = digests.setdefault(document.sha256, names[path])
                if twin != names[path]:
                    ctx.warn(f"{names[path]} has the same bytes as {twin}")
    ctx.progress(len(files), len(files), "files")
    with RowWriter(folder / "files.jsonl") as rows:
        for verdict in verdicts:
            rows.write({key: getattr(verdict, key) for key in ("path", "verdict", "reason", "pages", "characters")})
    _judge(params, verdicts, ctx)


def _judge(params: Params, verdicts: Sequence[Any], ctx: Context) -> None:
    unusable = [f"{verdict.path}: {verdict.verdict}: {verdict.reason}" for verdict in verdicts if not verdict.usable]
    if unusable and params.on_unreadable == "fail":
        more = [f"and {len(unusable) - 20} more"] if len(unusable) > 20 else []
        count = "1 file gives" if len(unusable) == 1 else f"{len(unusable)} files give"
        raise InputError(
            f"{count} no text\n  " + "\n  ".join([*unusable[:20], *more]),
            where="paths",
            remedy="mend the files, leave them out of `paths`, or set `on_unreadable: skip`",
        )
    for text in unusable:
        ctx.warn(f"left out: {text}")
    for verdict in verdicts:
        if verdict.verdict == "partly":
            ctx.warn(f"read in part: {verdict.path}: {verdict.reason}")
    read = [verdict for verdict in verdicts if verdict.usable]
    if not read:
        raise StepError("no document could be read", where="paths", remedy=f"known extensions are {_extensions()}")
    ctx.fact("documents", len(read))
    ctx.fact("characters", sum(verdict.characters for verdict in read))


def _extensions() -> str:
    from runner.documents import FORMATS

    return ", ".join(sorted(FORMATS))
