"""Reads questions and answers from files (JSONL, JSON, CSV, TSV, Parquet, Excel) or from a data set on the hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import asdict

from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, Struct, Upstream, doc
from runner.datasets.settings import Condition, Fields, Hub, Table, Turns
from runner.errors import InputError, StepError

if TYPE_CHECKING:
    from runner.datasets import Record

VERSION = 2
PREVIEW = "examples"

_TEMPLATE = re.compile(r"\{\{|\{%|\{#")


class Params(Struct):
    path: Annotated[
        str | Annotated[list[str], Meta(min_length=1)] | None,
        doc("local files: paths, folders and globs; extensions tell the formats: .jsonl, .json, .csv, .tsv (or with .gz), .parquet, .xlsx"),
    ] = None
    records: Annotated[
        str,
        doc(
            "for JSON, the path of keys to the rows, such as `data.paragraphs.qas`; lists on the way are taken apart, and each map on the "
            "way is a column of the rows in it (`paragraphs.context`); `*` stands for every key of a map"
        ),
    ] = ""
    table: Annotated[Table, doc("how a table lies in its file, for .csv, .tsv and .xlsx")] = Table()
    hub: Annotated[Hub | None, doc("a data set on the hub, instead of `path`")] = None
    fields: Annotated[
        Fields,
        doc(
            "where each field of an example is: a column, a path into it (`answers.0.text`; a name after a list takes that part of each "
            "item), or a Jinja template over the columns (`{{ instruction }}\\n{{ input or '' }}`; `row['the name']` for names with "
            "blanks). Question, answer, document, type and id are taken from the column of their own name where they are left out"
        ),
    ] = Fields()
    turns: Annotated[Turns, doc("how turns lie in the list that `fields.conversation` or `fields.history` names")] = Turns()
    values: Annotated[
        dict[str, dict[str, str]],
        doc("what values of a field mean, such as `answer: {0: negative, 1: positive}`; another value makes a row bad"),
    ] = {}
    filter: Annotated[list[Condition], doc("rows that are wanted: all conditions must hold; the others are counted and left out")] = []
    reference: Annotated[
        Literal["required", "optional"],
        doc("whether every row must have an answer; optional: it may be empty, for sets that a judge scores (`train` refuses such rows)"),
    ] = "required"
    on_bad_row: Annotated[
        Literal["fail", "skip"],
        doc("a row that gives no example, such as one with an empty answer: fail, or leave it out and list it in rejected.jsonl"),
    ] = "fail"
    first: Annotated[
        Annotated[int, Meta(ge=1)] | None, doc("take the first examples and read no further; fewer are an error", unit="examples")
    ] = None
    sample: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        doc("draw that many at random (of the `first`, where that is set) and keep their order; fewer are an error", unit="examples"),
    ] = None
    at_most: Annotated[bool, doc("`first` and `sample` are upper limits: fewer examples are no error")] = False
    seed: Annotated[int, doc("seed of the draw", ge=0)] = 0


PORTS: tuple[Port, ...] = ()


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("examples")}


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    paths = [params.path] if isinstance(params.path, str) else params.path
    listed = {_in_file(n): [condition.in_file.path] for n, condition in enumerate(params.filter) if condition.in_file is not None}
    return {**({"path": paths} if paths is not None else {}), **listed}


def hub(params: Params) -> Iterable[HubUse]:
    if params.hub is not None:
        yield HubUse("hub.id", "dataset", params.hub.id, params.hub.revision)


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    from runner.datasets.filtering import faults
    from runner.datasets.reading import TABLES

    if (params.path is None) == (params.hub is None):
        yield Fault("", "needs exactly one of `path` and `hub`", "`path: FILE` or `hub: {id: NAME}`")
    else:
        yield from _check_format(params, "records", bool(params.records), (".json",))
        yield from _check_format(params, "table", params.table != Table(), TABLES)
        yield from _check_format(params, "table.sheet", params.table.sheet is not None, (".xlsx",))
        texts = params.table.delimiter is not None or not params.table.quoting
        yield from _check_format(params, "table.delimiter" if params.table.delimiter else "table.quoting", texts, (".csv", ".tsv"))
    if params.hub is not None and params.hub.file is not None:
        from runner.datasets.files import format_of
        from runner.datasets.reading import FORMATS

        if format_of(params.hub.file) not in FORMATS:
            yield Fault("hub.file", "has no known extension", ", ".join(FORMATS))
        for name, given in (("config", params.hub.config is not None), ("split", params.hub.split != "train")):
            if given:
                yield Fault(f"hub.{name}", "a file is read as a whole", f"no `{name}`, or no `file`")
    if params.table.columns is not None and params.table.header != 1:
        yield Fault("table.header", "the table has no row of names, as `columns` says", "either `header` or `columns`")
    for number, condition in enumerate(params.filter):
        for field, found, expected in faults(condition):
            yield Fault(f"filter[{number}].{field}".rstrip("."), found, expected)
    for path, text in _templates(params.fields):
        from runner.prompts import inline

        try:
            inline(text, path)
        except InputError as error:
            yield Fault(path, error.message, error.remedy)
    yield from _check_turns(params)
    mapped = {"id", "question", "answer", "type", *(name for name, _ in _named(params.fields))}
    known = sorted((mapped | set(params.fields.extra)) - {"conversation", "document", "history"})
    for name in params.values:
        if name not in known:
            yield Fault(f"values.{name}", "there is no such field", f"one of {', '.join(known)}")
        elif not params.values[name]:
            yield Fault(f"values.{name}", "names no values", "a map from values to what they mean")
    if "answer" in params.values and params.fields.answers is not None and params.fields.answer is None:
        yield Fault("values.answer", "the answer is the first of `answers`", "`values: {answers: ...}`")
    if params.at_most and params.first is None and params.sample is None:
        yield Fault("at_most", "there is no limit that it could soften", "`first: N` or `sample: N` beside it")


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    from runner.datasets import Bad, Conversations, Filter, RowWriter, Tally, draw, examples

    tally, bad, conversations = Tally(), list[Bad](), Conversations(params.turns)
    wanted = Filter(params.filter, _members(params, ctx))
    found = examples(
        wanted.over(_reported(tally.reading(_files(params, ctx)), ctx)),
        {name: _source(text, f"fields.{name}") for name, text in _named(params.fields)},
        extra={name: _source(text, f"fields.extra.{name}") for name, text in params.fields.extra.items()},
        values=params.values,
        reference=params.reference,
        origin=params.hub.id if params.hub is not None else "",
        conversations=conversations,
        bad=bad if params.on_bad_row == "skip" else None,
    )
    usable = tally.passing(islice(found, ctx.preview or params.first))
    with RowWriter(out / MAIN / "examples.jsonl") as rows:
        for example in usable if params.sample is None else draw(usable, params.sample, params.seed):
            rows.write(example)
            tally.taken += 1
    limits = {} if params.at_most or ctx.preview else {"first": params.first, "sample": params.sample}
    summary = tally.summary(params.filter, wanted.left_out, bad, conversations.system_turns)
    tally.check(summary, bad, {name: number for name, number in limits.items() if number is not None})
    text = json.dumps(summary, ensure_ascii=False, sort_keys=True)
    (out / MAIN / "dataset.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    if bad:
        with RowWriter(out / MAIN / "rejected.jsonl") as rows:
            for row in bad:
                rows.write({"reason": "bad row", "detail": f"{row.where}: {row.reason}", "file": row.file, "place": row.place})
        ctx.warn(f"{len(bad)} of {summary['read']} rows are left out; the first: {bad[0].where}: {bad[0].reason}")
    if conversations.system_turns:
        turns = "turn of a system is" if conversations.system_turns == 1 else "turns of a system are"
        ctx.warn(f"{conversations.system_turns} {turns} left out: the system prompt is the model's")
    for name in tally.empty_files:
        ctx.warn(f"{name} holds no rows")
    ctx.progress(summary["read"], summary["read"], "rows")
    for name in ("read", "left_out", "bad"):
        ctx.fact(f"rows_{name}", summary[name], "rows")
    ctx.fact("examples", tally.taken)


def _files(params: Params, ctx: Context) -> Iterator[tuple[str, Iterator[Record]]]:
    """Each file, or the hub's set, with its records."""
    from runner.datasets import hub_file, hub_records, read_records

    hub = params.hub
    if hub is not None and hub.file is not None:
        path, name = hub_file(hub.id, hub.file, hub.revision, offline=ctx.offline), f"{hub.id}/{hub.file}"
        yield name, read_records(path, name, params.records, params.table)
    elif hub is not None:
        streaming = (params.first is not None or ctx.preview is not None) and not ctx.offline  # the hub's cache holds whole splits only
        yield hub.id, hub_records(hub.id, hub.config, hub.split, hub.revision, streaming=streaming)
    else:
        for path in ctx.sources["path"]:
            name = _name(path, ctx)
            yield name, read_records(path, name, params.records, params.table)


