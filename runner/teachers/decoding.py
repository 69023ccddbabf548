"""From the text of a reply to data of a fixed form, or a typed reason why it is not taken."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

#: Why a reply, or a pair in it, was not taken.
Reason = Literal[
    "malformed",  # not JSON
    "fenced",  # JSON inside a code fence or other words
    "schema",  # JSON of another form: a key missing or too many, a wrong type
    "truncated",  # cut off at the output limit
    "safety",
    "recitation",
    "blocked",  # refused by the provider for another reason
    "empty",  # no text at all
    "nothing-to-ask",  # a reply in good form without items: the text is a table, a list of references
    "secret",  # the reply repeated the API key
    "quote-not-found",  # the cited text does not stand in the source
    "unanswerable",  # the teacher says that the passages do not hold the answer
]

T = TypeVar("T")


class Rejected(Exception):
    """A reply that is not taken, with its typed reason."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


def decode(text: str, form: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=form)
    except msgspec.ValidationError as error:
        raise Rejected("schema", str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        if "```" in text or text.lstrip()[:1] not in ("{", "["):
            raise Rejected("fenced", f"more than one JSON object: {text.strip()[:60]!r}") from None
        raise Rejected("malformed", str(error)) from None


def schema_of(form: type) -> dict[str, Any]:
    """The JSON Schema of a reply form, with every reference put in place."""
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
