"""What only OpenAI's protocol has; the faults of servers are in test_api_teachers.py."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import StepError
from runner.teachers import Busy, Connection, Rejected, Teacher, open_teacher, read
from tests.teachers.note import GOOD, NOTE, ask
from tests.teachers.openai_server import Answer, error, openai, says


def teacher(url: str, **settings: Any) -> Teacher:
    return open_teacher("openai", Connection("key", url, 5.0), model="gpt-5-mini", **settings)


def body(answer: Answer, **settings: Any) -> dict[str, Any]:
    with openai(answer) as server:
        teacher(f"{server.url}/v1", **settings).ask(ask())
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["authorization"] == "Bearer key"
    sent: dict[str, Any] = request["body"]
    return sent


def test_the_call_carries_prompt_settings_and_strict_schema() -> None:
    sent = body(says(GOOD), temperature=0.5, top_p=0.9, seed=4, max_output_tokens=77)
    assert sent["messages"] == [{"role": "user", "content": "a prompt with ☃"}]
    assert (sent["model"], sent["temperature"], sent["top_p"], sent["seed"], sent["n"]) == ("gpt-5-mini", 0.5, 0.9, 4, 1)
    assert sent["max_tokens"] == 77
    form = sent["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["additionalProperties"] is False
    assert form["schema"]["required"] == ["word", "mood", "number"]


def test_servers_that_know_no_schema_are_asked_for_json_or_for_nothing() -> None:
    assert body(says(GOOD), response_format="json_object")["response_format"] == {"type": "json_object"}
    assert "response_format" not in body(says(GOOD), response_format="text")


@pytest.mark.parametrize(
    "answer",
    [
        error(400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.", param="response_format"),
        error(500, "[{'type': 'literal_error', 'loc': ('body', 'response_format', 'type')}]"),
    ],
)
def test_a_server_that_knows_no_schema_is_told_apart_from_one_in_trouble(answer: Answer) -> None:
    with openai(answer) as server, pytest.raises(StepError, match="does not know how it is asked for the form of a reply") as caught:
        teacher(server.url).ask(ask())
    assert caught.value.remedy == "choose another teacher.response_format: json_object, or text"
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [error(400, "Unsupported parameter", param="max_tokens"), error(422, "max_tokens: not permitted")])
def test_the_limit_is_said_by_its_other_name_where_that_is_wanted(answer: Answer) -> None:
    with openai(lambda number, sent: answer if "max_tokens" in sent else says(GOOD)) as server:
        asked = teacher(server.url, max_output_tokens=77)
        for _ in range(2):
            assert asked.ask(ask()).finish == "stop"
    names = [[name for name in ("max_tokens", "max_completion_tokens") if name in request["body"]] for request in server.requests]
    assert names == [["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]], "and it is remembered"


def test_openai_itself_gets_the_present_name() -> None:
    assert open_teacher("openai", Connection("key"), model="m")._limit == "max_completion_tokens"  # type: ignore[attr-defined]


def test_a_limit_that_is_refused_under_both_names_fails_in_words() -> None:
    with openai(error(400, "max_tokens is too large: 8192")) as server, pytest.raises(StepError, match="max_tokens is too large: 8192"):
        teacher(server.url).ask(ask())
    assert len(server.requests) == 2


def test_a_server_of_ones_own_needs_no_key() -> None:
    with openai(says(GOOD)) as server:
        assert open_teacher("openai", Connection("", server.url), model="m").ask(ask()).finish == "stop"
    with pytest.raises(StepError, match="the API key is empty"):
        open_teacher("openai", Connection(""), model="m")


REJECTED = {
    "refusal": (says(None, refusal="I cannot help with that."), "blocked", "refused: 'I cannot help"),
    "filter": (says("", finish="content_filter"), "safety", "content_filter"),
    "no choices": (Answer({"model": "m", "choices": [], "usage": None}), "empty", "no choice"),
    "tool calls": (says(None, finish="tool_calls", tool_calls=[]), "empty", "tool_calls"),
    "no reason, no text": (says(None, finish=None), "empty", "no reason"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", REJECTED)
def test_what_is_no_answer_is_a_typed_rejection(case: str) -> None:
    answer, reason, words = REJECTED[case]
    with openai(answer) as server:
        reply = teacher(server.url).ask(ask())
    with pytest.raises(Rejected) as caught:
        read(reply, NOTE)
    assert caught.value.reason == reason
    assert words in caught.value.detail


@pytest.mark.parametrize("choices", [7, [{"message": {"content": [{"type": "text", "text": "a"}]}, "finish_reason": "stop"}], [None]])
def test_a_completion_of_another_kind_is_tried_again(choices: Any) -> None:
    with openai(Answer({"choices": choices})) as server, pytest.raises(Busy, match="something that is no openai reply"):
        teacher(server.url).ask(ask())


def test_a_reply_without_usage_counts_no_tokens() -> None:
    answer = says(GOOD)
    del answer.body["usage"]
    with openai(answer) as server:
        reply = teacher(server.url).ask(ask())
    assert (reply.tokens_in, reply.tokens_out, reply.text) == (0, 0, GOOD)
