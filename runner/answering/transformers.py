"""Answers from full weights or an adapter on its base, by Transformers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from runner.answering.answerer import NONE, TURN_ENDS, Done, Generated, Generation, Message, Prompt
from runner.answering.sampling import choose, draws
from runner.errors import StepError
from runner.training import conversation, device_of, load
from runner.training.quiet import quiet


class TransformersAnswerer:
    """A model artifact of the form full or adapter. The prompts of a batch are padded on the left."""

    def __init__(
        self, folder: Path, resolve: Callable[[str], Path], *, device: str = "cpu", dtype: str = "float32", threads: int = 0
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        loaded = load(folder, resolve, device=device_of(device), dtype=dtype)
        self._model, self._tokenizer, self._system_prompt = loaded.model, loaded.tokenizer, loaded.system_prompt
        if not self._tokenizer.chat_template:
            raise StepError("the model has no chat template", remedy="set chat_template on the model step")
        self.limit = int(self._model.config.max_position_embeddings)
        vocabulary = self._tokenizer.get_vocab()
        configured = self._model.generation_config.eos_token_id
        ends = {vocabulary[text] for text in TURN_ENDS if text in vocabulary} | {self._tokenizer.eos_token_id}
        self._ends = sorted(ends.union(configured if isinstance(configured, list) else [configured]) - {None})
        # Transformers fills whatever a call leaves open from here: Qwen2.5's repetition penalty of 1.05, say, into greedy decoding too.
        self._model.generation_config = GenerationConfig()

    def prompt(self, message: str, earlier: Sequence[Message] = ()) -> Prompt:
        text = self._render(message, None, earlier)
        return Prompt(message, text, tuple(self._tokens(text)), tuple(earlier))

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
        asked, answers = references or [None] * len(prompts), list[Generated]()
        for start in range(0, len(prompts), batch_size):
            part = slice(start, start + batch_size)
            if all(number in kept for number in range(len(prompts))[part]):
                answers += [kept[number] for number in range(len(prompts))[part]]
                continue
            begun = time.perf_counter()
            tell = _part(progress, start / len(prompts), len(prompts[part]) / len(prompts)) if progress else None
            made = self._batch(prompts[part], generation, asked[part], tell, first + start)
            seconds = (time.perf_counter() - begun) / len(made)
            for number, answer in enumerate(made, start):
                answers.append(replace(answer, seconds=seconds))
                if done:
                    done(number, answers[-1])
        return answers

    def _batch(
        self,
        prompts: Sequence[Prompt],
        generation: Generation,
        references: Sequence[str | None],
        progress: Callable[[float], None] | None,
        first: int,
    ) -> list[Generated]:
        padding = self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else self._ends[0]
        width = max(len(prompt.tokens) for prompt in prompts)
        rows = [[padding] * (width - len(prompt.tokens)) + list(prompt.tokens) for prompt in prompts]
        masks = [[0] * (width - len(prompt.tokens)) + [1] * len(prompt.tokens) for prompt in prompts]
        with torch.inference_mode(), quiet():
            ids = self._model.generate(
                input_ids=torch.tensor(rows, device=self._model.device),
                attention_mask=torch.tensor(masks, device=self._model.device),
                generation_config=GenerationConfig(  # what is asked for; the model's own is not consulted
                    max_new_tokens=generation.max_new_tokens,
                    eos_token_id=self._ends,
                    pad_token_id=padding,
                    use_cache=True,
                    do_sample=False,
                ),
                logits_processor=LogitsProcessorList(
                    [_Numbers(), *([_Draws(generation, first, len(rows))] if generation.temperature else [])]
                ),
                stopping_criteria=StoppingCriteriaList([_Watch(progress, width, generation.max_new_tokens)] if progress else []),
            )
        losses = [self._loss(*pair) for pair in zip(prompts, references, strict=True)]
        return [
            self._generated(prompt, made, loss, count)
            for prompt, made, (loss, count) in zip(prompts, ids[:, width:].tolist(), losses, strict=True)
        ]

    def stream(self, prompt: Prompt, generation: Generation) -> Iterator[str]:
        yield self.answer([prompt], generation)[0].text

    def close(self) -> None:
        del self._model

    def _loss(self, prompt: Prompt, reference: str | None) -> tuple[float | None, int | None]:
        if not reference:
            return None, None
        completion = self._completion(prompt, reference)[: self.limit - len(prompt.tokens)]
        ids = torch.tensor([[*prompt.tokens, *completion]], device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, logits_to_keep=len(completion) + 1).logits[0, :-1].to(torch.float32)
            loss = torch.nn.functional.cross_entropy(logits, ids[0, -len(completion) :])
        return _number(float(loss)), len(completion)

    def _completion(self, prompt: Prompt, reference: str) -> list[int]:
        """The tokens of the reference in the assistant's turn, with what the template puts after it."""
        whole = self._render(prompt.message, reference, prompt.earlier)
        tokens = self._tokens(whole)
        if tuple(tokens[: len(prompt.tokens)]) == prompt.tokens:
            return tokens[len(prompt.tokens) :]
        return self._tokens(whole.removeprefix(prompt.text))

    def _render(self, message: str, answer: str | None, earlier: Sequence[Message] = ()) -> str:
        from jinja2 import TemplateError

        messages = conversation(message, self._system_prompt, answer, earlier)
        try:
            return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer is None))
        except (TemplateError, ValueError) as error:
            raise StepError(f"the chat template refuses the conversation: {error}") from None

    def _tokens(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _generated(self, prompt: Prompt, made: list[int], loss: float | None, count: int | None) -> Generated:
        end = next((index for index, token in enumerate(made) if token in self._ends), None)
        text = self._tokenizer.decode(made[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        length = len(made) if end is None else end
        return Generated(text.strip(), len(prompt.tokens), length, "length" if end is None else "stop", loss, count)


def _number(value: float) -> float:
    """The value, or StepError for NaN: without it a model whose activations overflow answers "!!!!" and looks merely bad."""
    if math.isnan(value):
        raise StepError("the model computes values that are not numbers", remedy="set dtype to bfloat16 or float32")
    return value


class _Numbers(LogitsProcessor):  # type: ignore[misc]
    """Looks at every token's logits, and changes nothing."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        _number(float(scores.sum()))
        return scores


class _Draws(LogitsProcessor):  # type: ignore[misc]
    """Draws each answer's next token by its own generator, and leaves no other to choose from."""

    def __init__(self, generation: Generation, first: int, count: int) -> None:
        self._generation, self._randoms = generation, [draws(generation, first + number) for number in range(count)]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        rows = scores.to(torch.float32).cpu().numpy()
        tokens = [choose(row, self._generation, random) for row, random in zip(rows, self._randoms, strict=True)]
        chosen = torch.full_like(scores, -math.inf)
        chosen[torch.arange(len(tokens)), torch.tensor(tokens)] = 0
        return chosen


class _Watch(StoppingCriteria):  # type: ignore[misc]
    """Tells how far a batch is; stops nothing by itself."""

    def __init__(self, progress: Callable[[float], None], start: int, limit: int) -> None:
        self._progress, self._start, self._limit = progress, start, limit

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self._progress((input_ids.shape[1] - self._start) / self._limit)
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def _part(progress: Callable[[float], None], start: float, share: float) -> Callable[[float], None]:
    """Progress of one batch, as progress of all."""
    return lambda done: progress(start + share * done)
