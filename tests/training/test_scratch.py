from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from runner.errors import Cancelled, StepError
from runner.training.listener import Nobody
from runner.training.quiet import quiet
from runner.training.scratch import Built, Pretraining, blocks_of, build
from tests.training.tiny import TEXTS, shape

SETTINGS = Pretraining(steps=12, batch_size=2, sequence_length=16, learning_rate=1e-2)
STRANGE = "Café — naïve ½ 東京 🙂\r\n\t1234 it's 'S  two  spaces\n\n<|im_end|>"


def digest(built: Built) -> str:
    state = built.model.state_dict()
    return hashlib.sha256(b"".join(name.encode() + state[name].numpy().tobytes() for name in sorted(state))).hexdigest()


@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
def test_a_stored_model_reads_text_as_the_built_one(tmp_path: Path, architecture: str) -> None:
    built = build(shape(architecture=architecture), TEXTS, seed=1, journal=tmp_path / "journal")
    with quiet():
        built.model.save_pretrained(tmp_path)
        built.tokenizer.save_pretrained(tmp_path)
    stored = AutoTokenizer.from_pretrained(tmp_path)
    assert built.model.config.model_type == architecture
    assert stored(STRANGE)["input_ids"] == built.tokenizer(STRANGE)["input_ids"]
    assert stored.decode(stored(STRANGE)["input_ids"]) == STRANGE
    assert (stored.eos_token, stored.pad_token, stored.bos_token) == ("<|im_end|>", "<|endoftext|>", None)
    assert built.model.config.eos_token_id == stored.eos_token_id
    assert built.model.config.vocab_size == len(stored)


def test_qwen2_words(tmp_path: Path) -> None:
    """The same words as the tokenizer of Qwen2.5: digits one by one, contractions, line ends."""
    built = build(shape(), TEXTS, seed=1, journal=tmp_path)
    words = built.tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("It's 123\n\nyes!")
    assert [word for word, _ in words] == ["It", "'s", "Ġ", "1", "2", "3", "ĊĊ", "yes", "!"]


@pytest.mark.shared
def test_the_words_are_those_of_qwen() -> None:
    folder = Path(__file__).parents[3] / "shared/data/models/tokenizers/qwen2.5"
    if not folder.is_dir():
        pytest.skip("../shared is missing")
    from runner.training.tokenizer import QWEN2_WORDS

    stored = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert stored["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] == QWEN2_WORDS


def test_the_seed_draws_the_weights(tmp_path: Path) -> None:
    one, same, other = (build(shape(), TEXTS, seed=seed, journal=tmp_path) for seed in (1, 1, 2))
    assert digest(one) == digest(same) != digest(other)


def test_a_small_vocabulary_is_said_and_taken(tmp_path: Path) -> None:
    class Told(Nobody):
        warnings: tuple[str, ...] = ()

        def warn(self, message: str) -> None:
            self.warnings += (message,)

    told = Told()
    built = build(shape(vocab_size=5000), TEXTS, seed=1, journal=tmp_path, listener=told)
    assert built.model.config.vocab_size == len(built.tokenizer) < 5000
    assert told.warnings == (f"the texts give a vocabulary of {len(built.tokenizer):,} tokens, not of 5,000",)


def test_pretraining_lowers_the_loss_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    class Stops(Nobody):
        def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
            if done == 9 and total == 12:
                raise Cancelled("stopped")

    whole = build(shape(), TEXTS, seed=1, pretraining=SETTINGS, journal=tmp_path / "whole")
    assert whole.curve[-1]["loss"] < whole.curve[0]["loss"] - 0.3
    assert whole.tokens == 12 * 2 * 16
    assert whole.model.config.use_cache
    with pytest.raises(Cancelled):
        build(shape(), TEXTS, seed=1, pretraining=SETTINGS, journal=tmp_path / "stopped", save_steps=4, listener=Stops())
    resumed = build(shape(), TEXTS, seed=1, pretraining=SETTINGS, journal=tmp_path / "stopped", save_steps=4)
    assert resumed.tokens == 4 * 2 * 16
    assert resumed.curve == whole.curve
    assert digest(resumed) == digest(whole)


def test_blocks_cover_the_texts_in_an_order_of_the_seed(tmp_path: Path) -> None:
    tokenizer = build(shape(), TEXTS, seed=1, journal=tmp_path).tokenizer
    blocks = blocks_of(TEXTS, tokenizer, 16, seed=1)
    assert {len(block) for block in blocks} == {16}
    assert blocks != blocks_of(TEXTS, tokenizer, 16, seed=2)
    text = tokenizer.decode([token for block in blocks for token in block])
    assert text.count("<|endoftext|>") >= len(TEXTS) - 1
    assert all(part in "".join(TEXTS) for part in text.split("<|endoftext|>")[:-1])


def test_too_little_text_is_said(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="there is no text to train the tokenizer on"):
        build(shape(), ["", " \n"], seed=1, journal=tmp_path)
    with pytest.raises(StepError, match=r"the documents hold .* tokens, less than one sequence of 10,000"):
        build(shape(), TEXTS, seed=1, pretraining=Pretraining(1, 1, 10_000, 1e-3), journal=tmp_path)


def test_the_tokenizer_is_the_same_in_another_process(tmp_path: Path) -> None:
    program = (
        "from tests.training.tiny import TEXTS\nfrom runner.training.tokenizer import train_tokenizer\n"
        "import sys; sys.stdout.write(train_tokenizer(TEXTS, 320, context=64).backend_tokenizer.to_str())"
    )
    root = Path(__file__).parents[2]
    other = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True, timeout=50)
    from runner.training.tokenizer import train_tokenizer

    assert train_tokenizer(TEXTS, 320, context=64).backend_tokenizer.to_str() == other.stdout
