from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runner.contract import Struct, doc
from runner.recipe import schemas, write_schemas
from runner.recipe.explain import validator
from runner.recipe.language import Document
from runner.recipe.problems import Findings
from runner.recipe.reader import read
from runner.recipe.schema import text_of
from runner.recipe.shape import shape
from tests.recipe import toys
from tests.recipe.texts import WHOLE

ROOT = Path(__file__).parents[2]


def test_committed_schemas_are_fresh() -> None:
    wanted = {name: text_of(schema) for name, schema in schemas().items()}
    folder = ROOT / "schemas"
    present = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.json")}
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    assert not stale, f"renew them by `recipe schema --write`: {', '.join(stale)}"


def test_writing(tmp_path: Path, toy_kinds: None) -> None:
    changed = write_schemas(tmp_path)
    assert {path.name for path in changed} >= {"recipe.schema.json", "overlay.schema.json", "resolved.schema.json", "tune.schema.json"}
    (tmp_path / "steps" / "gone.schema.json").write_text("{}", encoding="utf-8")
    (tmp_path / "recipe.schema.json").write_text("{}", encoding="utf-8")
    assert {path.name for path in write_schemas(tmp_path)} == {"recipe.schema.json", "gone.schema.json"}
    assert write_schemas(tmp_path) == []


def _bare(schema: Any) -> list[Any]:
    if isinstance(schema, dict):
        return [schema] * ("oneOf" in schema or "anyOf" in schema) + [found for part in schema.values() for found in _bare(part)]
    return [found for part in schema for found in _bare(part)] if isinstance(schema, list) else []


def test_schemas_are_schemas(toy_kinds: None) -> None:
    for name, schema in schemas().items():
        Draft202012Validator.check_schema(schema)
        assert _bare(schema) == [], name


def test_schemas_tell_defaults_descriptions_and_units(toy_kinds: None) -> None:
    found = schemas()
    cut = found["steps/cut.schema.json"]["$defs"]["CutParams"]["properties"]
    assert cut["size"] == {"type": "integer", "minimum": 1, "description": "length of a chunk", "x-unit": "characters"}
    assert found["steps/parts.schema.json"]["$defs"]["PartsParams"]["properties"]["parts"]["default"] == {"train": 0.9, "test": 0.1}
    assert found["steps/tune.schema.json"]["$defs"]["TuneParams"]["properties"]["method"]["default"] == {
        "kind": "lora",
        "target_modules": ["q_proj"],
    }
    assert found["steps/judge.schema.json"]["x-ports"] == [
        {"name": "answers", "type": "answers", "arity": "gather", "forms": [], "required": True}
    ]
    uses = found["recipe.schema.json"]["$defs"]["Step"]["properties"]["uses"]
    assert uses["enum"] == list(toys.KINDS)
    assert "tune: The toy kind tune." in uses["description"]


def test_editors_are_shown_the_options_and_can_follow_every_reference(toy_kinds: None) -> None:
    schema = schemas()["recipe.schema.json"]
    seed = schema["$defs"]["judge.JudgeParams"]["properties"]["metrics"]["else"]["items"]
    assert seed["examples"] == seed["else"]["enum"] == ["exact", "f1"]
    method = schema["$defs"]["tune.TuneParams"]["properties"]["method"]["else"]["allOf"][0]["then"]
    assert method["properties"]["kind"]["examples"] == ["lora", "qlora"]
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(schema))
    assert references
    for reference in references:
        assert reference.removeprefix("#/$defs/") in schema["$defs"]
        assert "~" not in reference  # a sign that JSON pointers escape


def data(text: str) -> Any:
    return read(text, "r.yaml", Findings()).data()


def errors(schema: dict[str, Any], text: str) -> list[str]:
    return sorted("/".join(map(str, error.absolute_path)) for error in Draft202012Validator(schema).iter_errors(data(text)))


HEAD = "recipe: 1\nname: r\n"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (HEAD + WHOLE, []),
        (HEAD + "extends: x.yaml\n", []),
        (HEAD, [""]),
        (HEAD + "steps: {a: {uses: nothing}}\n", ["steps/a/uses"]),
        (HEAD + "steps: {a: {uses: cut, with: {size: '${vars.x}'}}}\n", []),
        (HEAD + "steps: {a: {uses: cut, with: {size: 'x'}}}\n", ["steps/a/with/size"]),
        (HEAD + "steps: {a: {uses: cut, with: {overlap: 1}}}\n", ["steps/a/with"]),
        (HEAD + "steps: {a: {uses: cut, like: b, with: {overlap: null}}}\n", []),
        (HEAD + "steps: {a: {uses: cut}}\n", ["steps/a"]),
        (HEAD + "steps: {a: {uses: tune, with: {method: {kind: lora, quant_type: nf4}}}}\n", ["steps/a/with/method"]),
        (HEAD + "steps: {a: {uses: tune, with: {method: '${matrix.m}', seed: -1}}}\n", ["steps/a/with/seed"]),
        (HEAD + "steps: {a: {uses: tune, resources: {cores: 3}}}\n", ["steps/a/resources"]),
        (HEAD + "steps: {a: {uses: model}}\nprofiles: {p: {steps: {a: {with: {anything: 1}, from: null}}, checks: null}}\n", []),
        (HEAD + "steps: {a: {uses: model}}\nprofiles: {p: {recipe: 1}}\n", ["profiles/p"]),
        (HEAD + "steps: {a: {uses: model}}\nprofiles: {p: {steps: {a: {uses: cut, with: {size: x}}}}}\n", ["profiles/p/steps/a/with/size"]),
        (HEAD + "steps: {a: {uses: model}}\nclaims: [{says: x, measure: {step: a, fact: f}, less_than: '${vars.x}'}]\n", []),
        (HEAD + "steps: {a: {uses: model}}\nclaims: [{says: x, measure: {stp: a}}]\n", ["claims/0/measure", "claims/0/measure"]),
    ],
)
def test_what_an_editor_sees(text: str, places: list[str], toy_kinds: None) -> None:
    assert errors(schemas()["recipe.schema.json"], text) == places


