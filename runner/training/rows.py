"""Examples as training rows: tokens, which of them are learnt, and a count of what does not fit. Nothing is cut or dropped in silence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import InputError, StepError
from runner.training.chat import MARKS, conversation, marked
from runner.training.listener import Listener

Row = dict[str, list[dict[str, str]]]

#: Conversations tokenised at once.
_BATCH = 256


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


@dataclass
class Fit:
    """How rows fit into ``max_length`` tokens. ``left_out`` keep nothing to learn, ``truncated`` lose the end of their answer, and of
    ``diverging`` the template writes the prompt otherwise when an answer follows. ``longest`` is the longest row that is kept."""

    left_out: int = 0
    truncated: int = 0
    diverging: int = 0
    longest: int = 0


def prepare(
    rows: Sequence[Row],
    tokenizer: Any,
    max_length: int | None,
    context: int | None,
    what: str,
    listener: Listener,
    *,
    assistant_only: bool = False,
) -> Any:
    """The rows as a ``datasets.Dataset`` that SFTTrainer takes as it is, in their order; says what was cut and what was left out.

    Columns: ``input_ids`` (the conversation in the tokenizer's chat template), ``completion_mask`` (1 from where the conversation and
    the prompt alone, as the model is asked, part), and with ``assistant_only`` ``assistant_masks`` (1 on what the template marks as
    the assistant's). A row whose prompt alone fills ``max_length`` is left out.
    StepError when the tokenizer has no chat template or none with marks, when nothing is left, or when rows are longer than
    the model's ``context``.
    """
    from datasets import Dataset, concatenate_datasets

    if not rows:
        raise StepError(f"there are no {what}", remedy="bind a part that holds examples")
    if tokenizer.chat_template is None:
        raise StepError("the model has no chat template", remedy="name a template file as chat_template of the model step")
    template = marked(tokenizer) if assistant_only else None
    fitting, parts = Fit(), []
    for start in range(0, len(rows), _BATCH):
        listener.check_cancelled()
        if start:
            listener.progress(start, len(rows), what)
        columns = _columns(rows[start : start + _BATCH], tokenizer, template, max_length, fitting)
        if columns["input_ids"]:
            parts.append(Dataset.from_dict(columns))
    _judge(fitting, len(rows), max_length, context, what, listener)
    return concatenate_datasets(parts)


def _columns(rows: Sequence[Row], tokenizer: Any, template: str | None, max_length: int | None, fitting: Fit) -> dict[str, list[list[int]]]:
    whole_rows = [row["prompt"] + row["completion"] for row in rows]
    prompts = tokenizer.apply_chat_template([row["prompt"] for row in rows], add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(
        whole_rows, chat_template=template, return_dict=True, return_assistant_tokens_mask=template is not None
    )
    if template is not None and whole["input_ids"] != tokenizer.apply_chat_template(whole_rows, return_dict=True)["input_ids"]:
        raise StepError("the chat template with marks writes another text than the model's own", where="assistant_only_loss", remedy=MARKS)
    masks = whole["assistant_masks"] if template is not None else None
    columns: dict[str, list[list[int]]] = {name: [] for name in ("input_ids", "completion_mask", *(["assistant_masks"] if masks else []))}
    for index, (prompt, ids) in enumerate(zip(prompts, whole["input_ids"], strict=True)):
        begin = next(
            (place for place, (one, other) in enumerate(zip(prompt, ids, strict=False)) if one != other), min(len(prompt), len(ids))
        )
        end = len(ids) if max_length is None else min(len(ids), max_length)
        if begin >= end or (masks is not None and not any(masks[index][:end])):
            fitting.left_out += 1
            continue
        fitting.diverging += begin < len(prompt)
        fitting.truncated += end < len(ids)
        fitting.longest = max(fitting.longest, end)
        columns["input_ids"].append(ids)
        columns["completion_mask"].append([0] * begin + [1] * (len(ids) - begin))
        if masks is not None:
            columns["assistant_masks"].append(masks[index])
    return columns


def _judge(fitting: Fit, given: int, max_length: int | None, context: int | None, what: str, listener: Listener) -> None:
    if fitting.left_out == given:
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
    if fitting.left_out:
        listener.warn(f"{fitting.left_out} of {given} {what} left out: their prompt alone fills max_length {max_length}")
    if fitting.truncated:
        listener.warn(f"{fitting.truncated} of {given} {what} have their answer cut at max_length {max_length}")
    if fitting.diverging:
        listener.warn(
            f"in {fitting.diverging} of {given} {what} the chat template writes the prompt otherwise than when the model is asked: "
            "it is trained on a context that it will not see"
        )
