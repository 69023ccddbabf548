"""Reads papers and other documents (Markdown, text, HTML, PDF) into clean text with pages and sections, with a verdict on each file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from runner import contract
from runner.contract import MAIN, Context, Fault, Inputs, Output, Port, Struct, Upstream, doc
from runner.errors import InputError, StepError

if TYPE_CHECKING:
    from runner.documents import File, Verdict

VERSION = 2
PREVIEW = "files"

CleaningRule = Literal["front-matter", "html", "links", "unicode", "control-characters", "special-symbols", "references", "whitespace"]


class Url(Struct):
    url: Annotated[str, doc("http or https; fetched once and kept, then read from there")]
    sha256: Annotated[str, doc("SHA-256 of what the URL gives, in hex: `curl -sSL URL | sha256sum`; other bytes are refused")] = ""
    name: Annotated[
        str, doc("the document's id, whose extension tells the format; empty: host and path, and the format by extension or first bytes")
    ] = ""


class Password(Struct):
    files: Annotated[str, doc("path of the files below the project's root, or a pattern (`*` stands for anything, folders too); or a URL")]
    password_env: Annotated[str, doc("environment variable with the password", pattern="^[A-Za-z_][A-Za-z0-9_]*$")]


class Params(Struct):
    paths: Annotated[list[str], doc("files, folders and globs (`**` for any depth); of a folder, the files with a known extension")] = []
    urls: Annotated[list[Url], doc("documents on the web, each pinned by its SHA-256")] = []
    clean: Annotated[
        list[CleaningRule],
        doc(
            "what to remove, in this order; code, formulas and tables stay as they are. front-matter: the YAML or TOML at the head of "
            "Markdown; html: tags, comments, entities; links: the targets of links and images; unicode: composed forms of letters (NFC); "
            "control-characters: invisible ones too; special-symbols: pictures, ornaments, ligatures; references: lists of references, "
            "found by their heading; whitespace: repeated and trailing spaces, blank lines"
        ),
    ] = []
    pdf: Annotated[
        Literal["pypdfium2", "pymupdf"],
        doc("library that reads PDFs; PyMuPDF is under the AGPL (or a commercial licence) and comes with the extra `pymupdf`"),
    ] = "pypdfium2"
    encoding: Annotated[
        str | None,
        doc("encoding of texts that are no UTF-8 and have no byte-order mark, as windows-1252; null: such a text is damaged"),
    ] = None
    on_unreadable: Annotated[
        Literal["fail", "skip"], doc("a file that gives no text (scanned, encrypted, damaged, empty): fail, or leave it out and say so")
    ] = "fail"


class Resources(contract.Resources):
    concurrency: Annotated[int, doc("files read at once, each in a process of its own", ge=1, le=64)] = 4
    file_timeout: Annotated[float, doc("time for reading one file; what takes longer counts as damaged", unit="seconds", gt=0)] = 120
    file_memory: Annotated[int, doc("memory for reading one file; what needs more counts as damaged", unit="megabytes", ge=512)] = 2048
    passwords: Annotated[list[Password], doc("for encrypted PDFs; the first entry that fits a file counts")] = []
    download_timeout: Annotated[float, doc("time for one try at fetching a URL", unit="seconds", gt=0)] = 600
    download_size: Annotated[int, doc("a URL that gives more is refused", unit="megabytes", ge=1)] = 1024
    download_retries: Annotated[int, doc("tries after the first, where the server or the network fails", ge=0)] = 4


PORTS: tuple[Port, ...] = ()


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("documents")}


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    return {"paths": params.paths}


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    if not params.paths and not params.urls:
        yield Fault("paths", "nothing to read", "`paths`, `urls` or both")
    if params.encoding is not None:
        from runner.documents.encodings import known

        if not known(params.encoding):
            yield Fault(
                "encoding", f"no encoding `{params.encoding}` is known", "a name as Python has it: windows-1252, latin-1, shift_jis"
            )
    if params.urls:
        yield from _check_urls(params.urls)


def _check_urls(urls: Sequence[Url]) -> Iterable[Fault]:
    from runner.documents import PinnedUrl

    ids: dict[str, int] = {}
    for number, url in enumerate(urls):
        pinned = PinnedUrl(url.url, url.sha256, url.name)
        if fault := pinned.fault():
            field, found, expected = fault
            yield Fault(f"urls[{number}].{field}" if getattr(url, field) else f"urls[{number}]", found, expected)
        elif ids.setdefault(pinned.id, number) != number:
            yield Fault(f"urls[{number}]", f"has the id `{pinned.id}`, as urls[{ids[pinned.id]}] has", "another `name`")


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.datasets import RowWriter
    from runner.documents import Reading, read_documents

    files = _local(params, ctx)[: ctx.preview]
    files += _fetched(params, ctx, None if ctx.preview is None else ctx.preview - len(files))
    _refuse_twins(files)
    files = _with_passwords(files, ctx)
    reading = Reading(params.clean, params.pdf, params.encoding)
    limits = ctx.resources
    verdicts, digests = list["Verdict"](), dict[str, str]()
    found = read_documents(
        files,
        reading,
        seconds=limits.file_timeout,
        megabytes=limits.file_memory,
        concurrency=limits.concurrency,
        tick=ctx.check_cancelled,
    )
    ctx.progress(0, len(files), "files")
    with RowWriter(out / MAIN / "documents.jsonl") as documents, RowWriter(out / MAIN / "files.jsonl") as rows:
        for done, (document, verdict) in enumerate(found, 1):
            verdicts.append(verdict)
            rows.write({key: getattr(verdict, key) for key in ("path", "verdict", "reason", "pages", "characters")})
            if document is not None:
                documents.write(document.row())
                twin = digests.setdefault(document.sha256, verdict.path)
                if twin != verdict.path:
                    ctx.warn(f"{verdict.path} has the same bytes as {twin}")
            ctx.progress(done, len(files), "files")
    _judge(params, verdicts, ctx)


def _local(params: Params, ctx: Context) -> list[File]:
    from runner.documents import FORMATS, File, document_ids

    found = list(ctx.sources["paths"])
    named = {(ctx.root / path).resolve() for path in params.paths}
    paths = [path for path in found if path.suffix.lower() in FORMATS or path.resolve() in named]
    if len(paths) < len(found):
        ctx.log(f"{len(found) - len(paths)} of {len(found)} files have no known extension and are left out")
    ids = document_ids(paths, params.paths, ctx.root)
    return [File(path, ids[path], Path(os.path.relpath(path, ctx.root)).as_posix()) for path in paths]


def _fetched(params: Params, ctx: Context, most: int | None) -> list[File]:
    from runner.documents import Downloads, File, PinnedUrl

    def progress(done: int, total: int | None) -> None:
        ctx.check_cancelled()
        if done:
            ctx.progress(round(done / 1e6, 1), round(total / 1e6, 1) if total else None, "MB")

    limits = ctx.resources
    downloads = Downloads(
        ctx.cache("downloads") if params.urls else ctx.root,
        seconds=limits.download_timeout,
        megabytes=limits.download_size,
        retries=limits.download_retries,
        offline=ctx.offline,
        progress=progress,
    )
    pinned = [PinnedUrl(url.url, url.sha256, url.name) for url in params.urls][:most]
    return [File(downloads.fetch(url), url.id, url.url) for url in pinned]


def _refuse_twins(files: Sequence[File]) -> None:
    known: dict[str, File] = {}
    for file in files:
        if (twin := known.setdefault(file.id, file)) is not file:
            message = f"{twin.name} and {file.name} would both be the document `{file.id}`"
            raise InputError(message, where="urls", remedy="give it another `name`")


def _with_passwords(files: Sequence[File], ctx: Context) -> list[File]:
    from dataclasses import replace

    given, used = [], set[int]()
    for file in files:
        fits = (
            number
            for number, entry in enumerate(ctx.resources.passwords)
            if file.name in (entry.files, os.path.normpath(entry.files)) or fnmatchcase(file.name, entry.files)
        )
        number = next(fits, None)
        if number is not None:
            used.add(number)
            file = replace(file, password=ctx.secret(ctx.resources.passwords[number].password_env))
        given.append(file)
    for number, entry in enumerate(ctx.resources.passwords):
        if number not in used and ctx.preview is None:
            ctx.warn(f"passwords: no file is left for `{entry.files}`")
    return given


def _judge(params: Params, verdicts: Sequence[Verdict], ctx: Context) -> None:
    unusable = [f"{verdict.path}: {verdict.verdict}: {verdict.reason}" for verdict in verdicts if not verdict.usable]
    if unusable and params.on_unreadable == "fail":
        more = [f"and {len(unusable) - 20} more"] if len(unusable) > 20 else []
        count = "1 file gives" if len(unusable) == 1 else f"{len(unusable)} files give"
        raise InputError(
            f"{count} no text\n  " + "\n  ".join([*unusable[:20], *more]),
            where="paths",
            remedy="mend the files, leave them out, or set `on_unreadable: skip`",
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
