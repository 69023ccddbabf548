"""Rows 20, 21 and 22 of the faults, whole: `recipe run` against servers that speak the real protocols and misbehave."""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest

from tests.teachers import gemini_server, openai_server
from tests.teachers.misbehaving import Answer, Server, serve

PROJECT = Path(__file__).resolve().parents[2]
CANARY = "AIzaCanary+4711/Xy=Zq%9"
PROVIDERS: dict[str, ModuleType] = {"google-generativeai": gemini_server, "gemini": gemini_server, "openai": openai_server}
DOCUMENTS = 8


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Eight notes, and a recipe that has a teacher write about each."""
    root = tmp_path / "project"
    (root / "recipes").mkdir(parents=True)
    (root / "notes").mkdir()
    shutil.copytree(PROJECT / "prompts", root / "prompts")
    for number in range(DOCUMENTS):
        text = f"# Note {number}\n\nThe store number {number} keeps three copies of every block in memory. It is read in order.\n"
        (root / "notes" / f"n{number}.md").write_text(text)
    return root


def recipe(root: Path, provider: str, url: str, **resources: Any) -> None:
    teacher = {"provider": provider, "model": "model-1"}
    params = {"mode": "whole-document", "prompt": "prompts/qa/whole_document.j2", "teacher": teacher, "count": 1}
    calls = {"endpoint": url, "backoff": 0.01, "retries": 8, "concurrency": 3, "api_key_env": "CANARY_API_KEY", **resources}
    steps = {
        "notes": {"uses": "ingest", "with": {"paths": ["notes/*.md"]}},
        "qa": {"uses": "synthesize", "from": {"documents": "notes"}, "with": {**params, "attempts": 10}, "resources": calls},
    }
    (root / "recipes" / "r.yaml").write_text(json.dumps({"recipe": 1, "name": "r", "title": "Asks a teacher", "steps": steps}))


def start(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from runner.cli import main; sys.exit(main())", "run", "recipes/r.yaml"],
        cwd=root,
        env=os.environ | {"CANARY_API_KEY": CANARY, "PYTHONPATH": str(PROJECT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(root: Path) -> tuple[int, str]:
    program = start(root)
    said, _ = program.communicate(timeout=50)
    return program.returncode, said


def prompt_of(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"] if "messages" in body else body["contents"][0]["parts"][0]["text"])


def pair(body: dict[str, Any]) -> str:
    """What a good teacher says."""
    text = prompt_of(body)
    sentence = next(line for line in text.splitlines() if line.startswith("The store number")).split(". ")[0] + "."
    return json.dumps({"pairs": [{"question": f"What of: {sentence}?", "answer": "Three.", "quotes": [sentence], "type": "factual"}]})


def misbehave(protocol: ModuleType) -> Callable[[int, dict[str, Any]], Answer]:
    """Every fault of rows 20 and 21 once, and then good manners. Errors repeat the key, as some servers do."""
    says, error = protocol.says, protocol.error
    faults: list[Callable[[str], Answer]] = [
        lambda good: error(429, f"slow down, {CANARY}", headers={"Retry-After": "0"}),
        lambda good: error(429, "slow down"),
        lambda good: error(500, f"oh {CANARY}"),
        lambda good: error(503, "overloaded"),
        lambda good: Answer(reset=True),
        lambda good: Answer(protocol.says(good).body, cut=True),
        lambda good: Answer(b"<html>proxy</html>", headers={"Content-Type": "text/html"}),
        lambda good: says(good[:-9]),
        lambda good: says(f"Here it is:\n```json\n{good}\n```"),
        lambda good: says(good.replace('"pairs"', '"extra": 1, "pairs"', 1)),
        lambda good: says(""),
        lambda good: says("", finish="SAFETY" if protocol is gemini_server else "content_filter"),
        lambda good: says(good, finish="MAX_TOKENS" if protocol is gemini_server else "length"),
        lambda good: says(good.replace("Three", CANARY)),
    ]
    if protocol is gemini_server:
        faults.append(lambda good: says("", finish="RECITATION"))
    return lambda number, body: faults[number](pair(body)) if number < len(faults) else says(pair(body), model="model-1")


def examples(root: Path) -> list[dict[str, Any]]:
    file = root / "artifacts" / "runs" / "r" / "latest" / "steps" / "qa" / "main" / "examples.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def facts(root: Path) -> dict[str, Any]:
    record = json.loads((root / "artifacts" / "runs" / "r" / "latest" / "run.json").read_text())
    (step,) = [step for step in record["instances"] if step["step"] == "qa"]
    return {name: fact["value"] for name, fact in step["facts"].items()}


def assert_no_canary(root: Path, said: str) -> None:
    """Neither as it is nor in another spelling: not in any file, not in a file's name, not on the screen."""
    coded = [base64.b64encode(b" " * shift + CANARY.encode())[4 if shift else 0 : -4] for shift in range(3)]
    spellings = [
        CANARY.encode(),
        quote(CANARY, safe="").encode(),
        json.dumps(CANARY)[1:-1].encode(),
        CANARY.encode().hex().encode(),
        *coded,
    ]
    for file in root.rglob("*"):
        assert CANARY not in file.name
        if file.is_file():
            content = file.read_bytes()
            assert not any(spelling in content for spelling in spellings), file
    assert not any(spelling.decode() in said for spelling in spellings)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_api_teacher_finishes_whatever_the_server_does_and_tells_no_key(project: Path, provider: str) -> None:
    protocol = PROVIDERS[provider]
    with serve(misbehave(protocol)) as server:
        recipe(project, provider, server.url)
        code, said = run(project)
        assert code == 0, said
        assert len(examples(project)) == DOCUMENTS
        assert all(CANARY in json.dumps(request["headers"]) for request in server.requests), "the key was sent"
        asked = len(server.requests)
        told = facts(project)
        assert told["retried"] == 7
        assert told["repaired"] == 1
        assert {"empty", "safety", "schema", "secret", "truncated"} <= set(told["rejected"])
        assert told["calls"] + told["retried"] == asked
    assert_no_canary(project, said)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("status", [401, 404])
