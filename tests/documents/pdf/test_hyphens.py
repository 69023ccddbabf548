from __future__ import annotations

import pytest

from runner.documents.pdf.hyphens import mend, vocabulary


@pytest.mark.parametrize(
    ("before", "after", "joined"),
    [
        ("without super", "vised training", "without supervised|training"),
        ("called DeepSeek", "R1 performs", "called DeepSeek-R1|performs"),
        ("the Chain-of", "Thought, too", "the Chain-of-Thought,|too"),
        ("into state", "of-the-art models", "into state-of-the-art|models"),
        ("Qwen2.5", "32B (Qwen", "Qwen2.5-32B|(Qwen"),
        ("at sentence", "and token level", "at sentence-|and token level"),
        ("a fine", "tuned model", "a fine-tuned|model"),  # the document spells it so
        ("a check", "point is", "a checkpoint|is"),  # and this
        ("our mixed", "mode engine", "our mixed-mode|engine"),  # two words of the document
        ("a type", "based engine", "a type-based|engine"),  # mostly hyphenated
        ("of cross", "topic relations", "of cross-topic|relations"),
        ("a multi", "plication of", "a multiplication|of"),
    ],
)
def test_broken_words_are_put_together(before: str, after: str, joined: str) -> None:
    words = vocabulary(["fine-tuned models write a checkpoint", "the mixed case and the other mode"])
    assert "|".join(mend(before, after, words)) == joined
