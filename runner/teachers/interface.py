"""What a teacher is: it is asked with a :class:`Request` and gives a :class:`Reply`, or raises :class:`Busy`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from runner.teachers.tasks import Task

#: Why a reply ended. Everything but ``stop`` is a rejection; see :func:`runner.teachers.tasks.read`.
Finish = Literal["stop", "length", "safety", "recitation", "blocked", "secret", "too-long"]


@dataclass(frozen=True)
class Request:
    """One question to a teacher.

    ``prompt`` is the rendered text that a language model reads. ``task`` says the same as data, with the source text in
    a field of its own: it gives the form of the reply, and a teacher without a language model works from it alone.
    ``sample`` tells repeated asks of the same prompt apart. ``id`` names the request in messages and is no part of its key.
    """

    id: str
    prompt: str
    task: Task
    sample: int = 0


@dataclass(frozen=True)
class Reply:
    """What came back, as it came: judged by :func:`runner.teachers.tasks.read`, never trusted before that.

    ``model`` is the version that the provider reports, ``detail`` its words on a blocked reply. Tokens are the provider's count.
    ``seconds`` is what the call took; whoever makes it fills that in, not the teacher.
    """

    text: str
    finish: Finish = "stop"
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    detail: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Busy(Exception):
    """The call failed in a way that may pass: 429, 5xx, a time-out, a reset. ``wait`` is what the server asked for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class Teacher(Protocol):
    """A provider of answers. ``ask`` may be called from several threads at once.

    Errors: :class:`Busy` for what is worth another try, ``StepError`` for what is not (wrong key, model retired).
    """

    provider: str
    model: str
    generation: Mapping[str, Any]  # everything besides the prompt that shapes an answer; part of the answer's key
    recorded: bool  # answers cost time or money: they are kept on record, and never asked for twice

    def ask(self, request: Request) -> Reply: ...


def answer_key(teacher: Teacher, request: Request) -> str:
    """SHA-256 of what determines an answer: provider, model, generation parameters, reply form, prompt bytes, sample index."""
    return _digest([teacher.provider, teacher.model, dict(teacher.generation), request.task.schema(), request.prompt, request.sample])


def request_digest(request: Request) -> str:
    """SHA-256 of what is asked, whoever is asked: reply form, prompt bytes, sample index. Recorded answers are replayed by it."""
    return _digest([request.task.schema(), request.prompt, request.sample])


def repeats_itself(teacher: Teacher) -> bool:
    """Whether every sample of a prompt gets the same reply, as from a local model that draws nothing: asking again gains nothing."""
    return teacher.provider == "local" and not teacher.generation["temperature"]


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, allow_nan=False).encode()).hexdigest()
