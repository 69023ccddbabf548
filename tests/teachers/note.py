"""A task of the smallest kind, so that what is tested about teachers hangs on none of the real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from runner.teachers import Request
from runner.teachers.decoding import decode, schema_of


class Note(msgspec.Struct, forbid_unknown_fields=True):
    word: Annotated[str, msgspec.Meta(pattern=r"\S")]
    mood: Literal["glad", "sad"]
    number: Annotated[int, msgspec.Meta(ge=0, le=9)] = 0


@dataclass(frozen=True)
class WriteNote:
    """Write a note."""

    def schema(self) -> dict[str, Any]:
        return schema_of(Note)

    def read(self, text: str) -> list[Any]:
        return [decode(text, Note)]


NOTE = WriteNote()
GOOD = '{"word": "yes", "mood": "glad", "number": 3}'


def ask(prompt: str = "a prompt with ☃", id: str = "doc#1", sample: int = 0) -> Request:
    return Request(id, prompt, NOTE, sample)  # type: ignore[arg-type]
