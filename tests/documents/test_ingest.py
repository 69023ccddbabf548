from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.documents import Document, File, Reading, Verdict, read_document, read_documents
from runner.documents.cleaning import Rule

CORPUS = Path(__file__).parents[2] / "recipes" / "corpus"
SHARED = Path(__file__).parents[3] / "shared" / "data"


def read(path: Path, data: bytes, *rules: Rule, encoding: str | None = None) -> tuple[Document | None, Verdict]:
    path.write_bytes(data)
    return read_document(File(path, path.name, path.name), Reading(rules, encoding=encoding))


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
    ("text", "title"),
    [
        ("---\ntitle: 'A title'\ndate: x\n---\n\n## Part\n", "A title"),
        ("---\ntitle: A\n---\n# Top\n", "Top"),
        ('+++\ntitle = "T"\n+++\ntext\n', "T"),
        ("---\ndate: x\n---\n\nfirst line\n", "first line"),
        ("---\ndate: x\n---\n", "a"),
    ],
)
def test_front_matter_is_no_heading_but_may_hold_the_title(tmp_path: Path, text: str, title: str) -> None:
    for rules in ([], ["front-matter"]):
        document, verdict = read(tmp_path / "a.md", text.encode(), *rules)  # type: ignore[arg-type]
        if document is None:
            assert verdict.reason == "no text is left after cleaning"
            continue
        assert document.title == title
        assert not any("date" in section.title for section in document.sections)


def test_html_becomes_markdown_with_title_and_sections(tmp_path: Path) -> None:
    page = b"<!doctype html><title>T | Site</title><nav>Home</nav><main><h1>T</h1><p>a<h2>B</h2><p>&lt;b&gt; &amp;c</main>"
    document, verdict = read(tmp_path / "a.html", page, "html", "whitespace")
    assert document is not None
    assert document.text == "# T\n\na\n\n## B\n\n<b> &c", "the rule `html` must not take what the page shows for markup"
    assert (document.format, document.title, [s.title for s in document.sections]) == ("html", "T", ["T", "B"])
    assert all(document.text.startswith("#", section.start) for section in document.sections)
    assert verdict == Verdict("a.html", "read", characters=20)


UTF8_REMEDY = "; declare what it is (`encoding: windows-1252`) or convert it"