def test_what_cannot_pass_fails_at_once_and_tells_no_key(project: Path, provider: str, status: int) -> None:
    protocol = PROVIDERS[provider]
    with serve(protocol.error(status, f"no good: {CANARY}")) as server:
        recipe(project, provider, server.url, concurrency=1)
        code, said = run(project)
        assert (code, len(server.requests)) == (1, 1)
    assert "refuses the API key" in said if status == 401 else "has no model 'model-1'" in said
    assert "Traceback" not in said
    assert_no_canary(project, said)


def kill_until_done(root: Path, server: Server, chance: random.Random, times: int) -> int:
    """Kill the runner with all its children so many times, then let it finish. Returns how many kills hit a run."""
    hit = 0
    for _ in range(times):
        program, before = start(root), len(server.requests)
        wanted = before + chance.randint(1, 3)
        end = time.monotonic() + 30
        while len(server.requests) < wanted and program.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.1))
        hit += program.poll() is None
        os.killpg(program.pid, signal.SIGKILL)
        program.communicate()
    return hit


@pytest.mark.parametrize("provider", ["openai", *(pytest.param(name, marks=pytest.mark.slow) for name in PROVIDERS if name != "openai")])
def test_killed_again_and_again_no_recorded_answer_is_asked_for_twice(project: Path, provider: str) -> None:
    answered: dict[str, int] = {}

    def slow(number: int, body: dict[str, Any]) -> Answer:
        answered[prompt_of(body)] = answered.get(prompt_of(body), 0) + 1
        answer: Answer = PROVIDERS[provider].says(pair(body), model="model-1")
        answer.delay = 0.4
        return answer

    with serve(slow) as server:
        recipe(project, provider, server.url, concurrency=2)
        kills = kill_until_done(project, server, random.Random(4711), 2)
        code, said = run(project)
    assert code == 0, said
    assert len(examples(project)) == DOCUMENTS
    records = [
        json.loads(line)
        for file in (project / "artifacts").rglob("cache/**/*.jsonl")
        for line in file.read_text().splitlines()
        if line[-1] == "}"
    ]
    given = [record["prompt"] for record in records if record["event"] == "answered"]
    assert len(given) == len(set(given)) == DOCUMENTS, "each was recorded once"
    lost = {record["call"] for record in records if record["event"] == "asked"} - {
        record["call"] for record in records if record["event"] == "answered"
    }
    assert len(server.requests) <= DOCUMENTS + len(lost), "a call is on record before it goes out"
    assert 0 < len(lost) <= 2 * kills, "no more than were in flight"
    assert facts(project)["lost_in_flight"] == len(lost), "each is told, also of a run that was killed before it could tell"
    assert_no_canary(project, said)
