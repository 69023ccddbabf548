"""Examples (question, answer and where they come from) made of records, with every schema error at its row."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from runner.datasets.reading import Record
from runner.errors import InputError

#: What a record can give an example. ``document`` is one id or a list of ids.
FIELDS = ("id", "question", "answer", "document", "type")

_SLOT = re.compile(r"\{([^{}]+)\}")
_SHOWN_ERRORS = 10


def examples(
    records: Iterable[Record], fields: Mapping[str, str], *, origin: str, name: str, bad: list[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Examples as rows of ``examples.jsonl``.

    ``fields`` maps the names in :data:`FIELDS` to columns of the records; a field that it does not name is taken from the column of
    the same name (or ``documents``), where there is one. A column may be a path into lists and maps (``answers.text.0``), or a text
    with columns in braces (``"{instruction}\\n{input}"``). ``origin`` says where the examples come from, ``name`` is the
    file's or data set's in messages. Without an ``id`` an example is named by a hash of its text, so that names outlive a change of
    order. Rows that give no example are described in ``bad``; without that list they end in an InputError that shows the first ten.
    """
    errors: list[str] = [] if bad is None else bad
    seen: dict[str, str] = {}
    for place, record in records:
        try:
            example = _example(record, fields, origin)
            first = seen.setdefault(example["id"], place)
            if first != place:
                if "id" in fields or "id" in record:
                    raise ValueError(f"the id `{example['id']}` is that of {first} too")
                example["id"] = _next_id(example["id"], seen, place)
        except ValueError as error:
            errors.append(f"{place}: {error}")
            if bad is None and len(errors) == _SHOWN_ERRORS:
                break
            continue
        if bad is not None or not errors:
            yield example
    if bad is None and errors:
        more = "at least " if len(errors) == _SHOWN_ERRORS else ""
        rows = "1 row" if len(errors) == 1 else f"{more}{len(errors)} rows"
        raise InputError(f"{rows} cannot be used\n  " + "\n  ".join(errors), where=name, remedy="mend the rows, or map columns by `fields`")


def _example(record: Mapping[str, Any], fields: Mapping[str, str], origin: str) -> dict[str, Any]:
    question, answer = _text(record, fields, "question"), _text(record, fields, "answer")
    named = fields.get("document", "document" if "document" in record else "documents")
    documents = _lookup(record, named) if "document" in fields or named in record else None
    if documents is not None and not isinstance(documents, (str, list)):
        raise ValueError(f"`{named}` is {type(documents).__name__} and neither an id nor a list of ids")
    listed = [documents] if isinstance(documents, str) else documents or []
    if not all(isinstance(entry, str) for entry in listed):
        raise ValueError(f"`{named}` holds something that is no id")
    example = {"question": question, "answer": answer, "documents": list(dict.fromkeys(filter(None, listed))), "origin": origin}
    for field in ("id", "type"):
        if field in fields or record.get(field) not in (None, ""):
            example[field] = _text(record, fields, field)
    example.setdefault("id", hashlib.sha256(f"{question}\0{answer}".encode()).hexdigest()[:12])
    return example


def _text(record: Mapping[str, Any], fields: Mapping[str, str], field: str) -> str:
    source = fields.get(field, field)
    text = _SLOT.sub(lambda slot: _string(record, slot.group(1)), source) if _SLOT.search(source) else _string(record, source)
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise ValueError(f"`{source}` is empty" if source == field else f"`{source}` gives an empty {field}")
    return text


def _string(record: Mapping[str, Any], column: str) -> str:
    value = _lookup(record, column)
    if isinstance(value, bool) or value is None or isinstance(value, (list, dict)):
        kinds = {list: "a list", dict: "a map", bool: "a truth value"}
        part = "0" if isinstance(value, list) else next(iter(value), "") if isinstance(value, dict) else ""
        hint = f"; name a part of it, such as `{column}.{part}`" if part and value else ""
        raise ValueError(f"`{column}` is {kinds.get(type(value), 'null')}{hint}")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise ValueError(f"`{column}` holds half of a character (a lone surrogate)") from None
    return str(value)


def _lookup(record: Mapping[str, Any], column: str) -> Any:
    if column in record:
        return record[column]
    value: Any = record
    for part in column.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            columns = ", ".join(f"`{key}`" for key in list(record)[:20])
            raise ValueError(f"there is no `{column}`; the columns are {columns}")
    return value


def _next_id(wanted: str, seen: dict[str, str], place: str) -> str:
    number = 2
    while f"{wanted}-{number}" in seen:
        number += 1
    seen[f"{wanted}-{number}"] = place
    return f"{wanted}-{number}"
