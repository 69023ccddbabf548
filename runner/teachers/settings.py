"""Which teacher is asked, and how: plain data for the step kinds that ask one. Imports nothing heavy.

What changes an answer is a setting of the teacher; what does not (keys, limits, prices, budgets) is in :class:`Calls`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from runner import contract
from runner.contract import Fault, Struct, doc

Temperature = Annotated[float, Meta(ge=0, le=2)] | None
Share = Annotated[float, Meta(gt=0, le=1)] | None


class Extractive(Struct, tag_field="provider", tag="extractive"):
    """No language model: questions by grammatical patterns, answers word for word from the text. Offline and deterministic."""


class GoogleGenerativeAI(Struct, tag_field="provider", tag="google-generativeai"):
    """Gemini, through the SDK google-generativeai, whose maker has ended its support."""

    model: Annotated[str, doc("a served model; the version that answers is recorded, and a warning tells when it is another", min_length=1)]
    temperature: Annotated[Temperature, doc("spread of the answers; null leaves it to the model, as Gemini 3.6 and later want it")] = None
    top_p: Annotated[Share, doc("draw from the likeliest tokens that make up this probability; null leaves it to the model")] = None
    max_output_tokens: Annotated[int, doc("longest reply; a reply that reaches it is rejected as truncated", unit="tokens", ge=1)] = 8192


class Gemini(Struct, tag_field="provider", tag="gemini"):
    """Gemini, through google-genai, Google's present SDK."""

    model: Annotated[str, doc("a served model; the version that answers is recorded, and a warning tells when it is another", min_length=1)]
    temperature: Annotated[Temperature, doc("spread of the answers; null leaves it to the model, as Gemini 3.6 and later want it")] = None
    top_p: Annotated[Share, doc("draw from the likeliest tokens that make up this probability; null leaves it to the model")] = None
    max_output_tokens: Annotated[int, doc("longest reply; a reply that reaches it is rejected as truncated", unit="tokens", ge=1)] = 8192
    seed: Annotated[int | None, doc("seed of the draws on the provider's side, which promises no more than its best; null: none")] = None


class OpenAI(Struct, tag_field="provider", tag="openai"):
    """Any server that speaks OpenAI's chat completions (resources.endpoint names it), through the SDK openai."""

    model: Annotated[str, doc("a served model; the version that answers is recorded, and a warning tells when it is another", min_length=1)]
    temperature: Annotated[Temperature, doc("spread of the answers; null leaves it to the model")] = None
    top_p: Annotated[Share, doc("draw from the likeliest tokens that make up this probability; null leaves it to the model")] = None
    max_output_tokens: Annotated[int, doc("longest reply; a reply that reaches it is rejected as truncated", unit="tokens", ge=1)] = 8192
    seed: Annotated[int | None, doc("seed of the draws on the server's side; null: none")] = None
    response_format: Annotated[
        Literal["json_schema", "json_object", "text"],
        doc("how the reply's form is asked for: by schema, as any JSON, or by the prompt alone, for servers that know no better"),
    ] = "json_schema"


class Local(Struct, tag_field="provider", tag="local"):
    """A model on this machine: a GGUF through llama.cpp, or a folder or hub id in Hugging Face form through transformers."""

    path: Annotated[str | None, doc("a .gguf file, or a folder with a model in Hugging Face form")] = None
    id: Annotated[str | None, doc("a model on the hub, instead of `path`: its safetensors, fetched into the hub's own cache")] = None
    revision: Annotated[str | None, doc("the hub's revision of that model; null: the one in the recipe's lock file")] = None
    temperature: Annotated[
        float,
        doc("0 takes the likeliest token always (greedy), and no rejected reply is asked for again; above it tokens are drawn", ge=0, le=2),
    ] = 0.0
    top_p: Annotated[float, doc("draw from the likeliest tokens that make up this probability; needs a temperature", gt=0, le=1)] = 1.0
    seed: Annotated[int, doc("seed of the draws, each request and sample index draws its own; needs a temperature", ge=0)] = 0
    max_output_tokens: Annotated[int, doc("longest reply; a reply that reaches it is rejected as truncated", unit="tokens", ge=1)] = 1024
    context_window: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        doc("tokens that prompt and reply may have together; null: as many as the model has positions", unit="tokens"),
    ] = None


