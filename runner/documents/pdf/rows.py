"""From the pieces in which a PDF gives its lines to whole rows: raised and lowered marks, cells of tables, displayed formulas."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner.documents.pdf.lines import Line, Word, is_mathematical, is_prose, same_size

#: Signs that make several levels of small pieces a formula rather than the labels of a drawing.
_SIGNS = re.compile(r"[=+−×÷∑∏∫√≤≥≈∈∼∞∂∇‖|^]|[\U0001D400-\U0001D7FF]")
#: Pieces of a column beyond which it is a map or a drawing, whose labels hang together in no rows.
_MOST = 2500


def rows(lines: Sequence[Line], body: float) -> list[Line]:
    """The rows of one column from top to bottom. ``body`` is the size of the document's running type in points."""
    if len(lines) > _MOST:
        return sorted(lines, key=lambda line: (-round(line.top), line.left))
    found: list[Line] = []
    for cluster in _clusters(lines, body):
        if len(cluster) == 1:
            found.append(cluster[0])
        elif any(line.prose for line in cluster) or _level(cluster):
            found.append(_merged(cluster, stacked=False))
        elif _is_formula(cluster, body):
            found.append(_merged(cluster, stacked=True))
        else:
            found += cluster
    return found


@dataclass(slots=True)
class _Cluster:
    """Lines that overlap in height. ``sign``: one of them belongs to a formula."""

    lines: list[Line]
    bottom: float
    top: float
    prose: bool
    sign: bool


def _clusters(lines: Sequence[Line], body: float) -> list[list[Line]]:
    """Lines that overlap in height, from top to bottom. A line of prose gathers what hangs on it, but never another one."""
    found: list[_Cluster] = []
    for line in sorted(lines, key=lambda line: (not line.prose, line.size < 0.85 * body, -line.top, line.left)):
        sign = _is_sign(line)
        best, most = None, 0.0
        for cluster in found:
            bottom, top = cluster.bottom, cluster.top
            height = (line.top if line.top < top else top) - (line.bottom if line.bottom > bottom else bottom)
            if height < -0.2 * body:
                continue
            share = height / min(line.top - line.bottom, top - bottom)
            if cluster.prose:
                if share < 0.4 or (line.prose and abs(cluster.lines[0].bottom - line.bottom) > 0.25 * line.size):
                    continue
            elif not (sign or cluster.sign):
                if share < 0.4 or max(top, line.top) - min(bottom, line.bottom) > 2.5 * body:
                    continue
            else:
                if line.size < 0.85 * body:
                    share += 0.2  # the limits of a sum stand away from it
                if share < 0.1 or max(top, line.top) - min(bottom, line.bottom) > 5.5 * body:
                    continue
            if share > most:
                best, most = cluster, share
        if best is None:
            found.append(_Cluster([line], line.bottom, line.top, line.prose, sign))
        else:
            best.lines.append(line)
            best.sign = best.sign or sign
            if not best.prose:
                best.bottom, best.top = min(best.bottom, line.bottom), max(best.top, line.top)
    return [cluster.lines for cluster in sorted(found, key=lambda cluster: -cluster.top)]


def _level(cluster: Sequence[Line]) -> bool:
    """Whether all stand on one line, but for marks above and below it that overlap nothing from side to side."""
    base = max(cluster, key=lambda line: (line.size, line.right - line.left))
    ordered = sorted(cluster, key=lambda line: line.left)
    if any(q.left < p.right - 0.3 * base.size for p, q in itertools.pairwise(ordered)):
        return False
    return all(abs(line.bottom - base.bottom) < 0.25 * base.size or line.size < 0.85 * base.size for line in cluster)


def _is_formula(cluster: Sequence[Line], body: float) -> bool:
    return max(line.size for line in cluster) >= 0.85 * body and any(map(_is_sign, cluster))


def _is_sign(line: Line) -> bool:
    return is_mathematical(line.font) or _SIGNS.search(line.text) is not None


