"""Writes PDFs for tests: text at places, in the fonts that every reader has. Their source is known, so what is read can be compared."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

FONTS = {"F1": "Times-Roman", "F2": "Times-Bold", "F3": "Courier", "F4": "Symbol"}
WINDOWS = " /Encoding /WinAnsiEncoding"
ENCODING = {"Symbol": ""}
#: Widths of Times-Roman by character, in thousandths of the type size, where they are not 500.
_WIDTHS = {
    **dict.fromkeys("fijlt'!,.:;|", 278), **dict.fromkeys("rs()-", 333), **dict.fromkeys("acez", 444), " ": 250, "m": 778, "w": 722,
    **dict.fromkeys("ABCDEFGHKLMNOPQRTUVXYZ", 680), "I": 333, "J": 389, "S": 556, "W": 944,
}  # fmt: skip


def width(text: str, size: float) -> float:
    """The width of a text in Times-Roman, in points, to a few percent."""
    return sum(_WIDTHS.get(character, 500) for character in text) * size / 1000


class Page:
    """What is written on one page, in the order of its content stream. Coordinates are points from the lower left corner."""

    def __init__(self, rotate: int = 0) -> None:
        self.rotate = rotate
        self.content: list[str] = []

    def text(self, x: float, y: float, text: str, size: float = 10, font: str = "F1", space: float = 0, matrix: str = "1 0 0 1") -> None:
        shown = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        self.content.append(f"BT /{font} {size} Tf {space:.3f} Tw {matrix} {x:.2f} {y:.2f} Tm ({shown}) Tj ET")

    def column(self, x: float, top: float, measure: float, text: str, size: float = 10, leading: float = 12, indent: float = 0) -> float:
        """Set a paragraph justified; the height of the next line. A word that ends with ``~`` is broken at the end of its line."""
        lines: list[list[str]] = [[]]
        for word in text.split():
            room = measure - (indent if len(lines) == 1 else 0)
            if lines[-1] and width(" ".join([*lines[-1], word.rstrip("~")]), size) > room:
                lines.append([])
            lines[-1].append(word.replace("~", "-"))
            if word.endswith("~"):
                lines.append([])
        lines = [line for line in lines if line]
        for number, line in enumerate(lines):
            start = indent if number == 0 else 0
            gap = measure - start - width(" ".join(line), size)
            stretch = gap / (len(line) - 1) if number < len(lines) - 1 and len(line) > 1 and gap < 0.4 * measure else 0
            self.text(x + start, top - number * leading, " ".join(line), size, space=stretch)
        return top - len(lines) * leading

    def picture(self) -> None:
        self.content.append("q 200 0 0 200 100 400 cm BI /W 1 /H 1 /CS /G /BPC 8 ID \x80 EI Q")


def write(path: Path, pages: Sequence[Page], title: str = "") -> Path:
    """Write a PDF with a cross-reference table; the path."""
    fonts = len(FONTS)
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    objects += [f"<< /Type /Font /Subtype /Type1 /BaseFont /{name}{ENCODING.get(name, WINDOWS)} >>" for name in FONTS.values()]
    names = " ".join(f"/{key} {number + 3} 0 R" for number, key in enumerate(FONTS))
    kids = []
    for page in pages:
        kids.append(len(objects) + 1)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Rotate {page.rotate} /Contents {len(objects) + 2} 0 R"
            f" /Resources << /Font << {names} >> >> >>"
        )
        packed = zlib.compress("\n".join(page.content).encode("latin-1")).decode("latin-1")
        objects.append(f"<< /Length {len(packed)} /Filter /FlateDecode >>\nstream\n{packed}\nendstream")
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>"
    objects.append(f"<< /Title ({title}) >>")
    assert fonts == 4
    data, places = b"%PDF-1.5\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    data += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
        f"<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    ).encode("latin-1")
    path.write_bytes(data)
    return path