def test_overlay_and_resolved(toy_kinds: None) -> None:
    found = schemas()
    assert errors(found["overlay.schema.json"], "steps: {a: {with: {x: 1}}, b: null}\n") == []
    assert errors(found["overlay.schema.json"], "step: {}\n") == [""]
    assert errors(found["resolved.schema.json"], HEAD + "steps: {a: {uses: cut, from: f, with: {size: 3}}}\n") == []
    assert errors(found["resolved.schema.json"], HEAD + "steps: {a: {uses: cut, from: f, with: {size: '${vars.x}'}}}\n") == [
        "steps/a/with/size"
    ]
    assert errors(found["resolved.schema.json"], HEAD + "steps: {a: {like: b}}\n") == ["steps/a", "steps/a"]


def test_committed_schemas_accept_the_recipes() -> None:
    schema = json.loads((ROOT / "schemas" / "recipe.schema.json").read_text(encoding="utf-8"))
    for file in (ROOT / "recipes").glob("*.yaml"):
        assert errors(schema, file.read_text(encoding="utf-8")) == [], file.name


class Everything(Struct):
    """A field of every sort."""

    whole: Annotated[int, doc("x", ge=0, le=9)]
    real: Annotated[float, doc("x", gt=0, lt=1)] = 0.5
    text: Annotated[str, doc("x", min_length=1, pattern="^a")] = "a"
    flag: Annotated[bool, doc("x")] = False
    maybe: Annotated[Annotated[int, msgspec.Meta(ge=1)] | None, doc("x")] = None
    choice: Annotated[Literal["a", "b"] | None, doc("x")] = None
    number: Annotated[Literal[1, 2], doc("x")] = 1
    either: Annotated[int | str | None, doc("x")] = 0
    some: Annotated[str | list[int], doc("x")] = ""
    items: Annotated[list[Annotated[int, msgspec.Meta(ge=0)]], doc("x", min_length=1, max_length=2)] = msgspec.field(
        default_factory=lambda: [1]
    )
    pair: Annotated[tuple[int, str], doc("x")] = (1, "a")
    table: Annotated[dict[Annotated[str, msgspec.Meta(pattern="^a")], float], doc("x")] = {}
    union: Annotated[toys.Lora | toys.Qlora | None, doc("x")] = None
    unions: Annotated[list[toys.Flat | toys.Graph], doc("x")] = []
    one: Annotated[toys.Pretrained | None, doc("x")] = None
    plain: Annotated[toys.Pretrained, doc("x")] = toys.Pretrained(id="x")
    anything: Annotated[Any, doc("x")] = None


_NUMBERS = st.one_of(st.integers(-2, 20), st.sampled_from([0.5, 1.0, 3.0, -0.5, 1e300]))
_WORDS = st.sampled_from(["", "a", "ab", "b", "nf4", "lora", "flat", "3"])
_SCALARS = st.one_of(st.none(), st.booleans(), _NUMBERS, _WORDS)
_KEYS = st.sampled_from(["kind", "r", "m", "id", "revision", "a", "b", "lora_alpha", "quant_type", "target_modules"])
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)), max_leaves=6
)
_FIELDS = st.sampled_from([field.name for field in msgspec.structs.fields(Everything)] + ["unknown"])
_TAGGED = st.fixed_dictionaries(
    {"kind": st.sampled_from(["lora", "qlora", "flat", "graph", "x"])}, optional={"r": _SCALARS, "m": _SCALARS, "quant_type": _SCALARS}
)
_DOCUMENTS = st.dictionaries(_FIELDS, st.one_of(_VALUES, _TAGGED, st.lists(_TAGGED, max_size=2)), max_size=3)


def accepted(value: Any, cls: type[msgspec.Struct]) -> bool:
    try:
        msgspec.convert(value, cls)
    except msgspec.ValidationError:
        return False
    return True


@given(_DOCUMENTS, st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_schema_and_types_give_the_same_verdict(document: dict[str, Any], whole: bool) -> None:
    value = {"whole": 1, **document} if whole else document
    assert validator(shape(Everything)).is_valid(value) == accepted(value, Everything)


@pytest.mark.parametrize("cls", [Document, toys.TuneParams, toys.ReadParams, toys.PartsParams])
def test_defaults_are_what_the_types_accept(cls: type[msgspec.Struct]) -> None:
    for field in msgspec.structs.fields(cls):
        default = shape(cls)["$defs"][cls.__name__]["properties"][field.encode_name].get("default", msgspec.UNSET)
        if default is not msgspec.UNSET:
            msgspec.convert(default, field.type)
