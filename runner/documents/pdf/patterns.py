"""What the text of a line tells: captions, numbered headings, items of lists, leaders of a table of contents."""

from __future__ import annotations

import re

#: The start of a caption; "Table 1 shows" is none.
CAPTION = re.compile(r"^(?:figure|fig\.?|table|tab\.|listing|algorithm|scheme|chart)\s*(?:[A-Z]\.?)?\d+[a-z]?\s*(?:[:.|—–-]|$)", re.I)
#: The dots that lead to a page number in a table of contents.
LEADERS = re.compile(r"(?:\s*\.){4,}")
#: A number of a section and what may follow it.
NUMBERED = re.compile(r"^(?:Appendix\s+)?(\d{1,2}(?:\.\d{1,2})*|[A-Z](?:\.\d{1,2})*)[.)]?\s+(?=[A-Z“\"])")
#: Headings that need no number.
NAMED = re.compile(r"^(abstract|introduction|conclusions?|references|acknowledge?ments?|appendix|discussion|related work)$", re.I)
#: The mark of an item in a list.
BULLET = re.compile(r"^(?:[•●▪◦‣∙·–*]|\(?(?:\d{1,2}|[a-z])[.)]|\[\d{1,3}\])\s")
#: Marks that stand for nothing else.
MARK = re.compile(r"^[•●▪◦‣]\s")
#: An address that may go on in the next line.
BROKEN_ADDRESS = re.compile(r"https?:\S*[\w/.-]$")
#: Three letters, wherever they stand.
LETTERS = re.compile(r"(?:[^\W\d_].*){3}")
#: Signs that headings do not have and formulas do.
EQUAL = re.compile(r"[=≤≥≈∼≡→⇒<>]")
#: What ends a sentence or announces the next paragraph.
ENDS = tuple(".!?:;")
