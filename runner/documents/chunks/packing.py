"""Cutting a text into pieces that are as long as allowed and end where a part of it ends: the highest kind of part that fits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import regex

from runner.documents.chunks.measuring import Measure
from runner.documents.chunks.outline import HEADING, Outline, line_start
from runner.documents.chunks.sentences import sentence_starts

_SIGN = regex.compile(r"\X")  # what is written as one sign, be it of several code points
_SIGN_LENGTH = 64  # code points; longer ones may be torn
_LINE_END, _SPACE = re.compile(r"\n"), re.compile(r"\s+")


class Packer:
    """Cuts one text into pieces of at most ``size``, repeating at most ``overlap`` of each in the next, both in units of ``measure``.

    A piece ends before the highest-ranking part of ``outline`` that begins within reach, the last of several; where none does,
    at the end of a sentence, or else of a line, a word, a written sign. One that begins within a section ends with it. With
    ``sentences`` parts below headings rank alike, so that a piece is filled with whole sentences across paragraphs, and none goes
    past a heading.

    A repeated piece begins with a sentence or part, and with a line or word only where the cut went through a sentence. Nothing is
    repeated across a heading. Memory and time grow with the text, whatever it looks like.
    """

    def __init__(
        self, text: str, outline: Outline, measure: Measure, size: int, overlap: int, *, sentences: bool = False, language: str = "en"
    ) -> None:
        self.text, self.outline, self.measure = text, outline, measure
        self.size, self.overlap, self.sentences, self.language = size, overlap, sentences, language
        self.start, self.end = line_start(text, 0), len(text.rstrip())
        self._whole: dict[tuple[int, int], bool] = {}
        self._gap = 0, 0  # white space that was walked over last; the next question is most often about a place in it

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Spans in order, without white space at their ends but for the first line's indentation."""
        start = done = self.start
        torn = False  # whether the last cut went through a sentence
        while done < self.end:
            place, rank = self._cut(start, done, torn)
            if place == done:  # what is repeated leaves too little room
                start = done
                continue
            stop, torn = self._stop(place), rank < 0
            if start < stop:
                yield start, stop
            start = self._repeat(start, stop, torn) if rank < HEADING and start < stop and place < self.end else place
            done = place

    def _cut(self, start: int, done: int, torn: bool) -> tuple[int, int]:
        """Where the next piece begins if this one begins at ``start``, and the rank of that place; ``done`` if nothing new has room."""
        reach = self.measure.reach(self.text, start, self.size)
        indentation = _SPACE.match(self.text, start)
        if indentation and indentation.end() >= reach:  # it leaves no room for what it indents
            return (indentation.end(), -1) if start == done else (done, 0)
        for candidates in self._candidates(start, done, line_start(self.text, reach), torn):
            for place, rank in reversed(candidates):
                if place > done and self._stop(place) > done and self._fits(start, self._stop(place)) and not self._torn(place):
                    return place, rank
        if start < done:
            return done, 0
        if indentation:
            return indentation.end(), -1
        sign = _SIGN.match(self.text, start)  # it may be longer than the size, and is then cut if it can be
        return max(start + 1, min(reach, sign.end() if sign else reach)), -1

    def _candidates(self, start: int, done: int, limit: int, torn: bool) -> Iterator[Sequence[tuple[int, int]]]:
        """Places to cut at, with ranks, from the best kind to the worst; within a kind the last one that fits is best."""
        parts = self.outline.between(done, limit)
        if self.sentences or (start > self.start and self.outline.rank(start) < HEADING):
            yield [part for part in parts if part[1] >= HEADING][:1]
        if limit >= self.end:
            yield [(len(self.text), HEADING)]
        if not self.sentences:
            for least in sorted({rank for _, rank in parts}, reverse=True):
                yield [part for part in parts if part[1] >= least]
        yield sorted(dict.fromkeys([*self._sentences(start, limit), *(place for place, _ in parts)], 0).items())
        if start == done or torn:  # rather repeat nothing than tear a sentence
            for find in (self._lines, self._words, self._signs):
                yield [(place, -1) for place in find(start, limit)]

    def _repeat(self, start: int, stop: int, torn: bool) -> int:
        """Where the piece after that from ``start`` to ``stop`` begins: before its end by ``overlap`` at most, or at what follows it."""
        following = line_start(self.text, stop)
        if not self.overlap:
            return following
        back = self.measure.back(self.text, start, stop, self.overlap)
        places = {*self._sentences(start, stop), *(place for place, _ in self.outline.between(start, stop))}
        if torn and not any(back <= place < stop for place in places):
            places.update(self._lines(back - 1, stop) or self._words(back - 1, stop) or [back, *self._signs(back, stop)])
        for place in sorted(places):
            if max(start + 1, back) <= place < stop and self._within(place, stop, self.overlap) and not self._torn(place):
                return place
        return following

    def _stop(self, place: int) -> int:
        """Where a piece ends if the next one begins at ``place``."""
        low, high = self._gap
        if not low < place <= high:
            low = place
            while low and self.text[low - 1].isspace():
                low -= 1
            self._gap = low, place
        return low

    def _fits(self, start: int, stop: int) -> bool:
        return start < stop and self._within(start, stop, self.size)

    def _within(self, start: int, stop: int, limit: int) -> bool:
        return self.measure.count(self.text[start:stop]) <= limit

    def _torn(self, place: int) -> bool:
        """Whether a cut here would go through what could stay whole."""
        span = self.outline.whole_at(place)
        if span is None:
            return False
        if span not in self._whole:
            self._whole = {span: self._within(*span, self.size)}  # the next question is most often about the same one
        return self._whole[span]

    def _sentences(self, start: int, limit: int) -> list[int]:
        return [place for place in sentence_starts(self.text, start, limit, self.language) if self.outline.whole_at(place) is None]

    def _lines(self, start: int, limit: int) -> list[int]:
        return [line_start(self.text, found.end()) for found in _LINE_END.finditer(self.text, start, limit)]

    def _words(self, start: int, limit: int) -> list[int]:
        return [found.end() for found in _SPACE.finditer(self.text, start, limit)]

    def _signs(self, start: int, limit: int) -> list[int]:
        return [end for found in _SIGN.finditer(self.text, start, limit + _SIGN_LENGTH) if (end := found.end()) <= limit]
