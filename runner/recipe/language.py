"""The top level of a recipe as typed data. What stands under a step's ``with`` and ``resources`` is typed by its step kind."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from runner.contract import Struct, doc

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
Name = Annotated[str, doc("a name", pattern=NAME, extra_json_schema={"x-form": "letters, digits, `_` and `-`, a letter first"})]
Label = str | int | float | bool
Reference = str | None


class Source(Struct):
    """The publication that the recipe carries out."""

    document: Annotated[str, doc("title of the paper, report or repository", min_length=1)]
    url: Annotated[str, doc("where it can be read")] = ""


class Deviation(Struct):
    """Where the recipe departs from its source."""

    what: Annotated[str, doc("what is done differently", min_length=1)]
    why: Annotated[str, doc("the reason", min_length=1)]
    path: Annotated[str | list[str], doc("the values concerned, as dotted paths; a path may end in `.*`")] = []


class Assumption(Struct):
    """A value that the source does not state."""

    path: Annotated[str | list[str], doc("the values, as dotted paths such as `steps.lora.with.seed`; a path may end in `.*`")]
    why: Annotated[str, doc("why this value", min_length=1)]


class Stated(Struct):
    """Values that the source states."""

    path: Annotated[str | list[str], doc("the values, as dotted paths; a path may end in `.*`")]
    where: Annotated[str, doc("where the source states them, such as `section 4`", min_length=1)]


class Measure(Struct):
    """One figure of a run: a metric or a fact of a step at exactly one arm."""

    step: Annotated[str, doc("the step that measures")]
    metric: Annotated[str | None, doc("a metric in the step's scores")] = None
    fact: Annotated[str | None, doc("a fact that the step reports, such as `file_bytes` or `peak_memory`")] = None
    at: Annotated[dict[str, Label], doc("the arm, as axis: label; of a gathering step, the gathered arm")] = {}


class Equals(Struct):
    """A figure to be met within a tolerance: a number, or another measure."""

    tolerance: Annotated[float, doc("the largest difference that still counts as equal", ge=0)]
    value: Annotated[float | None, doc("the number")] = None
    step: Annotated[str | None, doc("the step that measures the other figure")] = None
    metric: Annotated[str | None, doc("its metric")] = None
    fact: Annotated[str | None, doc("its fact")] = None
    at: Annotated[dict[str, Label], doc("its arm")] = {}


class Claim(Struct):
    """A finding of the source, or under ``checks`` a requirement of the recipe itself: one measure and one comparison."""

    says: Annotated[str, doc("the finding, in words", min_length=1)]
    measure: Annotated[Measure, doc("what is measured")]
    where: Annotated[str, doc("where the source says it")] = ""
    greater_than: Annotated[
        Measure | float | None, doc("holds when the measure is greater; between two arms the paired interval must exclude zero")
    ] = None
    less_than: Annotated[
        Measure | float | None, doc("holds when the measure is less; between two arms the paired interval must exclude zero")
    ] = None
    equals: Annotated[Equals | None, doc("holds when the measure is equal within a tolerance")] = None
    margin: Annotated[
        float, doc("how far the measure may lie on the wrong side of `greater_than` or `less_than` and still hold: non-inferiority", ge=0)
    ] = 0.0


class Step(Struct):
    """One step: its kind, its inputs, its parameters."""

    uses: Annotated[str | None, doc("the step kind")] = None
    like: Annotated[str | None, doc("another step of this recipe to start from; its keys are overlaid by the ones here")] = None
    from_: Annotated[
        str | list[Reference] | dict[str, str | list[Reference] | None] | None, doc("the inputs: a step, `step.output`, or ports by name")
    ] = msgspec.field(name="from", default=None)
    with_: Annotated[dict[str, Any], doc("the parameters of the step kind; all of them change the result")] = msgspec.field(
        name="with", default_factory=dict
    )
    resources: Annotated[dict[str, Any], doc("what does not change the result: device, threads, concurrency, time-outs, prices")] = {}
    each: Annotated[list[str], doc("axes of which a gathering step makes one group per value")] = []


class Document(Struct):
    """A recipe, after `extends`, profiles and `--set`."""

    recipe: Annotated[Literal[1], doc("version of the recipe language")]
    name: Annotated[
        str,
        doc(
            "name of the recipe; runs are kept under it",
            pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$",
            extra_json_schema={"x-form": "lower-case letters, digits and `. _ -`"},
        ),
    ]
    steps: Annotated[dict[Name, Step], doc("the steps, by name", min_length=1)]
    title: Annotated[str, doc("one line that says what the recipe does")] = ""
    source: Annotated[Source | None, doc("the publication that it carries out")] = None
    extends: Annotated[str | None, doc("a recipe to start from, relative to this file; its keys are overlaid by the ones here")] = None
    deviations: Annotated[list[Deviation], doc("where the recipe departs from the source, and why")] = []
    assumptions: Annotated[list[Assumption], doc("values that the source does not state, and why these")] = []
    stated: Annotated[list[Stated], doc("values that the source states, and where")] = []
    vars: Annotated[dict[Name, Any], doc("values to be read as `${vars.name}`")] = {}
    matrix: Annotated[
        dict[Name, list[Any]],
        doc("axes by name, each a list of scalars, step names, or maps with a `name`; `exclude` drops arms, `include` adds them"),
    ] = {}
    claims: Annotated[list[Claim], doc("figures and findings of the source, to be compared with what a run measures")] = []
    checks: Annotated[list[Claim], doc("what must hold in any run, or it ends with exit 1; profiles may give their own")] = []
    profiles: Annotated[
        dict[Name, dict[str, Any]], doc("overlays by name, applied with `-p NAME`: maps merge, lists and scalars replace, null removes")
    ] = {}
