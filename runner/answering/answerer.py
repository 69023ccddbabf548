"""The one interface to a model that answers, and the door to its three implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

#: Texts of the tokens that end an answer; a model stops at those that its vocabulary has, as llama.cpp does by itself.
TURN_ENDS = (
    "<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "</s>",
    "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
)  # fmt: skip


#: A turn of a conversation: ``{"role": ..., "content": ...}``.
Message = dict[str, str]


@dataclass(frozen=True)
class Generation:
    """How answers are made. ``temperature`` 0 takes the likeliest token always; else tokens are drawn from the likeliest ones that
    make up ``top_p`` of the probability, at that temperature, by a generator for each answer, seeded by ``seed`` and its number. No
    penalties are applied."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Prompt:
    """A conversation as the model sees it: the user's message, the rendered chat template, its tokens, and the turns before the message."""

    message: str
    text: str
    tokens: tuple[int, ...]
    earlier: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Generated:
    """An answer. ``answer_tokens`` does not count the token that ends the turn. ``finish`` is ``length`` when ``max_new_tokens`` cut it.

    ``reference_loss`` is the mean negative log-likelihood of the reference answer, in nats a token, over ``reference_tokens``: the
    reference's tokens and what the chat template puts after it. None where no reference was given. ``seconds`` is the answer's share of
    the time that the model took.
    """

    text: str
    prompt_tokens: int
    answer_tokens: int
    finish: Literal["stop", "length"]
    reference_loss: float | None = None
    reference_tokens: int | None = None
    seconds: float = field(default=0.0, compare=False)


#: Gets an answer and the place of its prompt.
Done = Callable[[int, Generated], None]

#: No answer is there from an earlier call.
NONE: Mapping[int, Generated] = MappingProxyType({})


class Answerer(Protocol):
    """A model that is open for questions. ``limit`` is the number of positions that it has, in tokens."""

    limit: int

    def prompt(self, message: str, earlier: Sequence[Message] = ()) -> Prompt:
        """The user's message in the model's chat template, with the model's system prompt and the earlier turns (user and assistant)
        before it, up to where the answer begins."""
        ...

    def answer(
        self,
        prompts: Sequence[Prompt],
        generation: Generation,
        references: Sequence[str | None] | None = None,
        progress: Callable[[float], None] | None = None,
        *,
        batch_size: int = 16,
        first: int = 0,
        kept: Mapping[int, Generated] = NONE,
        done: Done | None = None,
    ) -> list[Generated]:
        """Answer the prompts, ``batch_size`` at a time. The same list gives the same answers; another grouping may move last bits.

        ``done`` gets each answer as soon as it is whole, with its place in ``prompts``. ``kept`` are answers that ``done`` got from an
        earlier call with the same arguments: they are not made again, and the others come out as they would have then, to the last bit.

        ``first`` is the number of the first prompt: the draws of an answer depend on its number. ``references`` asks for the loss of
        each reference answer too (None: of that one not). ``progress`` gets the share of this call that is done (0 to 1) and may
        raise to stop it.
        """
        ...

    def stream(self, prompt: Prompt, generation: Generation) -> Iterator[str]:
        """The answer in pieces, as they are made."""
        ...

    def close(self) -> None: ...


def open_answerer(
    folder: Path,
    form: str,
    resolve: Callable[[str], Path],
    *,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int = 0,
    gpu_layers: int | None = None,
) -> Answerer:
    """Open the model artifact in ``folder``: ``form`` is full, adapter or gguf.

    ``resolve`` finds the folder of the base that an adapter refers to. ``device`` is auto, cpu or cuda; ``dtype`` that of the
    weights (a GGUF has its own); ``threads`` 0 means every core; ``gpu_layers`` is how many layers of
    a GGUF go to the GPU (None: all).
    """
    if form == "gguf":
        from runner.answering.gguf import GgufAnswerer

        return GgufAnswerer(folder, device=device, threads=threads, gpu_layers=gpu_layers)
    from runner.answering.transformers import TransformersAnswerer

    return TransformersAnswerer(folder, resolve, device=device, dtype=dtype, threads=threads)
