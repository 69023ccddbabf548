from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import HubUse
from runner.errors import InputError, StepError
from runner.steps import dataset
from tests.steps.local_context import LocalContext

ROWS = [{"question": f"Q{n}", "answer": f"A{n}", "document": f"d{n}", "other": f"O{n}"} for n in range(20)]


def run(tmp_path: Path, **params: Any) -> tuple[list[dict[str, Any]], LocalContext]:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "nested.json").write_text(json.dumps({"one": ROWS[:3], "two": ROWS[3:5]}))
    (tmp_path / "gaps.jsonl").write_text(json.dumps(ROWS[0]) + "\n" + json.dumps({**ROWS[1], "answer": ""}) + "\n")
    (tmp_path / "empty.jsonl").write_text("")
    given = msgspec.convert({"path": "rows.jsonl", **params}, dataset.Params)
    sources = {field: [tmp_path / path for path in paths] for field, paths in dataset.sources(given).items()}
    ctx = LocalContext(tmp_path / "ctx", tmp_path, sources=sources)
    dataset.run(given, {}, tmp_path / "out", ctx)
    return [json.loads(line) for line in (tmp_path / "out" / "main" / "examples.jsonl").read_text().splitlines()], ctx


#: A field of Params -> two settings that must give different examples (or one of them an error).
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "path": ({"path": "rows.jsonl"}, {"path": "nested.json", "records": "one"}),
    "records": ({"path": "nested.json", "records": "one"}, {"path": "nested.json", "records": "two"}),
    **{f"fields.{field}": ({}, {"fields": {field: "other"}}) for field in ("question", "answer", "document", "type", "id")},
    "on_bad_row": ({"path": "gaps.jsonl", "on_bad_row": "skip"}, {"path": "gaps.jsonl"}),
    "first": ({}, {"first": 3}),
    "at_most": ({}, {"at_most": 3}),
    "seed": ({"at_most": 3}, {"at_most": 3, "seed": 1}),
}
HUB_CASES: dict[str, dict[str, Any]] = {
    "hub.id": {"id": "other/set"}, "hub.config": {"config": "main"}, "hub.split": {"split": "test"}, "hub.revision": {"revision": "abc"},
}  # fmt: skip
PROVED: set[str] = {*CASES, *HUB_CASES}


@pytest.mark.parametrize("field", CASES)
def test_every_field_changes_the_examples(tmp_path: Path, field: str) -> None:
    seen: list[Any] = []
    for params in CASES[field]:
        try:
            seen.append(run(tmp_path, **params)[0])
        except InputError as error:
            seen.append(str(error))
    assert seen[0] != seen[1]


@pytest.mark.parametrize("field", HUB_CASES)
def test_every_field_of_a_hub_set_reaches_load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    import datasets

    calls = []
    monkeypatch.setattr(datasets, "load_dataset", lambda id, **options: calls.append((id, options)) or ROWS)
    for change in ({}, HUB_CASES[field]):
        found, _ = run(tmp_path, path=None, hub={"id": "some/set", **change})
        assert len(found) == 20
    assert calls[0] == ("some/set", {"name": None, "split": "train", "revision": None})
    assert calls[0] != calls[1]


def test_examples_are_as_the_artifact_says(tmp_path: Path) -> None:
    found, ctx = run(tmp_path, first=1)
    assert found == [{"id": found[0]["id"], "question": "Q0", "answer": "A0", "documents": ["d0"], "origin": "rows"}]
    assert ctx.facts == {"examples": 1}


def test_a_draw_keeps_the_order_and_bad_rows_are_said(tmp_path: Path) -> None:
    drawn = [int(example["question"][1:]) for example in run(tmp_path, at_most=5, seed=3)[0]]
    assert drawn == sorted(drawn)
    assert len(drawn) == 5
    _, ctx = run(tmp_path, path="gaps.jsonl", on_bad_row="skip")
    assert ctx.warnings == ["gaps.jsonl: 1 of 2 rows are left out; the first: line 2: `answer` is empty"]


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"empty\.jsonl: holds no rows"):
        run(tmp_path, path="empty.jsonl")


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({}, ""),
        ({"path": "a.json", "hub": {"id": "x"}}, ""),
        ({"path": "a.csv", "records": "x"}, "records"),
        ({"hub": {"id": "x"}, "records": "x"}, "records"),
    ],
)
def test_rules_between_fields(params: dict[str, Any], path: str) -> None:
    (fault,) = dataset.check(msgspec.convert(params, dataset.Params), {})
    assert fault.path == path


def test_a_hub_set_is_named_for_pinning() -> None:
    given = msgspec.convert({"hub": {"id": "some/set", "revision": "abc"}}, dataset.Params)
    assert list(dataset.hub(given)) == [HubUse("hub.id", "dataset", "some/set", "abc")]
    assert dataset.sources(given) == {}