def _reported(records: Iterable[Record], ctx: Context) -> Iterator[Record]:
    for number, record in enumerate(records, 1):
        if number % 1000 == 0:
            ctx.progress(number, None, "rows")
            ctx.check_cancelled()
        yield record


def _members(params: Params, ctx: Context) -> list[frozenset[str]]:
    from runner.datasets import members

    found = []
    for number, condition in enumerate(params.filter):
        ids = frozenset[str]()
        if condition.in_file is not None:
            ids = ids.union(*(members(path, condition.in_file.column, _name(path, ctx)) for path in ctx.sources[_in_file(number)]))
        found.append(ids)
    return found


def _named(fields: Fields) -> list[tuple[str, str]]:
    return [(name, text) for name, text in asdict(fields).items() if isinstance(text, str)]


def _source(text: str, path: str) -> str | Callable[[Mapping[str, Any]], str]:
    """A column's name as it stands; a template as a function of the columns."""
    if not _TEMPLATE.search(text):
        return text
    from runner.datasets.columns import columns_of
    from runner.prompts import inline

    template = inline(text, path)

    def render(columns: Mapping[str, Any]) -> str:
        try:
            return template.render(**{"row": columns, **{name: value for name, value in columns.items() if name != "self"}})
        except StepError as error:
            missing = sorted(template.variables - columns.keys() - {"row"})
            if missing and "undefined" in error.message:
                raise ValueError(f"there is no `{missing[0]}`, which the template of `{path}` reads; {columns_of(columns)}") from error
            raise ValueError(f"the template of `{path}` fails: {error.__cause__ or error.message}") from error

    return render


