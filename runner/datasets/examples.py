"""Examples (question, answer and where they come from) made of records, with every schema error at its row."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple

from runner.datasets.columns import is_blank, lookup, text_of
from runner.datasets.conversations import Conversations, Turn, before_last, last_exchange
from runner.datasets.nested import kind
from runner.datasets.reading import Record
from runner.errors import InputError

#: What a record can give an example: the first five are taken from the column of the same name where nothing else is said.
FIELDS = ("id", "question", "answer", "document", "type", "answers", "context", "conversation", "history")

#: Where a field comes from: a column or a path into it, or a function of the columns that raises ValueError.
Source = str | Callable[[Mapping[str, Any]], str]

_SHOWN_ERRORS = 10
_LOOKED_AT = 20_000  # records after the first that is bad, in search of others to show


class Bad(NamedTuple):
    """A row that gives no example: its file and place in it, and the reason."""

    file: str
    place: str
    reason: str

    @property
    def where(self) -> str:
        return f"{self.file}, {self.place}"


def examples(
    records: Iterable[Record],
    fields: Mapping[str, Source] | None = None,
    *,
    extra: Mapping[str, Source] | None = None,
    values: Mapping[str, Mapping[str, str]] | None = None,
    reference: Literal["required", "optional"] = "required",
    origin: str = "",
    conversations: Conversations | None = None,
    bad: list[Bad] | None = None,
) -> Iterator[dict[str, Any]]:
    """Examples as rows of ``examples.jsonl``.

    ``fields`` says for the names in :data:`FIELDS` where they come from, and ``extra`` for what else is to be kept, by name; a column
    named there keeps its type. ``answers`` (all answers that are right) gives ``answer`` too, its first, where that is not named.
    ``conversation`` (a list of turns, read by ``conversations``) gives question, answer and ``history``, the turns before them; where
    ``answer`` or ``answers`` is named besides, it ends with the question. ``history`` gives the turns before ``question`` alone.
    ``values`` translates what a field or extra holds: another value is an error. With ``reference: optional`` an example may have an
    empty answer. ``origin`` says where the examples come from; by default the file's name. Without an ``id`` an example is named by a
    hash of its text, so that names outlive a change of order. Rows that give no example are put into ``bad``; without that list they
    end in an InputError that shows the first ten.
    """
    form = _Form(dict(fields or {}), extra or {}, values or {}, reference == "optional", origin, conversations or Conversations())
    errors: list[Bad] = [] if bad is None else bad
    seen, copies = dict[str, str](), defaultdict[str, int](lambda: 1)
    left = _LOOKED_AT
    for record in records:
        here = f"{record.file}, {record.place}"
        try:
            if record.fault:
                raise ValueError(record.fault)
            example = form.example(record)
            named = "id" in example
            if not named:
                example["id"] = _name(example)
            first = seen.setdefault(example["id"], here)
            if first != here:
                if named:
                    raise ValueError(f"the id `{example['id']}` is that of {first} too")
                copies[example["id"]] += 1
                example["id"] = f"{example['id']}-{copies[example['id']]}"
        except ValueError as error:
            errors.append(Bad(record.file, record.place, str(error)))
        else:
            if bad is not None or not errors:
                yield example
        if bad is None and errors:
            left -= 1
            if not left or len(errors) == _SHOWN_ERRORS:
                break
    if bad is None and errors:
        more = "" if left and len(errors) < _SHOWN_ERRORS else "at least "
        rows = f"{more}1 row" if len(errors) == 1 else f"{more}{len(errors)} rows"
        several = len({error.file for error in errors}) > 1
        shown = "\n  ".join(f"{error.file + ', ' if several else ''}{error.place}: {error.reason}" for error in errors)
        remedy = "mend the rows, map columns by `fields`, or set `on_bad_row: skip`"
        raise InputError(f"{rows} cannot be used\n  {shown}", where="" if several else errors[0].file, remedy=remedy)


class _Form:
    """How a record becomes an example. Its methods raise ValueError, saying what is wrong with the record."""

    def __init__(
        self,
        fields: dict[str, Source],
        extra: Mapping[str, Source],
        values: Mapping[str, Mapping[str, str]],
        optional: bool,
        origin: str,
        conversations: Conversations,
    ) -> None:
        self.fields, self.extra, self.values, self.optional, self.origin = fields, extra, values, optional, origin
        self.conversations = conversations

    def example(self, record: Record) -> dict[str, Any]:
        columns = record.columns
        answers = self._answers(columns)
        if "conversation" in self.fields:
            history, question, answer = self._exchange(columns, answers)
        else:
            history, question, answer = self._history(columns), self._text(columns, "question"), self._answer(columns, answers)
        example: dict[str, Any] = {
            "question": question,
            "answer": answer,
            "documents": self._documents(columns),
            "origin": self.origin or _stem(record.file),
        }
        if history:
            example["history"] = history
        if answers:
            example["answers"] = list(dict.fromkeys([answer, *answers] if answer else answers))
        for field in ("id", "type", "context"):
            if field in self.fields or (field != "context" and not is_blank(columns.get(field))):
                example[field] = self._text(columns, field)
        if self.extra:
            example["extra"] = {name: self._extra(columns, name, source) for name, source in self.extra.items()}
        return example

    def _answer(self, columns: Mapping[str, Any], answers: list[str]) -> str:
        if answers and "answer" not in self.fields:
            return answers[0]
        if self.optional:
            return "" if self._missing(columns, "answer") else self._text(columns, "answer", blank=True)
        return self._text(columns, "answer")

    def _exchange(self, columns: Mapping[str, Any], answers: list[str]) -> tuple[list[Turn], str, str]:
        """The turns before, the question and the answer of a conversation."""
        source = str(self.fields["conversation"])
        history, question, answer = last_exchange(self.conversations.read(lookup(columns, source), source))
        question = self._translated(question, "question")
        if self.fields.keys() & {"answer", "answers"}:
            if answer:
                raise ValueError(f"`{source}` ends with the assistant's turn, and the answer is to come from elsewhere")
            return history, question, self._answer(columns, answers)
        if not answer and not self.optional:
            raise ValueError(f"`{source}` ends with the user's turn: there is no answer")
        return history, question, self._translated(answer, "answer") if answer else ""

    def _history(self, columns: Mapping[str, Any]) -> list[Turn]:
        source = self.fields.get("history")
        value = None if source is None else lookup(columns, str(source))
        return [] if is_blank(value) else before_last(self.conversations.read(value, str(source)), str(source))

    def _missing(self, columns: Mapping[str, Any], field: str) -> bool:
        source = self.fields.get(field, field)
        if isinstance(source, str) and (field in self.fields or field in columns):
            return is_blank(lookup(columns, source))
        return isinstance(source, str)

    def _text(self, columns: Mapping[str, Any], field: str, *, blank: bool = False) -> str:
        source = self.fields.get(field, field)
        if not isinstance(source, str):
            text = text_of(source(columns))
        else:
            value = lookup(columns, source)
            text = self._plain(value, source, translated=field in self.values)
        if not text and not blank:
            raise ValueError(f"`{source}` is empty" if source == field else f"the {field} that it gives is empty{_from(source)}")
        return self._translated(text, field) if text else text

    def _plain(self, value: Any, source: str, *, translated: bool) -> str:
        if isinstance(value, bool) and not translated:
            raise ValueError(f"`{source}` is a truth value; say by `values` what true and false stand for")
        try:
            return text_of(value)
        except ValueError as error:
            part = "0" if isinstance(value, list) else next(iter(value), "") if isinstance(value, dict) else ""
            hint = f"; name a part of it, such as `{source}.{part}`, or write a template" if part and value else ""
            raise ValueError(f"`{source}` is {error}{hint}") from None

    def _translated(self, text: str, field: str) -> str:
        known = self.values.get(field)
        if known is None or text in known:
            return text if known is None else known[text]
        listed = ", ".join(f"`{value}`" for value in list(known)[:12])
        raise ValueError(f"`{text[:60]}` is no value of {field} that `values` names: {listed}")

    def _answers(self, columns: Mapping[str, Any]) -> list[str]:
        source = self.fields.get("answers")
        if source is None:
            return []
        value = lookup(columns, source) if isinstance(source, str) else source(columns)
        said = source if isinstance(source, str) else "answers"
        listed = [item for item in (value if isinstance(value, list) else [value]) if not is_blank(item)]
        if not listed and not self.optional:
            raise ValueError(f"`{said}` holds no answer")
        return [self._translated(self._plain(item, said, translated="answers" in self.values), "answers") for item in listed]

    def _documents(self, columns: Mapping[str, Any]) -> list[str]:
        source = self.fields.get("document", "document" if "document" in columns else "documents")
        if source == "documents" and "document" not in self.fields and "documents" not in columns:
            return []
        value = lookup(columns, source) if isinstance(source, str) else source(columns)
        said = source if isinstance(source, str) else "document"
        listed = value if isinstance(value, list) else [] if value is None else [value]
        if not all(isinstance(entry, str | int) and not isinstance(entry, bool) for entry in listed):
            raise ValueError(f"`{said}` is {kind(value)} and neither an id nor a list of ids")
        return [text for text in dict.fromkeys(self._plain(entry, said, translated=False) for entry in listed) if text]

    def _extra(self, columns: Mapping[str, Any], name: str, source: Source) -> Any:
        if not isinstance(source, str):
            return self._translated(text_of(source(columns)), name)
        value = lookup(columns, source)
        if name in self.values:
            return self._translated(self._plain(value, source, translated=True), name)
        try:
            json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            raise ValueError(f"`{source}` holds half of a character (a lone surrogate)") from None
        except (TypeError, ValueError):
            raise ValueError(f"`{source}` is {kind(value)}, which cannot be kept") from None
        return value


def _name(example: Mapping[str, Any]) -> str:
    history = (turn["content"] for turn in example.get("history", ()))
    return hashlib.sha256("\0".join([*history, example["question"], example["answer"]]).encode()).hexdigest()[:12]


def _from(source: Source) -> str:
    return f": `{source}`" if isinstance(source, str) else ""


@lru_cache(maxsize=1)
def _stem(file: str) -> str:
    return PurePosixPath(file.removesuffix(".gz")).stem
