"""The three API teachers against servers that speak their protocols and misbehave: one table of faults for all of them."""

from __future__ import annotations

import base64
import logging
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import quote

import pytest

from runner.errors import StepError
from runner.teachers import AnswerCache, Busy, Caller, Connection, Rejected, Reply, Teacher, open_teacher, read
from tests.teachers import gemini_server, openai_server
from tests.teachers.misbehaving import Answer, Server, serve
from tests.teachers.note import GOOD, NOTE, ask

KEY = "canary-4711/key"


@dataclass(frozen=True)
class Api:
    """A provider, and its server's words."""

    provider: str
    model: str
    says: Callable[..., Answer]
    error: Callable[..., Answer]
    length: str
    blocked: Answer


GEMINI = ("gemini-3.6-flash", gemini_server.says, gemini_server.error, "MAX_TOKENS", gemini_server.says("", finish="SAFETY"))
OPENAI = ("gpt-5-mini", openai_server.says, openai_server.error, "length", openai_server.says("", finish="content_filter"))
APIS = {name: Api(name, *rest) for name, rest in (("google-generativeai", GEMINI), ("gemini", GEMINI), ("openai", OPENAI))}


class Stage:
    """One teacher and its server, which gives the answer of the day. Opening an SDK's client takes tenths of a second."""

    def __init__(self, api: Api, server: Server) -> None:
        self.server = server
        self.answer = Answer()
        self.teacher = open_teacher(api.provider, Connection(KEY, server.url, 5.0), model=api.model)


@pytest.fixture(scope="module", params=APIS)
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    found = APIS[request.param]
    with serve(lambda number, body: STAGES[found.provider].answer) as server:
        STAGES[found.provider] = Stage(found, server)
        yield found


STAGES: dict[str, Stage] = {}


def call(api: Api, answer: Answer) -> tuple[Any, list[dict[str, Any]]]:
    """What one ask gives (a Reply or an exception), and the calls that reached the server."""
    stage = STAGES[api.provider]
    stage.answer = answer
    stage.server.requests.clear()
    return result(stage.teacher), list(stage.server.requests)


def hasty(api: Api, answer: Answer, timeout: float) -> Any:
    with serve(answer) as server:
        return result(open_teacher(api.provider, Connection(KEY, server.url, timeout), model=api.model))


def result(teacher: Teacher) -> Any:
    try:
        return teacher.ask(ask())
    except (Busy, StepError) as raised:
        return raised


def test_a_good_reply(api: Api) -> None:
    reply, calls = call(api, api.says(GOOD, tokens=(120, 30)))
    assert (reply.finish, reply.tokens_in, reply.tokens_out) == ("stop", 120, 30)
    assert reply.model.startswith(api.model)
    assert read(reply, NOTE)[0].word == "yes"
    assert len(calls) == 1
    assert KEY not in calls[0]["path"], "a key in an address ends up in logs"
    assert KEY in str(calls[0]["headers"])


def test_a_good_reply_by_a_wrong_content_type_is_a_good_reply(api: Api) -> None:
    reply, _ = call(api, Answer(api.says(GOOD).body, headers={"Content-Type": "text/plain; charset=utf-8"}))
    assert read(reply, NOTE)[0].word == "yes"


