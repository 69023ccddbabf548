"""Examples as training rows, and a count of what does not fit into the context: nothing is cut or dropped in silence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import InputError, StepError
from runner.training.chat import conversation
from runner.training.listener import Listener

Row = dict[str, list[dict[str, str]]]


def read_examples(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of an examples artifact. InputError naming file and line where one has no question or answer."""
    path = folder / "examples.jsonl"
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            row = json.loads(line)
            for field in ("question", "answer"):
                if not isinstance(row.get(field), str) or not row[field].strip():
                    raise InputError(f"the example has no {field}", where=f"{path.name}:{number}", remedy="every example needs both")
            yield row


def rows_of(examples: Iterable[Mapping[str, Any]], message: Callable[[str], str], system_prompt: str | None) -> list[Row]:
    """``{"prompt": messages, "completion": [answer]}`` for each example; ``message`` renders the user's turn from the question."""
    rows = []
    for example in examples:
        messages = conversation(message(example["question"]), system_prompt, example["answer"])
        rows.append({"prompt": messages[:-1], "completion": messages[-1:]})
    return rows


@dataclass(frozen=True)
class Fit:
    """How rows fit into ``max_length`` tokens: ``kept`` indexes those that keep at least one token of their answer."""

    kept: list[int]
    truncated: int
    longest: int


def fit(rows: Sequence[Row], tokenizer: Any, max_length: int | None) -> Fit:
    """Tokenise as TRL does, and see which rows are cut (``truncated``) or would have no answer left.

    StepError when the tokenizer has no chat template.
    """
    if tokenizer.chat_template is None:
        raise StepError("the model has no chat template", remedy="name a template file as chat_template of the model step")
    kept, truncated, longest = [], 0, 0
    for index, row in enumerate(rows):
        prompt = len(_ids(tokenizer, row["prompt"], generation=True))
        whole = len(_ids(tokenizer, row["prompt"] + row["completion"], generation=False))
        if max_length is not None and prompt >= max_length:
            continue
        kept.append(index)
        truncated += max_length is not None and whole > max_length
        longest = max(longest, whole if max_length is None else min(whole, max_length))
    return Fit(kept, truncated, longest)


def select(rows: Sequence[Row], tokenizer: Any, max_length: int | None, context: int | None, what: str, listener: Listener) -> list[Row]:
    """The rows to use; says what was cut and what had to be left out.

    StepError when nothing is left, or when rows are longer than the model's ``context``.
    """
    if not rows:
        raise StepError(f"there are no {what}", remedy="bind a part that holds examples")
    fitting = fit(rows, tokenizer, max_length)
    left_out = len(rows) - len(fitting.kept)
    if not fitting.kept:
        raise StepError(
            f"no {what} fit: every prompt alone fills max_length {max_length}",
            where="max_length",
            remedy="raise max_length or shorten the prompt",
        )
    if context is not None and fitting.longest > context:
        raise StepError(
            f"{what} of {fitting.longest} tokens are longer than the model's context of {context}",
            where="max_length",
            remedy=f"set max_length to at most {context}",
        )
    if left_out:
        listener.warn(f"{left_out} of {len(rows)} {what} left out: their prompt alone fills max_length {max_length}")
    if fitting.truncated:
        listener.warn(f"{fitting.truncated} of {len(rows)} {what} have their answer cut at max_length {max_length}")
    return [rows[index] for index in fitting.kept]


def _ids(tokenizer: Any, messages: list[dict[str, str]], *, generation: bool) -> Sequence[int]:
    ids: Sequence[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=generation, tokenize=True, return_dict=True)[
        "input_ids"
    ]
    return ids
