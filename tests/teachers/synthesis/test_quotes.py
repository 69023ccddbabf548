"""Finding cited texts."""

from __future__ import annotations

import pytest

from runner.teachers.synthesis.quotes import locate

TEXT = "Intro. The **KV cache** holds 2 × n\nvalues — “per layer” — in bf16.\u00ad Then it\u2019s freed."

FOUND = {
    "exact": ("holds 2 × n", "holds 2 × n"),
    "line break": ("holds 2 × n values", "holds 2 × n\nvalues"),
    "emphasis": ("The KV cache holds", "The **KV cache** holds"),
    "dash and quotation marks": ('values - "per layer" - in bf16.', "values — “per layer” — in bf16."),
    "case": ("the kv cache", "The **KV cache"),
    "apostrophe": ("it's freed", "it\u2019s freed"),
    "outer quotation marks": ('"Intro."', "Intro."),
    "dots at the end": ("The KV cache holds...", "The **KV cache** holds"),
}


@pytest.mark.parametrize("case", FOUND)
def test_found(case: str) -> None:
    quote, stands = FOUND[case]
    span = locate(quote, TEXT)
    assert span is not None
    assert TEXT[slice(*span)] == stands


@pytest.mark.parametrize("quote", ["", "   ", "***", "The KV cache holds 3 × n", "Intro. Then it's freed."])
def test_not_found(quote: str) -> None:
    assert locate(quote, TEXT) is None