def pieces_joined(lines: Sequence[Line]) -> list[Line]:
    """Lines that go on where the one before them in the content stream ends, as they do at raised and lowered marks; cells of a row."""
    found: list[Line] = []
    for line in lines:
        last = found[-1] if found else None
        if last and line.upright and last.upright and not last.hyphen and (_touches(last, line) or _is_next_cell(last, line)):
            found[-1] = _merged([last, line], stacked=False)
        else:
            found.append(line)
    return found


def _touches(last: Line, line: Line) -> bool:
    if not -0.3 * last.size < line.left - last.right < 0.6 * last.size:
        return False
    return min(last.top, line.top) - max(last.bottom, line.bottom) > 0.4 * min(last.size, line.size)


def _is_next_cell(last: Line, line: Line) -> bool:
    """Whether a line is a few words at the height of the ones before it, and to the right of them: a row of a table."""
    level = abs(last.bottom - line.bottom) < 0.1 * last.size and same_size(last, line) and line.left > last.right
    return level and not line.prose and len(line.text) < 24 and len(last.cells[-1][2]) < 24


def _merged(pieces: Sequence[Line], stacked: bool) -> Line:
    """One line out of pieces, from left to right; what is ``stacked`` stands above each other and is read from the top."""
    base = max(pieces, key=lambda piece: (piece.prose, piece.size, piece.right - piece.left))
    chunks = [_Chunk(words, piece) for piece in pieces for words in (_chunks(piece) if stacked else [[word] for word in _words(piece)])]
    chunks.sort(key=lambda chunk: chunk.left)
    if stacked:
        chunks = [chunk for stack in _stacks(chunks) for level in _levels(stack) for chunk in level]
    text = chunks[0].text
    for before, after in itertools.pairwise(chunks):
        gap = after.left - before.right
        close = before.piece is not after.piece and (-0.2 * base.size < gap < 0.12 * base.size or after.text[0] in ",.;:)")
        text += ("" if close else " ") + after.text
    prose = is_prose(text)
    bounded = [base] if prose or not stacked else pieces
    words = tuple(word for chunk in chunks for word in chunk.words)
    return replace(
        base, text=text, words=words, hyphen=chunks[-1].piece.hyphen, kind="text" if prose or not stacked else "formula",
        left=min(piece.left for piece in pieces), right=max(piece.right for piece in pieces),
        bottom=min(piece.bottom for piece in bounded), top=max(piece.top for piece in bounded),
    )  # fmt: skip


class _Chunk:
    """Words of one piece of a line that stand close together."""

    __slots__ = ("left", "piece", "right", "text", "words")

    def __init__(self, words: Sequence[Word], piece: Line) -> None:
        self.words, self.piece, self.text = words, piece, " ".join(word.text for word in words)
        self.left, self.right = words[0].left, words[-1].right


def _words(line: Line) -> Sequence[Word]:
    return line.words or (Word(line.text, line.left, line.right),)


def _chunks(line: Line) -> list[list[Word]]:
    found: list[list[Word]] = []
    for word in _words(line):
        if found and word.left - found[-1][-1].right < 0.5 * line.size:
            found[-1].append(word)
        else:
            found.append([word])
    return found


def _stacks(chunks: Sequence[_Chunk]) -> list[list[_Chunk]]:
    """Groups of chunks, from left to right, that stand above each other."""
    found: list[list[_Chunk]] = []
    right = 0.0
    for chunk in chunks:
        if found and chunk.left < right - max(1.0, 0.25 * min(chunk.right - chunk.left, chunk.piece.size)):
            found[-1].append(chunk)
            right = max(right, chunk.right)
        else:
            found.append([chunk])
            right = chunk.right
    return found


def _levels(stack: Sequence[_Chunk]) -> list[list[_Chunk]]:
    found: list[list[_Chunk]] = []
    for chunk in sorted(stack, key=lambda chunk: -(chunk.piece.top + chunk.piece.bottom)):
        piece, last = chunk.piece, found[-1][0].piece if found else None
        if last and abs(last.top + last.bottom - piece.top - piece.bottom) < 0.9 * max(last.size, piece.size):
            found[-1].append(chunk)
        else:
            found.append([chunk])
    return [sorted(level, key=lambda chunk: chunk.left) for level in found]
