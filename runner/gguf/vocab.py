"""The vocabulary of a GGUF from a Hugging Face ``tokenizer.json``.

Two sorts are known: byte-level BPE (GPT-2's; Qwen2, Llama 3) and BPE with byte fallback (SentencePiece's; Llama 2). llama.cpp
splits text with code of its own, chosen by name; the name is found here by the tokenizer's splitting pattern, never by guess.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gguf

from runner.errors import InputError, StepError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
#: Splitting pattern -> llama.cpp's name for it, and whether that name ignores merges for words that are tokens.
_SPLITS = {
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|" + _REST: ("qwen2", False),
    _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|" + _REST: ("llama-bpe", True),
}
_SPACE = "▁"
_UNMERGED = -1e6  # score of a token that no merge makes: below every merge


@dataclass(frozen=True)
class Token:
    text: str
    type: gguf.TokenType


class Vocabulary:
    """The tokenizer in ``folder``; ``size`` is the number of embedding rows, which may be larger than the vocabulary."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self._data = self._read("tokenizer.json", required=True)
        self._settings = self._read("special_tokens_map.json") | self._read("tokenizer_config.json")
        model = self._data["model"]
        if model["type"] != "BPE":
            raise StepError(f"cannot export a {model['type']} tokenizer", where=str(folder), remedy="known: BPE")
        self._model: Mapping[str, Any] = model

    def _read(self, name: str, *, required: bool = False) -> dict[str, Any]:
        file = self.folder / name
        if not file.is_file() and not required:
            return {}
        try:
            data = json.loads(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {name}: {error}", where=str(self.folder)) from None
        return data if isinstance(data, dict) else {}

    @property
    def byte_level(self) -> bool:
        return any(step["type"] == "ByteLevel" for step in self._splitters)

    @property
    def _splitters(self) -> list[dict[str, Any]]:
        return _sequence(self._data.get("pre_tokenizer"), "pretokenizers")

    @cached_property
    def split(self) -> str:
        """llama.cpp's name of the splitting (``tokenizer.ggml.pre``)."""
        if not self.byte_level:
            return "default"
        patterns = [step["pattern"].get("Regex", "") for step in self._splitters if step["type"] == "Split"]
        own = [step for step in self._splitters if step["type"] == "ByteLevel" and step.get("use_regex", True)]
        name, ignores_merges = ("gpt-2", False) if own and len(self._splitters) == 1 else _SPLITS.get("".join(patterns), ("", False))
        if not name:
            raise StepError(
                f"llama.cpp has no splitting for this tokenizer: {self._data.get('pre_tokenizer')}",
                where=str(self.folder),
                remedy="known: those of Qwen2, Llama 3 and GPT-2",
            )
        if bool(self._model.get("ignore_merges")) != ignores_merges:
            raise StepError(f"ignore_merges is not what llama.cpp does under the splitting {name}", where=str(self.folder))
        return name

    @cached_property
    def tokens(self) -> list[Token]:
        """All tokens by id; ids that nothing uses are filled."""
        added = {entry["id"]: entry for entry in self._data.get("added_tokens") or []}
        texts = {identifier: text for text, identifier in self._model["vocab"].items()}
        unknown = self._model.get("unk_token")
        if max((*texts, *added), default=-1) >= self.size:
            raise InputError(f"the tokenizer has more tokens than the model's {self.size} embeddings", where=str(self.folder))

        def token(identifier: int) -> Token:
            if identifier in added:
                entry = added[identifier]
                special = gguf.TokenType.UNKNOWN if entry["content"] == unknown and not self.byte_level else gguf.TokenType.CONTROL
                return Token(entry["content"], special if entry["special"] else gguf.TokenType.USER_DEFINED)
            if identifier not in texts:
                return Token(f"[PAD{identifier}]", gguf.TokenType.UNUSED)
            text = texts[identifier]
            if not self.byte_level and _byte(text):
                return Token(text, gguf.TokenType.BYTE)
            return Token(text, gguf.TokenType.NORMAL)

        return [token(identifier) for identifier in range(self.size)]

    @cached_property
    def merges(self) -> list[str]:
        """``left right``, in the order of the merges."""
        return [merge if isinstance(merge, str) else " ".join(merge) for merge in self._model["merges"]]

    @property
    def scores(self) -> list[float]:
        """SentencePiece's scores, standing for the order of the merges: the first merge has the highest."""
        ranks = {merge.replace(" ", "", 1): -float(rank) for rank, merge in reversed(list(enumerate(self.merges)))}
        return [ranks.get(token.text, _UNMERGED) for token in self.tokens]

    @property
    def adds_bos(self) -> bool:
        """Whether the tokenizer puts a begin-of-text token before plain text."""
        setting = self._settings.get("add_bos_token")
        if setting is not None:
            return bool(setting)
        steps = _sequence(self._data.get("post_processor"), "processors")
        firsts = [step["single"][0] for step in steps if step["type"] == "TemplateProcessing" and step.get("single")]
        return any("SpecialToken" in first for first in firsts)

    @property
    def adds_space(self) -> bool:
        """Whether a text is given a leading space (SentencePiece's dummy prefix)."""
        prepends = any(step["type"] == "Prepend" for step in _sequence(self._data.get("normalizer"), "normalizers"))
        spaces = [step for step in self._splitters if step["type"] == "Metaspace"]
        return prepends or any(step.get("prepend_scheme", "always") != "never" for step in spaces)

    def special(self, name: str) -> int | None:
        """The id of ``bos``, ``eos``, ``pad`` or ``unk``, as the tokenizer's settings have it."""
        value = self._settings.get(f"{name}_token")
        text = value.get("content") if isinstance(value, dict) else value
        return next((identifier for identifier, token in enumerate(self.tokens) if token.text == text), None) if text else None

    @property
    def chat_template(self) -> str | None:
        """The default chat template: of the settings, or the file beside them."""
        file = self.folder / "chat_template.jinja"
        if file.is_file():
            return file.read_text("utf-8")
        template = self._settings.get("chat_template")
        if isinstance(template, list):
            return next((str(entry["template"]) for entry in template if entry.get("name") == "default"), None)
        return str(template) if template else None

    def write(self, writer: gguf.GGUFWriter, config: Mapping[str, Any]) -> None:
        """Write the vocabulary; special ids that the tokenizer does not name come from the model's ``config``."""
        writer.add_tokenizer_model("gpt2" if self.byte_level else "llama")
        writer.add_tokenizer_pre(self.split)
        writer.add_token_list([token.text for token in self.tokens])
        writer.add_token_types([int(token.type) for token in self.tokens])
        if self.byte_level:
            writer.add_token_merges(self.merges)
        else:
            if not any(token.type is gguf.TokenType.BYTE for token in self.tokens):
                raise StepError("a BPE tokenizer without byte tokens has no form in llama.cpp", where=str(self.folder))
            writer.add_token_scores(self.scores)
            writer.add_add_space_prefix(self.adds_space)
        for name, add in (
            ("bos", writer.add_bos_token_id),
            ("eos", writer.add_eos_token_id),
            ("pad", writer.add_pad_token_id),
            ("unk", writer.add_unk_token_id),
        ):
            named = self.special(name)
            given = config.get(f"{name}_token_id")
            chosen = named if named is not None else given[0] if isinstance(given, list) else given
            if chosen is not None:
                add(chosen)
        writer.add_add_bos_token(self.adds_bos)
        if self.chat_template:
            writer.add_chat_template(self.chat_template)


def _sequence(step: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """A tokenizer component as a list of its parts."""
    if step is None:
        return []
    return list(step[key]) if step["type"] == "Sequence" else [step]


def _byte(text: str) -> bool:
    return len(text) == 6 and text.startswith("<0x") and text.endswith(">")