RETRY_INFO = {"error": {"message": "quota", "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}]}}

PASSING: dict[str, tuple[Callable[[Api], Answer], str, Any]] = {
    "429 with Retry-After": (lambda api: api.error(429, "slow", headers={"Retry-After": "7"}), "HTTP 429: slow", 7.0),
    "429 with a date": (
        lambda api: api.error(429, "slow", headers={"Retry-After": formatdate(time() + 86_000, usegmt=True)}), "HTTP 429: slow", "a date",
    ),
    "429 with milliseconds": (lambda api: api.error(429, "slow", headers={"retry-after-ms": "1500"}), "HTTP 429: slow", 1.5),
    "429 with RetryInfo": (lambda api: Answer(RETRY_INFO, 429), "HTTP 429: quota", 3.5),
    "429 with RetryInfo in a list": (lambda api: Answer([RETRY_INFO], 429), "HTTP 429: quota", 3.5),
    "429 bare": (lambda api: api.error(429, "slow"), "HTTP 429: slow", None),
    "429 with nonsense": (lambda api: api.error(429, "slow", headers={"Retry-After": "soon"}), "HTTP 429: slow", None),
    "429 with NaN": (lambda api: api.error(429, "slow", headers={"Retry-After": "nan"}), "HTTP 429: slow", None),
    "408": (lambda api: api.error(408, "late"), "HTTP 408: late", None),
    "500 with half a character": (lambda api: api.error(500, "oh \ud800"), "HTTP 500: oh ?", None),
    "500": (lambda api: api.error(500, "oh"), "HTTP 500: oh", None),
    "503 with Retry-After": (lambda api: api.error(503, "oh", headers={"Retry-After": "2"}), "HTTP 503: oh", 2.0),
    "529 of another form": (lambda api: Answer({"detail": "overloaded"}, 529), "HTTP 529: overloaded", None),
    "502 in HTML": (
        lambda api: Answer(b"<html>Bad Gateway</html>", 502, {"Content-Type": "text/html"}), "HTTP 502: text/html, 24 characters", None,
    ),
    "500 in a list": (lambda api: Answer(b"[1, 2]", 500), "HTTP 500", None),
    "500 without words": (lambda api: Answer(b"", 500), "HTTP 500", None),
    "an error in a 200": (lambda api: Answer({"error": {"code": 429, "message": "upstream"}}), "HTTP 429: upstream", None),
    "reset": (lambda api: Answer(reset=True), "the connection failed", None),
    "cut body": (lambda api: Answer(api.says(GOOD).body, cut=True), "the connection failed", None),
    "login page": (
        lambda api: Answer(b"<html>login</html>", 200, {"Content-Type": "text/html"}), "18 characters), as from a login page", None,
    ),
    "JSON cut short": (lambda api: Answer(api.says(GOOD).bytes()[:50]), "something that is no", None),
    "empty body": (lambda api: Answer(b""), "something that is no", None),
    "not Unicode": (lambda api: Answer(b"\xff\xfe\x00"), "something that is no", None),
    "JSON of another kind": (lambda api: Answer({"candidates": 7, "choices": None}), "something that is no", None),
    "204": (lambda api: Answer(b"", 204), "answered 204", None),
}  # fmt: skip


@pytest.mark.parametrize("case", PASSING)
def test_what_may_pass_is_busy_after_one_call(case: str, api: Api) -> None:
    make, words, wait = PASSING[case]
    raised, calls = call(api, make(api))
    assert isinstance(raised, Busy), raised
    assert words in raised.reason
    assert len(calls) == 1, "no SDK may try again by itself"
    if wait == "a date":
        assert 80_000 < raised.wait <= 86_000
    else:
        assert raised.wait == wait


def test_a_server_that_takes_too_long_is_busy(api: Api) -> None:
    raised = hasty(api, Answer(api.says(GOOD).body, delay=0.6), timeout=0.2)
    assert isinstance(raised, Busy)
    assert (raised.reason, raised.wait) == ("no answer within 0.2 s (resources.request_timeout)", None)


@pytest.mark.parametrize("api", ["gemini", "openai"], indirect=True)
def test_a_server_that_keeps_the_line_open_is_waited_for_and_not_for_ever(api: Api) -> None:
    """Compatible servers do so. google-generativeai's HTTP library bounds the time between bytes only, and asks none but Google's."""
    reply, _ = call(api, Answer(api.says(GOOD).body, drip=0.2))
    assert reply.finish == "stop"
    raised = hasty(api, Answer(api.says(GOOD).body, drip=5), timeout=0.3)
    assert isinstance(raised, Busy)
    assert raised.reason == "no answer within 0.3 s (resources.request_timeout)"


DAILY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
}
MINUTE = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}],
}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}


def google(status: int, message: str, detail: dict[str, Any]) -> Answer:
    return gemini_server.error(status, message, details=[detail])


FATAL: dict[str, tuple[Callable[[Api], Answer], str, str]] = {
    "401": (lambda api: api.error(401, f"bad key {KEY}"), "refuses the API key (HTTP 401: bad key [API key])", "api_key_env"),
    "401 with the key as it stands in an address": (lambda api: api.error(401, quote(KEY, safe="")), "[API key]", "api_key_env"),
    "403": (lambda api: api.error(403, "forbidden"), "refuses the API key", "api_key_env"),
    "400 for a wrong key": (lambda api: google(400, "API key not valid.", BAD_KEY), "refuses the API key", "api_key_env"),
    "404": (lambda api: api.error(404, "no such model"), "has no model", "retired"),
    "410": (lambda api: api.error(410, "shut down"), "has no model", "retired"),
    "404 in HTML": (lambda api: Answer(b"<html>", 404, {"Content-Type": "text/html"}), "has no model", "the path of resources.endpoint"),
    "quota of the day": (lambda api: google(429, "exhausted", DAILY), "is used up (HTTP 429: exhausted)", "what was answered is kept"),
    "no money left": (
        lambda api: openai_server.error(429, "check your plan", code="insufficient_quota"), "is used up", "what was answered is kept",
    ),
    "402": (lambda api: api.error(402, "Insufficient Balance"), "is used up", "raise the quota"),
    "400": (lambda api: api.error(400, "temperature is not supported"), "refuses the request doc#1 (HTTP 400: temperature", "settings"),
    "redirect": (
        lambda api: Answer(b"", 307, {"Location": "https://elsewhere.example/v1"}), "HTTP 307 to elsewhere.example", "not followed",
    ),
    "redirect to nowhere": (lambda api: Answer(b"", 301, {"Location": "http://[::1"}), "HTTP 301 to [::1", "not followed"),
    "redirect to a path": (lambda api: Answer(b"", 302, {"Location": "/login"}), "HTTP 302 to another path", "not followed"),
}  # fmt: skip


