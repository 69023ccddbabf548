from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.documents import RULES, clean
from runner.documents.cleaning import Rule
from runner.documents.markdown import spans

CASES: dict[Rule, tuple[str, str]] = {
    "html": ('<div align="center"><b>Bold</b> &amp; 1 &lt; 2<br/>next</div><!-- gone -->', "\nBold & 1 < 2\nnext\n"),
    "links": ("see [the paper](http://x.y/z_(1)) ![A plot](a.png) ![badge](b.svg)", "see the paper A plot "),
    "control-characters": ("a\x00b\x07c\u200bd\ufeffe\u00adf\tg", "abcdef\tg"),
    "special-symbols": ("ﬁne ● item 🚀 5 °C → ok \ue000", "fine - item  5 °C → ok "),
    "whitespace": ("a  b\u00a0c \n\n\n\nd", "a b c\n\nd"),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_does_its_work(rule: Rule) -> None:
    before, after = CASES[rule]
    assert clean(before, [rule]) == after
    assert clean(before, []) == before


def test_what_is_no_tag_stays() -> None:
    text = "if a < b and c > d: <think> stays, so does x<y>z and List<int>"
    assert clean(text, ["html"]) == text


PROTECTED = [
    "```html\n<b>&amp;</b>   x\x07\n\n\n\n● 🚀\n```\n",
    "`<div>  &lt;`",
    "$a  <b> \\text{●}$",
    "$$\n<p>  x\n\n\n$$\n",
    "| <b>a</b>  | ● |\n|---|---|\n| `x`  | [l](u) |\n",
    "\\begin{align}a &amp;  <b> ●\\end{align}",
]


@pytest.mark.parametrize("part", PROTECTED)
def test_code_tables_and_formulas_come_out_as_they_went_in(part: str) -> None:
    text = f"Prose <i>here</i>.\n\n{part}\n\nMore ● prose.\n"
    cleaned = clean(text, RULES)
    assert part in cleaned
    assert "<i>" not in cleaned
    assert "- prose" in cleaned


@given(st.lists(st.sampled_from([*PROTECTED, "prose <b>x</b> ", "\n\n", "# H\n", "a | b\n", "*  *"]), max_size=8))
def test_no_rule_touches_a_protected_part(parts: list[str]) -> None:
    text = "\n\n".join(parts)
    kept = [span.text for span in spans(text) if span.kind != "prose"]
    cleaned = clean(text, ["control-characters", "special-symbols", "whitespace", "links"])
    place = 0
    for part in kept:
        place = cleaned.index(part, place) + len(part)


def test_an_html_table_becomes_a_pipe_table() -> None:
    text = "<table>\n<tr><th>Model</th><th>a|b</th></tr>\n<tr><td>R1</td><td>1 &lt; 2</td></tr></table>"
    assert clean(text, ["html"]).strip() == "| Model | a\\|b |\n|---|---|\n| R1 | 1 < 2 |"


def test_a_pdf_keeps_what_looks_like_markup() -> None:
    assert clean("The <div> tag, a &amp; b, [1](2)", RULES, "pdf") == "The <div> tag, a &amp; b, [1](2)"
