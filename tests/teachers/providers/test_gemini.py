"""What only google-genai does; the faults of servers are in test_api_teachers.py, Gemini's blocks in test_google_generativeai.py."""

from __future__ import annotations

import subprocess
import sys

from runner.teachers import Connection, open_teacher, read
from tests.teachers.gemini_server import gemini, says
from tests.teachers.note import GOOD, NOTE, ask


def test_the_call_carries_prompt_settings_and_schema() -> None:
    with gemini(says(GOOD)) as server:
        settings = {"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 77, "seed": 4}
        teacher = open_teacher("gemini", Connection("key", server.url, 5.0), model="gemini-3.6-flash", **settings)
        teacher.ask(ask())
        assert teacher.generation == settings
    (request,) = server.requests
    assert request["path"] == "/v1beta/models/gemini-3.6-flash:generateContent"
    assert request["headers"]["x-goog-api-key"] == "key"
    assert request["body"]["contents"][0]["parts"][0]["text"] == "a prompt with ☃"
    config = request["body"]["generationConfig"]
    assert (config["temperature"], config["topP"], config["maxOutputTokens"], config["seed"]) == (0.5, 0.9, 77, 4)
    schema = config["responseJsonSchema"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["number"] == {"type": "integer", "minimum": 0, "maximum": 9}
    assert schema["properties"]["word"] == {"type": "string"}, "Gemini knows no patterns"


def test_thoughts_are_no_part_of_the_answer() -> None:
    answer = says(GOOD)
    answer.body["candidates"][0]["content"]["parts"].insert(0, {"text": "Let me {think}.", "thought": True})
    with gemini(answer) as server:
        reply = open_teacher("gemini", Connection("key", server.url, 5.0), model="m").ask(ask())
    assert read(reply, NOTE)[0].word == "yes"
    assert reply.text == GOOD


def test_the_sdk_says_nothing() -> None:
    code = (
        "from runner.teachers import *; from tests.teachers.gemini_server import *; from tests.teachers.note import *\n"
        "with gemini(says(GOOD)) as server: open_teacher('gemini', Connection('k', server.url), model='m').ask(ask())"
    )
    environment = {"GOOGLE_API_KEY": "a", "GEMINI_API_KEY": "b", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True, env=environment)
    assert (done.stdout, done.stderr) == ("", "")
