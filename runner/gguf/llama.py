"""llama.cpp, loaded quietly: models, their vocabulary and chat template, and decoding sessions.

A thin layer over llama-cpp-python's low-level functions. It exists because llama.cpp says why something failed only in
its log, and because several sequences decoded together are twice as fast as one after the other.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import llama_cpp as native
import numpy as np
from numpy.typing import NDArray

from runner.errors import InputError, StepError

_WARN, _ERROR, _CONTINUED = 3, 4, 5
_CELLS = 256  # llama.cpp rounds a cache up to this many tokens
_log: deque[tuple[int, str]] = deque(maxlen=10_000)


def _keep(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    last = _log[-1][0] if _log else 0
    _log.append((last if level == _CONTINUED else level, text.decode("utf-8", "replace")))


# The callback must stay referenced for as long as the library may log; a module global does.
_callback = native.llama_log_callback(_keep)
native.llama_log_set(_callback, ctypes.c_void_p(0))


class Log:
    """What llama.cpp said inside a :func:`listening` block."""

    text = ""
    errors = ""

    def reason(self) -> str:
        lines = [line.split(": ", 1)[-1].strip() for line in self.errors.splitlines() if line.strip()]
        return "; ".join(dict.fromkeys(lines)) or "llama.cpp gave no reason"


@contextmanager
def listening() -> Iterator[Log]:
    """Collect the log lines of the calls made inside."""
    _log.clear()
    log = Log()
    try:
        yield log
    finally:
        entries = list(_log)
        log.text = "".join(text for _, text in entries)
        log.errors = "".join(text for level, text in entries if level == _ERROR)


def thread_count(threads: int) -> int:
    """``threads``, or every core that this process may use when it is 0."""
    return threads or len(os.sched_getaffinity(0))


def offloads() -> bool:
    """Whether llama-cpp-python was built to compute on a GPU."""
    return bool(native.llama_supports_gpu_offload())


class Model:
    """A GGUF file opened by llama.cpp. Raises InputError with llama.cpp's reason when it cannot be opened."""

    def __init__(self, path: Path, *, vocab_only: bool = False, gpu_layers: int | None = 0) -> None:
        """``gpu_layers`` is how many layers are put on a GPU where llama-cpp-python was built for one; None: all."""
        if not path.is_file():
            raise InputError("no such GGUF file", where=str(path))
        native.llama_backend_init()
        params = native.llama_model_default_params()
        params.vocab_only = vocab_only
        params.n_gpu_layers = -1 if gpu_layers is None else gpu_layers  # without a GPU llama.cpp passes it over
        with listening() as log:
            handle = native.llama_model_load_from_file(os.fsencode(path), params)
        if not handle:
            raise InputError(f"llama.cpp cannot load it: {log.reason()}", where=path.name, remedy="the file is damaged; export it again")
        self.path, self._handle = path, handle
        self._vocab = native.llama_model_get_vocab(handle)
        self.vocab_size: int = native.llama_vocab_n_tokens(self._vocab)
        self.context_length: int = native.llama_model_n_ctx_train(handle)

    def close(self) -> None:
        """Free the model. Sessions must be closed before."""
        if self._handle:
            native.llama_model_free(self._handle)
            self._handle = None

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """The file's key-value pairs as text; arrays are left out."""
        found = {}
        for index in range(native.llama_model_meta_count(self._handle)):
            key = _string(native.llama_model_meta_key_by_index, self._handle, index)
            if key != "tokenizer.chat_template":
                found[key] = _string(native.llama_model_meta_val_str_by_index, self._handle, index)
        template = native.llama_model_chat_template(self._handle, None)
        return found | ({"tokenizer.chat_template": template.decode()} if template else {})

    def tokenize(self, text: str, *, bos: bool = False) -> list[int]:
        """Token ids of ``text``; the text of special tokens becomes those tokens, as in a rendered chat template."""
        data = text.encode()
        size = len(data) + 8
        while True:
            ids = (native.llama_token * size)()
            count = native.llama_tokenize(self._vocab, data, len(data), ids, size, bos, True)
            if count >= 0:
                return list(ids[:count])
            size = -count

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of a token; nothing for a control token unless ``special``."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = native.llama_token_to_piece(self._vocab, token, buffer, size, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, control tokens left out; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self.piece(token) for token in tokens).decode("utf-8", "replace")

    def ends(self, token: int) -> bool:
        """Whether the token ends a generation (end of text, of turn, of message)."""
        return bool(native.llama_vocab_is_eog(self._vocab, token))

    def render(self, messages: Sequence[Mapping[str, str]], *, generation_prompt: bool = True) -> str:
        """The messages in the chat template that the file carries. StepError when it carries none or refuses them."""
        template = self.metadata.get("tokenizer.chat_template")
        if not template:
            raise StepError(f"{self.path.name} has no chat template", remedy="set chat_template on the model step")
        return _formatter(template, self.special("bos"), self.special("eos"))(messages, generation_prompt)

    @property
    def has_template(self) -> bool:
        """Whether the file carries a chat template."""
        return bool(self.metadata.get("tokenizer.chat_template"))

    def special(self, name: str) -> str:
        """The text of the token called ``bos``, ``eos`` and so on; empty where the vocabulary has none."""
        token = self.metadata.get(f"tokenizer.ggml.{name}_token_id")
        return self.piece(int(token), special=True).decode() if token is not None else ""

    def session(self, capacity: int, *, sequences: int = 1, threads: int = 0) -> Session:
        """A fresh decoding context of ``sequences``, each for ``capacity`` tokens."""
        return Session(self, capacity, sequences, thread_count(threads))


