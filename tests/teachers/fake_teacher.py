"""A teacher in this process: remote as far as the caller knows, scripted by a function."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.teachers import Reply, Request, WriteQuestions


@dataclass
class FakeTeacher:
    """``script(request)`` gives the reply or raises; ``asked`` holds the ids of all asks."""

    script: Callable[[Request], Reply]
    provider: str = "fake"
    model: str = "fake-1"
    generation: Mapping[str, Any] = field(default_factory=dict)
    recorded: bool = True
    asked: list[str] = field(default_factory=list)

    def ask(self, request: Request) -> Reply:
        self.asked.append(request.id)
        return self.script(request)


def request(id: str, prompt: str | None = None, sample: int = 0) -> Request:
    return Request(id, prompt or f"prompt of {id}", WriteQuestions("text", ("factual",)), sample)


def reply(question: str, **fields: Any) -> Reply:
    return Reply(
        json.dumps({"questions": [{"question": question, "type": "factual"}]}), model="fake-1", tokens_in=10, tokens_out=2, **fields
    )


def echo(request: Request) -> Reply:
    return reply(f"about {request.id}?")
