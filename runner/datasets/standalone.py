"""Whether a question can be understood, and so answered, by someone who does not see the text that it was written from."""

from __future__ import annotations

import re
from collections.abc import Sequence

_TEXT = "text|passage|paper|article|excerpt|paragraph|snippet|chunk"
_PART = "document|section|chapter|study|report|context|table|figure|diagram|chart|equation|formula|listing|example|experiment"
#: What may follow such a word when it stands alone: "the text says", but not "the text encoder".
_ALONE = (
    r"(?=\s*[?.,;:!)\]]|['’]s?\b|\s*$|\s+(?:above|below|here|and|or|in|on|about|by|as|to|for|with|that|which|is|are|was|were|does?|did|has|have"
    r"|says?|said|stat|mention|descri|report|claim|propos|present|provide|giv|list|defin|discuss|suggest|argu|recommend|explain|mean|refer"
    r"|conclude|introduc|use|show|find|found|note|describ|identif|emphasi|highlight|compar))"
)
_NEARBY = frozenset(("points at the text", "points at another place"))
_OWN = "speaks as the authors do"
_POINTING = [
    (re.compile(rf"\b(?:the|this|these|those)\s+(?:{_TEXT}){_ALONE}", re.I), "points at the text"),
    (re.compile(rf"\b(?:this|these)\s+(?:{_PART})s?{_ALONE}", re.I), "points at the text"),
    (
        re.compile(rf"\bthe\s+(?:given|above|following|provided|present|current|preceding|accompanying)\s+(?:{_TEXT}|{_PART})s?\b", re.I),
        "points at the text",
    ),
    (
        re.compile(r"\bthe\s+(?:above|aforementioned|above-mentioned|following(?!\s+(?:year|month|week|day|decade|century)))\b", re.I),
        "points at another place",
    ),
    (
        re.compile(
            r"\b(?:mentioned|described|shown|listed|discussed|defined|presented|stated|as|see)\s+(?:above|below|earlier|previously)\b", re.I
        ),
        "points at another place",
    ),
    (
        re.compile(
            r"\b(?:Table|Figure|Fig\.|Section|Equation|Eq\.|Appendix|Listing|Algorithm|Chapter|Lemma|Theorem)\s+\(?(?:\d|[A-Z]\b|[IVX]+\b)"
        ),
        "points at a numbered part",
    ),
    (re.compile(r"\[\d{1,3}(?:\s*[,–-]\s*\d{1,3})*\](?!\w)"), "points at a reference"),
    (
        re.compile(
            r"\b[Oo]ur\s+(?:own\s+)?(?:results?|model|method|approach|work|paper|study|experiments?|findings?|system|analysis|data)\b"
        ),
        _OWN,
    ),
    (
        re.compile(
            r"(?<![Cc]an )(?<![Cc]ould )(?<![Ss]hould )(?<![Mm]ust )"
            r"\b[Ww]e\s+(?:propos|present|introduc|show|find|found|observ|report|describ|conduct|evaluat|train)(?:e[ds]?|ed|s)?\b"
        ),
        _OWN,
    ),
    (re.compile(r"\bthe\s+(?:authors?|writers?|researchers)\b(?!\s+(?:of|who|behind)\b)", re.I), "points at who wrote the text"),
    (re.compile(r"\bthe\s+(?:proposed|presented)\s+\w+", re.I), "names its subject only as what is proposed"),
]
#: A pronoun or "this method". Not the "it" of "Is it true that" or "does it take to", nor "those who".
_REFERRING = re.compile(
    r"\b(?:it(?!\b.*\b(?:to|that|if|when|for|how|whether|why)\b)|its|they|their|them|he|she|his|her|such"
    r"|(?:this|these)(?!\s+(?:week|month|year|season|morning|afternoon|evening|spring|summer|autumn|winter)s?\b)"
    r"|those(?!\s+(?:who|whose|that|which|with|in|of|at|from)\b))\b(?:\s+\w+)?",
    re.I | re.S,
)
#: A text of its own in the question: what stands on further lines, or after a colon.
_CARRIED = re.compile(r"\n\s*\S|:\s*\S+\s+\S+\s+\S")
#: "In her first term, what did Governor Sandoval do?": the name comes after the phrase that opens the sentence.
_NAMED_LATER = re.compile(r"[^,.?!]*,[^.?!]*?\s(?-i:[A-Z])\w+", re.I)
_WORD = re.compile(r"[^\W_]+(?:[-'’.+#/][^\W_]+)*(?:\+\+|#)?")
#: Words that name nothing by themselves.
_EMPTY = frozenset(
    _WORD.findall(
        """
        a an the of to in on at by for from with and or not is are was were be been being do does did can could will would shall
        should may might must has have had what which who whom whose when where why how much many long often well far old if then
        than as that there here any some all each most more less least very into about between during while after before it its
        they their them he she his her this these those such main key major primary important central contribution contributions
        result results conclusion conclusions finding findings purpose goal goals aim objective topic subject idea ideas point
        points method methods approach approaches model models system technique limitation limitations advantage advantages
        disadvantage disadvantages benefit benefits problem problems issue issues solution solutions motivation future work step
        steps process difference differences similarity reason reasons cause effect role name define definition term terms mean
        meaning summary summarise summarize describe explain list give say said state stated happen happens used use work works
        """
    )
)


def dangling(question: str, also: Sequence[re.Pattern[str]] = ()) -> str | None:
    """What a question leaves to a text that its reader does not see, in words; None for a question that stands alone.

    The patterns are English: they know "the passage", "Table 2", "as mentioned above", "our results", a pronoun before any noun
    ("How does it ..."), and questions that name nothing ("What is the main contribution?"). ``also`` are further ones. A question that
    brings its text along ("Classify the following text: ...", or on further lines) may point at it. A question
    that names its subject vaguely ("the cluster") passes: who has only the question cannot tell that from a name.
    """
    for pattern, why in _POINTING:
        if (found := pattern.search(question)) and not (why in _NEARBY and _CARRIED.search(question, found.end())):
            return f"{why}: {_shown(found)}"
    for pattern in also:
        if found := pattern.search(question):
            return f"matches {pattern.pattern!r}: {_shown(found)}"
    found = _REFERRING.search(question)
    if found and not (_names(before := question[: found.start()]) or re.search(r"\bwho\b", before, re.I) or _named_later(question, found)):
        return f"refers to what it does not name: {_shown(found)}"
    if not _names(question):
        return "names nothing that could be looked up"
    return None


def _named_later(question: str, found: re.Match[str]) -> bool:
    opening = re.match(r"(?:in|on|at|for|with|during|after|before|under|like|unlike|despite)\b", question, re.I)
    return bool(opening and _NAMED_LATER.match(question, found.end()))


def _names(text: str) -> bool:
    return any(word.casefold() not in _EMPTY and (len(word) > 1 or not word.isascii()) for word in _WORD.findall(text))


def _shown(found: re.Match[str]) -> str:
    return f'"{" ".join(found[0].split())}"'