@pytest.mark.parametrize(
    ("name", "data", "verdict", "reason"),
    [
        ("a.md", b"", "empty", "the file has no bytes"),
        ("a.md", b" \n\n", "empty", "the file holds no text"),
        (
            "a.html",
            b"<html><body><div id=app></div><script>go()</script>",
            "empty",
            "the page holds no text; a browser may be needed to fill it",
        ),
        ("a.txt", b"caf\xe9", "damaged", "not UTF-8: byte 0xe9 in line 1" + UTF8_REMEDY),
        ("a.html", b"<p>caf\xe9", "damaged", "not UTF-8: byte 0xe9 in line 1" + UTF8_REMEDY),
        ("a.txt", b"a\0b", "damaged", "holds NUL characters: not a text file"),
        ("a.txt", b"\xff\xfea\0\0\xd8", "damaged", "not UTF-16: unexpected end of data"),
        ("a.txt", b"%PDF-1.7\n", "damaged", "holds a PDF; name it .pdf"),
        ("a.pdf", b"<!DOCTYPE html><p>Please log in", "damaged", "holds a web page and no PDF, as a download does that went wrong"),
        ("a.docx", b"PK", "unsupported", "the formats are .htm, .html, .markdown, .md, .mdown, .pdf, .text, .txt, .xhtml"),
        ("a.pdf", b"no pdf", "damaged", "not a PDF, or its structure is damaged"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, data: bytes, verdict: str, reason: str) -> None:
    document, said = read(tmp_path / name, data)
    assert document is None
    assert (said.verdict, said.reason, said.characters) == (verdict, reason, 0)


def test_without_an_extension_the_first_bytes_tell(tmp_path: Path) -> None:
    page, _ = read(tmp_path / "1706.03762", b"\n<!-- x --><HTML><p>text")
    pdf, _ = read(tmp_path / "paper", (CORPUS / "heron-cluster.pdf").read_bytes())
    assert page is not None
    assert pdf is not None
    assert (page.format, pdf.format) == ("html", "pdf")


def test_text_that_cleaning_removes_altogether_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path / "a.md", b"<div><br/></div>", "html")[1].reason == "no text is left after cleaning"


def test_utf_16_right_to_left_and_emoji(tmp_path: Path) -> None:
    document, _ = read(tmp_path / "a.txt", "שלום 👩‍🔬 Ω".encode("utf-16"), "control-characters")
    assert document is not None
    assert document.text == "שלום 👩‍🔬 Ω"


@pytest.mark.parametrize("encoding", ["windows-1252", "utf-16-le", "shift_jis"])
def test_a_declared_encoding_is_for_what_is_no_utf_8(tmp_path: Path, encoding: str) -> None:
    text = "日本語 ascii" if encoding == "shift_jis" else "café – ok"
    other, _ = read(tmp_path / "a.txt", text.encode(encoding), encoding=encoding)
    utf8, _ = read(tmp_path / "b.txt", "日本語 café".encode(), encoding=encoding)
    assert other is not None
    assert utf8 is not None
    assert (other.text, utf8.text) == (text, "日本語 café")


@pytest.mark.parametrize(
    ("head", "codec"),
    [
        ('<meta charset="iso-8859-1">', "cp1252"),
        ("<meta http-equiv=Content-Type content='text/html; charset=windows-1251'>", "cp1251"),
        ('<meta charset="utf-16">', "utf-8"),
        ('<meta charset="gb2312">', "gb18030"),
        ('<meta charset="no-such-thing">', "utf-8"),
    ],
)
def test_a_page_says_its_encoding(tmp_path: Path, head: str, codec: str) -> None:
    text = {"cp1252": "“café”", "cp1251": "Привет", "gb18030": "你好"}.get(codec, "naïve")
    document, _ = read(tmp_path / "a.html", f"<html><head>{head}</head><body><p>{text}".encode(codec))
    assert document is not None
    assert document.text == text


def test_half_characters_do_not_get_through(tmp_path: Path) -> None:
    document, _ = read(tmp_path / "a.html", b"<title>&#xd800;</title><p>a&#xd800;b &#x1F600;")
    assert document is not None
    document.text.encode()
    document.title.encode()
    assert "\U0001f600" in document.text


def test_a_broken_pdf_is_only_its_own_fault(tmp_path: Path) -> None:
    whole = (CORPUS / "heron-cluster.pdf").read_bytes()
    cuts = [100, len(whole) // 2, len(whole) - 200]
    files = []
    for length in cuts:
        path = tmp_path / f"{length}.pdf"
        path.write_bytes(whole[:length])
        files.append(File(path, path.name))
    for document, verdict in read_documents(files):
        assert (document is None) == (not verdict.usable)


def test_files_are_read_apart_and_come_in_order(tmp_path: Path) -> None:
    names = [f"{number}.md" for number in range(30)]
    for name in names:
        (tmp_path / name).write_text(f"# {name}\n")
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "loop.md").symlink_to("loop.md")
    (tmp_path / ("x" * 240 + ".md")).write_text("long name 🚀")
    names += ["pipe.md", "folder.md", "loop.md", "x" * 240 + ".md", "missing.md"]
    found = list(read_documents([File(tmp_path / name, name, name) for name in names], concurrency=3, seconds=20))
    assert [verdict.path for _, verdict in found] == names
    assert [document.title for document, _ in found[:30] if document] == names[:30]
    assert [(verdict.verdict, verdict.reason) for _, verdict in found[30:]] == [
        ("damaged", "cannot be read: is no regular file"),
        ("damaged", "cannot be read: is no regular file"),
        ("damaged", "cannot be read: Too many levels of symbolic links"),
        ("read", ""),
        ("damaged", "cannot be read: No such file or directory"),
    ]
    assert list(read_documents([])) == []


def test_the_process_makes_no_difference(tmp_path: Path) -> None:
    """What comes through the other process is what this one would have read, to the last field."""
    (tmp_path / "a.html").write_text("<h1>A</h1><table><tr><td>1<td>2<tr><td>3<td>4</table>")
    files = [File(tmp_path / "a.html", "a.html"), *(File(path, path.name) for path in sorted(CORPUS.iterdir()) if path.is_file())]
    reading = Reading(["unicode", "whitespace"])
    assert list(read_documents(files, reading)) == [read_document(file, reading) for file in files]


def test_a_line_without_end_costs_its_file_and_nothing_else(tmp_path: Path) -> None:
    with (tmp_path / "long.txt").open("wb") as file:
        for _ in range(300):
            file.write(b"word " * 200_000)
    (tmp_path / "short.txt").write_text("text")
    files = [File(tmp_path / name, name, name) for name in ("long.txt", "short.txt")]
    found = list(read_documents(files, Reading(["whitespace"]), megabytes=512))
    assert [(verdict.verdict, verdict.reason) for _, verdict in found] == [("damaged", "reading it takes more than 512 MB"), ("read", "")]


def test_a_line_of_some_megabytes_is_read(tmp_path: Path) -> None:
    for name, size, text in (
        ("a.txt", 1_000_000, "a | b  `$ <b "),
        ("b.md", 1_000_000, "[x](y) $z ` | "),
        ("c.html", 50_000, "<p>word <i>x</i> "),
        ("d.html", 11_000_000, "one text node, "),
    ):
        (tmp_path / name).write_text(text * (size // len(text)))
    files = [File(tmp_path / name, name) for name in ("a.txt", "b.md", "c.html", "d.html")]
    found = list(read_documents(files, Reading(["html", "links", "special-symbols", "whitespace"]), seconds=50))
    assert [verdict.verdict for _, verdict in found] == ["read"] * 4, [verdict for _, verdict in found]
    assert found[3][1].characters > 10_900_000, "the parser must not cut a long text"


def test_a_pages_bibliography_is_cut_and_what_follows_keeps_its_place(tmp_path: Path) -> None:
    text = "# P\n\nbody\n\n## 7. References\n\n[1] A. Author.\n\n### Online\n\n[2] B.\n\n## Appendix\n\nproof\n"
    document, _ = read(tmp_path / "a.md", text.encode(), "references")
    assert document is not None
    assert document.text == "# P\n\nbody\n\n## Appendix\n\nproof"
    assert [(s.title, document.text[s.start :].split("\n")[0]) for s in document.sections] == [("P", "# P"), ("Appendix", "## Appendix")]


@pytest.mark.shared
def test_a_papers_bibliography_is_cut() -> None:
    path = SHARED / "ai_papers" / "2020.acl-main.207.pdf"
    if not path.exists():
        pytest.skip("../shared is missing")
    whole, _ = read_document(File(path, path.name))
    cut, _ = read_document(File(path, path.name), Reading(["references"]))
    assert whole is not None
    assert cut is not None
    assert [s.title for s in whole.sections if s not in cut.sections and s.title.lower() == "references"] == ["References"]
    assert 0.5 * len(whole.text) < len(cut.text) < 0.95 * len(whole.text)
    assert len(cut.pages) == len(whole.pages) == 13
    for section in cut.sections:
        assert cut.text[section.start :].split()[0] == section.title.split()[0]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "password"), [("pdfminer.six/aes-128.pdf", "foo"), ("pdf.js/issue6010_1.pdf", "abc")])
def test_a_password_opens_what_is_encrypted(name: str, password: str) -> None:
    path = SHARED / "pdf_odd" / name
    if not path.exists():
        pytest.skip("../shared is missing")
    files = [File(path, "a.pdf"), File(path, "a.pdf", password="wrong-canary"), File(path, "a.pdf", password=password)]
    found = list(read_documents(files))
    assert [verdict.verdict for _, verdict in found] == ["encrypted", "encrypted", "read"]
    assert "canary" not in str(found) + repr(files)
