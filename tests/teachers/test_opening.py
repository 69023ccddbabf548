"""From settings and context to a caller: keys, limits, record, and what is said at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import HubUse
from runner.errors import StepError
from runner.teachers import BudgetSpent, Outcome, opening
from runner.teachers.settings import Calls, Teacher
from tests.steps.local_context import LocalContext
from tests.teachers import gemini_server, openai_server
from tests.teachers.fake_teacher import request
from tests.teachers.misbehaving import Server, serve

QUESTION = '{"questions": [{"question": "q?", "type": "factual"}]}'
GOOGLE = {"provider": "google-generativeai", "model": "gemini-3.6-flash"}
GEMINI = {"provider": "gemini", "model": "gemini-3.6-flash"}
OPENAI = {"provider": "openai", "model": "gpt-5-mini"}
REMOTE = {"google-generativeai": (GOOGLE, gemini_server), "gemini": (GEMINI, gemini_server), "openai": (OPENAI, openai_server)}
SECRETS = {"GOOGLE_API_KEY": "google-key-4711", "OPENAI_API_KEY": "openai-key-4711", "THIS": "this-key-4711", "OTHER": "another-key-4711"}


def settings(teacher: dict[str, Any]) -> Teacher:
    return msgspec.convert(teacher, Teacher)  # type: ignore[arg-type]


def context(folder: Path, secrets: dict[str, str] = SECRETS, preview: int | None = None, **calls: Any) -> LocalContext:
    folder.mkdir(parents=True, exist_ok=True)
    return LocalContext(folder, folder, Calls(**{"backoff": 0.01, "api_key_env": "THIS", **calls}), secrets=secrets, preview=preview)


def ask(teacher: dict[str, Any], ctx: LocalContext, count: int = 3, replies: Path | None = None) -> list[Outcome]:
    with opening.open_caller(settings(teacher), ctx, replies=replies) as caller:
        return list(caller.ask_all(request(f"r{number}") for number in range(count)))


def key_seen(server: Server) -> str:
    headers = {name.lower(): value for name, value in server.requests[-1]["headers"].items()}
    return headers.get("x-goog-api-key") or headers.get("authorization", "").removeprefix("Bearer ")


def test_what_a_teacher_needs_is_told_to_the_engine() -> None:
    assert opening.sources(settings({"provider": "replay", "path": "r.jsonl"})) == {"teacher.path": ["r.jsonl"]}
    assert opening.sources(settings({"provider": "local", "path": "m.gguf"}), "judge") == {"judge.path": ["m.gguf"]}
    assert opening.sources(settings({"provider": "local", "id": "a/b"})) == opening.sources(settings(OPENAI)) == {}
    assert list(opening.hub(settings({"provider": "local", "id": "a/b", "revision": "main"}), "judge")) == [
        HubUse("judge.id", "model", "a/b", "main")
    ]
    assert list(opening.hub(settings({"provider": "local", "path": "m.gguf"}))) == list(opening.hub(settings(GEMINI))) == []
    assert [list(opening.network(settings(teacher))) for teacher in (GOOGLE, GEMINI, OPENAI)] == [
        ["Gemini API"],
        ["Gemini API"],
        ["OpenAI-compatible API"],
    ]
    for offline in ({"provider": "extractive"}, {"provider": "replay", "path": "x"}, {"provider": "local", "path": "x"}):
        assert list(opening.network(settings(offline))) == []


@pytest.mark.parametrize("provider", REMOTE)
def test_every_api_teacher_asks_with_its_key_and_is_recorded(tmp_path: Path, provider: str) -> None:
    teacher, protocol = REMOTE[provider]
    with serve(protocol.says(QUESTION, model=teacher["model"])) as server:
        first = context(tmp_path, endpoint=server.url, price_input=1000, price_output=1000)
        outcomes = ask(teacher, first)
        assert key_seen(server) == SECRETS["THIS"]
        assert [outcome.items[0].question for outcome in outcomes] == ["q?"] * 3
        assert (first.facts["calls"], first.facts["tokens_in"], first.facts["money"]) == (3, 300, pytest.approx(0.36))
        assert 0 < first.facts["latency_p50"] <= first.facts["latency_p95"]
        assert first.facts["usage"] == {teacher["model"]: {"calls": 3, "tokens_in": 300, "tokens_out": 60}}
        assert first.facts["teacher"] == f"{provider} {teacher['model']}"
        second = context(tmp_path, endpoint=server.url, api_key_env="OTHER")
        assert [outcome.reply for outcome in ask(teacher, second)] == [outcome.reply for outcome in outcomes]
        assert (second.facts["calls"], second.facts["cached"]) == (0, 3)
        assert len(server.requests) == 3
        ask(teacher, second, 4)
        assert key_seen(server) == "another-key-4711"
    assert first.warnings == second.warnings == []


def test_a_server_of_ones_own_gets_the_key_that_is_named_for_it_and_no_other(tmp_path: Path) -> None:
    with serve(openai_server.says(QUESTION)) as server:
        ask(OPENAI, context(tmp_path, endpoint=server.url, api_key_env=""))
        assert len(server.requests) == 3
        assert "authorization" not in {name.lower() for name in server.requests[-1]["headers"]}
        assert not [secret for secret in SECRETS.values() if secret in json.dumps(server.requests)]
        with pytest.raises(StepError, match="OTHER is not set"):
            ask(OPENAI, context(tmp_path, {}, endpoint=server.url, api_key_env="OTHER"))
    with serve(openai_server.error(401, "who are you?")) as server, pytest.raises(StepError) as caught:
        ask(OPENAI, context(tmp_path / "asked", endpoint=server.url, api_key_env=""))
    assert caught.value.message == "the server wants an API key (HTTP 401: who are you?)"
    with serve(gemini_server.says(QUESTION)) as server:
        for teacher in (GEMINI, GOOGLE):
            with pytest.raises(StepError, match="no key is named for it; GOOGLE_API_KEY is for Google's own") as caught:
                ask(teacher, context(tmp_path, endpoint=server.url, api_key_env=""))
            assert "resources.api_key_env" in caught.value.remedy
        assert server.requests == []


@pytest.mark.parametrize(("teacher", "variable"), [(GOOGLE, "GOOGLE_API_KEY"), (GEMINI, "GOOGLE_API_KEY"), (OPENAI, "OPENAI_API_KEY")])
def test_the_providers_own_address_gets_the_usual_key(tmp_path: Path, teacher: dict[str, Any], variable: str) -> None:
    with pytest.raises(StepError, match=f"{variable} is not set"):
        ask(teacher, context(tmp_path, {"THIS": "no"}, api_key_env=""))


@pytest.mark.parametrize("provider", REMOTE)
def test_a_budget_stops_the_step_and_the_next_run_goes_on(tmp_path: Path, provider: str) -> None:
    teacher, protocol = REMOTE[provider]
    with serve(protocol.says(QUESTION, tokens=(1000, 200))) as server:
        ctx = context(tmp_path, endpoint=server.url, budget_money=0.0079, price_input=1.0, price_output=2.0, concurrency=2)
        with pytest.raises(
            BudgetSpent, match=r"the budget of money is spent: 0.007 of 0.0079 in 5 calls, and the next one is expected to take 0.0014"
        ):
            ask(teacher, ctx, 8)
        assert ctx.facts["money"] == pytest.approx(0.007)
        assert len(server.requests) == 5
        ask(teacher, ctx, 8)
        assert len(server.requests) == 8


def test_a_budget_without_prices_is_refused_before_the_first_call(tmp_path: Path) -> None:
    with serve(gemini_server.says(QUESTION)) as server:
        with pytest.raises(StepError, match="budget_money needs the teacher's prices"):
            ask(GEMINI, context(tmp_path, endpoint=server.url, budget_money=1.0))
        assert server.requests == []


def test_what_was_paid_is_said_after_a_failure_too(tmp_path: Path) -> None:
    def behaviour(number: int, body: dict[str, Any]) -> Any:
        return gemini_server.says(QUESTION) if number < 2 else gemini_server.error(401)

    with serve(behaviour) as server:
        ctx = context(tmp_path, endpoint=server.url, concurrency=1)
        with pytest.raises(StepError, match="refuses the API key"):
            ask(GEMINI, ctx)
    assert (ctx.facts["calls"], ctx.facts["tokens_in"]) == (2, 200)


@pytest.mark.parametrize("provider", REMOTE)
def test_what_one_teacher_said_is_replayed_without_it(tmp_path: Path, provider: str) -> None:
    teacher, protocol = REMOTE[provider]
    file = tmp_path / "out" / "provenance" / "replies.jsonl"
    with serve(protocol.says(QUESTION)) as server:
        outcomes = ask(teacher, context(tmp_path, endpoint=server.url), replies=file)
    assert [json.loads(line)["provider"] for line in file.read_text().splitlines()] == [provider] * 3
    ctx = context(tmp_path / "elsewhere", {})
    again = ask({"provider": "replay", "path": str(file)}, ctx, replies=tmp_path / "none.jsonl")
    assert [outcome.items for outcome in again] == [outcome.items for outcome in outcomes]
    assert ctx.facts["teacher"] == f"{provider} {teacher['model']}, replayed"
    assert not (tmp_path / "none.jsonl").exists()


def test_a_preview_reads_the_record_and_writes_nothing(tmp_path: Path) -> None:
    with serve(gemini_server.says(QUESTION)) as server:
        ask(GEMINI, context(tmp_path, endpoint=server.url), 2)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        ctx = context(tmp_path, endpoint=server.url, preview=3)
        assert len(ask(GEMINI, ctx, 3)) == 3
        assert len(server.requests) == 3, "two answers were on record"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_extractive_has_no_record(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    ask({"provider": "extractive"}, ctx)
    assert ctx.facts["teacher"] == "extractive"
    assert not (tmp_path / "cache").exists()
