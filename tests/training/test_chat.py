from __future__ import annotations

from pathlib import Path

from runner.training import conversation, load_tokenizer
from tests.training.tiny import no_bases


def test_messages_of_one_exchange() -> None:
    assert conversation("Why?") == [{"role": "user", "content": "Why?"}]
    assert conversation("Why?", "Be brief.", "Because.") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Because."},
    ]


def test_an_empty_system_prompt_is_a_message_and_none_is_not() -> None:
    assert conversation("Why?", "")[0] == {"role": "system", "content": ""}


def test_chatml_of_a_model_built_here(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model, no_bases)
    text = tokenizer.apply_chat_template(conversation("Why?", "Be brief."), tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    whole = tokenizer.apply_chat_template(conversation("Why?", "Be brief.", "So."), tokenize=False)
    assert whole == text + "So.<|im_end|>\n"
