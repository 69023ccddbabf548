"""The provider google-generativeai against a local server that speaks its protocol."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from email.utils import formatdate
from time import time

import pytest

from runner.errors import StepError
from runner.teachers import AnswerFrom, Busy, Connection, Rejected, Request, WritePairs, open_teacher, read
from tests.teachers.gemini_server import Answer, error, gemini, says

KEY = "canary-4711-key"
TASK = WritePairs("Text.", ("definition",))
GOOD = '{"pairs": [{"question": "What is X?", "answer": "X is Y.", "quote": "X is Y.", "type": "definition"}]}'
RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


def ask(behaviour: Answer, timeout: float = 5.0, **settings: object) -> tuple[object, list[dict[str, object]]]:
    """What one ask gives (a Reply or an exception), and the calls that reached the server."""
    with gemini(behaviour) as server:
        teacher = open_teacher("google-generativeai", Connection(KEY, server.url, timeout), **{"model": "gemini-3.6-flash", **settings})
        try:
            return teacher.ask(Request("doc#1", "a prompt with ☃", TASK)), server.requests
        except (Busy, StepError) as raised:
            return raised, server.requests


def test_the_call_carries_prompt_schema_and_key() -> None:
    reply, calls = ask(says(GOOD, tokens=(120, 30)), temperature=0.5, max_output_tokens=77)
    assert (reply.finish, reply.model, reply.tokens_in, reply.tokens_out) == ("stop", "gemini-3.6-flash", 120, 30)
    assert [pair.question for pair in read(reply, TASK)] == ["What is X?"]
    (call,) = calls
    assert call["path"].startswith("/v1beta/models/gemini-3.6-flash:generateContent")
    assert KEY not in call["path"]
    assert call["headers"]["x-goog-api-key"] == KEY
    assert call["body"]["contents"][0]["parts"][0]["text"] == "a prompt with ☃"
    config = call["body"]["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert (config["temperature"], config["maxOutputTokens"]) == (0.5, 77)
    pair = config["responseSchema"]["properties"]["pairs"]["items"]
    assert set(pair["required"]) == {"question", "answer", "quote", "type"}
    assert "definition" in pair["properties"]["type"]["enum"]


def test_an_unset_temperature_is_not_sent() -> None:
    _, calls = ask(says(GOOD))
    assert "temperature" not in calls[0]["body"]["generationConfig"]


def test_thinking_counts_as_output() -> None:
    answer = says(GOOD, tokens=(100, 20))
    answer.body["usageMetadata"]["totalTokenCount"] = 500
    reply, _ = ask(answer)
    assert reply.tokens_out == 400


PASSING = {
    "429 with Retry-After": (error(429, "slow", headers={"Retry-After": "7"}), "HTTP 429: slow", 7.0),
    "429 with a date": (error(429, "slow", headers={"Retry-After": formatdate(time() + 86_000, usegmt=True)}), "HTTP 429: slow", "a date"),
    "429 with RetryInfo": (error(429, "quota", details=[RETRY_INFO]), "HTTP 429: quota", 3.5),
    "429 bare": (error(429, "slow"), "HTTP 429: slow", None),
    "500": (error(500, "oh"), "HTTP 500: oh", None),
    "503": (error(503, "oh"), "HTTP 503: oh", None),
    "reset": (Answer(reset=True), "the connection failed (ConnectionError)", None),
    "time-out": (Answer(says(GOOD).body, delay=0.6), "no answer within 0.2 s", None),
    "wrong content type": (Answer(b"<html>login</html>", 200, {"Content-Type": "text/html"}), "not a Gemini reply", None),
    "an error of another form": (Answer(b"[1, 2]", 500), "not in Google's form", None),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_may_pass_is_busy_after_one_call(case: str) -> None:
    behaviour, words, wait = PASSING[case]
    raised, calls = ask(behaviour, timeout=0.2 if case == "time-out" else 5.0)
    assert isinstance(raised, Busy)
    assert words in raised.reason
    assert len(calls) == 1, "the SDK must not try again by itself"
    if wait == "a date":
        assert 80_000 < raised.wait <= 86_000  # the table is made when the tests are collected, minutes ago
    else:
        assert raised.wait == wait


FATAL = {
    "401": (error(401, f"bad key {KEY}"), "refuses the API key", "api_key_env"),
    "403": (error(403, "forbidden"), "refuses the API key", "api_key_env"),
    "400 for a wrong key": (error(400, "API key not valid.", details=[BAD_KEY]), "refuses the API key", "api_key_env"),
    "404": (error(404, "models/x is not found"), "has no model 'gemini-3.6-flash'", "retired"),
    "400": (error(400, "too many tokens"), "refuses the request doc#1", "too many tokens"),
}


@pytest.mark.parametrize("case", FATAL)
def test_what_cannot_pass_fails_at_once(case: str) -> None:
    behaviour, words, more = FATAL[case]
    raised, calls = ask(behaviour)
    assert isinstance(raised, StepError)
    assert words in str(raised)
    assert more in str(raised)
    assert KEY not in str(raised)
    assert len(calls) == 1


def finish(name: str) -> Answer:
    return says("", finish=name)


REJECTED = {
    "safety": (finish("SAFETY"), "safety"),
    "recitation": (finish("RECITATION"), "recitation"),
    "a reason of tomorrow": (finish("BRAND_NEW_REASON"), "empty"),
    "blocklist": (finish("BLOCKLIST"), "blocked"),
    "prompt blocked": (Answer({"promptFeedback": {"blockReason": "SAFETY"}}), "safety"),
    "prompt prohibited": (Answer({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}), "blocked"),
    "no candidate": (Answer({"candidates": []}), "empty"),
    "empty text": (says("  "), "empty"),
    "output limit": (says(GOOD[:40], finish="MAX_TOKENS"), "truncated"),
    "cut JSON": (says(GOOD[:40]), "malformed"),
    "not JSON": (says("{'pairs': []}"), "malformed"),
    "fenced": (says(f"```json\n{GOOD}\n```"), "fenced"),
    "words around": (says(f"Here you are: {GOOD}"), "fenced"),
    "extra key": (says(GOOD.replace('"type"', '"note": "", "type"')), "schema"),
    "missing key": (says('{"pairs": [{"question": "a?", "answer": "b", "type": "reason"}]}'), "schema"),
    "wrong type": (says(GOOD.replace('"X is Y."', "7", 1)), "schema"),
    "blank answer": (says(GOOD.replace('"X is Y."', '"  "', 1)), "schema"),
    "unknown question type": (says(GOOD.replace("definition", "riddle")), "schema"),
    "a list": (says("[]"), "schema"),
    "no pairs": (says('{"pairs": []}'), "nothing-to-ask"),
    "deep": (says("[" * 100_000), "schema"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_bad_replies_are_typed_rejections(case: str) -> None:
    behaviour, reason = REJECTED[case]
    reply, _ = ask(behaviour)
    with pytest.raises(Rejected) as caught:
        read(reply, TASK)
    assert caught.value.reason == reason


ANSWERS: dict[str, tuple[str, str]] = {
    "no such passage": ('{"answerable": true, "answer": "a", "passage": 3, "quote": "q"}', "schema"),
    "no quote": ('{"answerable": true, "answer": "a", "passage": 1, "quote": ""}', "schema"),
    "not there": ('{"answerable": false, "answer": "nothing on X", "passage": 0, "quote": ""}', "unanswerable"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_bad_answers_from_passages(case: str) -> None:
    text, reason = ANSWERS[case]
    reply, _ = ask(says(text))
    with pytest.raises(Rejected) as caught:
        read(reply, AnswerFrom("q?", ("one", "two")))
    assert caught.value.reason == reason


def test_more_pairs_than_asked_for_are_cut() -> None:
    pair = GOOD[len('{"pairs": [') : -2]
    reply, _ = ask(says(f'{{"pairs": [{pair}, {pair}]}}'))
    assert len(read(reply, TASK)) == 1


def test_two_teachers_keep_their_own_servers() -> None:
    with gemini(says(GOOD)) as first, gemini(says(GOOD)) as second:
        teachers = [open_teacher("google-generativeai", Connection(KEY, server.url), model="m") for server in (first, second)]
        for teacher in teachers:
            teacher.ask(Request("a", "p", TASK))
        assert (len(first.requests), len(second.requests)) == (1, 1)


ENDPOINTS: dict[str, Callable[[str], str]] = {"user": lambda key: f"https://me:{key}@host", "query": lambda key: f"https://host?key={key}"}


@pytest.mark.parametrize("case", ENDPOINTS)
def test_an_endpoint_with_a_secret_is_refused(case: str) -> None:
    with pytest.raises(StepError, match="credentials or a query") as caught:
        open_teacher("google-generativeai", Connection("k", ENDPOINTS[case](KEY)), model="m")
    assert KEY not in str(caught.value)


def test_an_empty_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "somebody-else's")
    with pytest.raises(StepError, match="the API key is empty"):
        open_teacher("google-generativeai", Connection(""), model="m")


def test_a_connection_does_not_show_its_key() -> None:
    assert KEY not in repr(Connection(KEY, "https://host"))


def test_importing_the_sdk_says_nothing() -> None:
    code = "from runner.teachers import *; open_teacher('google-generativeai', Connection('k'), model='m')"
    done = subprocess.run([sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert "FutureWarning" not in done.stderr
    assert "google.generativeai" not in done.stderr
