"""Makes heron-cluster.pdf, the paper about a fictional training cluster, from the text below: ``python recipes/corpus/make_pdf.py``.

Two columns, running heads, page numbers and hyphenation, so that the recipes meet a PDF as papers are. The text, like all of
this corpus, was written for this project; the system in it does not exist.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import matplotlib

matplotlib.use("pdf")
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

WIDTH, HEIGHT, MARGIN, GUTTER = 595.0, 842.0, 54.0, 18.0  # points
COLUMN = (WIDTH - 2 * MARGIN - GUTTER) / 2
BODY = FontProperties(family="DejaVu Serif", size=10.5)
BOLD = FontProperties(family="DejaVu Serif", size=12, weight="bold")
TITLE = FontProperties(family="DejaVu Serif", size=16, weight="bold")
SPACE = 3.6  # width of a space in the body's type, points
CODE = FontProperties(family="DejaVu Sans Mono", size=8)
SMALL = FontProperties(family="DejaVu Serif", size=8.5)

TITLE_TEXT = "Heron: Fine-Tuning Language Models on Twelve Second-Hand Workstations"
AUTHORS = "The Heron Project"
RUNNING_HEAD = "Heron Technical Report 3"

# "# " starts a section, "| " a table row, "    " code; a soft hyphen (written ~) is where a word may be broken.
TEXT = """
# Abstract
Heron is a small cluster for fine-tuning language mod~els. It consists of twelve work~stations with one graph~ics card of 16 GB each,
con~nected by a 10 gigabit switch. This report describes its sched~uler, its check~point store and the lessons of its first year. In that
year Heron ran 1,846 jobs, of which 93 percent fin~ished without human help. The whole cluster cost 14,200 euros and draws 3.1 kilo~watts
under full load.

# 1 Introduction
Fine-tuning a model with three bil~lion para~meters fits on a single card if only adapters are trained. What a group of stu~dents needs is
there~fore not one large machine but many small ones, and some~thing that keeps them busy. Heron was built for this purpose in a
teaching lab with forty users.
Two rules guided the de~sign. Every job must be able to die at any moment with~out losing more than ten min~utes of work. And nothing may
need an admin~istrator at night.

# 2 Hardware
Each work~station has a pro~cessor with eight cores, 64 GB of memory and a solid-state disk of one tera~byte. The machines were bought
second-hand and are be~tween four and six years old. Two of the twelve serve as spares during exam weeks.
| Part | Number | Euros
| Workstation | 12 | 9,600
| Graphics card | 12 | 3,840
| Switch | 1 | 420
| Storage server | 1 | 340
The storage server holds all data sets and check~points on four disks of 8 TB. It uses mirrored pairs, so that 16 TB can be used.

# 3 The scheduler
The sched~uler of Heron is called Reed. It gives every job a lease of fifteen min~utes. A job that is alive re~news its lease every five
min~utes; a lease that runs out is given to the next work~station, which con~tinues from the last check~point. Reed has no queue in memory,
for its state is one table in a database, and any work~station can take over as sched~uler within thirty seconds.
Jobs are ordered by fair share. The priority of a user falls with the card hours that the user has consumed, and it re~covers with a
half-life of seven days:
    priority = 1 / (1 + hours * 0.5 ** (days / 7))
A user who has con~sumed 100 hours today has a priority of about 0.01. After two weeks with~out a job the same 100 hours count as 25.

# 4 Checkpoints
The check~point store is called Sedge. It cuts every file into blocks of 4 MB and stores each block under its hash, so that
un~changed blocks are stored once. Because the base model of an adapter never changes, a check~point of a LoRA job takes about 180 MB,
nearly all of it the state of the op~timiser. Sedge keeps the last three check~points of a run~ning job and the best one of a finished
job.
A check~point becomes valid only when its mani~fest is written, which is the last step. In the first month, before this rule, eleven jobs
were resumed from files that had been cut off by a power fail~ure. Since then there has been no such case.
    sedge put run-0412 step-300/
    sedge get run-0412 --latest --valid-only

# 5 Experience
The most fre~quent cause of failed jobs was not hard~ware. Of the 129 jobs that failed, 71 ran out of memory be~cause of a single very long
example, 34 had a mis~take in the format of their data, 15 lost their graph~ics card to over~heating,
and 9 re~mained without an ex~planation.
Since March, Reed refuses a job whose longest example does not fit, which it finds out by a trial run of two steps.
Train~ing across machines did not pay. With gradients ex~changed over 10 giga~bit Ethernet, two work~stations trained a full model only 1.2
times as fast as one. Heron therefore runs one job on one card, and a sweep over learning rates as many jobs side by side.
Cool~ing mattered more than ex~pected. Limiting each card to 70 percent of its power made train~ing only 9 percent slower and ended the
over~heating. The limit also lowered the bill for elec~tricity by a quarter.

