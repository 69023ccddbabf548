"""Examples as training rows: tokens, which of them are learnt, and a count of what does not fit. Nothing is cut or dropped in silence."""

from __future__ import annotations

import json
from bisect import bisect_left
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
                    raise InputError(
                        f"the example `{row.get('id', '')}` has no {field}",
                        where=f"{path.name}:{number}",
                        remedy="every example needs both",
                    )
            yield row


def rows_of(examples: Iterable[Mapping[str, Any]], message: Callable[[str], str], system_prompt: str | None) -> list[Row]:
    """``{"prompt": messages, "completion": [answer]}`` for each example.

    ``message`` renders the user's turn from the question; the turns of the example's ``history`` come before it as they are.
    """
    rows = []
    for example in examples:
        messages = conversation(message(example["question"]), system_prompt, example["answer"], example.get("history") or ())
        rows.append({"prompt": messages[:-1], "completion": messages[-1:]})
    return rows


@dataclass
class Fit:
    """How rows fit into ``max_length`` tokens. ``shortened`` lose their earliest ``exchanges``, ``left_out`` keep nothing to learn,
    ``truncated`` lose the end of their answer, and of ``diverging`` the template writes the prompt otherwise when an answer follows.
    ``longest`` is the longest row that is kept."""

    shortened: int = 0
    exchanges: int = 0
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
    the assistant's, in every turn). Of a row that is longer than ``max_length`` the earliest exchanges go first, as many as
    must; what is longer still is for the trainer to cut at the end, and left out where the prompt alone fills ``max_length``.
    StepError when the tokenizer has no chat template, one that refuses the messages or one without marks, when nothing is left, or when
    rows are longer than the model's ``context``.
    """
    from datasets import Dataset, concatenate_datasets

    if not rows:
        raise StepError(f"there are no {what}", remedy="bind a part that holds examples")
    rendering, fitting, parts = _Rendering(tokenizer, assistant_only=assistant_only), Fit(), []
    for start in range(0, len(rows), _BATCH):
        listener.check_cancelled()
        if start:
            listener.progress(start, len(rows), what)
        columns = _columns(rows[start : start + _BATCH], rendering, max_length, fitting)
        if columns["input_ids"]:
            parts.append(Dataset.from_dict(columns))
    _judge(fitting, len(rows), max_length, context, what, listener)
    return concatenate_datasets(parts)


def conversations(
    rows: Sequence[Row], tokenizer: Any, max_length: int, context: int | None, what: str, listener: Listener
) -> list[list[int]]:
    """The tokens of whole conversations, as training has them: of those longer than ``max_length`` the earliest exchanges go first, then
    the end, and it is said. StepError as of :func:`prepare`, but nothing is left out."""
    fitting = Fit()
    _, whole = _begun(rows, _Rendering(tokenizer), max_length, fitting)
    fitting.truncated = sum(len(ids) > max_length for ids in whole)
    fitting.longest = min(max_length, max(map(len, whole), default=0))
    _judge(fitting, len(rows), max_length, context, what, listener)
    return [ids[:max_length] for ids in whole]


class _Rendering:
    """Conversations as tokens, in the tokenizer's chat template; ``marked`` is the same with marks, where these are asked for."""

    def __init__(self, tokenizer: Any, *, assistant_only: bool = False) -> None:
        if tokenizer.chat_template is None:
            raise StepError("the model has no chat template", remedy="name a template file as chat_template of the model step")
        self.tokenizer, self.marked = tokenizer, marked(tokenizer) if assistant_only else None

    def prompts(self, rows: Sequence[Row]) -> list[list[int]]:
        """Up to where the answer begins, as the model is asked."""
        found: list[list[int]] = self._apply([row["prompt"] for row in rows], add_generation_prompt=True)["input_ids"]
        return found

    def whole(self, rows: Sequence[Row]) -> list[list[int]]:
        found: list[list[int]] = self._apply([row["prompt"] + row["completion"] for row in rows])["input_ids"]
        return found

    def masks(self, rows: Sequence[Row], whole: list[list[int]]) -> list[list[int]] | None:
        """1 on what is marked, for rows whose tokens are ``whole``."""
        if self.marked is None:
            return None
        conversations = [row["prompt"] + row["completion"] for row in rows]
        found = self._apply(conversations, chat_template=self.marked, return_assistant_tokens_mask=True)
        if found["input_ids"] != whole:
            raise StepError("the template with marks writes another text than the model's own", where="assistant_only_loss", remedy=MARKS)
        masks: list[list[int]] = found["assistant_masks"]
        return masks

    def _apply(self, conversations: Sequence[Any], **options: Any) -> Any:
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(conversations, return_dict=True, **options)
        except (TemplateError, ValueError) as error:
            raise StepError(
                f"the chat template refuses a conversation: {error}", remedy="mend it, the system prompt or the template"
            ) from None


