"""Reading PDFs: the project's own, whose source text is known, and the odd and real ones of ../shared."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import unicodedata
from pathlib import Path
from types import ModuleType

import pytest

from runner.documents import Document, File, Reading, Verdict, read_document, read_documents
from runner.documents.pdf import Engine, read_pdf
from runner.errors import MissingPackage

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")


def read(path: Path, password: str = "", pdf: Engine = "pypdfium2") -> tuple[Document | None, Verdict]:
    return read_document(File(path, path.name, path.name, password), Reading(pdf=pdf))


@pytest.fixture(scope="module")
def source() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_pdf", ROOT / "recipes" / "corpus" / "make_pdf.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def heron() -> Document:
    document, verdict = read(ROOT / "recipes" / "corpus" / "heron-cluster.pdf")
    assert document is not None
    assert verdict.verdict == "read"
    return document


def test_the_text_of_a_two_column_paper_is_its_source(heron: Document, source: ModuleType) -> None:
    """Word by word: order of columns, mended hyphens, no running head, no page number, nothing lost."""
    expected = f"{source.TITLE_TEXT} {source.AUTHORS} " + source.TEXT.replace("~", "").replace("# ", "")
    rule = "\n" + "|".join(["", *[" --- "] * 3, ""])
    assert heron.text.count(rule) == 1
    assert heron.text.replace(rule, "").replace("|", " ").split() == expected.replace("|", " ").split()


def test_its_paragraphs_are_whole(heron: Document) -> None:
    start = heron.text.index("Of the 129 jobs")
    paragraph = heron.text[start:].split("\n")[0]
    assert paragraph.endswith("9 remained without an explanation.")
    pages = {page.page for page in heron.pages if page.start <= start + 200 and page.end > start}
    assert pages == {1, 2}


def test_its_table_and_code_stay_rows(heron: Document) -> None:
    assert "\n| Part | Number | Euros |\n| --- | --- | --- |\n| Workstation | 12 | 9,600 |\n" in heron.text
    assert "\nsedge put run-0412 step-300/\nsedge get run-0412 --latest --valid-only\n" in heron.text


def test_its_title_sections_and_pages(heron: Document) -> None:
    assert heron.title == "Heron: Fine-Tuning Language Models on Twelve Second-Hand Workstations"
    assert [(s.level, s.title) for s in heron.sections[1:4]] == [(2, "Abstract"), (2, "1 Introduction"), (2, "2 Hardware")]
    assert all(heron.text[s.start :].startswith(s.title) for s in heron.sections)
    assert [page.page for page in heron.pages] == [1, 2]
    assert (heron.pages[0].start, heron.pages[0].end, heron.pages[1].end) == (0, heron.pages[1].start, len(heron.text))
    assert heron.text.index("6 Conclusion") > heron.pages[1].start


@pytest.mark.slow
def test_the_committed_pdf_is_made_from_its_source(tmp_path: Path, source: ModuleType, heron: Document) -> None:
    source.main(tmp_path / "heron-cluster.pdf")
    made, _ = read(tmp_path / "heron-cluster.pdf")
    assert made is not None
    assert made.text == heron.text


#: Every file of pdf_odd, judged by its rendered pages and its objects, not by what our reader says of it.
VERDICTS = {
    "2206.01062_pg3": "encrypted", "issue15893_reduced": "encrypted", "issue6010_1": "encrypted", "aes-128": "encrypted",
    "aes-256": "encrypted", "rc4-40": "encrypted",
    "encrypted-attachment": "read",  # only its attachment is encrypted
    "REDHAT-1531897-0": "damaged",  # no objects that can be told apart
    "issue9105_other": "damaged",  # neither a catalogue nor pages
    "empty": "empty",
    "GHOSTSCRIPT-698804-1-fuzzed": "empty",  # one page with a content stream of no bytes
    "poppler-85140-0": "empty",  # the same; it promises 213,804,087 pages and has one
    "ocr_test_rotated_180": "scanned", "imagemagick-CCITTFaxDecode": "scanned",
    "encrypted_doc_no_id": "scanned",  # opens without a password; two blank pages and one with a picture
    "scan-bad": "read",  # a scan that shows "pdf.js", with a layer of text that says so
    "invisible_text_layer": "read",  # of two lines one is shown
    "jo": "partly",  # vertical Japanese; PDFium finds 16 of its 65 lines
    "boundingBox_invalid": "read",  # page boxes of no size: the default is taken
    "zen_of_python_corrupted": "read", "pdfjsbad1586": "read", "poppler-67295-0": "read", "poppler-91414-0-54": "read",
    "right_to_left_01": "read", "rotated": "read", "zerowidthline": "read", "issue-1113-evil-xobjects": "read", "simple1": "read",
    "annotated_pdf": "read", "habibi-rotated": "read", "libre-office-link": "read", "minimal-document": "read", "with-attachment": "read",
}  # fmt: skip
#: What a reader with eyes sees on a page, for files that open or can be opened.
SEEN = {
    "zen_of_python_corrupted": "Beautiful is better than ugly.\nExplicit is better than implicit.\nSimple is better than complex.",
    "scan-bad": "pdf.js",
    "invisible_text_layer": "Visible heading line", "encrypted-attachment": "Example", "poppler-67295-0": "TestString123",
    "poppler-91414-0-54": "foobar", "boundingBox_invalid": "Empty /CropBox and /MediaBox intersection", "pdfjsbad1586": "pdf.js test",
    "right_to_left_01": "Python", "annotated_pdf": "Not highlighted", "libre-office-link": "This is a link to an awesome blog.",
    "habibi-rotated": "habibi", "simple1": "Hello World", "minimal-document": "Lorem ipsum dolor sit amet, consetetur sadipscing",
}  # fmt: skip
#: Passwords as the corpora state them, and a text of the file.
PASSWORDS = {
    "aes-128": ("foo", "Secret!"), "aes-256": ("foo", "Secret!"), "rc4-40": ("foo", "Secret!"), "issue6010_1": ("abc", "Issue 6010"),
    "issue15893_reduced": ("test", "Issue 15893 - password"),
    "2206.01062_pg3": ("1234", "six distinct categories, namely Financial Reports"),
}  # fmt: skip


def odd(name: str) -> Path:
    return next((SHARED / "pdf_odd").rglob(f"{name}.pdf"))


@pytest.mark.shared
@needs_shared
def test_odd_pdfs_get_a_verdict_and_never_an_exception() -> None:
    files = sorted((SHARED / "pdf_odd").rglob("*.pdf"))
    given = [File(path, path.name, path.name) for path in files]
    found = dict(zip([path.stem for path in files], read_documents(given, seconds=20, concurrency=2), strict=True))
    assert {name: verdict.verdict for name, (_, verdict) in found.items()} == VERDICTS
    for document, verdict in found.values():
        assert (document is not None) == verdict.usable
        assert verdict.usable or verdict.reason
        if document is not None:
            document.text.encode()
            assert document.text.strip()
    for name, text in SEEN.items():
        document, _ = found[name]
        assert document is not None
        assert text in document.text, name


@pytest.mark.shared
@needs_shared
@pytest.mark.parametrize("engine", ["pypdfium2", "pymupdf"])
@pytest.mark.parametrize("name", PASSWORDS)
def test_a_password_opens_a_file_and_a_wrong_one_is_said_to_be_wrong(name: str, engine: Engine) -> None:
    if engine == "pymupdf":
        pytest.importorskip("pymupdf")
    password, text = PASSWORDS[name]
    document, verdict = read(odd(name), password, engine)
    assert document is not None
    assert verdict.verdict == "read"
    assert text in document.text
    missing, wrong = read(odd(name), "", engine)[1], read(odd(name), "guess", engine)[1]
    assert (missing.verdict, wrong.verdict) == ("encrypted", "encrypted")
    assert missing.reason == "needs a password; name the environment variable that holds it in `resources.passwords`"
    assert wrong.reason.startswith("the password given for it does not open it; ")
    assert "guess" not in wrong.reason


@pytest.mark.shared
@needs_shared
def test_a_reason_does_not_say_where_the_file_lies() -> None:
    pytest.importorskip("pymupdf")
    path = odd("poppler-85140-0").resolve()
    _, verdict = read_document(File(path, path.name, path.name), Reading(pdf="pymupdf"))
    assert verdict.verdict == "damaged"
    assert str(path.parent) not in verdict.reason


@pytest.mark.shared
@needs_shared
def test_a_password_for_a_file_that_needs_none_does_no_harm() -> None:
    assert read(odd("minimal-document"), "unneeded")[1].verdict == "read"


def test_pymupdf_is_asked_for_by_name_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymupdf", None)
    with pytest.raises(MissingPackage, match="pymupdf") as error:
        read_pdf(tmp_path / "a.pdf", engine="pymupdf")
    assert error.value.remedy == 'pip install "recipe-runner[pymupdf]"'


@pytest.mark.shared
@needs_shared
@pytest.mark.parametrize("engine", ["pypdfium2", "pymupdf"])
def test_sentences_over_the_ends_of_columns_and_pages_are_whole(engine: Engine) -> None:
    """Marked by eye on the rendered pages; see the file."""
    if engine == "pymupdf":
        pytest.importorskip("pymupdf")
    marked = json.loads((Path(__file__).parent / "reading_order.json").read_text())
    assert len(marked["sentences"]) >= 40
    pages = {}
    for name in {item["file"] for item in marked["sentences"] + marked["pairs"]}:
        document, _ = read(SHARED / "ai_papers" / name, pdf=engine)
        assert document is not None
        pages[name] = bare(document.text)
    torn = [item for item in marked["sentences"] if bare(item["before"] + item["after"]) not in pages[item["file"]]]
    turned = [
        item for item in marked["pairs"]
        if not 0 <= pages[item["file"]].find(bare(item["first"])) < pages[item["file"]].find(bare(item["second"]))
    ]  # fmt: skip
    assert (torn, turned) == ([], [])


def bare(text: str) -> str:
    """A text without white space and hyphens, in which all spellings of a character are one."""
    return re.sub(r"[\s\-\u00ad\u2010]+", "", unicodedata.normalize("NFKC", text)).lower()


@pytest.mark.shared
@needs_shared
def test_tables_footnotes_and_running_heads_of_a_paper() -> None:
    document, _ = read(SHARED / "ai_papers" / "2020.acl-main.207.pdf")
    assert document is not None
    assert document.title == "SPECTER: Document-level Representation Learning using Citation-informed Transformers"
    assert "\ufffe" not in document.text
    assert not re.search(r"^22[78]\d$", document.text, re.M), "page numbers"
    assert (
        "\n| SPECTER (Ours) | 82.0 | 86.4 | 83.6 | 91.5 | 84.5 | 92.4 | 88.3 | 94.9 | 88.1 | 94.8 | 53.9 | 20.0 | 80.0 |" in document.text
    )
    assert "| Training signal | CLS | USR | CITE | REC | All |\n" in document.text
    assert "cross-topic relatedness" in document.text
    assert re.search(r"\n\n13We experimented with both concatenating authors .+ Neither were helpful\.\n", document.text)
    assert "\n\nMatt Gardner, Joel Grus, Mark Neumann" in document.text
    assert "AllenNLP: A Deep Semantic Natural Language Processing Platform." in document.text


@pytest.mark.shared
@needs_shared
def test_formulas_of_a_paper_are_not_torn() -> None:
    document, _ = read(SHARED / "ai_papers" / "DeepSeek_R1.pdf")
    assert document is not None
    lines = [unicodedata.normalize("NFKC", line).replace(" ", "") for line in document.text.split("\n")]
    assert "DKLπθ||πref=πref(oi|q)πθ(oi|q)−logπref(oi|q)πθ(oi|q)−1,(2)" in lines
    assert "Ai=ri−mean({r1,r2,···,rG})std({r1,r2,···,rG}).(3)" in lines


@pytest.mark.shared
@needs_shared
def test_a_paper_with_bookmarks_has_their_sections() -> None:
    document, _ = read(SHARED / "ai_papers" / "DeepSeek_R1.pdf")
    assert document is not None
    assert document.title == "DeepSeek-R1: Incentivizing Reasoning Capability in LLMs via Reinforcement Learning"
    assert [s.title for s in document.sections if s.level == 2][:5] == [
        "Abstract", "1. Introduction", "2. Approach", "3. Experiment", "4. Discussion",
    ]  # fmt: skip
    assert (3, "3.1. DeepSeek-R1 Evaluation") in [(s.level, s.title) for s in document.sections]
    assert "without supervised fine-tuning (SFT) as a preliminary step" in document.text
    assert "| MMLU (Pass@1) | 88.3 | 87.2 | 88.5 | 85.2 | 91.8 | 90.8 |" in document.text.replace("English", "").replace("|  |", "|")
    page = next(p for p in document.pages if p.start <= document.text.index("GRPO samples a group") < p.end)
    assert page.page == 5
