"""Gemini through google-genai, Google's present SDK (https://googleapis.github.io/python-genai/)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

from runner.errors import MissingPackage
from runner.teachers.decoding import narrowed
from runner.teachers.interface import Reply, Request
from runner.teachers.providers import Connection, given
from runner.teachers.providers.failures import Judge
from runner.teachers.providers.gemini_reply import MODELS, read_response
from runner.teachers.providers.transport import checked, httpx2_client

_ADDRESS = "https://generativelanguage.googleapis.com"


def open(
    connection: Connection,
    *,
    model: str,
    temperature: float | None = None,
    top_p: float | None = None,
    max_output_tokens: int = 8192,
    seed: int | None = None,
) -> GeminiTeacher:
    """A Gemini model. None leaves a setting to the model. ``seed`` is the provider's own, and no promise of equal answers."""
    generation = given(max_output_tokens=max_output_tokens, temperature=temperature, top_p=top_p, seed=seed)
    return GeminiTeacher(checked(connection), model, generation)


class GeminiTeacher:
    """See :class:`runner.teachers.interface.Teacher`."""

    provider = "gemini"
    recorded = True

    def __init__(self, connection: Connection, model: str, generation: Mapping[str, Any]) -> None:
        try:
            from google import genai
            from google.genai import types
        except ImportError:
            raise MissingPackage("the teacher gemini needs the package google-genai", remedy="pip install google-genai") from None
        # It warns of two keys in the environment, which it is not to read, and of finish reasons that are newer than itself.
        logging.getLogger("google_genai._api_client").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", message=".*is not a valid", category=UserWarning, module=r"google\.genai")
        self.model, self.generation = model, generation
        self._judge = Judge(self.provider, model, connection, MODELS)
        self._config = types.GenerateContentConfig
        # All is said that the SDK would else take from the environment: Vertex AI or not, address, version of the API, transport.
        # Without retry_options it does not retry. The client is kept: one that nobody holds closes its connections.
        self._client = genai.Client(
            vertexai=False,
            api_key=connection.api_key,
            http_options=types.HttpOptions(
                base_url=connection.endpoint or _ADDRESS,
                api_version="v1beta",
                timeout=max(1, round(connection.timeout * 1000)),
                httpx_client=httpx2_client(connection),
            ),
        )

    def ask(self, request: Request) -> Reply:
        """One HTTP call."""
        config = self._config(
            **self.generation,
            candidate_count=1,
            response_mime_type="application/json",
            response_json_schema=narrowed(request.task.schema(), "additionalProperties", "minimum", "maximum", "minItems", "maxItems"),
        )
        return self._judge.reply(
            request, lambda: read_response(self._client.models.generate_content(model=self.model, contents=request.prompt, config=config))
        )
