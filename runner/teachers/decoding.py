"""From the text of a reply to data of a fixed form, or a typed reason why it is not taken."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import msgspec

#: Why a reply, or a pair in it, was not taken.
Reason = Literal[
    "malformed",  # not one JSON object, alone or in a wrapping of words or a code fence
    "schema",  # JSON of another form: a key missing or too many, a wrong type
    "truncated",  # cut off at the output limit, or JSON that ends early
    "too-long",  # the prompt does not fit into the model's context window
    "safety",
    "recitation",
    "blocked",  # refused by the provider for another reason
    "empty",  # no text at all
    "nothing-to-ask",  # a reply in good form without items: the text is a table, a list of references
    "secret",  # the reply repeated the API key
    "quote-not-found",  # the cited text does not stand in the source
    "one-place",  # the quotes of a multi-hop pair stand in one chunk or paragraph: it needs only that
    "duplicate",  # the question was asked about the document before
    "unanswerable",  # the teacher says that the passages do not hold the answer
]

T = TypeVar("T")
_OBJECTS = json.JSONDecoder()


class Rejected(Exception):
    """A reply that is not taken, with its typed reason."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


def decode(text: str, form: type[T]) -> T:
    """The one JSON object of a reply as ``form``. Unwrapped where it is wrapped (:func:`unwrap`), and never guessed at."""
    try:
        return msgspec.json.decode(unwrap(text), type=form)
    except msgspec.ValidationError as error:
        raise Rejected("schema", str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        early = "truncated" in str(error)  # msgspec's word for an end where more must come
        raise Rejected("truncated" if early else "malformed", "the JSON ends early" if early else str(error)) from None


def unwrap(text: str) -> str:
    """The JSON in a reply without what models put around it: a code fence, a sentence before or after, a ``<think>`` block before.

    Only words may be taken away. Where brackets of any kind stand around the object, nobody can say which part was meant: malformed.
    """
    body = re.sub(r"\A\s*<think>.*?</think>", "", text, flags=re.DOTALL).strip()
    if body[:1] == "[":
        return body  # a list is no object, as its reader will say
    begin = body.find("{")
    if begin < 0:
        raise Rejected("malformed", f"no JSON object: {body[:60]!r}")
    try:
        _, end = _OBJECTS.raw_decode(body, begin)
    except (ValueError, RecursionError):
        end = len(body)  # no good; the reader finds the words for it
    if re.search(r"[][{}]", body[:begin] + body[end:]):
        raise Rejected("malformed", f"more than one JSON object: {body[:60]!r}")
    return body[begin:end]


def wrapped(text: str) -> bool:
    """Whether a reply holds more than its JSON, so that :func:`decode` had to unwrap it."""
    try:
        return unwrap(text) != text.strip()
    except Rejected:
        return False


@functools.cache
def schema_of(form: type) -> dict[str, Any]:
    """The JSON Schema of a reply form, with every reference put in place. One dictionary for all: not to be changed."""
    whole = msgspec.json.schema(form)
    definitions = whole.get("$defs", {})

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return inline(definitions[node["$ref"].rsplit("/", 1)[-1]])
        return {key: inline(value) for key, value in node.items() if key not in ("$defs", "title")}

    found: dict[str, Any] = inline(whole)
    return found


def narrowed(schema: Mapping[str, Any], *keywords: str) -> dict[str, Any]:
    """The schema with types, properties, items, enumerations and these ``keywords`` alone: providers refuse those that they do not know.

    Enumerations get the type of their values, and every property is required, as OpenAI's strict form wants it.
    """
    kept = {key: value for key, value in schema.items() if key in ("type", "enum", *keywords)}
    if "enum" in kept:
        kept["type"] = "integer" if all(isinstance(value, int) for value in kept["enum"]) else "string"
    if "items" in schema:
        kept["items"] = narrowed(schema["items"], *keywords)
    if "properties" in schema:
        kept["properties"] = {name: narrowed(value, *keywords) for name, value in schema["properties"].items()}
        kept["required"] = list(schema["properties"])
    return kept
