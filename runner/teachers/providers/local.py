"""A model on this machine: a GGUF by llama.cpp, or a folder in Hugging Face form by Transformers."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from runner.errors import InputError, StepError
from runner.teachers.interface import Reply, Request, request_digest
from runner.teachers.providers import Connection

if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from runner.teachers.providers.local_form import Form

#: The files that make a model in Hugging Face form. Pickled weights and code are neither fetched nor read.
_FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True)
class Draw:
    """How tokens are chosen: the likeliest at temperature 0, else drawn by ``seed`` from the nucleus of ``top_p``."""

    temperature: float
    top_p: float
    seed: int


class Engine(Protocol):
    """A loaded model. ``limit`` is the number of its positions."""

    limit: int
    tokens: LLTokenizer

    def encode(self, prompt: str) -> list[int]:
        """The conversation that asks ``prompt``, in tokens. Nothing in the prompt can become a control token."""
        ...

    def write(self, prompt: Sequence[int], most: int, form: Form, draw: Draw) -> tuple[str, int, bool]:
        """At most ``most`` tokens of a reply that keeps to ``form``: its text, its tokens, and whether it came to its end."""
        ...


def open(
    connection: Connection,
    *,
    path: str | None = None,
    id: str | None = None,
    revision: str | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    max_output_tokens: int = 1024,
    context_window: int | None = None,
) -> LocalTeacher:
    """A model file, a model folder, or a model of the hub (from its cache when the hub is offline).

    Errors: InputError for a model that is not there or cannot be read, StepError for settings that contradict each other or the model.
    """
    if (path is None) == (id is None):
        raise StepError("a local teacher is named by `path` or by `id`, by one of them", remedy="keep the one that is meant")
    place = Path(path) if path is not None else _fetched(str(id), revision)
    engine = _engine(place, connection)
    if context_window is not None and context_window > engine.limit:
        raise StepError(
            f"context_window is {context_window}, but the model has {engine.limit} positions", remedy="choose no more than these"
        )
    window = context_window or engine.limit
    if max_output_tokens >= window:
        raise StepError(
            f"max_output_tokens is {max_output_tokens}, and the window for prompt and reply has {window} tokens",
            remedy="leave room for the prompt: fewer max_output_tokens, or a model with a longer window",
        )
    generation = {
        "weights": _digest(place),
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "max_output_tokens": max_output_tokens,
        "context_window": window,
    }
    return LocalTeacher(id or place.name, engine, generation)


class LocalTeacher:
    """See :class:`runner.teachers.interface.Teacher`. One reply at a time: a model keeps all cores, or the whole GPU, busy by itself."""

    provider = "local"
    recorded = True

    def __init__(self, model: str, engine: Engine, generation: Mapping[str, Any]) -> None:
        self.model, self.generation = model, generation
        self._engine = engine
        self._lock = threading.Lock()

    def ask(self, request: Request) -> Reply:
        """The reply; too-long when the prompt leaves no room for the longest one."""
        settings = self.generation
        most, window = int(settings["max_output_tokens"]), int(settings["context_window"])
        # each request and sample draws its own, whatever was asked before it
        seed = int(hashlib.sha256(f"{settings['seed']}\n{request_digest(request)}".encode()).hexdigest()[:8], 16) & 0x7FFFFFFF
        from runner.teachers.providers.local_form import Form

        with self._lock:
            prompt = self._engine.encode(request.prompt)
            if len(prompt) + most > window:
                sizes = f"{len(prompt)} tokens of prompt and {most} for the reply are more than the window of {window}"
                return Reply("", "too-long", self.model, detail=sizes)
            draw = Draw(float(settings["temperature"]), float(settings["top_p"]), seed)
            form = Form(self._engine.tokens, request.task.schema())
            text, written, ended = self._engine.write(prompt, most, form, draw)
            form.check()
        return Reply(text, "stop" if ended else "length", self.model, len(prompt), written)


def cores(threads: int) -> int:
    """``threads``, or every core that this process may use when it is 0."""
    return threads or len(os.sched_getaffinity(0))


def around(prompt: str, render: Callable[[str], str]) -> tuple[str, str]:
    """What a chat template puts before and after the user's message; ``render`` fills the template with a message.

    The template is filled with a word in place of the prompt, so that its control tokens can be told from what looks like them in a text.
    """
    from jinja2 import TemplateError

    mark = hashlib.sha256(prompt.encode(errors="surrogatepass")).hexdigest()[:16]
    try:
        before, found, after = render(mark).partition(mark)
    except (TemplateError, ValueError) as error:
        raise StepError(f"the model's chat template refuses a lone user message: {error}", remedy="choose another model") from None
    if not found:
        raise StepError("the model's chat template does not hold the user's message", remedy="choose an instruction-tuned model")
    return before, after


def _engine(place: Path, connection: Connection) -> Engine:
    if place.is_dir():
        from runner.teachers.providers.local_transformers import TransformersEngine

        return TransformersEngine(place, connection)
    if not place.is_file():
        raise InputError("no such model file or folder", where=str(place))
    from runner.teachers.providers.local_gguf import GgufEngine

    return GgufEngine(place, connection)


def _digest(place: Path) -> str:
    """SHA-256 over the names and bytes of a model's files: two models at one path must not share answers."""
    whole = hashlib.sha256()
    for file in sorted({file for pattern in _FILES for file in place.glob(pattern)}) if place.is_dir() else [place]:
        with file.open("rb") as bytes_:
            part = hashlib.file_digest(bytes_, "sha256")
        whole.update(f"{file.name if place.is_dir() else ''}\n{part.hexdigest()}\n".encode())
    return whole.hexdigest()


def _fetched(id: str, revision: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    try:
        return Path(huggingface_hub.snapshot_download(id, revision=revision, allow_patterns=list(_FILES), ignore_patterns="*/*"))
    except (errors.HfHubHTTPError, errors.LocalEntryNotFoundError, OSError, ValueError) as error:
        words = str(error).strip().splitlines()[:1]
        raise InputError(
            f"{id} (revision {revision or 'main'}) cannot be had from the hub: {words[0] if words else type(error).__name__}",
            remedy="look at the name, the network and the login, or name a folder with `path`",
        ) from None
