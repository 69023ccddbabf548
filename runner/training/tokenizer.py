"""A byte-level BPE tokenizer in the manner of Qwen2, trained on given texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from runner.training.chat import CHATML

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

#: Qwen2's split into words, which llama.cpp knows as its pre-tokenizer "qwen2" (Qwen2.5-3B-Instruct, tokenizer.json).
#: Text is normalised to NFC, as Transformers does for every tokenizer beside a Qwen2 model; llama.cpp does not normalise, so the
#: two agree on text that is in NFC already.
QWEN2_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def train_tokenizer(texts: Iterable[str], vocab_size: int, *, context: int, chat_template: str | None = None) -> Any:
    """A PreTrainedTokenizerFast with at most ``vocab_size`` entries: 256 bytes, merges, and the three special tokens.

    Fewer entries come out where the texts have fewer pairs to merge. ``context`` is the model's limit in tokens;
    ``chat_template`` None means ChatML. Padding is ``<|endoftext|>``, end of sequence ``<|im_end|>``, as in Qwen2.5's instruct models.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[TURN_START],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        chat_template=CHATML if chat_template is None else chat_template,
    )
