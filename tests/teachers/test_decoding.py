"""From the text of a reply to data: what is unwrapped, and what is rejected with which reason."""

from __future__ import annotations

import pytest

from runner.teachers import Rejected
from runner.teachers.decoding import decode, narrowed, schema_of, unwrap, wrapped
from tests.teachers.note import GOOD, Note

FENCED = {
    "fence": f"```json\n{GOOD}\n```",
    "fence without a language": f"```\n{GOOD}\n```",
    "fence after a sentence": f"Sure! Here is the JSON that you asked for:\n\n```json\n{GOOD}\n```\n",
    "sentence before": f"Here you are: {GOOD}",
    "sentence after": f"{GOOD}\nI hope that this helps (let me know).",
    "thoughts before": f"<think>\nThe user wants {{braces}} and [lists].\n</think>\n{GOOD}",
    "byte order mark": f"\ufeff{GOOD}",
}


@pytest.mark.parametrize("case", FENCED)
def test_what_stands_around_the_json_is_taken_away(case: str) -> None:
    assert decode(FENCED[case], Note) == Note("yes", "glad", 3)
    assert wrapped(FENCED[case])


def test_a_bare_object_is_taken_as_it_is() -> None:
    assert unwrap(f"  {GOOD}\n") == GOOD
    assert not wrapped(f"  {GOOD}\n")


def test_a_fence_inside_a_string_is_text() -> None:
    text = '{"word": "```python\\nx = {1: [2]}\\n``` }", "mood": "sad"}'
    assert decode(f"```json\n{text}\n```", Note).word == "```python\nx = {1: [2]}\n``` }"


REJECTED = {
    "two objects": (f"{GOOD}\n{GOOD}", "malformed", "more than one JSON object"),
    "two fences": (f"```json\n{GOOD}\n```\n```json\n{GOOD}\n```", "malformed", "more than one JSON object"),
    "an object in a list": (f"[{GOOD}]", "schema", "Expected `object`, got `array`"),
    "an object in a list after words": (f"Here: [{GOOD}]", "malformed", "more than one JSON object"),
    "a draft and the object": (f"My draft was {{word}}. {GOOD}", "malformed", ""),
    "words": ("I cannot help with that.", "malformed", "no JSON object: 'I cannot help"),
    "nothing": ("", "malformed", "no JSON object"),
    "a fence around nothing": ("```json\n```", "malformed", "no JSON object"),
    "Python": ("{'word': 'yes'}", "malformed", ""),
    "NaN": ('{"word": "yes", "mood": "glad", "number": NaN}', "malformed", ""),
    "a comment": (GOOD.replace(",", ", // so", 1), "malformed", ""),
    "cut": (GOOD[:20], "truncated", "the JSON ends early"),
    "cut in a fence": (f"```json\n{GOOD[:20]}", "truncated", "the JSON ends early"),
    "cut and closed": (f"```json\n{GOOD[:20]}\n```", "malformed", ""),
    "cut thoughts": ("<think>Let me see", "malformed", "no JSON object"),
    "extra key": (GOOD.replace('"mood"', '"note": "", "mood"'), "schema", "unknown field `note`"),
    "missing key": ('{"word": "yes"}', "schema", "missing required field `mood`"),
    "wrong type": (GOOD.replace("3", '"3"'), "schema", "Expected `int`, got `str`"),
    "out of bounds": (GOOD.replace("3", "10"), "schema", "<= 9"),
    "blank": (GOOD.replace("yes", "  "), "schema", "matching regex"),
    "of no known kind": (GOOD.replace("glad", "furious"), "schema", "Invalid enum value"),
    "deep list": ("[" * 100_000, "schema", ""),
    "deep object": ('{"a":' * 100_000, "schema", "unknown field `a`"),
    "deep and in the form": ('{"word": ' + "[" * 100_000, "schema", ""),
    "lone surrogate": ('{"word": "\ud800", "mood": "sad"}', "malformed", ""),
}


@pytest.mark.parametrize("case", REJECTED)
def test_nothing_is_guessed_at(case: str) -> None:
    text, reason, words = REJECTED[case]
    with pytest.raises(Rejected) as caught:
        decode(text, Note)
    assert caught.value.reason == reason
    assert words in caught.value.detail
    assert len(str(caught.value)) < 400
    assert not wrapped(text) or reason in ("schema", "malformed", "truncated")


def test_a_schema_is_narrowed_to_what_a_provider_knows() -> None:
    whole = schema_of(Note)
    assert whole["properties"]["word"]["pattern"] == r"\S"
    assert narrowed(whole, "additionalProperties", "minimum") == {
        "type": "object",
        "additionalProperties": False,
        "required": ["word", "mood", "number"],  # strict: a default does not make a key optional
        "properties": {
            "word": {"type": "string"},
            "mood": {"type": "string", "enum": ["glad", "sad"]},
            "number": {"type": "integer", "minimum": 0},
        },
    }
