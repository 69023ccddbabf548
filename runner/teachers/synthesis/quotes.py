"""Finding a cited text in its source, forgiving what models change when they copy: blanks, dashes, quotation marks, emphasis."""

from __future__ import annotations

import unicodedata

_SAME = {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "‐": "-", "‑": "-", "−": "-", "…": "..."}
_IGNORED = set("*_`#>|\u00ad\u200b\ufeff")


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """The span of ``quote`` in ``text`` in characters: exactly, or else up to blanks, case and typography. None when it is not there."""
    start = text.find(quote)
    if start >= 0 and quote.strip():
        return start, start + len(quote)
    wanted, _ = _plain(quote.strip().strip("\"'“”").removesuffix("...").removesuffix("…"))
    if not wanted:
        return None
    plain, origin = _plain(text)
    at = plain.find(wanted)
    if at < 0:
        return None
    return origin[at], origin[at + len(wanted) - 1] + 1


def _plain(text: str) -> tuple[str, list[int]]:
    """``text`` without blanks and emphasis, in one typography and case, and for each of its characters the place it came from."""
    characters: list[str] = []
    origin: list[int] = []
    for place, character in enumerate(text):
        if character.isspace() or character in _IGNORED:
            continue
        for plain in unicodedata.normalize("NFKC", _SAME.get(character, character)).casefold():
            characters.append(plain)
            origin.append(place)
    return "".join(characters), origin