def _templates(fields: Fields) -> Iterator[tuple[str, str]]:
    for name, text in [*_named(fields), *((f"extra.{name}", text) for name, text in fields.extra.items())]:
        if _TEMPLATE.search(text):
            yield f"fields.{name}", text


def _check_turns(params: Params) -> Iterable[Fault]:
    fields = params.fields
    named = [name for name in ("conversation", "history") if getattr(fields, name) is not None]
    for name in named:
        if _TEMPLATE.search(getattr(fields, name)):
            yield Fault(f"fields.{name}", "is a template, which gives a text", "a column, or a path into it, that holds a list of turns")
    if fields.conversation is not None:
        for name in ("question", "history"):
            if getattr(fields, name) is not None:
                yield Fault(f"fields.{name}", f"the conversation gives the {name}", f"no `{name}`, or no `conversation`")
    if not named and params.turns != Turns():
        yield Fault("turns", "no list of turns is named", "`fields: {conversation: COLUMN}`, or no `turns`")


def _check_format(params: Params, path: str, given: bool, formats: Sequence[str]) -> Iterable[Fault]:
    from runner.datasets.files import format_of
    from runner.datasets.reading import FORMATS

    file = params.hub.file if params.hub is not None else None
    names = sources(params).get("path", ()) if params.hub is None else [file] if file is not None else []
    named = {format_of(name) for name in names} & set(FORMATS)  # a folder or glob may not tell
    whole = params.hub is not None and file is None
    if given and (whole or (named and not named & set(formats))):
        others = "a hub data set" if whole else ", ".join(sorted(named))
        yield Fault(path, f"is for {', '.join(formats)} files, and not for {others}", f"no `{path}`")


def _in_file(number: int) -> str:
    return f"filter[{number}].in_file.path"


def _name(path: Path, ctx: Context) -> str:
    return Path(os.path.relpath(path, ctx.root)).as_posix()
