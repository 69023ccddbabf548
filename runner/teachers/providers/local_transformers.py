"""A model in Hugging Face form as a teacher, by Transformers. Safetensors alone, and no code that comes with a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from llguidance.hf import from_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.utils import logging

from runner.errors import InputError, StepError
from runner.teachers.providers import Connection
from runner.teachers.providers.local import Draw, around
from runner.teachers.providers.local_form import Form


class TransformersEngine:
    """See :class:`runner.teachers.providers.local.Engine`. The weights keep the number type in which they are stored."""

    def __init__(self, folder: Path, connection: Connection) -> None:
        if connection.device == "cuda" and not torch.cuda.is_available():
            raise StepError("resources.device is cuda, but torch finds no GPU", remedy="set resources.device to auto or cpu")
        if connection.threads:
            torch.set_num_threads(connection.threads)
        device = "cpu" if connection.device == "cpu" or not torch.cuda.is_available() else "cuda"
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
            self._tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
            self._model = AutoModelForCausalLM.from_pretrained(str(folder), dtype="auto", use_safetensors=True, **options).to(device).eval()
            self.tokens = from_tokenizer(self._tokenizer)
        except (OSError, ValueError, KeyError) as error:
            first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise InputError(
                f"Transformers cannot load it: {first}",
                where=folder.name,
                remedy="a folder with config.json, *.safetensors and tokenizer.json",
            ) from None
        finally:
            if bars:
                logging.enable_progress_bar()
        for module in self._model.modules():  # so many, that even a long prompt is left soon
            module.register_forward_pre_hook(lambda *_: connection.between())
        self.limit = int(self._model.config.get_text_config().max_position_embeddings)
        configured = self._model.generation_config.eos_token_id
        ends = [self._tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])]
        self._ends = sorted({end for end in ends if end is not None})
        # Transformers fills whatever a call leaves open from here: a repetition penalty, say.
        self._model.generation_config = GenerationConfig()

    def encode(self, prompt: str) -> list[int]:
        if not self._tokenizer.chat_template:  # a base model: it goes on from the prompt
            begin = self._tokenizer.bos_token_id
            return [*([begin] if begin is not None else []), *self._ids(prompt, plain=True)]

        def render(message: str) -> str:
            turn = [{"role": "user", "content": message}]
            return str(self._tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))

        before, after = around(prompt, render)
        return [*self._ids(before), *self._ids(prompt, plain=True), *self._ids(after)]

    def write(self, prompt: Sequence[int], most: int, form: Form, draw: Draw) -> tuple[str, int, bool]:
        ids = torch.tensor([list(prompt)], device=self._model.device)
        drawn = {"do_sample": True, "temperature": draw.temperature, "top_p": draw.top_p, "top_k": 0}
        settings = GenerationConfig(
            max_new_tokens=most,
            eos_token_id=self._ends,
            pad_token_id=self._ends[0] if self._ends else 0,
            **(drawn if draw.temperature else {"do_sample": False}),
        )
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(draw.seed)
            made = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=settings,
                logits_processor=LogitsProcessorList([_Keep(form)]),
            )[0, len(prompt) :].tolist()
        end = next((place for place, token in enumerate(made) if token in self._ends), None)
        text = self._tokenizer.decode(made[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text, len(made[:end]), end is not None

    def _ids(self, text: str, *, plain: bool = False) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, split_special_tokens=plain, verbose=False)["input_ids"])


class _Keep(LogitsProcessor):  # type: ignore[misc]
    """Keeps the reply to its form."""

    def __init__(self, form: Form) -> None:
        self._form = form

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._form.follow(input_ids[0].tolist())
        return scores.masked_fill(torch.from_numpy(self._form.forbidden(scores.shape[-1])).to(scores.device), -torch.inf)
