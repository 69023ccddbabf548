from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import InputError
from runner.retrieval.pairs import Passages, Questions

CHUNKS = [
    {"id": "d#0", "document": "d", "start": 0, "end": 100, "text": "first"},
    {"id": "d#1", "document": "d", "start": 80, "end": 200, "text": "second"},
    {"id": "e#0", "document": "e", "start": 0, "end": 100, "text": "of another"},
]


def read(folder: Path, *examples: dict[str, Any], chunks: bool = True) -> Questions:
    (folder / "chunks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in CHUNKS))
    (folder / "examples.jsonl").write_text(
        "".join(json.dumps({"id": f"x{number}", "question": "q", **row}) + "\n" for number, row in enumerate(examples))
    )
    return Passages(folder / "chunks.jsonl" if chunks else None).questions(folder / "examples.jsonl")


def source(start: int, end: int, **more: Any) -> dict[str, Any]:
    return {"source": {"document": "d", "start": start, "end": end, **more}}


@pytest.mark.parametrize(
    ("example", "asked_of", "answered_by"),
    [
        ({"chunks": ["d#0", "e#0"]}, ("d#0", "e#0"), {"d#0", "e#0"}),
        (source(10, 20, chunk="d#0"), ("d#0",), {"d#0"}),
        (source(85, 95, chunk="d#0"), ("d#0",), {"d#0", "d#1"}),  # where the chunks overlap, both hold the quote
        (source(85, 95, chunk="d#0") | {"chunks": ["d#0"]}, ("d#0",), {"d#0", "d#1"}),
        (source(10, 95), ("d#0",), {"d#0"}),  # no chunk is named: the one that holds most of the quote
        (source(70, 190), ("d#1",), {"d#1"}),
        ({**source(150, 160), "context": "given"}, ("d#1",), {"d#1"}),
        ({"context": "given"}, ("context 1",), {"context 1"}),
        ({"chunks": ["gone"], "context": "given"}, ("context 1",), {"context 1"}),
        ({"sources": [source(1, 5)["source"], {"document": "e", "start": 1, "end": 5}]}, ("d#0", "e#0"), {"d#0", "e#0"}),
    ],
)
def test_what_a_question_is_asked_of_and_answered_by(
    tmp_path: Path, example: dict[str, Any], asked_of: tuple[str, ...], answered_by: set[str]
) -> None:
    found = read(tmp_path, example)
    assert [(question.id, question.asked_of, question.answered_by) for question in found.questions] == [("x0", asked_of, answered_by)]
    assert all(found.passages[id] for id in answered_by)


def test_equal_contexts_are_one_passage(tmp_path: Path) -> None:
    found = read(tmp_path, {"context": "given"}, {"context": "other"}, {"context": "given"}, chunks=False)
    assert found.passages == {"context 1": "given", "context 2": "other"}
    assert [question.asked_of for question in found.questions] == [("context 1",), ("context 2",), ("context 1",)]


def test_examples_without_a_passage_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path, {"chunks": ["gone"]}, {}, {"documents": ["d"]}, source(900, 950))
    assert found.questions == []
    assert found.left_out == {"names chunks that are not there": 1, "names no chunk and has no context": 3}


@pytest.mark.parametrize(
    ("line", "found"), [('{"id": "a"}', "row 1 has no `question`"), ("[1]", "row 1 is no object"), ("{", "row 1 is not JSON")]
)
def test_rows_that_are_no_examples(tmp_path: Path, line: str, found: str) -> None:
    (tmp_path / "examples.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match=found):
        Passages().questions(tmp_path / "examples.jsonl")
