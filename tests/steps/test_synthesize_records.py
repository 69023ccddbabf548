"""What synthesize keeps of its calls: recorded and replayed answers, rejections, money, keys, and what a kill leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import Artifact
from runner.errors import StepError
from runner.steps import synthesize
from runner.steps.synthesize import Resources
from tests.steps.local_context import LocalContext
from tests.steps.writing import (
    GEMINI,
    KEY,
    PROMPTS,
    ROOT,
    chunks,
    make,
    params,
    payload,
    teach,
)
from tests.teachers.gemini_server import Answer, error, gemini, says

# records, money, keys


@pytest.mark.parametrize("mode", PROMPTS)
def test_a_recorded_run_is_replayed_without_its_teacher(tmp_path: Path, index: Artifact, mode: str) -> None:
    def rough(number: int, body: dict[str, Any]) -> Answer:
        return says("Sure!") if number == 2 else teach(number, body)

    with gemini(rough) as server:
        asked = make(tmp_path, params(mode, GEMINI, max_rejected=1), index, server, name="asked", concurrency=2)
    replies = asked.folder / "provenance" / "replies.jsonl"
    assert KEY not in replies.read_text()
    replayed = make(tmp_path / "elsewhere", params(mode, {"provider": "replay", "path": str(replies)}, max_rejected=1), index)
    assert payload(replayed.folder) == payload(asked.folder)
    assert asked.ctx.facts["calls"] > len(asked.rows())


def test_nothing_recorded_is_asked_again_and_the_output_is_the_same(tmp_path: Path) -> None:
    with gemini(teach) as server:
        first = make(tmp_path, params(teacher=GEMINI), server=server, name="first")
        calls = len(server.requests)
        second = make(tmp_path, params(teacher=GEMINI), server=server, name="second")
        assert len(server.requests) == calls == 6
    assert payload(first.folder) == payload(second.folder)
    assert [first.ctx.facts[name] for name in ("calls", "cached", "tokens_in", "tokens_out")] == [6, 0, 600, 120]
    assert [second.ctx.facts[name] for name in ("calls", "cached", "tokens_in", "tokens_out")] == [0, 6, 0, 0]


def test_another_model_is_warned_about(tmp_path: Path) -> None:
    def routed(number: int, body: dict[str, Any]) -> Answer:
        answer = teach(number, body)
        answer.body["modelVersion"] = "gemini-3.5-flash-lite" if number == 0 else "gemini-3.6-flash-001"
        return answer

    with gemini(routed) as server:
        made = make(tmp_path, params(teacher=GEMINI), server=server)
    (warning,) = made.ctx.warnings
    assert warning == "1 replies come from gemini-3.5-flash-lite, not from gemini-3.6-flash as asked: the provider routes it elsewhere"
    assert made.ctx.facts["reported_models"] == {"gemini-3.5-flash-lite": 1, "gemini-3.6-flash-001": 5}
    assert sum(row["teacher"].get("reported") == "gemini-3.5-flash-lite" for row in made.rows()) == 1


def test_rejections_are_written_with_their_reasons(tmp_path: Path) -> None:
    def mixed(number: int, body: dict[str, Any]) -> Answer:
        good = teach(number, body)
        if number == 1:
            return says("", finish="SAFETY")
        if number == 2:
            return says(good.body["candidates"][0]["content"]["parts"][0]["text"].replace('"quotes": ["', '"quotes": ["never said: '))
        return good

    with gemini(mixed) as server:
        made = make(tmp_path, params(teacher=GEMINI, attempts=1, max_rejected=0.5), server=server, concurrency=1)
    assert [row["reason"] for row in made.rows("rejected")] == ["safety", "quote-not-found"]
    assert made.rows("rejected")[1]["detail"].startswith("never said:")
    assert made.rows("rejected")[0]["chunk"] == "cache#1"
    assert len(made.rows()) == 4
    assert made.ctx.facts["pairs_rejected"] == {"quote-not-found": 1, "safety": 1}


def test_too_many_rejections_fail_early_and_are_asked_again_next_time(tmp_path: Path) -> None:
    with gemini(says("no JSON at all")) as server:
        with pytest.raises(StepError) as caught:
            make(tmp_path, params(teacher=GEMINI, attempts=1, max_rejected=0.2), server=server, concurrency=1)
        asked = len(server.requests)
    assert "2 of 2 pairs were rejected, more than max_rejected 0.2 allows: malformed 2; first: cache#0: malformed" in str(caught.value)
    assert asked < 6, "what cannot be mended is not paid for"
    with gemini(teach) as server:
        made = make(tmp_path, params(teacher=GEMINI, max_rejected=0.2), server=server)
        assert len(server.requests) >= 5
    assert len(made.rows()) >= 5


@pytest.mark.parametrize("behaviour", [teach, error(401, KEY), says(f'{{"pairs": "{KEY}"}}'), error(404, f"gone {KEY}")])
def test_the_key_reaches_no_file_and_no_message(tmp_path: Path, behaviour: Any) -> None:
    message = ""
    ctx = LocalContext(tmp_path, ROOT, secrets={"GOOGLE_API_KEY": KEY})
    with gemini(behaviour) as server:
        ctx.resources = Resources(endpoint=server.url, retries=0, api_key_env="GOOGLE_API_KEY")
        try:
            synthesize.run(params(teacher=GEMINI), {"chunks": chunks(tmp_path / "in")}, tmp_path / "out", ctx)
        except StepError as failed:
            message = str(failed)
        assert all(request["headers"]["x-goog-api-key"] == KEY for request in server.requests)
    assert KEY not in message + repr(ctx.facts) + repr(ctx.messages) + repr(ctx.warnings)
    assert all(KEY.encode() not in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


@pytest.mark.parametrize("literal", ["AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY", "sk-abc", "canary-4711-key"])
def test_a_literal_key_is_refused_by_the_form(literal: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"api_key_env": literal}, Resources)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"api_key": literal}, Resources)


KILLED = """
import sys
from pathlib import Path
from tests.steps.local_context import LocalContext
from tests.steps import writing as module
folder = Path(sys.argv[1])
calls = module.Resources(endpoint=sys.argv[2], concurrency=2, api_key_env="OTHER")
ctx = LocalContext(folder, module.ROOT, calls, secrets={"OTHER": module.KEY})
module.synthesize.run(module.params(teacher=module.GEMINI), {"chunks": module.chunks(folder / "in")}, folder / "killed", ctx)
"""


def test_a_killed_run_keeps_its_answers_and_tells_what_was_in_flight(tmp_path: Path) -> None:
    def stall(number: int, body: dict[str, Any]) -> Answer:
        answer = teach(number, body)
        answer.delay = 30 if number >= 3 else 0
        return answer

    with gemini(stall) as server:
        victim = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), server.url], cwd=ROOT)
        for _ in range(900):
            if len(server.requests) >= 5:  # three answered, two in flight
                break
            assert victim.poll() is None
            time.sleep(0.05)
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        in_flight = len(server.requests) - 3
    with gemini(teach) as server:
        made = make(tmp_path, params(teacher=GEMINI), server=server)
        assert len(server.requests) == 3, "the three recorded ones are not asked again"
        fresh = make(tmp_path / "undisturbed", params(teacher=GEMINI), server=server)
    assert payload(made.folder) == payload(fresh.folder)
    assert made.ctx.facts["lost_in_flight"] == in_flight == 2
    assert made.ctx.warnings == [
        "2 calls were in flight when an earlier run was killed; they were asked again, and may be paid for twice",
    ]
    assert fresh.ctx.warnings == []
