"""Chat templates as they are in the wild: what is learnt of them, and what is said of those that cannot be learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.errors import StepError
from runner.training import conversation, load_tokenizer
from runner.training.chat import CHATML, CHATML_MARKED, marked
from runner.training.listener import Nobody
from runner.training.rows import prepare, rows_of
from tests.training.tiny import no_bases

LATE_END = CHATML_MARKED.replace("+ '<|im_end|>' }}{% endgeneration %}", "}}{% endgeneration %}{{ '<|im_end|>' }}")
#: Writes an empty thought before an answer that it has, and none where the answer is to come.
THINKING = CHATML.replace("message['role'] + '\\n' +", "message['role'] + '\\n' + ('<t></t>' if message['role'] == 'assistant' else '') +")


@pytest.fixture
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model, no_bases)


class Told(Nobody):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


ROWS = rows_of([{"question": "Why?", "answer": "So."}, {"question": "Where is it?", "answer": "There."}], str, "Be brief.")


def learnt(tokenizer: Any, column: str, **options: Any) -> list[str]:
    rows = prepare(ROWS, tokenizer, 128, 256, "examples", options.pop("listener", Nobody()), **options)
    return [tokenizer.decode([token for token, mask in zip(row["input_ids"], row[column], strict=True) if mask]) for row in rows]


def test_the_masks(tokenizer: Any) -> None:
    assert learnt(tokenizer, "completion_mask") == ["So.<|im_end|>\n", "There.<|im_end|>\n"]
    assert learnt(tokenizer, "assistant_masks", assistant_only=True) == ["So.<|im_end|>", "There.<|im_end|>"]


def test_a_template_with_its_own_marks_is_taken_as_it_is(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML_MARKED + "{# own #}"
    assert marked(tokenizer) == tokenizer.chat_template
    assert learnt(tokenizer, "assistant_masks", assistant_only=True) == ["So.<|im_end|>", "There.<|im_end|>"]


def test_marks_change_no_text(tokenizer: Any) -> None:
    messages = [*conversation("Why?", "Be brief.", "So."), *conversation("And?", None, "Then.")]
    texts = {tokenizer.apply_chat_template(messages, tokenize=False, chat_template=template) for template in (CHATML, CHATML_MARKED)}
    assert len(texts) == 1


def test_a_template_that_nobody_can_mark_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(StepError, match="does not mark the assistant's turns") as caught:
        marked(tokenizer)
    assert caught.value.where == "assistant_only_loss"


def test_marks_without_the_end_of_the_turn_are_refused(tokenizer: Any) -> None:
    assert LATE_END != CHATML_MARKED
    tokenizer.chat_template = LATE_END
    with pytest.raises(StepError, match="would not learn to stop"):
        marked(tokenizer)


def test_a_prompt_that_is_written_otherwise_in_training_is_told(tokenizer: Any) -> None:
    assert THINKING != CHATML
    tokenizer.chat_template = THINKING
    told = Told()
    assert learnt(tokenizer, "completion_mask", listener=told) == ["<t></t>So.<|im_end|>\n", "<t></t>There.<|im_end|>\n"]
    assert told.warnings == []  # the answer has more, the prompt is the same
    tokenizer.chat_template = CHATML.replace(
        "{% for message in messages %}", "{% if not add_generation_prompt %}{{ '<|endoftext|>' }}{% endif %}{% for message in messages %}"
    )
    learnt(tokenizer, "completion_mask", listener=told)
    assert told.warnings == [
        "in 2 of 2 examples the chat template writes the prompt otherwise than when the model is asked: "
        "it is trained on a context that it will not see"
    ]
