"""A GGUF as a teacher, by llama-cpp-python."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter
from llguidance.llamacpp import lltokenizer_from_vocab
from numpy.typing import NDArray

from runner.errors import InputError, StepError
from runner.teachers.providers import Connection
from runner.teachers.providers.local import Draw, around, cores
from runner.teachers.providers.local_form import Form

#: Tokens of the first window; it doubles when a longer prompt comes, since that of a 128k model would take gigabytes. A power of two
#: from 256 on: llama.cpp rounds others up, and llama-cpp-python then loses count.
_WINDOW = 2048


class GgufEngine:
    """See :class:`runner.teachers.providers.local.Engine`."""

    def __init__(self, path: Path, connection: Connection) -> None:
        if connection.device == "cuda" and not llama_cpp.llama_supports_gpu_offload():
            raise StepError(
                "resources.device is cuda, but llama-cpp-python was built without it",
                remedy='set resources.device to auto or cpu, or build it with CMAKE_ARGS="-DGGML_CUDA=on"',
            )
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise InputError("it is no GGUF file", where=path.name, remedy="name a .gguf file, or a folder in Hugging Face form")
        self._path, self._connection = path, connection
        # One model for its vocabulary, to which llguidance keeps a pointer, and one to compute with, which is opened anew to grow.
        self._size = _WINDOW
        self._vocabulary, self._llama = self._load(vocab_only=True), self._load(n_ctx=self._size)
        metadata = self._vocabulary.metadata
        self.limit = int(metadata.get(f"{metadata.get('general.architecture')}.context_length", 0)) or _WINDOW
        self._template = metadata.get("tokenizer.chat_template")
        with warnings.catch_warnings():  # llguidance calls llama.cpp's functions by their old names
            warnings.simplefilter("ignore", DeprecationWarning)
            self.tokens = lltokenizer_from_vocab(llama_cpp.llama_model_get_vocab(self._vocabulary.model))

    def encode(self, prompt: str) -> list[int]:
        llama = self._vocabulary
        if self._template is None:  # a base model: it goes on from the prompt
            return [int(token) for token in llama.tokenize(prompt.encode(), add_bos=True, special=False)]
        begin, end = (
            llama.detokenize([token], special=True).decode() if token >= 0 else "" for token in (llama.token_bos(), llama.token_eos())
        )
        formatter = Jinja2ChatFormatter(template=self._template, bos_token=begin, eos_token=end)
        before, after = around(prompt, lambda message: str(formatter(messages=[{"role": "user", "content": message}]).prompt))
        parts = [(before, True), (prompt, False), (after, True)]
        return [int(token) for text, special in parts if text for token in llama.tokenize(text.encode(), add_bos=False, special=special)]

    def write(self, prompt: Sequence[int], most: int, form: Form, draw: Draw) -> tuple[str, int, bool]:
        needed = len(prompt) + most
        if needed > self._size:
            self._llama.close()
            self._size = 1 << (needed - 1).bit_length()
            self._llama = self._load(n_ctx=self._size)

        broken: list[BaseException] = []

        def keep(so_far: NDArray[np.intc], logits: NDArray[np.single]) -> NDArray[np.single]:
            try:
                form.follow(so_far)
                logits[form.forbidden(len(logits))] = -np.inf
            except BaseException as error:  # llama.cpp, which calls this, would pass over it
                broken.append(error)
            return logits

        def stop(_: object) -> bool:
            try:
                self._connection.between()
            except BaseException as error:
                broken.append(error)
            return bool(broken)

        llama = self._llama
        self._stop = llama_cpp.ggml_abort_callback(stop)  # kept, since llama.cpp keeps a pointer to it
        llama_cpp.llama_set_abort_callback(llama.ctx, self._stop, None)
        llama.reset()  # nothing of the last prompt is reused: a reply hangs on its own request alone
        llama.set_seed(draw.seed)
        tokens = llama.generate(
            list(prompt), temp=draw.temperature, top_p=draw.top_p, top_k=0, min_p=0.0, repeat_penalty=1.0,
            logits_processor=llama_cpp.LogitsProcessorList([keep]),
        )  # fmt: skip
        vocabulary = llama_cpp.llama_model_get_vocab(llama.model)
        written: list[int] = []
        ended = False
        try:
            for token in islice(tokens, most):
                ended = bool(llama_cpp.llama_vocab_is_eog(vocabulary, token))
                if ended or broken:
                    break
                written.append(int(token))
        except RuntimeError:  # its word for having been stopped amid a computation
            if not broken:
                raise
        finally:
            tokens.close()
        if broken:
            raise broken[0]
        return llama.detokenize(written, prev_tokens=list(prompt)).decode("utf-8", "replace"), len(written), ended

    def _load(self, **options: Any) -> Any:
        threads = cores(self._connection.threads)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                return llama_cpp.Llama(
                    str(self._path), n_gpu_layers=0 if self._connection.device == "cpu" else -1,
                    n_threads=threads, n_threads_batch=threads, verbose=False, **options,
                )  # fmt: skip
        except (ValueError, RuntimeError):
            raise InputError(
                "llama.cpp cannot load it: it is damaged, or of an architecture that this build does not know", where=self._path.name
            ) from None
