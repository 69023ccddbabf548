"""Chunks equal to LangChain's, and spans that LangChain does not know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.documents import Document, Recursive, Splitter
from runner.documents.chunks.recursive import SEPARATORS

langchain: Any = pytest.importorskip("langchain_text_splitters", reason="the extra `langchain` is not installed")

SHARED = Path("../shared/data")
TEXTS = st.text(alphabet="ab .,\n\t#é😀`|-*_", max_size=120) | st.lists(
    st.sampled_from(["ab", " ", "\n\n", "ab ab", "\n# "]), max_size=40
).map("".join)
LITERALS = st.lists(st.sampled_from(["\n\n", "\n", " ", ".", "ab", "a", "|", ". "]), min_size=1, max_size=4).flatmap(
    lambda found: st.sampled_from([found, [*found, ""]])
)
PATTERNS = st.lists(st.sampled_from([r"\n+", r"\s", r"(?=a)", r"(?<=b)", r"[.|]", r"a|b", r"\b", "^#", "$"]), min_size=1, max_size=4)


def mine(text: str, size: int, overlap: int, settings: Recursive, length: Any = len) -> list[tuple[int, int, str]]:
    return list(settings.pieces(text, length, size, overlap))


@given(
    TEXTS,
    LITERALS,
    PATTERNS,
    st.booleans(),
    st.sampled_from(["start", "end", "none"]),
    st.booleans(),
    st.integers(1, 40),
    st.integers(0, 40),
)
@example("ab ab ab ab", [" "], ["x"], False, "start", True, 5, 2)
@example("a\n\n\n\nb", ["\n\n"], ["x"], False, "none", True, 9, 0)
def test_chunks_are_those_of_langchain(
    text: str, literals: list[str], patterns: list[str], regex: bool, keep: Any, strip: bool, size: int, overlap: int
) -> None:
    separators, overlap = patterns if regex else literals, min(overlap, size)
    theirs = langchain.RecursiveCharacterTextSplitter(
        separators=separators, is_separator_regex=regex, keep_separator=False if keep == "none" else keep,
        strip_whitespace=strip, chunk_size=size, chunk_overlap=overlap,
    ).split_text(text)  # fmt: skip
    found = mine(text, size, overlap, Recursive(separators, keep, regex, strip))
    assert [chunk for _, _, chunk in found] == theirs
    for start, end, chunk in found:
        if keep == "none":  # joined by the separator as written, a pattern too, which may stand nowhere in the text
            assert regex or (text[start:end][:1], text[start:end][-1:]) == (chunk[:1], chunk[-1:])
        else:
            assert text[start:end] == chunk


@given(TEXTS, st.integers(1, 60), st.integers(0, 20))
def test_presets_are_those_of_langchain(text: str, size: int, overlap: int) -> None:
    lengths = {"chunk_size": size, "chunk_overlap": min(overlap, size)}
    for theirs, settings in (
        (langchain.RecursiveCharacterTextSplitter(**lengths), Recursive()),
        (langchain.MarkdownTextSplitter(**lengths), Recursive(SEPARATORS["markdown"])),
        (
            langchain.RecursiveCharacterTextSplitter.from_language("markdown", **lengths),
            Recursive(SEPARATORS["markdown"], is_separator_regex=True),
        ),
    ):
        assert [chunk for _, _, chunk in mine(text, size, min(overlap, size), settings)] == theirs.split_text(text)


def test_spans_are_right_where_start_indices_of_langchain_are_not() -> None:
    """Repeated words, and an overlap that is counted in tokens: LangChain looks for the text and finds an earlier place, or none."""
    text = "one two three four " * 6

    def words(given: str) -> int:
        return len(given.split())

    splitter = langchain.RecursiveCharacterTextSplitter(chunk_size=6, chunk_overlap=4, length_function=words, add_start_index=True)
    theirs = [(found.metadata["start_index"], found.page_content) for found in splitter.create_documents([text])]
    found = mine(text, 6, 4, Recursive(), words)
    assert [chunk for _, _, chunk in found] == [chunk for _, chunk in theirs]
    assert [start for start, _, _ in found] != [start for start, _ in theirs]
    starts, ends = [start for start, _, _ in found], [end for _, end, _ in found]
    assert starts == sorted(set(starts))
    assert ends[-1] == len(text.rstrip())
    assert all(after <= before + 1 for before, after in zip(ends, starts[1:], strict=False))  # nothing lies between two chunks


@pytest.mark.shared
@pytest.mark.parametrize("tokens", [False, True], ids=["characters", "tokens"])
def test_real_documents_and_a_real_tokenizer(tokens: bool) -> None:
    papers, folder = SHARED / "ai_papers", SHARED / "models/tokenizers/qwen2.5"
    if not papers.is_dir() or not folder.is_dir():
        pytest.skip("needs ../shared")
    if tokens:
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        theirs = langchain.RecursiveCharacterTextSplitter.from_huggingface_tokenizer(tokenizer, chunk_size=200, chunk_overlap=40)
        ours = Splitter(200, 40, Recursive(), folder / "tokenizer.json")
    else:
        theirs, ours = langchain.RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=150), Splitter(1000, 150, Recursive())
    for path in sorted(papers.glob("*/*.md"))[: 4 if tokens else None]:
        text = path.read_text(encoding="utf-8")
        found = list(ours.split(Document(path.name, path.name, path.stem, "markdown", text, "0")))
        assert [chunk.text for chunk in found] == theirs.split_text(text)
        assert all(text[chunk.start : chunk.end] == chunk.text for chunk in found)
