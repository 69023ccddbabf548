from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.documents.markdown import plain, sections, spans

TEXT = """# One `code` title

Prose with $a_1 < b$ and `x <b>` inside, $5 and $6 are prices.

```python
# no heading
a | b
```

| a | b |
|---|---|
| <b>1</b> | 2 |

$$
\\alpha
$$

Two
---

    indented code

- item
"""


def test_every_part_is_told_apart() -> None:
    found = [(span.kind, span.text) for span in spans(TEXT) if span.kind != "prose"]
    assert found == [
        ("code", "`code`"),
        ("formula", "$a_1 < b$"),
        ("code", "`x <b>`"),
        ("code", "```python\n# no heading\na | b\n```\n"),
        ("table", "| a | b |\n|---|---|\n| <b>1</b> | 2 |\n"),
        ("formula", "$$\n\\alpha\n$$\n"),
        ("code", "    indented code\n"),
    ]


@given(st.text(alphabet="`~$|\\-# \n\tab<>[]()*", max_size=80))
def test_the_parts_joined_are_the_text(text: str) -> None:
    assert "".join(span.text for span in spans(text)) == text


@given(st.text(alphabet="`~$|\\-=# \n\tab", max_size=80))
@example("# `")
def test_headings_stand_where_they_say(text: str) -> None:
    for section in sections(text):
        assert section.title.split()[0][:1] in text[section.start :]
        assert section.start == 0 or text[section.start - 1] in "\n"


def test_headings_are_found_outside_of_code_only() -> None:
    assert [(s.level, s.title, TEXT[s.start :][:3]) for s in sections(TEXT)] == [(1, "One code title", "# O"), (2, "Two", "Two")]


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("**Bold** _it_", "Bold it"),
        ("`hf3fs_ior_create4`", "hf3fs_ior_create4"),
        ("[A](http://b) x", "A x"),
        ("![](x.png) DeepEP", "DeepEP"),
    ],
)
def test_titles_lose_their_marks(heading: str, title: str) -> None:
    assert plain(heading) == title


def test_a_fence_closes_only_with_its_own_kind_and_length() -> None:
    text = "````\n```\n# still code\n````\n# heading\n~~~\n# code to the end"
    assert [section.title for section in sections(text)] == ["heading"]


@pytest.mark.parametrize(
    "piece",
    [
        "\\[\nx\n",
        "a \\[ b\n",
        "a \\( b\n",
        "\\begin{a} b\n",
        "\\begin{a} b\n\n",
        "``` b",
        "$$ a\n",
        "$$$ a",
        "$a ",
        "> ",
        "- ",
        "# ",
        " ",
        "\t",
        "|-",
        "![ a",
    ],
)
def test_what_is_never_closed_takes_no_quadratic_time(piece: str) -> None:
    """Run in a process of its own, to be ended by the kernel: no other clock stops a regular expression."""
    code = (
        "import resource, sys; from runner.documents.markdown import sections, spans\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (10, 10))\n"
        "for head in ('', 'a|b\\n', '- ', '# a'):\n    text = head + sys.argv[1] * 20_000 + 'x'; sections(text); list(spans(text))"
    )
    assert subprocess.run([sys.executable, "-c", code, piece]).returncode == 0


def test_an_unclosed_opening_does_not_hide_what_is_closed() -> None:
    text = "a \\[ b $x$ `c` \\begin{q} $$y$$\n\n\\[ z \\] \\(w\\)"
    assert [span.text for span in spans(text) if span.kind != "prose"] == ["$x$", "`c`", "$$y$$", "\\[ z \\]", "\\(w\\)"]


@pytest.mark.parametrize(
    ("line", "title"), [("## Title ##", "Title"), ("## C#", "C#"), ("# F # ", "F"), ("# [![b](x)](y) Z", "b Z"), ("#  a  b  #x", "a b #x")]
)
def test_marks_that_close_a_heading_are_not_its_title(line: str, title: str) -> None:
    assert [section.title for section in sections(line)] == [title]
