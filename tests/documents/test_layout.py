"""Layout on lines made by hand: what a page's geometry says about order and paragraphs."""

from __future__ import annotations

from runner.documents.layout import blocks
from runner.documents.pdf_lines import Line
from runner.documents.reading_order import PageLines


def line(text: str, left: float, top: float, right: float = 0, size: float = 10, font: str = "Times", hyphen: bool = False) -> Line:
    return Line(text, left, right or left + 240, top - size, top, size, font, hyphen, upright=True)


def page(lines: list[Line], number: int = 1) -> PageLines:
    return PageLines(number, 600, 800, lines)


def texts(pages: list[PageLines]) -> list[str]:
    return [block.text for block in blocks(pages)[1]]


def column(left: float, top: float, word: str, count: int = 6) -> list[Line]:
    return [line(f"{word} line {n} of the column of text,", left, top - 12 * n) for n in range(count)]


def test_columns_are_read_one_after_the_other_whatever_the_stream_says() -> None:
    left, right = column(40, 700, "left"), column(320, 700, "right")
    title = [line("A wide title over both columns", 40, 760, right=560)]
    order = ["A wide title over both columns", *(item.text for item in left), *(item.text for item in right)]
    for stream in (title + left + right, right + title + left, left + right + title):
        assert " ".join(texts([page(stream)])) == " ".join(order)


def test_a_paragraph_goes_on_over_a_column_break_and_a_footnote_comes_last() -> None:
    left, right = column(40, 700, "left"), column(320, 700, "right")
    note = [line("1 A footnote.", 40, 120, size=7, right=120)]
    joined, last = texts([page(left + note + right)])
    assert joined.startswith("left line 0")
    assert joined.endswith("right line 5 of the column of text,")
    assert last == "1 A footnote."


def test_running_heads_and_page_numbers_go_but_not_the_text_at_the_edge() -> None:
    pages = [
        page([line(f"Journal {n}, 2020", 40, 790), *column(40, 770 - n, f"body{n}"), line(str(n + 1), 300, 30, right=306)], n + 1)
        for n in range(4)
    ]
    found = " ".join(texts(pages))
    assert "Journal" not in found
    assert all(f"body{n} line 5" in found for n in range(4))
    assert not any(text.isdigit() for text in texts(pages))


def test_paragraphs_part_at_indents_gaps_and_ends() -> None:
    lines = [
        line("A full line that runs to the edge of the page and", 40, 700),
        line("ends here.", 40, 688, right=90),
        line("Next one, whose first line is full and ends with stop.", 40, 676),
        line("Indented start of a third one that goes on to the", 52, 664, right=280),
        line("last line.", 40, 652, right=80),
        line("After a gap.", 40, 620, right=100),
    ]
    assert texts([page(lines)]) == [
        "A full line that runs to the edge of the page and ends here.",
        "Next one, whose first line is full and ends with stop.",
        "Indented start of a third one that goes on to the last line.",
        "After a gap.",
    ]


def test_code_keeps_its_lines_and_indents() -> None:
    lines = [line(t, left, 700 - 12 * n, right=left + 6 * len(t), font="Courier") for n, (t, left) in enumerate(
        [("def f(x):", 40), ("if x:", 64), ("return 1", 88), ("return 2", 64)]
    )]  # fmt: skip
    assert texts([page(lines)]) == ["def f(x):\n    if x:\n        return 1\n    return 2"]


def test_no_lines_give_no_text() -> None:
    assert blocks([]) == ("", [])
    assert blocks([page([])]) == ("", [])