class Replay(Struct, tag_field="provider", tag="replay"):
    """Answers that another teacher gave before, from a file: for CI and for runs without a network. Asks nobody."""

    path: Annotated[
        str, doc("recorded answers (.jsonl), as a step that asked a teacher leaves them in its `provenance/replies.jsonl`", min_length=1)
    ]


Teacher = Extractive | GoogleGenerativeAI | Gemini | OpenAI | Local | Replay


class Calls(contract.Resources):
    """How a teacher is called. No part of a key: none of it changes an answer."""

    concurrency: Annotated[int, doc("calls at a time; a local model answers one after the other", ge=1, le=256)] = 4
    retries: Annotated[int, doc("further tries of a call that failed for a passing reason", ge=0, le=100)] = 5
    backoff: Annotated[
        float, doc("wait before the first further try, doubled each time, unless the server names one", unit="seconds", gt=0)
    ] = 1.0
    request_timeout: Annotated[float, doc("wait for one answer of a server", unit="seconds", gt=0)] = 120.0
    requests_per_minute: Annotated[float, doc("calls that may start in a minute; 0: no limit", ge=0)] = 0
    tokens_per_minute: Annotated[float, doc("tokens of prompts and replies in a minute; 0: no limit", unit="tokens", ge=0)] = 0
    api_key_env: Annotated[
        str,
        doc(
            "environment variable that holds the API key, never the key itself; empty: GOOGLE_API_KEY or OPENAI_API_KEY, by the provider, "
            "and with an endpoint none: no other server gets a key that was not named for it",
            pattern="^([A-Z_][A-Z0-9_]*)?$",
            max_length=64,
        ),
    ] = ""
    endpoint: Annotated[str, doc("address instead of the provider's own; empty: the provider's own")] = ""
    price_input: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        doc("price of a million tokens of prompts, together with price_output; null: unknown, and no cost is reported", unit="money"),
    ] = None
    price_output: Annotated[
        Annotated[float, Meta(ge=0)] | None, doc("price of a million tokens of replies, thinking included; null: unknown", unit="money")
    ] = None
    budget_tokens: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        doc("tokens that this step may use in one run, after which it stops and can go on later", unit="tokens"),
    ] = None
    budget_money: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        doc("money that this step may spend in one run, after which it stops; needs both prices", unit="money"),
    ] = None


def faults(teacher: Teacher, field: str = "teacher") -> Iterator[Fault]:
    """Settings that contradict each other, for a step kind's ``check``; ``field`` is where the teacher stands in its Params."""
    if not isinstance(teacher, Local):
        return
    if (teacher.path is None) == (teacher.id is None):
        yield Fault(
            field, "a local teacher is named by `path` or by `id`, by exactly one of them", "path: FOLDER_OR_GGUF, or id: OWNER/MODEL"
        )
    if teacher.revision is not None and teacher.id is None:
        yield Fault(f"{field}.revision", "there is no `id` that it could belong to", "an id, or no such key")
    if teacher.temperature == 0:
        for name, unset in (("top_p", 1.0), ("seed", 0)):
            if getattr(teacher, name) != unset:
                yield Fault(f"{field}.{name}", "nothing is drawn at temperature 0", "a temperature, or no such key")
    if teacher.context_window is not None and teacher.context_window <= teacher.max_output_tokens:
        yield Fault(
            f"{field}.context_window",
            f"{teacher.context_window} tokens leave no room for a prompt beside max_output_tokens {teacher.max_output_tokens}",
            "a longer window, or fewer max_output_tokens",
        )
