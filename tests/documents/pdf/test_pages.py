"""PDFs made on the spot, whose text and layout are known: what comes out is what went in, in the order in which it is read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from runner.documents.pdf import Engine, read_pdf
from tests.documents.pdf.pdf_pages import Page, write

missing = pytest.mark.skipif(importlib.util.find_spec("pymupdf") is None, reason="PyMuPDF is not installed")
ENGINES = pytest.mark.parametrize("engine", ["pypdfium2", pytest.param("pymupdf", marks=missing)])

WORDS = (
    "the model reads each page of the report and keeps what it finds there in the order of a careful reader who follows columns "
    "down to their foot before going on to the next one and never mixes the lines of two of them"
)


def story(name: str, count: int = 90) -> str:
    """Running text; that of another name begins at another of its words."""
    words = WORDS.split()
    start = sum(map(ord, name)) % len(words)
    return f"{name.capitalize()} begins here and {' '.join(words[(start + n) % len(words)] for n in range(count))} {name}."


def texts(path: Path, engine: Engine) -> list[str]:
    found = read_pdf(path, engine=engine)
    assert found.verdict == "read", found.reason
    return [" ".join(text for _, text in parts) for _, parts in found.blocks]


@ENGINES
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("stream", ["columns", "rows"])
def test_columns_are_read_one_after_the_other(tmp_path: Path, engine: Engine, count: int, stream: str) -> None:
    page, names = Page(), ["alpha", "beta", "gamma", "delta"][:count]
    measure = (520 - 20 * (count - 1)) / count
    for number, name in enumerate(names):
        page.column(40 + number * (measure + 20), 700, measure, story(name))
    if stream == "rows":  # as some word processors and all naive writers do
        page.content.sort(key=lambda part: -float(part.split(" Tm")[0].split()[-1]))
    assert texts(write(tmp_path / "a.pdf", [page]), engine) == [story(name) for name in names]


@ENGINES
def test_a_title_a_table_and_a_caption_stand_across_two_columns(tmp_path: Path, engine: Engine) -> None:
    page = Page()
    page.text(120, 750, "A Title Across Both Columns of the Page", size=18)
    for name, x, top in (("alpha", 40, 700), ("beta", 310, 700)):
        page.column(x, top, 250, story(name, 60))
    rows = [
        ("Model", "Size", "Score", "Time"),
        ("small", "1.5", "28.9", "12"),
        ("middle", "7", "55.5", "40"),
        ("large", "70", "70.0", "300"),
    ]
    for number, row in enumerate(rows):
        for cell, x in zip(row, (60, 210, 340, 470), strict=True):
            page.text(x, 560 - 13 * number, cell)
    page.text(120, 490, "Table 1: Sizes, scores and times of all of the models that were tried here")
    for name, x in (("gamma", 40), ("delta", 310)):
        page.column(x, 460, 250, story(name, 60))
    table = (
        "| Model | Size | Score | Time |\n| --- | --- | --- | --- |\n"
        "| small | 1.5 | 28.9 | 12 |\n| middle | 7 | 55.5 | 40 |\n| large | 70 | 70.0 | 300 |"
    )
    assert texts(write(tmp_path / "a.pdf", [page]), engine) == [
        "A Title Across Both Columns of the Page", story("alpha", 60), story("beta", 60), table,
        "Table 1: Sizes, scores and times of all of the models that were tried here", story("gamma", 60), story("delta", 60),
    ]  # fmt: skip


@ENGINES
def test_a_paragraph_goes_on_over_footnotes_figures_columns_and_pages(tmp_path: Path, engine: Engine) -> None:
    whole = story("alpha", 200)
    pieces = whole.split()
    first, second = Page(), Page()
    first.column(40, 700, 250, " ".join(pieces[:80]))
    first.column(40, 80, 250, "1 A note below the left column, set small.", size=7, leading=8)
    first.text(310, 690, "Figure 1: What a figure shows.")
    first.column(310, 640, 250, " ".join(pieces[80:150]))
    second.text(40, 740, "Table 2: A caption at the head of the next page.")
    second.column(40, 700, 520, " ".join(pieces[150:]))
    # Lines that break the paragraph are full: the cuts above may leave short ones, so they are set to the full measure.
    for page in (first, second):
        page.content = [part for part in page.content if part]
    found = texts(write(tmp_path / "a.pdf", [first, second]), engine)
    assert " ".join(found).count("begins here") == 1
    notes = [text for text in found if text.startswith(("1 A note", "Figure 1", "Table 2"))]
    assert len(notes) == 3
    rest = [text for text in found if text not in notes]
    assert " ".join(rest).split() == pieces


@ENGINES
def test_running_heads_and_page_numbers_go(tmp_path: Path, engine: Engine) -> None:
    pages = []
    for number in range(1, 6):
        page = Page()
        page.text(40, 780, f"Journal of Examples, Vol. {number}", size=9)
        page.column(40, 740, 520, story(f"part{number}"))
        page.text(298, 30, str(number))
        pages.append(page)
    found = " ".join(texts(write(tmp_path / "a.pdf", pages), engine))
    assert "Journal" not in found
    assert found == " ".join(story(f"part{number}") for number in range(1, 6))


@ENGINES
def test_words_broken_at_line_ends_are_mended(tmp_path: Path, engine: Engine) -> None:
    page = Page()
    text = (
        "All of the fine-tuned models of this report were trained by super~ vised learning, and each fine~ tuned one is state~ of-the-art."
    )
    page.column(40, 700, 400, text)
    assert texts(write(tmp_path / "a.pdf", [page]), engine) == [
        "All of the fine-tuned models of this report were trained by supervised learning, and each fine-tuned one is state-of-the-art."
    ]


@ENGINES
def test_a_displayed_formula_is_one_block_in_visual_order(tmp_path: Path, engine: Engine) -> None:
    page = Page()
    bottom = page.column(40, 700, 500, story("alpha", 40))
    y = bottom - 20
    page.text(200, y, "L")
    page.text(215, y, "=")
    page.text(235, y - 7, "n")  # the stream has the denominator first
    page.text(235, y + 7, "1")
    page.text(250, y, "S", font="F4", size=14)
    page.text(252, y - 11, "i = 1", size=7)
    page.text(254, y + 12, "n", size=7)
    page.text(275, y, "x")
    page.text(281, y - 2, "i", size=7)
    page.text(520, y, "(1)")
    page.column(40, y - 32, 500, story("beta", 40))
    found = texts(write(tmp_path / "a.pdf", [page]), engine)
    assert len(found) == 3
    assert found[0] == story("alpha", 40)
    assert found[2] == story("beta", 40)
    assert "".join(found[1].split()).replace("∑", "S").replace("Σ", "S") == "L=1nnSi=1xi(1)"
    assert "\n" not in found[1]


@ENGINES
@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_pages_are_read_as_they_are_seen(tmp_path: Path, engine: Engine, turn: int) -> None:
    """The page says how far it is turned, and its text is set the other way round, as a scanner's or a printer's driver does."""
    upright, turned = Page(), Page(rotate=turn)
    for page in (upright, turned):
        page.column(40, 560, 240, story("alpha", 60))
        page.column(310, 560, 240, story("beta", 60))
    matrix = {90: ("0 1 -1 0", lambda x, y: (600 - y, x)), 180: ("-1 0 0 -1", lambda x, y: (600 - x, 800 - y)),
              270: ("0 -1 1 0", lambda x, y: (y, 800 - x))}[turn]  # fmt: skip
    for number, part in enumerate(turned.content):
        head, tail = part.split(" Tm ")
        *start, x, y = head.split()
        place = matrix[1](float(x), float(y))
        turned.content[number] = " ".join([*start[:-4], matrix[0], f"{place[0]:.2f} {place[1]:.2f} Tm {tail}"])
    assert texts(write(tmp_path / "a.pdf", [turned]), engine) == texts(write(tmp_path / "b.pdf", [upright]), engine)


@ENGINES
def test_entries_of_a_list_of_references_stay_whole(tmp_path: Path, engine: Engine) -> None:
    page, y, entries = Page(), 700.0, []
    for number in range(8):
        entry = (
            f"Author Number {number}, Another Author, and Somebody Else. 20{10 + number}.",
            f"A study of the {number}th question. In Proceedings of it.",
        )
        page.text(40, y, entry[0])
        page.text(52, y - 12, entry[1])
        y -= 24
        entries.append(" ".join(entry))
    assert texts(write(tmp_path / "a.pdf", [page]), engine) == entries


@ENGINES
def test_heads_that_change_with_the_chapter_go_and_lists_keep_their_items(tmp_path: Path, engine: Engine) -> None:
    pages = []
    for number in range(1, 7):
        page = Page()
        page.text(40, 780, f"Chapter {(number + 1) // 2}: {('Alpha', 'Beta', 'Gamma')[(number - 1) // 2]}")
        page.text(540, 780, str(number + 10))
        y = page.column(40, 740, 520, story(f"part{number}", 60))
        for item in ("first", "second", "third"):
            page.text(52, y, f"\x95 the {item}")
            y -= 12
        pages.append(page)
    found = texts(write(tmp_path / "a.pdf", pages), engine)
    assert not any("Chapter" in text for text in found)
    lists = [text for text in found if "the first" in text]
    assert [text.replace("\x95", "•").split("\n")[-2:] for text in lists] == [["• the second", "• the third"]] * 6


@ENGINES
def test_code_keeps_its_lines_between_paragraphs(tmp_path: Path, engine: Engine) -> None:
    page = Page()
    y = page.column(40, 700, 520, story("alpha", 40))
    for number, text in enumerate(("def f(x):", "    if x:", "        return 1", "    return 2")):
        page.text(64 + 6 * (len(text) - len(text.lstrip())), y - 12 * number, text.lstrip(), font="F3")
    page.column(40, y - 60, 520, story("beta", 40))
    code = "def f(x):\n    if x:\n        return 1\n    return 2"
    assert texts(write(tmp_path / "a.pdf", [page]), engine) == [story("alpha", 40), code, story("beta", 40)]


@ENGINES
def test_a_page_of_nothing_but_its_head_is_kept(tmp_path: Path, engine: Engine) -> None:
    pages = [Page() for _ in range(4)]
    for page in pages:
        page.text(40, 780, "The one line of every page")
    assert len(" ".join(texts(write(tmp_path / "a.pdf", pages), engine)).split("The one line")) == 5


@ENGINES
def test_pictures_without_text_and_pages_without_anything(tmp_path: Path, engine: Engine) -> None:
    picture, words, bare = Page(), Page(), Page()
    picture.picture()
    words.column(40, 700, 500, story("alpha"))
    found = read_pdf(write(tmp_path / "partly.pdf", [words, picture]), engine=engine)
    assert (found.verdict, found.reason, found.pages) == ("partly", "page 2 holds pictures and no text", 2)
    assert read_pdf(write(tmp_path / "scan.pdf", [picture, picture]), engine=engine).verdict == "scanned"
    assert read_pdf(write(tmp_path / "empty.pdf", [bare]), engine=engine).verdict == "empty"
    assert read_pdf(write(tmp_path / "none.pdf", []), engine=engine).verdict == "damaged"


def test_the_title_of_the_properties_is_taken_when_none_stands_out(tmp_path: Path) -> None:
    page = Page()
    page.column(40, 700, 500, story("alpha"))
    assert read_pdf(write(tmp_path / "a.pdf", [page], title="A Report on Alpha")).title == "A Report on Alpha"
    assert read_pdf(write(tmp_path / "b.pdf", [page], title="Microsoft Word - alpha.docx")).title == ""
