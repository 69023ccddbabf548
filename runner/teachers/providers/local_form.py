"""Keeping a reply to its form while it is written, by llguidance (https://github.com/guidance-ai/llguidance).

Before every token it rules out those that would break the JSON Schema. So any model gives JSON of that form, unless it reaches its
limit first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from runner.errors import StepError

#: One blank after each colon and comma and none elsewhere: where white space is free, weak models write nothing else.
_SEPARATORS: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Form:
    """The form of one reply. It reads the tokens as they are written, and knows which may follow."""

    def __init__(self, tokens: LLTokenizer, schema: Mapping[str, Any]) -> None:
        self._matcher = LLMatcher(tokens, LLMatcher.grammar_from_json_schema(dict(schema), overrides=_SEPARATORS))
        self._read: int | None = None
        self.check()

    def follow(self, so_far: Sequence[int] | NDArray[np.intc]) -> None:
        """Read what was added to ``so_far`` since the last call; all of the first call's is the prompt."""
        if self._read is not None:
            self._matcher.consume_tokens([int(token) for token in so_far[self._read :]])
        self._read = len(so_far)

    def forbidden(self, size: int) -> NDArray[np.bool_]:
        """For each of a model's ``size`` tokens, whether it may not come next."""
        allowed = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)[:size] > 0
        return ~np.pad(allowed, (0, size - len(allowed)))  # models have more logits than their tokenizer has tokens

    def check(self) -> None:
        """Error: StepError when the form could not be kept to."""
        if self._matcher.is_error():
            raise StepError(f"the form of the reply cannot be enforced: {self._matcher.get_error()[:300]}", remedy="choose another model")
