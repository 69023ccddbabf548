"""What a report page consists of: sections of blocks. Both templates show exactly these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from msgspec import Struct

#: How a thing is meant. Never shown by colour alone: the text or a sign says it too.
Tone = Literal["", "good", "bad", "warn", "quiet", "strong"]


class Link(Struct, frozen=True):
    """A relative link from the run's folder; ``href`` may be empty when the thing is not there."""

    label: str
    href: str = ""


class Cell(Struct, frozen=True):
    """A table cell: text, a smaller second line, and the value that sorting goes by (the text when None).

    ``code`` is for names of a recipe and of files, which break after their dots; ``lines`` are labels with texts, one a line.
    """

    text: str
    detail: str = ""
    sort: float | None = None
    href: str = ""
    tone: Tone = ""
    badge: bool = False
    code: bool = False
    lines: Sequence[tuple[str, str]] = ()


class Column(Struct, frozen=True):
    title: str
    numeric: bool = False
    detail: str = ""
    wide: bool = False  # running text: may wrap


class Table(Struct, frozen=True):
    """Rows of cells; ``sources`` are the artifacts that the figures were read from; ``left_out`` counts rows not shown."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    sources: Sequence[Link] = ()
    left_out: int = 0
    kind: ClassVar[str] = "table"


class Paragraph(Struct, frozen=True):
    text: str
    tone: Tone = ""
    kind: ClassVar[str] = "paragraph"


class Note(Struct, frozen=True):
    """A banner: what a reader must not miss."""

    text: str
    tone: Tone = "warn"
    items: Sequence[str] = ()
    kind: ClassVar[str] = "note"


class Pairs(Struct, frozen=True):
    """Labels with values."""

    items: Sequence[tuple[str, Cell]]
    kind: ClassVar[str] = "pairs"


class Key(Struct, frozen=True):
    """An entry of a legend: what it stands for, and its sign as trusted markup."""

    label: str
    sign: str


class Figure(Struct, frozen=True):
    """A drawing. ``svg`` is trusted markup made by :mod:`runner.reports.figures`; everything else on a page is escaped."""

    svg: str
    title: str
    caption: str = ""
    legend: Sequence[Key] = ()


class Figures(Struct, frozen=True):
    """Drawings side by side, all made from the same ``sources``."""

    items: Sequence[Figure]
    sources: Sequence[Link] = ()
    wide: bool = False
    kind: ClassVar[str] = "figures"


class Code(Struct, frozen=True):
    text: str
    language: str = ""
    kind: ClassVar[str] = "code"


class Given(Struct, frozen=True):
    """An answer to a question: the arms that gave it, its score as text, the answer, and where the passages came from."""

    arm: str
    score: str
    text: str
    passages: str = ""
    href: str = ""


class Comparison(Struct, frozen=True):
    """A question with its reference answer and what the arms said; ``left_out`` tells of answers that are not shown, ``before`` holds
    the speakers and texts of the turns before the question."""

    title: str
    question: str
    reference: str
    answers: Sequence[Given]
    left_out: str = ""
    before: Sequence[tuple[str, str]] = ()
    kind: ClassVar[str] = "comparison"


class Heading(Struct, frozen=True):
    text: str
    kind: ClassVar[str] = "heading"


class Fold(Struct, frozen=True):
    """Blocks that are closed at first; open on paper."""

    title: str
    blocks: Sequence[Block]
    kind: ClassVar[str] = "fold"


Block = Table | Paragraph | Note | Pairs | Figures | Code | Comparison | Heading | Fold


class Section(Struct, frozen=True):
    id: str
    title: str
    blocks: Sequence[Block]


class Page(Struct, frozen=True):
    """A whole report."""

    title: str
    recipe: str
    run: str
    status: str
    tone: Tone
    subtitle: str
    notes: Sequence[Note]
    sections: Sequence[Section]
    facts: Sequence[tuple[str, Cell]] = ()
