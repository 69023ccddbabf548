"""Recorded answers, given again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.errors import InputError, StepError
from runner.teachers import Caller, Connection, Reply, open_teacher
from tests.teachers.fake_teacher import FakeTeacher
from tests.teachers.misbehaving import serve
from tests.teachers.note import GOOD, ask
from tests.teachers.openai_server import says

REQUESTS = [ask(f"prompt {number}", f"r{number}") for number in range(5)]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Made by a caller that asked a real API teacher."""
    path = tmp_path / "provenance" / "replies.jsonl"

    with serve(lambda number, body: says(GOOD.replace("yes", body["messages"][0]["content"]))) as server:
        teacher = open_teacher("openai", Connection("key", server.url, 5.0), model="gpt-5-mini", temperature=0.5)
        caller = Caller(teacher, replies=path)
        list(caller.ask_all(REQUESTS))
        caller.close()
    return path


def test_the_same_requests_get_the_same_replies_without_a_server(recording: Path) -> None:
    teacher = open_teacher("replay", path=str(recording))
    assert (teacher.provider, teacher.model, teacher.recorded) == ("openai", "gpt-5-mini", False)
    assert teacher.generation["temperature"] == 0.5
    outcomes = list(Caller(teacher, concurrency=4).ask_all(reversed(REQUESTS)))
    assert [outcome.items[0].word for outcome in outcomes] == [f"prompt {number}" for number in reversed(range(5))]
    assert outcomes[0].reply.model == "gpt-5-mini-2025-08-07"


def test_what_was_not_recorded_is_an_error_in_words(recording: Path) -> None:
    teacher = open_teacher("replay", path=str(recording))
    with pytest.raises(StepError) as caught:
        teacher.ask(ask("another prompt", "r3"))
    assert caught.value.message == (
        "no recorded answer to r3, sample 0: replies.jsonl answers it in other words or another form; "
        "the text, the prompt, the form of the reply or the sample is not as it was recorded"
    )
    assert "record anew: run the step with the teacher openai gpt-5-mini" in caught.value.remedy
    with pytest.raises(StepError, match=r"to r9, sample 0: replies\.jsonl does not know it"):
        teacher.ask(ask("prompt 9", "r9"))
    with pytest.raises(StepError, match="to r3, sample 1"):
        teacher.ask(ask("prompt 3", "r3", sample=1))


def test_rejected_replies_and_their_further_tries_are_replayed(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    first = Caller(FakeTeacher(lambda asked: Reply(GOOD if asked.sample == 2 else "no", model="fake-1")), replies=path)
    before = list(first.ask_all([ask()], attempts=3))
    first.close()
    after = list(Caller(open_teacher("replay", path=str(path))).ask_all([ask()], attempts=3))
    assert [outcome.request.sample for outcome in after] == [2]
    assert [[why.reason for why in outcome.earlier] for outcome in after] == [["malformed", "malformed"]]
    assert [outcome.items for outcome in after] == [outcome.items for outcome in before]


def damaged(recording: Path, change: str) -> str:
    lines = recording.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    if change == "another model":
        rows[4]["model"] = "gpt-5"
    if change == "no reply":
        del rows[2]["reply"]
    if change == "an unknown field":
        rows[2]["reply"]["colour"] = "red"
    recording.write_text("" if change == "empty" else "".join(json.dumps(row) + "\n" for row in rows))
    if change == "cut":
        recording.write_bytes(recording.read_bytes()[:-20])
    with pytest.raises(InputError) as caught:
        open_teacher("replay", path=str(recording))
    return str(caught.value)


def test_a_recording_that_is_none_is_refused(recording: Path) -> None:
    good = recording.read_text()
    for change, words in {
        "another model": "replies.jsonl: a recording of one teacher is needed; it holds answers of 2 teachers or settings",
        "no reply": "replies.jsonl:3: not a recorded answer",
        "an unknown field": "replies.jsonl:3: not a recorded answer",
        "cut": "replies.jsonl:5: not a recorded answer",
        "empty": "it holds no answer",
    }.items():
        assert words in damaged(recording, change), change
        recording.write_text(good)
    recording.unlink()
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\)"):
        open_teacher("replay", path=str(recording))
