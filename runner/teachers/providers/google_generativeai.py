"""Gemini through google-generativeai 0.8, over REST: the SDK of many published recipes, whose maker has ended its support."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from runner.errors import MissingPackage
from runner.teachers.decoding import narrowed
from runner.teachers.interface import Reply, Request
from runner.teachers.providers import Connection, given
from runner.teachers.providers.failures import Judge
from runner.teachers.providers.gemini_reply import MODELS, read_response
from runner.teachers.providers.transport import checked, watch


def open(
    connection: Connection, *, model: str, temperature: float | None = None, top_p: float | None = None, max_output_tokens: int = 8192
) -> GoogleTeacher:
    """A Gemini model by the old SDK. ``temperature`` None leaves it to the model: from 3.6 on the parameter is deprecated."""
    return GoogleTeacher(checked(connection), model, given(max_output_tokens=max_output_tokens, temperature=temperature, top_p=top_p))


class GoogleTeacher:
    """See :class:`runner.teachers.interface.Teacher`."""

    provider = "google-generativeai"
    recorded = True

    def __init__(self, connection: Connection, model: str, generation: Mapping[str, Any]) -> None:
        self.model, self.generation = model, generation
        self._timeout = connection.timeout
        self._judge = Judge(self.provider, model, connection, MODELS)
        sdk = _sdk()
        options = {"api_endpoint": connection.endpoint} if connection.endpoint else {}
        sdk.configure(api_key=connection.api_key, transport="rest", client_options=options)
        self._model = sdk.GenerativeModel(model)
        # Bound now: configure() is global, and a teacher opened later must not redirect this one.
        from google.generativeai.client import get_default_generative_client

        self._model._client = get_default_generative_client()
        watch(self._model._client.transport._session)

    def ask(self, request: Request) -> Reply:
        """One HTTP call. Nothing is tried again here: the SDK's own retries are switched off."""
        config = {
            **self.generation,
            "candidate_count": 1,
            "response_mime_type": "application/json",
            "response_schema": _openapi(request.task.schema()),
        }
        options = {"retry": None, "timeout": self._timeout}
        return self._judge.reply(
            request,
            lambda: read_response(self._model.generate_content(request.prompt, generation_config=config, request_options=options)),
        )


def _openapi(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in the subset of OpenAPI 3.0 that this SDK knows."""
    found = narrowed(schema)

    def mark(node: dict[str, Any]) -> None:
        if node.get("type") == "string" and "enum" in node:
            node["format"] = "enum"
        for inner in (*node.get("properties", {}).values(), *([node["items"]] if "items" in node else [])):
            mark(inner)

    mark(found)
    return found


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
