"""The text that an example was written from, as far as it can be had."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Example = Mapping[str, Any]
Rows = Iterable[Mapping[str, Any]]


def evidence(examples: Sequence[Example], *, chunks: Rows = (), documents: Rows = ()) -> dict[str, str]:
    """For each example that has one, by its id, the text to compare it with: the first that there is of its chunks, the ``context``
    that it carries, its documents and its quotes.

    ``chunks`` and ``documents`` are rows with ``id`` and ``text``, read once; only the texts that are named are kept.
    """
    texts_of_chunks = _named(chunks, (id for example in examples for id in _chunks(example)))
    texts_of_documents = _named(documents, (id for example in examples for id in example.get("documents") or ()))
    found: dict[str, str] = {}
    for example in examples:
        candidates = (
            [texts_of_chunks.get(id, "") for id in _chunks(example)],
            [example.get("context") or ""],
            [texts_of_documents.get(id, "") for id in example.get("documents") or ()],
            [source.get("quote") or "" for source in _sources(example)],
        )
        text = next((joined for parts in candidates if (joined := "\n\n".join(filter(None, parts)))), "")
        if text:
            found[example["id"]] = text
    return found


def _named(rows: Rows, ids: Iterable[str]) -> dict[str, str]:
    wanted = set(ids)
    return {row["id"]: row["text"] for row in rows if row["id"] in wanted}


def _chunks(example: Example) -> list[str]:
    named = [*(example.get("chunks") or ()), *(source.get("chunk") for source in _sources(example))]
    return list(dict.fromkeys(filter(None, named)))


def _sources(example: Example) -> list[Mapping[str, Any]]:
    return list(example.get("sources") or filter(None, [example.get("source")]))