@pytest.mark.parametrize("case", FATAL)
def test_what_cannot_pass_fails_at_once(case: str, api: Api) -> None:
    make, words, more = FATAL[case]
    raised, calls = call(api, make(api))
    assert isinstance(raised, StepError), raised
    assert words in raised.message
    assert more in raised.remedy
    assert len(calls) == 1
    assert_silent("".join(traceback.format_exception(raised)))


def test_a_call_that_never_went_out_is_not_blamed_on_the_server(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a new version of an SDK wants something that it is not given."""

    class Unlike:
        def __getattr__(self, name: str) -> Any:
            raise TypeError("missing an argument")

    with serve(api.says(GOOD)) as server:
        teacher = open_teacher(api.provider, Connection(KEY, server.url, 5.0), model=api.model)
        teacher.ask(ask())
        monkeypatch.setattr(teacher, "_model" if api.provider == "google-generativeai" else "_client", Unlike())
        with pytest.raises(TypeError, match="missing an argument"):
            teacher.ask(ask())


def test_a_limit_of_the_minute_passes(api: Api) -> None:
    raised, _ = call(api, google(429, "slow", MINUTE))
    assert isinstance(raised, Busy)


@pytest.mark.parametrize(
    "answer",
    [
        gemini_server.error(400, "The input token count (1300000) exceeds the maximum number of tokens allowed (1048576)."),
        openai_server.error(400, "too much", code="context_length_exceeded"),
        Answer({"error": {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}}, 400),
    ],
)
def test_a_prompt_that_is_too_long_is_a_rejection(answer: Answer, api: Api) -> None:
    reply, _ = call(api, answer)
    assert rejection(reply) == "too-long"


def rejection(reply: Reply) -> str:
    with pytest.raises(Rejected) as caught:
        read(reply, NOTE)
    return caught.value.reason


REJECTED: dict[str, tuple[Callable[[Api], Answer], str]] = {
    "blocked": (lambda api: api.blocked, "safety"),
    "empty": (lambda api: api.says("  "), "empty"),
    "no text": (lambda api: api.says(""), "empty"),
    "output limit": (lambda api: api.says(GOOD[:20], finish=api.length), "truncated"),
    "cut": (lambda api: api.says(GOOD[:20]), "truncated"),
    "not JSON": (lambda api: api.says("I would rather not."), "malformed"),
    "extra key": (lambda api: api.says(GOOD.replace('"mood"', '"note": 1, "mood"')), "schema"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_bad_replies_are_typed_rejections(case: str, api: Api) -> None:
    make, reason = REJECTED[case]
    reply, _ = call(api, make(api))
    assert rejection(reply) == reason


def test_every_api_teacher_finishes_where_everything_goes_wrong_once(api: Api, tmp_path: Path) -> None:
    """Rows 20 and 21 of the faults in one go: each request meets its own trouble first, and is answered in the end."""
    waits = ("Retry-After", "retry-after-ms", "RetryInfo", "NaN", "nonsense", "a date")
    troubles = [make(api) for name, (make, _, _) in PASSING.items() if not any(word in name for word in waits)]
    troubles.append(api.error(429, "slow", headers={"Retry-After": "0"}))
    met: dict[str, int] = {}

    def behaviour(number: int, body: dict[str, Any]) -> Answer:
        prompt = (body["messages"][0]["content"] if "messages" in body else body["contents"][0]["parts"][0]["text"]).split()[-1]
        met[prompt] = met.get(prompt, 0) + 1
        return troubles[int(prompt)] if met[prompt] == 1 else api.says(f"```json\n{GOOD}\n```" if int(prompt) % 2 else GOOD)

    requests = [ask(f"prompt {number}", f"r{number}") for number in range(len(troubles))]
    with serve(behaviour) as server:
        teacher = open_teacher(api.provider, Connection(KEY, server.url, 5.0), model=api.model)
        caller = Caller(teacher, AnswerCache(tmp_path), concurrency=8, backoff=0.01, secrets=(KEY,))
        outcomes = list(caller.ask_all(requests))
        assert [outcome.items[0].word for outcome in outcomes] == ["yes"] * len(troubles)
        assert (caller.tally.calls, caller.tally.retried) == (len(troubles), len(troubles))
        assert caller.tally.repaired == len(troubles) // 2
        again = Caller(teacher, AnswerCache(tmp_path), secrets=(KEY,))
        list(again.ask_all(requests))
        assert (again.tally.calls, again.tally.cached) == (0, len(troubles)), "what is recorded is not paid for twice"
        assert len(server.requests) == 2 * len(troubles)
    for file in tmp_path.rglob("*.jsonl"):
        assert_silent(file.read_text())


def assert_silent(text: str) -> None:
    """The key is not there, in any of its forms."""
    forms = (KEY, quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode().rstrip("="))
    assert not [form for form in forms if form in text]


def test_the_key_is_in_no_log_no_error_and_no_repr(api: Api, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    shown = []
    for answer in (
        api.says(GOOD),
        api.error(500, KEY),
        api.error(401, KEY),
        Answer(reset=True),
        Answer(b"", 307, {"Location": "/"}),
    ):
        with serve(answer) as server:
            connection = Connection(KEY, server.url, 5.0)
            teacher = open_teacher(api.provider, connection, model=api.model)
            shown += [repr(connection), repr(teacher), str(teacher.generation)]
            try:
                shown.append(repr(teacher.ask(ask())))
            except (Busy, StepError):
                shown.append(traceback.format_exc())
    out = capfd.readouterr()
    assert_silent("\n".join([*shown, caplog.text, out.out, out.err]))


def test_keys_and_addresses_that_cannot_be_right_are_refused(api: Api) -> None:
    for key in ("two words", "line\n", "schlüssel"):
        with pytest.raises(StepError, match="a character that no key has") as caught:
            open_teacher(api.provider, Connection(key), model="m")
        assert key not in str(caught.value)
    for endpoint in (f"https://me:{KEY}@host", f"https://host?key={KEY}"):
        with pytest.raises(StepError, match="credentials or a query") as caught:
            open_teacher(api.provider, Connection("k", endpoint), model="m")
        assert_silent(str(caught.value))
    for endpoint in ("localhost:8000", "ftp://host", "https://", "http://host:port", "https://[::1"):
        with pytest.raises(StepError, match="is not an address"):
            open_teacher(api.provider, Connection("k", endpoint), model="m")


def test_the_environment_gives_neither_key_nor_address(api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "somebody-elses")
    for name in ("GOOGLE_GEMINI_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer somebody-elses\nX-Team: somebody-elses")
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "somebody-elses")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password somebody-elses\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(StepError, match="the API key is empty"):
        open_teacher(api.provider, Connection(""), model="m")
    with serve(api.says(GOOD)) as server:
        assert open_teacher(api.provider, Connection(KEY, server.url, 5.0), model=api.model).ask(ask()).finish == "stop"
        (request,) = server.requests
    assert "somebody-elses" not in str(request["headers"])
    assert not {"openai-organization", "openai-project", "x-team"} & {name.lower() for name in request["headers"]}
    assert [name for name, value in request["headers"].items() if value.startswith("Basic ")] == []
    assert KEY in str(request["headers"])


def test_an_unset_setting_is_neither_sent_nor_part_of_the_key(api: Api) -> None:
    _, calls = call(api, api.says(GOOD))
    sent = calls[0]["body"].get("generationConfig", calls[0]["body"])
    assert not {"temperature", "topP", "top_p", "seed"} & set(sent)
    teacher = open_teacher(api.provider, Connection("k"), model="m")
    assert not {"temperature", "top_p", "seed"} & set(teacher.generation)


def test_two_teachers_keep_their_own_servers(api: Api) -> None:
    with serve(api.says(GOOD)) as first, serve(api.says(GOOD)) as second:
        teachers = [open_teacher(api.provider, Connection(KEY, server.url), model="m") for server in (first, second)]
        for teacher in teachers:
            teacher.ask(ask())
        assert (len(first.requests), len(second.requests)) == (1, 1)
