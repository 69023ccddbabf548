"""Reads questions and answers from a file (JSONL, JSON, CSV, TSV, Parquet) or from a data set on the hub."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from runner.contract import MAIN, Context, Fault, HubUse, Inputs, Output, Port, Struct, Upstream, doc
from runner.errors import StepError

VERSION = 1


class Fields(Struct):
    question: Annotated[str | None, doc("where the question is")] = None
    answer: Annotated[str | None, doc("where the reference answer is")] = None
    document: Annotated[str | None, doc("where the document's id is, or a list of ids; by default also in `documents`")] = None
    type: Annotated[str | None, doc("where the kind of question is")] = None
    id: Annotated[str | None, doc("where the example's own name is; without one it is made from the text")] = None


class Hub(Struct):
    id: Annotated[str, doc("the data set's name on the hub", min_length=1)]
    config: Annotated[str | None, doc("its configuration, where it has several")] = None
    split: Annotated[str, doc("which of its splits")] = "train"
    revision: Annotated[str | None, doc("the hub's revision of it")] = None


class Params(Struct):
    path: Annotated[str | None, doc("a local file; its extension tells the format")] = None
    records: Annotated[str, doc("for JSON, the dotted path to the list of records inside of the file")] = ""
    hub: Annotated[Hub | None, doc("a data set on the hub, instead of `path`")] = None
    fields: Annotated[
        Fields,
        doc(
            "which column gives each field of an example: a column, a path into it (`answers.text.0`), or a text with columns in braces "
            "(`{instruction} {input}`); a field left out is taken from the column of its own name"
        ),
    ] = Fields()
    on_bad_row: Annotated[
        Literal["fail", "skip"], doc("a row that gives no example, such as one with an empty answer: fail, or leave it out and say so")
    ] = "fail"
    first: Annotated[Annotated[int, doc("rows", ge=1)] | None, doc("take only the first rows", unit="rows")] = None
    at_most: Annotated[
        Annotated[int, doc("rows", ge=1)] | None, doc("take no more than that, drawn at random, in their order", unit="rows")
    ] = None
    seed: Annotated[int, doc("seed of the draw", ge=0)] = 0


PORTS: tuple[Port, ...] = ()


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("examples")}


def check(params: Params, upstream: Mapping[str, Sequence[Upstream]]) -> Iterable[Fault]:
    if (params.path is None) == (params.hub is None):
        yield Fault("", "needs exactly one of `path` and `hub`", "`path: FILE` or `hub: {id: NAME}`")
    if params.records and params.path is not None and not params.path.lower().endswith(".json"):
        yield Fault("records", "is a path inside of a .json file", "no `records` for this format")
    if params.records and params.hub is not None:
        yield Fault("records", "is a path inside of a local .json file", "no `records` for a hub data set")


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    return {"path": [params.path]} if params.path is not None else {}


def hub(params: Params) -> Iterable[HubUse]:
    if params.hub is not None:
        yield HubUse("hub.id", "dataset", params.hub.id, params.hub.revision)


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    import random
    from itertools import islice

    from runner.datasets import RowWriter, examples, hub_records, read_records

    if params.hub is not None:
        name, origin = params.hub.id, params.hub.id
        records = hub_records(params.hub.id, params.hub.config, params.hub.split, params.hub.revision)
    else:
        if len(ctx.sources["path"]) != 1:
            raise StepError(f"{len(ctx.sources['path'])} files where one should be", where="path", remedy="name a single file")
        path = Path(ctx.sources["path"][0])
        name, origin = Path(os.path.relpath(path, ctx.root)).as_posix(), path.stem
        records = read_records(path, name, params.records)
    given = []
    fields = {field: column for field in Fields.__struct_fields__ if (column := getattr(params.fields, field)) is not None}
    bad: list[str] | None = [] if params.on_bad_row == "skip" else None
    for example in examples(islice(records, params.first), fields, origin=origin, name=name, bad=bad):
        given.append(example)
        if len(given) % 1000 == 0:
            ctx.check_cancelled()
            ctx.progress(len(given), params.first, "rows")
    if bad:
        ctx.warn(f"{name}: {len(bad)} of {len(given) + len(bad)} rows are left out; the first: {bad[0]}")
    if not given:
        raise StepError("holds no rows", where=name, remedy="name a file with questions and answers")
    taken = given
    if params.at_most is not None and params.at_most < len(given):
        taken = [given[place] for place in sorted(random.Random(params.seed).sample(range(len(given)), params.at_most))]
    with RowWriter(out / MAIN / "examples.jsonl") as rows:
        for example in taken:
            rows.write(example)
    ctx.progress(len(given), len(given), "rows")
    ctx.fact("examples", len(taken))
