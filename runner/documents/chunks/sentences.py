"""Where sentences begin: sentencex, and what it does not know of scholarly prose."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: A full stop after one of these ends no sentence; sentencex splits after them. `etc.` and `Inc.` often do end one.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[~–—/-])(?:[Ee]qs?|[Ff]igs?|[Tt]abs?|[Ss]ecs?|[Aa]lgs?|[Aa]pp|[Cc]h|[Cc]haps?|[Dd]efs?|[Ll]em|[Pp]rops?|[Tt]hms?|[Rr]efs?"
    r"|[Vv]ols?|[Nn]os|[Pp]p?|[Pp]ts?|[Ee]ds?|[Aa]pprox|[Cc]a|[Cc]f|[Rr]esp|[Vv]s|[Vv]iz|e\.g|i\.e|w\.r\.t|a\.k\.a|Drs?|Profs?|Mrs?|Ms|St)\.\s*$"
)
#: The number or letter of a list's item, which is no sentence of its own.
_ENUMERATOR = re.compile(r"\s*\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)]\s*")
_HALVES = re.compile("[\ud800-\udfff]")  # which sentencex, being Rust, does not take
#: White space beyond ASCII, on which sentencex panics after a capital ("B\u00a0. "): it is shown as what it is like, sign for sign.
_LINES, _SPACES = re.compile("[\u0085\u2028\u2029]"), re.compile(r"[^\S\x00-\x7f]")
#: What follows the end of a window may decide whether that end is one of a sentence.
_BEYOND = 200


def sentence_starts(text: str, start: int, stop: int, language: str = "en") -> Iterator[int]:
    """Offsets in ``text`` at which sentences begin, after ``start``, which begins one, up to ``stop``.

    ``language`` is an ISO 639 code. Takes time and memory by ``stop - start``, not by the length of the text.
    """
    from sentencex import segment

    window = _SPACES.sub(" ", _LINES.sub("\n", _HALVES.sub("\ufffd", text[start : stop + _BEYOND])))
    place, before = 0, ""
    for piece in segment(language, window):
        body = piece.strip()
        if not body:
            continue
        place = window.index(body, place)
        if start + place > stop:
            return
        if before and not _ABBREVIATION.search(before[-24:]) and not _ENUMERATOR.fullmatch(before):
            yield start + place
        before = body
        place += len(body)
