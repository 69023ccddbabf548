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


HISTORY = [
    {"role": "user", "content": "Hello?"},
    {"role": "assistant", "content": "Hi."},
    {"role": "user", "content": "How many?"},
    {"role": "assistant", "content": "Three parts."},
]
TALK = {"history": HISTORY, "question": "Why?", "answer": "So."}


def prepared(tokenizer: Any, *examples: Any, max_length: int | None = 256, listener: Any = None, **options: Any) -> list[dict[str, Any]]:
    rows = rows_of(examples, lambda question: f"Q: {question}", "Be brief.")
    return list(prepare(rows, tokenizer, max_length, 256, "examples", listener or Nobody(), **options))


def test_a_history_is_rendered_before_the_question_and_not_learnt_by_itself(tokenizer: Any) -> None:
    [row] = prepared(tokenizer, TALK)
    assert tokenizer.decode(row["input_ids"]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\nHi.<|im_end|>\n"
        "<|im_start|>user\nHow many?<|im_end|>\n<|im_start|>assistant\nThree parts.<|im_end|>\n"
        "<|im_start|>user\nQ: Why?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"
    )
    begin = row["completion_mask"].index(1)
    assert 0 not in row["completion_mask"][begin:]
    assert tokenizer.decode(row["input_ids"][begin:]) == "So.<|im_end|>\n"


def test_marks_are_on_every_turn_of_the_assistant(tokenizer: Any) -> None:
    [row] = prepared(tokenizer, TALK, assistant_only=True)
    spans = "".join(
        tokenizer.decode([token]) if mask else "\0" for token, mask in zip(row["input_ids"], row["assistant_masks"], strict=True)
    )
    assert [span for span in spans.split("\0") if span] == ["Hi.<|im_end|>", "Three parts.<|im_end|>", "So.<|im_end|>"]


def test_the_earliest_exchanges_go_first_as_many_as_must(tokenizer: Any) -> None:
    """And they are counted; the system prompt and the question stay."""
    lengths = [len(prepared(tokenizer, TALK | {"history": HISTORY[start:]})[0]["input_ids"]) for start in (0, 2, 4)]
    cases = [(lengths[0], 0), (lengths[0] - 1, 2), (lengths[1], 2), (lengths[1] - 1, 4), (lengths[2], 4)]
    for limit, kept in cases:
        exchanges = kept // 2
        told = Told()
        rows = prepared(tokenizer, TALK, {"question": "Why?", "answer": "So."}, max_length=limit, listener=told, assistant_only=True)
        assert rows[0] == prepared(tokenizer, TALK | {"history": HISTORY[kept:]}, assistant_only=True)[0]
        words = f"{exchanges} earliest exchange{'s' * (exchanges > 1)} left out to fit max_length {limit}"
        assert told.warnings == ([f"1 of 2 examples begin later: {words}"] if exchanges else [])


def test_what_is_too_long_without_its_history_is_cut_or_left_out(tokenizer: Any) -> None:
    alone = prepared(tokenizer, TALK | {"history": []})[0]
    begin, end = alone["completion_mask"].index(1), len(alone["input_ids"])
    told = Told()
    [row] = prepared(tokenizer, TALK, max_length=end - 1, listener=told)
    assert row == alone  # the trainer cuts it
    assert [warning.partition(" of ")[2] for warning in told.warnings] == [
        f"1 examples begin later: 2 earliest exchanges left out to fit max_length {end - 1}",
        f"1 examples have their answer cut at max_length {end - 1}",
    ]
    with pytest.raises(StepError, match=f"no examples fit: every prompt alone fills max_length {begin}"):
        prepared(tokenizer, TALK, max_length=begin)


def test_without_a_limit_nothing_is_left_out(tokenizer: Any) -> None:
    assert prepared(tokenizer, TALK, max_length=None) == prepared(tokenizer, TALK)


def test_a_template_that_refuses_says_why(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(StepError, match="the chat template refuses a conversation: System role not supported") as caught:
        prepared(tokenizer, TALK)
    assert caught.value.remedy


def test_a_row_begins_once_with_the_token_that_begins_a_text(tokenizer: Any) -> None:
    """As of Llama and Gemma: the template writes it, and the tokenizer would write it too."""
    from tokenizers.processors import TemplateProcessing

    begin = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", pair="<|endoftext|> $A $B", special_tokens=[("<|endoftext|>", begin)]
    )
    assert tokenizer("x")["input_ids"][0] == begin
    tokenizer.chat_template = "{{ '<|endoftext|>' }}" + CHATML
    for row in prepared(tokenizer, TALK, {"question": "Why?", "answer": "So."}):
        assert row["input_ids"].count(begin) == 1
        assert row["input_ids"][0] == begin