class Session:
    """A decoding context. Every sequence has a key-value cache of its own: over one for all, each would attend to everybody's cells,
    masked, and an answer would depend in its last bits on what else is in the cache."""

    BATCH = 512  # tokens a decode call

    def __init__(self, model: Model, capacity: int, sequences: int, threads: int) -> None:
        params = native.llama_context_default_params()
        params.n_ctx = -(-capacity // _CELLS) * _CELLS * sequences
        params.n_batch = params.n_ubatch = self.BATCH
        params.n_seq_max, params.kv_unified = sequences, False
        params.n_threads = params.n_threads_batch = threads
        # llama.cpp's flash attention computes in 16 bits on a CPU: twenty times the error of plain attention, for no gain in speed.
        params.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.no_perf = True
        with listening() as log:
            self._context = native.llama_init_from_model(model._handle, params)
        if not self._context:
            raise StepError(
                f"llama.cpp cannot open a context of {sequences} times {capacity} tokens: {log.reason()}",
                remedy="lower batch_size or context_window",
            )
        self._vocab_size = model.vocab_size
        self._batch = native.llama_batch_init(self.BATCH, 0, 1)
        self._memory = native.llama_get_memory(self._context)

    def decode(self, tokens: Sequence[tuple[int, int, int, bool]]) -> NDArray[np.float32]:
        """Decode ``(token, position, sequence, wanted)``; the logits of the wanted ones, a row each, in order.

        Shape (wanted, vocabulary). Long inputs are cut into calls of ``BATCH`` tokens.
        """
        rows = []
        for start in range(0, len(tokens), self.BATCH):
            part = tokens[start : start + self.BATCH]
            batch = self._batch
            batch.n_tokens = len(part)
            for index, (token, position, sequence, wanted) in enumerate(part):
                batch.token[index], batch.pos[index], batch.logits[index] = token, position, wanted
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
            with listening() as log:
                state = native.llama_decode(self._context, batch)
            if state:
                found = "the context is full" if state == 1 else log.reason()
                raise StepError(f"llama.cpp could not decode {len(part)} tokens: {found}")
            for index, entry in enumerate(part):
                if entry[3]:
                    pointer = native.llama_get_logits_ith(self._context, index)
                    rows.append(np.ctypeslib.as_array(pointer, shape=(self._vocab_size,)).copy())
        return np.stack(rows) if rows else np.empty((0, self._vocab_size), np.float32)

    def copy(self, source: int, target: int) -> None:
        """Let ``target`` hold what ``source`` does, and nothing else; nothing is computed."""
        native.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def forget(self, sequence: int, start: int = 0) -> None:
        """Drop what the sequence holds from position ``start`` on."""
        native.llama_memory_seq_rm(self._memory, sequence, start, -1)

    def close(self) -> None:
        if self._context:
            native.llama_batch_free(self._batch)
            native.llama_free(self._context)
            self._context = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _string(function: Any, handle: Any, index: int) -> str:
    size = 256
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = function(handle, index, buffer, size)
        if length < size:
            return str(buffer.value.decode("utf-8", "replace"))
        size = length + 1


def _formatter(template: str, bos: str, eos: str) -> Any:
    from jinja2 import TemplateError
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    def render(messages: Sequence[Mapping[str, str]], generation_prompt: bool) -> str:
        try:
            formatter = Jinja2ChatFormatter(template, eos_token=eos, bos_token=bos, add_generation_prompt=generation_prompt)
            return str(formatter(messages=list(messages)).prompt)
        except (TemplateError, ValueError) as error:
            raise StepError(f"the chat template refuses the conversation: {error}") from None

    return render
