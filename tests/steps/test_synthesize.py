"""The step synthesize: what is checked before a run, and that every parameter counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import Artifact, Output, Upstream
from runner.errors import InputError, StepError
from runner.steps import kind, synthesize
from runner.steps.synthesize import Params, Resources
from tests.steps import writing
from tests.steps.local_context import LocalContext
from tests.steps.passed_settings import passed, reaches_its_provider
from tests.steps.writing import (
    GEMINI,
    HOPS,
    KEY,
    MULTI_HOP,
    PROMPTS,
    ROOT,
    chunks,
    make,
    params,
    payload,
    teach,
)
from tests.teachers.gemini_server import Answer, error, gemini, says

# what is checked


def faults(wanted: Params, *ports: str) -> list[str]:
    upstream = {port: [Upstream("s", "k", None, Output(port))] for port in ports}
    return [f"{fault.path}: {fault.found}" for fault in synthesize.check(wanted, upstream)]


def test_modes_and_ports_belong_together() -> None:
    assert faults(params("whole-document"), "documents") == []
    assert faults(params("per-chunk"), "chunks") == []
    assert faults(params("retrieve-then-answer"), "chunks", "index") == []
    assert faults(params("whole-document"), "chunks") == [
        "mode: whole-document reads the port `documents`, and nothing is bound to it",
        "mode: whole-document does not read the port `chunks`",
    ]
    assert faults(params("retrieve-then-answer"), "chunks") == [
        "mode: retrieve-then-answer reads the port `index`, and nothing is bound to it"
    ]
    assert faults(params("retrieve-then-answer", questions_prompt=None), "chunks", "index") == [
        "questions_prompt: missing; retrieve-then-answer makes its questions with it"
    ]
    assert faults(params("per-chunk", top_k=3, questions_prompt="x"), "chunks") == [
        "questions_prompt: per-chunk does not use it",
        "top_k: no multi-hop question is asked",
    ]
    assert faults(params(**MULTI_HOP), "chunks") == faults(params(**MULTI_HOP, top_k=3), "chunks", "index") == []
    assert faults(params(question_types={"multi-hop": 1}), "chunks") == [
        "multi_hop_prompt: missing; per-chunk asks its multi-hop questions with it"
    ]
    assert faults(params(multi_hop_prompt=HOPS, question_types={"factual": 1}), "chunks", "index") == [
        "multi_hop_prompt: no multi-hop question is asked",
        "question_types: nothing reads the port `index`: no multi-hop question is asked",
    ]
    assert faults(params("retrieve-then-answer", **MULTI_HOP), "chunks", "index") == [
        "question_types.multi-hop: retrieve-then-answer asks about one chunk at a time",
        "multi_hop_prompt: retrieve-then-answer does not use it",
    ]
    assert faults(params("whole-document", **MULTI_HOP, top_k=2), "documents") == [
        "multi_hop_prompt: whole-document does not use it",
        "top_k: whole-document does not use it",
    ]


def test_the_prompts_are_declared_with_what_they_are_given() -> None:
    from runner.prompts import load

    for mode in PROMPTS:
        for use in synthesize.prompts(params(mode)):
            assert set(load(ROOT, use.file).variables) <= use.variables
    assert [use.field for use in synthesize.prompts(params("retrieve-then-answer"))] == ["prompt", "questions_prompt"]
    (_, hops) = synthesize.prompts(params(**MULTI_HOP))
    assert hops.field == "multi_hop_prompt"
    assert set(load(ROOT, hops.file).variables) == hops.variables


def test_only_a_remote_teacher_needs_the_network() -> None:
    assert list(synthesize.network(params())) == []
    assert list(synthesize.network(params(teacher=GEMINI))) == ["Gemini API"]


def test_files_and_hub_models_of_a_teacher_are_declared() -> None:
    assert synthesize.sources(params()) == {}
    assert synthesize.sources(params(teacher={"provider": "replay", "path": "r.jsonl"})) == {"teacher.path": ["r.jsonl"]}
    assert [use.field for use in synthesize.hub(params(teacher={"provider": "local", "id": "org/model"}))] == ["teacher.id"]


def test_the_question_types_are_those_of_the_teachers() -> None:
    from runner.teachers import QUESTION_TYPES

    assert tuple(field.encode_name for field in msgspec.structs.fields(synthesize.QuestionTypes)) == QUESTION_TYPES


def test_nothing_to_write_about_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "TEXTS", {})
    empty = chunks(tmp_path / "in")
    with pytest.raises(InputError, match="there are no chunks to write about"):
        synthesize.run(params(), {"chunks": empty}, tmp_path / "out", LocalContext(tmp_path, ROOT, Resources()))


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    given = chunks(tmp_path / "in")
    with (given.path / "chunks.jsonl").open("a") as file:
        file.write('{"id": 1')
    with pytest.raises(InputError, match=r"chunks\.jsonl:7: no row of a document or a chunk"):
        synthesize.run(params(), {"chunks": given}, tmp_path / "out", LocalContext(tmp_path, ROOT, Resources()))


def test_a_missing_key_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="GOOGLE_API_KEY is not set"):
        synthesize.run(
            params(teacher=GEMINI), {"chunks": chunks(tmp_path / "in")}, tmp_path / "out", LocalContext(tmp_path, ROOT, Resources())
        )


def test_importing_the_step_is_cheap() -> None:
    code = "import sys, runner.steps.synthesize; "
    code += "print([m for m in ('google.generativeai', 'google.genai', 'openai', 'torch', 'jinja2', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


# every parameter counts


def run_bytes(tmp_path: Path, index: Artifact, name: str, wanted: Params) -> tuple[Any, ...]:
    """Everything that a run shows: its files, and what reached the server."""
    with gemini(teach) as server:
        try:
            made = make(tmp_path / name, wanted, index, server, concurrency=1)
        except StepError as failed:
            if "were rejected" not in str(failed):
                raise
            return ("failed", str(failed))
        bodies = [{"path": request["path"].split("?")[0], **request["body"]} for request in server.requests]
    return payload(made.folder), bodies, made.ctx.facts["teacher"]


RETRIEVE = {"mode": "retrieve-then-answer", "max_rejected": 1}
#: field -> (parameters, the same with that field changed)
CASES: dict[str, tuple[Callable[[], Params], Callable[[], Params]]] = {
    "mode": (lambda: params("per-chunk"), lambda: params("whole-document")),
    "prompt": (lambda: params(), lambda: params(prompt="prompts/qa/whole_document.j2")),
    "teacher.model": (lambda: params(teacher=GEMINI), lambda: params(teacher={**GEMINI, "model": "gemini-3.5-flash"})),
    "teacher.temperature": (lambda: params(teacher=GEMINI), lambda: params(teacher={**GEMINI, "temperature": 0.3})),
    "teacher.top_p": (lambda: params(teacher=GEMINI), lambda: params(teacher={**GEMINI, "top_p": 0.3})),
    "teacher.max_output_tokens": (lambda: params(teacher=GEMINI), lambda: params(teacher={**GEMINI, "max_output_tokens": 99})),
    "questions_prompt": (
        lambda: params(**RETRIEVE, teacher=GEMINI),
        lambda: params(**RETRIEVE, teacher=GEMINI, questions_prompt="prompts/qa/per_chunk.j2"),
    ),
    "multi_hop_prompt": (
        lambda: params(teacher=GEMINI, max_rejected=1, question_types={"multi-hop": 1, "factual": 9}),
        lambda: params(teacher=GEMINI, max_rejected=1, question_types={"multi-hop": 1, "factual": 9}, multi_hop_prompt=HOPS),
    ),
    "top_k": (lambda: params(**RETRIEVE, teacher=GEMINI, top_k=1), lambda: params(**RETRIEVE, teacher=GEMINI, top_k=3)),
    "count": (lambda: params(), lambda: params(count=2)),
    "per_document": (lambda: params(), lambda: params(per_document=1)),
    "total": (lambda: params(), lambda: params(total=2)),
    "samples": (lambda: params(total=50), lambda: params(total=50, samples=2)),
    "attempts": (lambda: params(teacher=GEMINI, attempts=1, max_rejected=0.9), lambda: params(teacher=GEMINI, max_rejected=0.9)),
    "at_most": (lambda: params(), lambda: params(at_most=2)),
    "seed": (lambda: params(at_most=2), lambda: params(at_most=2, seed=1)),
    "max_rejected": (
        lambda: params(teacher=GEMINI, prompt="prompts/qa/per_chunk.j2", count=2, attempts=1, max_rejected=0.9),
        lambda: params(teacher=GEMINI, prompt="prompts/qa/per_chunk.j2", count=2, attempts=1, max_rejected=0.1),
    ),
}
TYPES = ("definition", "factual", "numeric", "procedure", "analytical", "comparative", "hypothetical", "multi-hop")
CASES |= {
    f"question_types.{name}": (
        lambda: params(teacher=GEMINI, question_types={"analytical": 1, "numeric": 1}),
        lambda name=name: params(teacher=GEMINI, question_types={"analytical": 1, "numeric": 1, name: 50}),
    )
    for name in TYPES
}
PASSED = passed("teacher")
PROVED: set[str] = set(CASES) | set(PASSED)


@pytest.mark.parametrize("field", CASES)
def test_a_changed_parameter_changes_a_call_or_the_output(
    tmp_path: Path, index: Artifact, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if field in ("max_rejected", "attempts"):  # half of the replies are refused
        good = teach
        monkeypatch.setattr(
            sys.modules[__name__], "teach", lambda number, body: says("", finish="SAFETY") if number % 2 else good(number, body)
        )
    before, after = (build() for build in CASES[field])
    assert run_bytes(tmp_path, index, "before", before) != run_bytes(tmp_path, index, "after", after)
    assert run_bytes(tmp_path, index, "again", before) == run_bytes(tmp_path, index, "once-more", before)


@pytest.mark.parametrize("field", PASSED)
def test_a_setting_reaches_its_provider(tmp_path: Path, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reaches_its_provider(field, lambda teacher: make(tmp_path, params(teacher=teacher), api_key_env="OTHER"), monkeypatch)


def test_the_teacher_counts(tmp_path: Path, index: Artifact) -> None:
    assert run_bytes(tmp_path, index, "one", params()) != run_bytes(tmp_path, index, "two", params(teacher=GEMINI))


def test_resources_change_no_byte(tmp_path: Path) -> None:
    with gemini(teach) as server:
        plain = make(tmp_path / "a", params(teacher=GEMINI), server=server)
        other = make(
            tmp_path / "b",
            params(teacher=GEMINI),
            server=server,
            concurrency=1,
            retries=0,
            backoff=9.0,
            request_timeout=7.0,
            api_key_env="OTHER",
        )
        assert {request["headers"]["x-goog-api-key"] for request in server.requests} == {KEY, "other-key"}
    assert payload(plain.folder) == payload(other.folder)


def test_resources_reach_the_caller(tmp_path: Path) -> None:
    with gemini(error(503)) as server, pytest.raises(StepError, match="after 3 tries"):
        make(tmp_path, params(teacher=GEMINI), server=server, retries=2)
    with gemini(Answer({}, delay=0.5)) as server, pytest.raises(StepError, match=r"no answer within 0\.1 s"):
        make(tmp_path, params(teacher=GEMINI), server=server, retries=0, request_timeout=0.1)


def test_it_is_registered() -> None:
    assert kind("synthesize").ports[0].name == "documents"
