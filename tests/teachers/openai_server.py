"""OpenAI's chat completions, as far as a server's answers go."""

from __future__ import annotations

from typing import Any

from tests.teachers.misbehaving import Answer, Behaviour, Server
from tests.teachers.misbehaving import serve as openai


def says(
    text: str | None, *, finish: str = "stop", model: str = "gpt-5-mini-2025-08-07", tokens: tuple[int, int] = (100, 20), **message: Any
) -> Answer:
    """A choice with this text."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage}
    return Answer(body)


def error(
    status: int, message: str = "no", *, code: str | None = None, headers: dict[str, str] | None = None, param: str | None = None
) -> Answer:
    """An error in OpenAI's form."""
    return Answer({"error": {"message": message, "type": "error", "param": param, "code": code}}, status, headers or {})


__all__ = ["Answer", "Behaviour", "Server", "error", "openai", "says"]