def _columns(rows: Sequence[Row], rendering: _Rendering, max_length: int | None, fitting: Fit) -> dict[str, list[list[int]]]:
    rows, whole = _begun(rows, rendering, max_length, fitting)
    prompts, masks = rendering.prompts(rows), rendering.masks(rows, whole)
    columns: dict[str, list[list[int]]] = {name: [] for name in ("input_ids", "completion_mask", *(["assistant_masks"] if masks else []))}
    for index, (prompt, ids) in enumerate(zip(prompts, whole, strict=True)):
        begin = next(
            (place for place, (one, other) in enumerate(zip(prompt, ids, strict=False)) if one != other), min(len(prompt), len(ids))
        )
        end = len(ids) if max_length is None else min(len(ids), max_length)
        if begin >= end or (masks is not None and not any(masks[index][begin:end])):
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


def _begun(rows: Sequence[Row], rendering: _Rendering, max_length: int | None, fitting: Fit) -> tuple[list[Row], list[list[int]]]:
    """The rows, begun as late as they must, and their tokens."""
    rows, whole = list(rows), rendering.whole(rows)
    if max_length is None:
        return rows, whole
    for index, row in enumerate(rows):
        if len(whole[index]) > max_length and (dropped := _too_early(row, rendering, max_length)):
            fitting.shortened, fitting.exchanges = fitting.shortened + 1, fitting.exchanges + dropped
            rows[index] = _later(row, dropped)
            [whole[index]] = rendering.whole([rows[index]])
    return rows, whole


def _too_early(row: Row, rendering: _Rendering, max_length: int) -> int:
    """How many exchanges a row has to lose at its beginning: all of them where nothing makes it fit."""
    exchanges = (len(row["prompt"]) - _begin(row)) // 2
    return bisect_left(range(exchanges), True, key=lambda dropped: len(rendering.whole([_later(row, dropped)])[0]) <= max_length)


def _later(row: Row, dropped: int) -> Row:
    """A row without its first ``dropped`` exchanges."""
    begin = _begin(row)
    return {**row, "prompt": row["prompt"][:begin] + row["prompt"][begin + 2 * dropped :]}


def _begin(row: Row) -> int:
    """Where the first exchange stands: after the system prompt, if any."""
    return int(row["prompt"][0]["role"] == "system")


def _judge(fitting: Fit, given: int, max_length: int | None, context: int | None, what: str, listener: Listener) -> None:
    if given and fitting.left_out == given:
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
    if fitting.shortened:
        exchanges = f"{fitting.exchanges} earliest exchange{'s' * (fitting.exchanges != 1)}"
        listener.warn(f"{fitting.shortened} of {given} {what} begin later: {exchanges} left out to fit max_length {max_length}")
    if fitting.left_out:
        listener.warn(f"{fitting.left_out} of {given} {what} left out: their prompt alone fills max_length {max_length}")
    if fitting.truncated:
        listener.warn(f"{fitting.truncated} of {given} {what} have their answer cut at max_length {max_length}")
    if fitting.diverging:
        listener.warn(
            f"in {fitting.diverging} of {given} {what} the chat template writes the prompt otherwise than when the model is asked: "
            "it is trained on a context that it will not see"
        )
