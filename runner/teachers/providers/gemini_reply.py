"""What both of Google's SDKs have in common: the form of Gemini's replies. Source: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

from typing import Any

from runner.teachers.interface import Finish, Reply

MODELS = "https://ai.google.dev/gemini-api/docs/models"
_FINISHES: dict[str, Finish] = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "safety", "RECITATION": "recitation"}
#: What google-generativeai and google-genai make of a reason that they do not know, or of none.
_UNSAID = ("", "FINISH_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")


def read_response(response: Any) -> Reply:
    """A GenerateContentResponse of either SDK as a reply. A candidate without a finish reason is judged by its text."""
    usage, feedback = response.usage_metadata, response.prompt_feedback
    prompt, total = int(usage.prompt_token_count or 0) if usage else 0, int(usage.total_token_count or 0) if usage else 0
    candidate_tokens = int(usage.candidates_token_count or 0) if usage else 0
    facts: dict[str, Any] = {
        "model": str(response.model_version or "").removeprefix("models/"),
        "tokens_in": prompt,
        # total - prompt, where given, also counts the tokens of thinking, which are paid for as output
        "tokens_out": max(candidate_tokens, total - prompt),
    }
    blocked = _name(feedback.block_reason) if feedback else ""
    if blocked not in _UNSAID:
        return Reply("", "safety" if blocked == "SAFETY" else "blocked", detail=f"the prompt was blocked: {blocked}", **facts)
    if not response.candidates:
        return Reply("", detail="no candidate", **facts)
    candidate = response.candidates[0]
    parts = (candidate.content.parts if candidate.content else None) or ()
    text = "".join(part.text or "" for part in parts if not getattr(part, "thought", False))
    ended = _name(candidate.finish_reason)
    if ended in _UNSAID:
        return Reply(text, detail="no finish reason", **facts)
    finish = _FINISHES.get(ended, "blocked")
    return Reply(text, finish, detail="" if finish == "stop" else f"the candidate ended with {ended}", **facts)


def _name(reason: Any) -> str:
    """The name of an enumeration's value; a bare string or number where the SDK does not know it."""
    return str(getattr(reason, "name", reason) or "")
