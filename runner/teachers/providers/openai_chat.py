"""Any server that speaks OpenAI's chat completions, through the SDK openai: OpenAI itself, vLLM, llama.cpp's server, Ollama, others.

Sources: https://platform.openai.com/docs/api-reference/chat and /docs/guides/structured-outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from runner.errors import MissingPackage
from runner.teachers.decoding import narrowed
from runner.teachers.interface import Finish, Reply, Request
from runner.teachers.providers import Connection, given
from runner.teachers.providers.failures import Judge
from runner.teachers.providers.transport import BadAnswer, checked, httpx2_client

_ADDRESS = "https://api.openai.com/v1"
_MODELS = "https://platform.openai.com/docs/models, or your server's own list (GET /v1/models)"
_FINISHES: dict[str, Finish] = {"stop": "stop", "length": "length", "content_filter": "safety"}
_LIMITS = ("max_completion_tokens", "max_tokens")

ResponseFormat = Literal["json_schema", "json_object", "text"]


def open(
    connection: Connection,
    *,
    model: str,
    temperature: float | None = None,
    top_p: float | None = None,
    max_output_tokens: int = 8192,
    seed: int | None = None,
    response_format: ResponseFormat = "json_schema",
) -> OpenAITeacher:
    """A chat model. None leaves a setting to the server. A server of one's own, at ``connection.endpoint``, may need no key."""
    generation = given(
        max_output_tokens=max_output_tokens, temperature=temperature, top_p=top_p, seed=seed, response_format=response_format
    )
    return OpenAITeacher(checked(connection, key_needed=not connection.endpoint), model, generation)


class OpenAITeacher:
    """See :class:`runner.teachers.interface.Teacher`."""

    provider = "openai"
    recorded = True

    def __init__(self, connection: Connection, model: str, generation: Mapping[str, Any]) -> None:
        try:
            import openai
        except ImportError:
            raise MissingPackage("the teacher openai needs its package", remedy="pip install openai") from None
        self.model, self.generation = model, generation
        self._judge = Judge(self.provider, model, connection, _MODELS)
        self._client = openai.OpenAI(
            api_key=connection.api_key or "none",  # which is not sent
            admin_api_key="",  # like the rest here: said, lest the SDK take it from the environment
            webhook_secret="",
            base_url=connection.endpoint or _ADDRESS,
            timeout=connection.timeout,
            max_retries=0,
            http_client=httpx2_client(connection),
        )
        self._client._custom_headers = {}  # OPENAI_CUSTOM_HEADERS has put some there, and no argument keeps it from that
        authorization = f"Bearer {connection.api_key}" if connection.api_key else openai.omit
        self._headers = {"Authorization": authorization, "OpenAI-Organization": openai.omit, "OpenAI-Project": openai.omit}
        # OpenAI's newer models refuse max_tokens, some compatible servers know nothing else and would pass over the other in silence.
        self._limit = _LIMITS[1] if connection.endpoint else _LIMITS[0]

    def ask(self, request: Request) -> Reply:
        """One HTTP call; on the first one a second, where the server knows the limit on the reply by its other name."""
        settings = {name: value for name, value in self.generation.items() if name in ("temperature", "top_p", "seed")}
        form = _response_format(self.generation["response_format"], request)

        def call() -> Reply:
            limit = self._limit
            try:
                return _read(self._send(request, {limit: self.generation["max_output_tokens"]} | settings | form))
            except BadAnswer as answer:
                if answer.status not in (400, 422) or limit not in answer.text:
                    raise
                other = next(name for name in _LIMITS if name != limit)
                reply = _read(self._send(request, {other: self.generation["max_output_tokens"]} | settings | form))
                self._limit = other
                return reply

        return self._judge.reply(request, call)

    def _send(self, request: Request, settings: Mapping[str, Any]) -> Any:
        return self._client.chat.completions.create(
            model=self.model, messages=[{"role": "user", "content": request.prompt}], n=1, extra_headers=self._headers, **settings
        )


def _response_format(kind: ResponseFormat, request: Request) -> dict[str, Any]:
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    schema = narrowed(request.task.schema(), "additionalProperties", "minimum", "maximum", "minItems", "maxItems")
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": schema}}}


def _read(response: Any) -> Reply:
    if not isinstance(response.choices, list):
        raise ValueError("no choices")  # JSON, but no chat completion
    usage = response.usage
    facts: dict[str, Any] = {
        "model": str(response.model or ""),
        "tokens_in": int(usage.prompt_tokens or 0) if usage else 0,
        "tokens_out": int(usage.completion_tokens or 0) if usage else 0,  # those of reasoning are among them
    }
    if not response.choices:
        return Reply("", detail="no choice", **facts)
    choice = response.choices[0]
    message = choice.message
    refusal = getattr(message, "refusal", None)
    if refusal:
        return Reply("", "blocked", detail=f"refused: {refusal[:200]!r}", **facts)
    if not isinstance(message.content, str | None):
        raise ValueError("content in parts")  # of images and sounds, say
    ended = choice.finish_reason or ""
    finish: Finish = _FINISHES.get(ended, "stop")  # an unknown end is judged by the text
    return Reply(message.content or "", finish, detail="" if ended == "stop" else f"the reply ended with {ended or 'no reason'}", **facts)
