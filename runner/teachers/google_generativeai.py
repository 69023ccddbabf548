"""Gemini through google-generativeai 0.8, over REST.

Source: https://ai.google.dev/api/generate-content. Structured output is asked for by JSON mime type and response schema.
"""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from runner.errors import MissingPackage, StepError
from runner.teachers.interface import Busy, Finish, Reply, Request
from runner.teachers.providers import Connection

_FINISHES: dict[str, Finish] = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "safety", "RECITATION": "recitation"}
#: What Gemini understands of JSON Schema (OpenAPI 3.0's subset); it refuses unknown keywords.
_SCHEMA_KEYWORDS = ("type", "properties", "required", "items", "enum")


def open(connection: Connection, *, model: str, temperature: float | None = None, max_output_tokens: int = 8192) -> GoogleTeacher:
    """A Gemini model by the old SDK. ``temperature`` None leaves it to the model: from 3.6 on the parameter is deprecated."""
    return GoogleTeacher(connection, model, temperature, max_output_tokens)


class GoogleTeacher:
    """See :class:`runner.teachers.interface.Teacher`."""

    provider = "google-generativeai"
    remote = True

    def __init__(self, connection: Connection, model: str, temperature: float | None, max_output_tokens: int) -> None:
        self.model = model
        self.generation: Mapping[str, Any] = {"max_output_tokens": max_output_tokens, "temperature": temperature}
        self._connection = connection
        if not connection.api_key:  # the SDK would look for another key in the environment
            raise StepError("the API key is empty", remedy="set the variable that resources.api_key_env names")
        options = {}
        if connection.endpoint:
            _check_endpoint(connection.endpoint)
            options["api_endpoint"] = connection.endpoint
        sdk = _sdk()
        sdk.configure(api_key=connection.api_key, transport="rest", client_options=options)
        self._model = sdk.GenerativeModel(model)
        # Bound now: configure() is global, and a teacher opened later must not redirect this one.
        from google.generativeai.client import get_default_generative_client

        self._model._client = get_default_generative_client()
        # google-auth answers 401 by asking twice more with "refreshed" credentials; an API key cannot be refreshed.
        self._model._client.transport._session._refresh_status_codes = ()

    def ask(self, request: Request) -> Reply:
        """One HTTP call. Nothing is tried again here: the SDK's own retries are switched off."""
        config = {
            **{name: value for name, value in self.generation.items() if value is not None},
            "candidate_count": 1,
            "response_mime_type": "application/json",
            "response_schema": _openapi(request.task.schema()),
        }
        try:
            response = self._model.generate_content(
                request.prompt, generation_config=config, request_options={"retry": None, "timeout": self._connection.timeout}
            )
        except Exception as error:
            raise self._translated(error, request) from None
        return _reply(response)

    def _translated(self, error: Exception, request: Request) -> Exception:
        """The SDK's error as one of ours: Busy, StepError, or itself where it is a bug."""
        import requests
        from google.api_core import exceptions
        from google.protobuf.json_format import ParseError

        if isinstance(error, requests.exceptions.Timeout):
            return Busy(f"no answer within {self._connection.timeout:g} s")
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema | requests.exceptions.InvalidSchema):
            return StepError(f"resources.endpoint is not an address: {self._hidden(error)}", remedy="write it as https://host")
        if isinstance(error, requests.exceptions.RequestException | ConnectionError):
            return Busy(f"the connection failed ({type(error).__name__})")
        if isinstance(error, ParseError | UnicodeDecodeError):
            return Busy("the server answered 200 with something that is not a Gemini reply")
        if isinstance(error, AttributeError):
            return Busy("the server answered with an error that is not in Google's form")  # the SDK stumbles over it
        if not isinstance(error, exceptions.GoogleAPICallError):
            return error
        code = int(error.code or 0)
        said = f"HTTP {code}: {self._hidden(error)}"
        if code == 429 or code >= 500 or code == 408:
            return Busy(said, _wait(error))
        if code in (401, 403) or "API_KEY_INVALID" in json.dumps(list(error.details or ()), default=str):
            return StepError(f"{self.provider} refuses the API key ({said})", remedy="check the variable that resources.api_key_env names")
        if code == 404:
            return StepError(
                f"{self.provider} has no model {self.model!r} ({said})",
                remedy="it may have been retired: name a served one, see https://ai.google.dev/gemini-api/docs/models",
            )
        return StepError(f"{self.provider} refuses the request {request.id} ({said})", remedy="mend the teacher's settings or the input")

    def _hidden(self, error: Exception) -> str:
        text = re.sub(r"^(POST|GET) \S+: ", "", str(getattr(error, "message", error)))
        key = self._connection.api_key
        return (text.replace(key, "[API key]") if key else text)[:300]


def _reply(response: Any) -> Reply:
    usage = response.usage_metadata
    facts: dict[str, Any] = {
        "model": str(response.model_version or "").removeprefix("models/"),
        "tokens_in": int(usage.prompt_token_count),
        # total - prompt, where given, also counts the tokens of thinking, which are paid for as output
        "tokens_out": max(int(usage.candidates_token_count), int(usage.total_token_count) - int(usage.prompt_token_count)),
    }
    feedback = response.prompt_feedback
    if feedback.block_reason:
        name = feedback.block_reason.name
        return Reply("", "safety" if name == "SAFETY" else "blocked", detail=f"the prompt was blocked: {name}", **facts)
    if not response.candidates:
        return Reply("", detail="no candidate", **facts)
    candidate = response.candidates[0]
    text = "".join(part.text for part in candidate.content.parts)
    name = candidate.finish_reason.name
    if name == "FINISH_REASON_UNSPECIFIED":
        return Reply(text, detail="no finish reason", **facts)
    finish = _FINISHES.get(name, "blocked")
    return Reply(text, finish, detail="" if finish == "stop" else f"the candidate ended with {name}", **facts)


def _openapi(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in schema.items() if key in _SCHEMA_KEYWORDS}
    if "enum" in kept:
        kept.update(type="string", format="enum")
    if "items" in kept:
        kept["items"] = _openapi(kept["items"])
    if "properties" in kept:
        kept["properties"] = {name: _openapi(value) for name, value in kept["properties"].items()}
    return kept


def _wait(error: Any) -> float | None:
    """Seconds that the server asks for: Retry-After (seconds or a date), or google.rpc.RetryInfo in the error's details."""
    header = (getattr(error.response, "headers", None) or {}).get("Retry-After", "")
    if header:
        try:
            return max(0.0, float(header))
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
        except (TypeError, ValueError):
            pass
    found = re.search(r'"retryDelay": "([0-9.]+)s"', json.dumps(list(error.details or ()), default=str))
    return float(found[1]) if found else None


def _check_endpoint(endpoint: str) -> None:
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    if parts.username or parts.password or parts.query:
        raise StepError("resources.endpoint holds credentials or a query", remedy="write the bare address; keys belong into api_key_env")


def _sdk() -> ModuleType:
    # Upstream has ended support for this SDK and says so on import; Python-version notices come from its dependencies.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=r"(?s).*google.generativeai.*")
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.(api_core|auth|oauth2).*")
        try:
            import google.generativeai as sdk
        except ImportError:
            raise MissingPackage("the teacher google-generativeai needs its package", remedy="pip install google-generativeai") from None
    module: ModuleType = sdk
    return module
