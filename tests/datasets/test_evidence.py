from __future__ import annotations

from typing import Any

import pytest

from runner.datasets.evidence import evidence

CHUNKS = [{"id": "a#1", "text": "one"}, {"id": "a#2", "text": "two"}, {"id": "a#3", "text": "three"}]
DOCUMENTS = [{"id": "a", "text": "one two three"}]


@pytest.mark.parametrize(
    ("example", "text"),
    [
        ({"chunks": ["a#2"], "source": {"chunk": "a#1", "quote": "on"}, "context": "c"}, "two\n\none"),
        ({"chunks": ["gone"], "context": "c", "documents": ["a"]}, "c"),
        ({"documents": ["a"], "source": {"quote": "on"}}, "one two three"),
        ({"sources": [{"quote": "on"}, {"quote": "tw"}], "source": {"quote": "on"}}, "on\n\ntw"),
        ({"documents": ["gone"]}, None),
    ],
)
def test_the_nearest_text_that_there_is(example: dict[str, Any], text: str | None) -> None:
    assert evidence([{"id": "x", **example}], chunks=CHUNKS, documents=DOCUMENTS).get("x") == text
