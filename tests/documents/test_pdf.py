"""Reading PDFs: the project's own, whose source text is known, and the odd and real ones of ../shared."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from runner.documents import Document, PdfReader, Verdict, read_document

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")


def read(path: Path, *rules: str) -> tuple[Document | None, Verdict]:
    with PdfReader() as pdf:
        return read_document(path, path.name, rules, pdf=pdf, name=path.name)  # type: ignore[arg-type]


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
    assert heron.text.replace("|", " ").split() == expected.replace("|", " ").split()


def test_its_paragraphs_are_whole(heron: Document) -> None:
    start = heron.text.index("Of the 129 jobs")
    paragraph = heron.text[start:].split("\n")[0]
    assert paragraph.endswith("9 remained without an explanation.")
    pages = {page.page for page in heron.pages if page.start <= start + 200 and page.end > start}
    assert pages == {1, 2}


def test_its_table_and_code_stay_rows(heron: Document) -> None:
    assert "\nPart | Number | Euros\nWorkstation | 12 | 9,600\n" in heron.text
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


VERDICTS = {
    "2206.01062_pg3": "encrypted", "invisible_text_layer": "read", "ocr_test_rotated_180": "scanned", "right_to_left_01": "read",
    "GHOSTSCRIPT-698804-1-fuzzed": "empty", "REDHAT-1531897-0": "damaged", "boundingBox_invalid": "read", "empty": "empty",
    "encrypted-attachment": "read", "issue15893_reduced": "encrypted", "issue6010_1": "encrypted", "issue9105_other": "damaged",
    "pdfjsbad1586": "read", "poppler-67295-0": "read", "poppler-85140-0": "empty", "poppler-91414-0-54": "read", "rotated": "read",
    "scan-bad": "read", "zerowidthline": "read", "aes-128": "encrypted", "aes-256": "encrypted", "encrypted_doc_no_id": "scanned",
    "issue-1113-evil-xobjects": "read", "jo": "read", "rc4-40": "encrypted", "simple1": "read", "zen_of_python_corrupted": "read",
    "annotated_pdf": "read", "habibi-rotated": "read", "imagemagick-CCITTFaxDecode": "scanned", "libre-office-link": "read",
    "minimal-document": "read", "with-attachment": "read",
}  # fmt: skip


@pytest.mark.shared
@needs_shared
def test_odd_pdfs_get_a_verdict_and_never_an_exception() -> None:
    files = sorted((SHARED / "pdf_odd").rglob("*.pdf"))
    with PdfReader(seconds=20) as pdf:
        found = {path.stem: read_document(path, path.name, [], pdf=pdf, name=path.name) for path in files}
    assert {name: verdict.verdict for name, (_, verdict) in found.items()} == VERDICTS
    for document, verdict in found.values():
        assert (document is not None) == verdict.usable
        assert verdict.usable or verdict.reason
        if document is not None:
            document.text.encode()
            assert document.text.strip()


@pytest.mark.shared
@needs_shared
def test_two_column_pages_with_floats_are_in_reading_order() -> None:
    document, _ = read(SHARED / "ai_papers" / "2020.acl-main.207.pdf")
    assert document is not None
    places = [document.text.index(piece) for piece in (
        "Representation learning is a critical ingredient for natural language processing systems.",
        "While such models are widely used for representing individual words or sentences, extensions",  # over a column break
        "substantially outperform the state-of-the-art",  # over a page break with footnotes
        "\n2.1 Overview", "\n3.4 Recommendation",
        "reduces performance considerably. This is reasonable because unlike",  # between two tables
        "The positive papers are sampled from the most co-viewed",  # over a table at the top of a column
        "\n7 Related Work", "\n8 Conclusions",
    )]  # fmt: skip
    assert places == sorted(places)
    assert "￾" not in document.text
    assert not re.search(r"^22[78]\d$", document.text, re.M), "page numbers"
    assert "SPECTER (Ours) 82.0 86.4 83.6" in document.text.replace(" | ", " ")


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
    assert "MMLU (Pass@1) | 88.3 | 87.2 | 88.5 | 85.2 | 91.8 | 90.8\nMMLU-Redux (EM)" in document.text
    page = next(p for p in document.pages if p.start <= document.text.index("GRPO samples a group") < p.end)
    assert page.page == 5
