"""What only google-generativeai does; the faults of servers are in test_api_teachers.py."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from runner.teachers import Connection, Rejected, Reply, open_teacher, read
from tests.teachers.gemini_server import Answer, gemini, says
from tests.teachers.note import GOOD, NOTE, ask

BOTH = ("google-generativeai", "gemini")


def call(provider: str, answer: Answer, **settings: Any) -> tuple[Reply, dict[str, Any]]:
    with gemini(answer) as server:
        reply = open_teacher(provider, Connection("key", server.url, 5.0), model="gemini-3.6-flash", **settings).ask(ask())
        (request,) = server.requests
    return reply, request


def test_the_call_carries_prompt_settings_and_schema() -> None:
    _, request = call("google-generativeai", says(GOOD), temperature=0.5, top_p=0.9, max_output_tokens=77)
    assert request["path"].startswith("/v1beta/models/gemini-3.6-flash:generateContent")
    assert request["headers"]["x-goog-api-key"] == "key"
    assert request["body"]["contents"][0]["parts"][0]["text"] == "a prompt with ☃"
    config = request["body"]["generationConfig"]
    assert (config["temperature"], config["maxOutputTokens"], config["candidateCount"]) == (0.5, 77, 1)
    assert config["topP"] == pytest.approx(0.9)
    assert config["responseMimeType"] == "application/json"
    properties = config["responseSchema"]["properties"]
    assert set(properties) == {"word", "mood", "number"}
    assert properties["mood"]["enum"] == ["glad", "sad"]
    assert set(config["responseSchema"]["required"]) == {"word", "mood", "number"}


@pytest.mark.parametrize("provider", BOTH)
def test_thinking_counts_as_output(provider: str) -> None:
    answer = says(GOOD, tokens=(100, 20))
    answer.body["usageMetadata"]["totalTokenCount"] = 500
    answer.body["usageMetadata"]["thoughtsTokenCount"] = 380
    assert call(provider, answer)[0].tokens_out == 400


REJECTED = {
    "safety": (says("", finish="SAFETY"), "safety"),
    "recitation": (says("", finish="RECITATION"), "recitation"),
    "blocklist": (says("", finish="BLOCKLIST"), "blocked"),
    "text before it was blocked": (says(GOOD, finish="PROHIBITED_CONTENT"), "blocked"),
    "prompt blocked": (Answer({"promptFeedback": {"blockReason": "SAFETY"}}), "safety"),
    "prompt prohibited": (Answer({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), "blocked"),
    "no candidate": (Answer({"candidates": []}), "empty"),
    "no content": (Answer({"candidates": [{"finishReason": "STOP", "content": {"role": "model"}}]}), "empty"),
}


@pytest.mark.parametrize("provider", BOTH)
@pytest.mark.parametrize("case", REJECTED)
def test_blocks_are_typed_rejections(case: str, provider: str) -> None:
    answer, reason = REJECTED[case]
    reply, _ = call(provider, answer)
    with pytest.raises(Rejected) as caught:
        read(reply, NOTE)
    assert caught.value.reason == reason


@pytest.mark.parametrize("provider", BOTH)
def test_a_reason_of_tomorrow_is_no_good_reply(provider: str, recwarn: pytest.WarningsRecorder) -> None:
    reply, _ = call(provider, says("", finish="BRAND_NEW_REASON"))
    with pytest.raises(Rejected) as caught:
        read(reply, NOTE)
    assert caught.value.reason in ("blocked", "empty")
    assert not [warning for warning in recwarn if "BRAND_NEW_REASON" in str(warning.message)]


def test_importing_the_sdk_says_nothing() -> None:
    code = "from runner.teachers import *; open_teacher('google-generativeai', Connection('k'), model='m')"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert "FutureWarning" not in done.stderr
    assert "google.generativeai" not in done.stderr