# 6 Conclusion
Twelve old work~stations can serve forty users if jobs are small, leases are short, and check~points are cheap. The next version of Heron
will eval~uate every check~point on an idle card while train~ing goes on. The de~sign of Reed and Sedge would suit any lab that has more
machines than admin~istrators.
"""


def main(target: Path) -> None:
    """Write the PDF. The same text gives the same bytes with the same version of matplotlib."""
    pages: list[Figure] = []
    with PdfPages(target, metadata={"CreationDate": None, "Title": TITLE_TEXT, "Author": AUTHORS}) as pdf:
        for page, x, y, text, font in _placed():
            if page == len(pages):
                pages.append(_page(page))
            pages[page].text(x / WIDTH, y / HEIGHT, text, fontproperties=font, parse_math=False)
        for figure in pages:
            pdf.savefig(figure)


def _page(number: int) -> Figure:
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
    figure.text(MARGIN / WIDTH, (HEIGHT - 36) / HEIGHT, RUNNING_HEAD, fontproperties=SMALL)
    figure.text(0.5, 30 / HEIGHT, str(number + 1), fontproperties=SMALL, ha="center")
    if number == 0:
        for row, line in enumerate(textwrap.wrap(TITLE_TEXT, 42)):
            figure.text(0.5, (HEIGHT - 80 - 20 * row) / HEIGHT, line, fontproperties=TITLE, ha="center")
        figure.text(0.5, (HEIGHT - 125) / HEIGHT, AUTHORS, fontproperties=BODY, ha="center")
    return figure


def _placed() -> Iterator[tuple[int, float, float, str, FontProperties]]:
    """Every line with its page, the place of its start in points, and its font."""
    column, y = -1, 0.0
    for indent, gap, text, font in _lines():
        if y - gap < 60:
            column, y = column + 1, HEIGHT - (150 if column < 1 else 60) + gap
        y -= gap
        yield column // 2, MARGIN + column % 2 * (COLUMN + GUTTER) + indent, y, text, font


def _lines() -> Iterator[tuple[float, float, str, FontProperties]]:
    """Lines of a column with their indentation and their distance from the line before, in points."""
    last = ""
    for line in _paragraphs():
        kind = line[:2] if line[:2] in ("# ", "| ", "  ") else ""
        extra = 4.0 if kind != last and last != "# " else 0.0
        if kind == "# ":
            yield 0, 27, line[2:], BOLD
        elif kind == "  ":
            yield 6, 12 + extra, line.strip(), CODE
        elif kind == "| ":
            for cell, at in zip(line[2:].split(" | "), (0, 110, 180), strict=True):
                yield at, (14 + extra) if at == 0 else 0, cell, BODY
        else:
            first = 12.0 if last == "" else 0.0
            for number, piece in enumerate(_wrapped(line, COLUMN, first)):
                yield 0.0 if number else first, 14 + (extra if number == 0 else 0), piece, BODY
        last = kind


def _paragraphs() -> Iterator[str]:
    """Paragraphs on one line each: they end at a full stop at the end of a line."""
    open_lines: list[str] = []
    for line in TEXT.strip().split("\n"):
        if line.startswith(("# ", "| ", "    ")):
            yield line
        elif line.strip():
            open_lines.append(line)
            if line.endswith((".", ":")):
                yield " ".join(open_lines)
                open_lines = []


def _wrapped(text: str, width: float, first: float) -> Iterator[str]:
    line = ""
    room = width - first
    for word in text.split():
        pieces = word.split("~")
        while pieces:
            fitting = next((n for n in range(len(pieces), 0, -1) if _width(_joined(line, pieces[:n], n < len(pieces))) <= room), 0)
            if fitting == 0 and line:
                yield line
                line, room = "", width
                continue
            line = _joined(line, pieces[: fitting or len(pieces)], 0 < fitting < len(pieces))
            pieces = pieces[fitting or len(pieces) :]
            if pieces:
                yield line
                line, room = "", width
    yield line


def _joined(line: str, pieces: list[str], broken: bool) -> str:
    return " ".join(filter(None, [line, "".join(pieces) + ("-" if broken else "")]))


def _width(text: str) -> float:
    """Width of a line in points. Kerning across words is left out, so that each word is measured once."""
    return sum(map(_word_width, text.split())) + SPACE * text.count(" ")


@cache
def _word_width(word: str) -> float:
    return float(TextPath((0, 0), word, prop=BODY).get_extents().x1)


if __name__ == "__main__":
    main(Path(__file__).with_name("heron-cluster.pdf"))
