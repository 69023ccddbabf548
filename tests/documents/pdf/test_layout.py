"""Layout on lines made by hand: what a page's geometry says about order and paragraphs."""

from __future__ import annotations

import re

from runner.documents.pdf.layout import blocks
from runner.documents.pdf.lines import Line, PageLines, Word


def line(text: str, left: float, top: float, right: float = 0, size: float = 10, font: str = "Times", hyphen: bool = False) -> Line:
    """A line whose words are spread evenly over it."""
    right = right or left + 240
    words, step = [], (right - left) / len(text)
    for match in re.finditer(r"\S+", text):
        words.append(Word(match.group(), left + step * match.start(), left + step * match.end()))
    return Line(text, left, right, top - size, top, size, font, hyphen, words=tuple(words))


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


def test_columns_of_a_script_that_runs_from_right_to_left_are_read_from_the_right() -> None:
    words = "זהו טקסט ארוך מספיק לשורה אחת של טור"
    lanes = {left: [line(f"{words} {mark} {n}", left, 700 - 12 * n) for n in range(6)] for left, mark in ((40, "שמאל"), (320, "ימין"))}
    found = " ".join(texts([page(lanes[40] + lanes[320])]))
    assert [word for word in found.split() if word in ("ימין", "שמאל")] == ["ימין"] * 6 + ["שמאל"] * 6


def test_a_table_whose_grid_is_not_clear_keeps_its_rows() -> None:
    def row(cells: list[tuple[str, float, float]], top: float) -> Line:
        words = tuple(Word(*cell) for cell in cells)
        return Line(" ".join(cell[0] for cell in cells), cells[0][1], cells[-1][2], top - 10, top, 10, "Times", words=words)

    rows = [
        row([("one", 40, 60), ("1", 100, 110), ("2", 150, 160)], 700),
        row([("two", 40, 60), ("a-cell-as-wide-as-two", 100, 160), ("3", 200, 210)], 688),
        row([("three", 40, 65), ("4", 120, 150), ("5", 190, 215)], 676),
    ]
    assert texts([page(rows)]) == ["one | 1 | 2\ntwo | a-cell-as-wide-as-two | 3\nthree | 4 | 5"]


def test_a_word_broken_before_a_caption_finds_its_end_behind_it() -> None:
    first = [*column(40, 700, "one", 5), line("and this is the last line of a page that breaks a wo", 40, 640, hyphen=True)]
    second = [
        line("Figure 3: a caption in the size of the text", 40, 740),
        line("rd of the text and goes on to the end of it all.", 40, 700),
    ]
    found = texts([page(first), page(second, 2)])
    assert found[-1] == "Figure 3: a caption in the size of the text"
    assert found[0].endswith("breaks a word of the text and goes on to the end of it all.")
