from __future__ import annotations

from pathlib import Path

import pytest

from runner.documents import Document, PdfReader, Verdict, read_document


def read(path: Path, data: bytes, *rules: str) -> tuple[Document | None, Verdict]:
    path.write_bytes(data)
    with PdfReader() as pdf:
        return read_document(path, path.name, rules, pdf=pdf, name=path.name)  # type: ignore[arg-type]


def test_markdown_has_its_title_and_sections_with_offsets(tmp_path: Path) -> None:
    document, verdict = read(tmp_path / "a.md", b"\xef\xbb\xbfIntro\r\n\r\n# Ti*t*le\r\n\r\n## Part\r\ntext\r\n")
    assert document is not None
    assert document.text == "Intro\n\n# Ti*t*le\n\n## Part\ntext"
    assert [(s.level, s.title, document.text[s.start :].split("\n")[0]) for s in document.sections] == [
        (1, "Ti*t*le", "# Ti*t*le"),
        (2, "Part", "## Part"),
    ]
    assert (document.format, document.title, document.pages, verdict.characters) == ("markdown", "Ti*t*le", (), 30)
    assert Document.of(document.row()) == document


@pytest.mark.parametrize(
    ("name", "data", "verdict", "reason"),
    [
        ("a.md", b"", "empty", "the file has no bytes"),
        ("a.md", b" \n\n", "empty", "the file holds no text"),
        ("a.txt", b"caf\xe9", "damaged", "not UTF-8: byte 0xe9 in line 1; convert it (iconv -f WINDOWS-1252 -t UTF-8)"),
        ("a.txt", b"a\0b", "damaged", "holds NUL characters: not a text file"),
        ("a.docx", b"PK", "unsupported", "the formats are .markdown, .md, .mdown, .pdf, .text, .txt"),
        ("a.pdf", b"no pdf", "damaged", "not a PDF, or its structure is damaged"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, data: bytes, verdict: str, reason: str) -> None:
    document, said = read(tmp_path / name, data)
    assert document is None
    assert (said.verdict, said.reason) == (verdict, reason)


def test_text_that_cleaning_removes_altogether_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "a.md", b"<div><br/></div>", "html")[1].reason == "no text is left after cleaning"


def test_utf_16_right_to_left_and_emoji(tmp_path: Path) -> None:
    document, _ = read(tmp_path / "a.txt", "שלום 👩‍🔬 Ω".encode("utf-16"), "control-characters")
    assert document is not None
    assert document.text == "שלום 👩‍🔬 Ω"


def test_a_broken_pdf_is_only_its_own_fault(tmp_path: Path) -> None:
    whole = (Path(__file__).parents[2] / "recipes" / "corpus" / "heron-cluster.pdf").read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 200):
        document, verdict = read(tmp_path / "cut.pdf", whole[:length])
        assert (document is None) == (not verdict.usable)
