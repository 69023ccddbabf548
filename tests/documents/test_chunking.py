from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.documents import Document, Page, Section, Splitter
from runner.errors import InputError

WORDS = "alpha beta gamma delta epsilon "


def document(text: str, **more: object) -> Document:
    return Document(**{"id": "d.md", "source": "d.md", "title": "T", "format": "text", "text": text, "sha256": "0", **more})  # type: ignore[arg-type]


@given(st.text(alphabet="ab .\n#é😀`|-", max_size=200), st.integers(5, 40), st.integers(0, 4))
def test_a_chunk_is_the_span_that_it_names(text: str, size: int, overlap: int) -> None:
    for by in ("text", "markdown"):
        for chunk in Splitter(size, overlap, by).split(document(text)):  # type: ignore[arg-type]
            assert chunk.text == text[chunk.start : chunk.end]
            assert 0 < len(chunk.text) <= size


def test_chunks_cover_the_text_and_overlap() -> None:
    text = " ".join(f"Sentence number {n} says something." for n in range(60))
    plain = list(Splitter(200, 0).split(document(text)))
    lapped = list(Splitter(200, 80).split(document(text)))
    assert "".join(chunk.text for chunk in plain).replace(" ", "") == text.replace(" ", "")
    assert len(lapped) > len(plain)
    assert all(after.start < before.end for before, after in pairwise(lapped))
    assert [chunk.id for chunk in plain[:2]] == ["d.md#0", "d.md#1"]


def test_sections_and_pages_of_chunks() -> None:
    text = "# T\n\nintro\n\n## A\n\n### B\n\nunder b\n\n## C\n\nunder c"
    sections = [
        Section(1, "T", 0),
        *(Section(level, name, text.index(f" {name}") - level) for level, name in ((2, "A"), (3, "B"), (2, "C"))),
    ]
    pages = [Page(1, 0, 0), Page(2, 0, 30), Page(3, 30, len(text))]
    found = list(Splitter(18, by="markdown").split(document(text, sections=sections, pages=pages)))
    assert [(chunk.text, chunk.section, chunk.page) for chunk in found] == [
        ("# T\n\nintro", "T", 2),
        ("### B\n\nunder b", "A > B", 2),
        ("## C\n\nunder c", "C", 3),
    ]


def test_the_format_decides_unless_told_otherwise() -> None:
    text = "# A\n\n" + WORDS * 3 + "\n# B\n\n" + WORDS * 3
    markdown = document(text, format="markdown")
    cut = [[chunk.start for chunk in Splitter(120, by=by).split(markdown)] for by in ("format", "markdown", "text")]  # type: ignore[arg-type]
    assert cut[0] == cut[1] != cut[2]


def test_a_text_of_spaces_has_no_chunk_and_a_lone_heading_is_one() -> None:
    assert list(Splitter(10).split(document(" \n "))) == []
    assert [c.text for c in Splitter(10, by="markdown").split(document("# T", sections=[Section(1, "T", 0)]))] == ["# T"]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate([*WORDS.split(), "[UNK]"])}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.enable_truncation(3)
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def test_tokens_are_counted_with_the_named_tokenizer(tokenizer: Path) -> None:
    found = list(Splitter(10, tokenizer=tokenizer).split(document(WORDS * 8)))
    assert [len(chunk.text.split()) for chunk in found] == [10, 10, 10, 10]


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match=r"(?s)x\.json: not a tokenizer: .*name a tokenizer\.json"):
        Splitter(10, tokenizer=tmp_path / "x.json")
