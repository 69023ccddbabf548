"""Gemini's REST protocol (models.generateContent), as far as a server's answers go."""

from __future__ import annotations

from typing import Any

from tests.teachers.misbehaving import Answer, Behaviour, Server
from tests.teachers.misbehaving import serve as gemini


def says(text: str, *, finish: str = "STOP", model: str = "gemini-3.6-flash", tokens: tuple[int, int] = (100, 20)) -> Answer:
    """A candidate with this text."""
    candidate: dict[str, Any] = {"finishReason": finish, "index": 0}
    if text:
        candidate["content"] = {"role": "model", "parts": [{"text": text}]}
    usage = {"promptTokenCount": tokens[0], "candidatesTokenCount": tokens[1], "totalTokenCount": sum(tokens)}
    return Answer({"candidates": [candidate], "usageMetadata": usage, "modelVersion": model})


def error(status: int, message: str = "no", *, code: str = "", headers: dict[str, str] | None = None, details: Any = ()) -> Answer:
    """An error in Google's form."""
    body = {"error": {"code": status, "message": message, "status": code, "details": list(details)}}
    return Answer(body, status, headers or {})


__all__ = ["Answer", "Behaviour", "Server", "error", "gemini", "says"]
