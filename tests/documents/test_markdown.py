from __future__ import annotations

import pytest
from hypothesis import given
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
