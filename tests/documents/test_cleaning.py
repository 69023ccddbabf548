from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.documents import RULES, clean
from runner.documents.cleaning import Rule
from runner.documents.markdown import spans
from runner.documents.model import Format

CASES: dict[Rule, tuple[str, str]] = {
    "front-matter": ("---\ntitle: A\ntags: [x]\n---\n\n# A\n", "# A\n"),
    "html": ('<div align="center"><b>Bold</b> &amp; 1 &lt; 2<br/>next</div><!-- gone -->', "\nBold & 1 < 2\nnext\n"),
    "links": ("see [the paper](http://x.y/z_(1)) ![A plot](a.png) ![x](https://img.shields.io/b.svg)", "see the paper A plot "),
    "unicode": ("cafe\u0301 \u212b", "café Å"),
    "control-characters": ("a\x00b\x07c\u200bd\ufeffe\u00adf\tg\x0ch", "abcdef\tg\nh"),
    "special-symbols": ("ﬁne\n● item 🚀 5 °C → ok \ue000 👩\u200d🔬!", "fine\n- item  5 °C → ok  !"),
    "references": ("# A\n\ntext\n\n## References\n\n[1] B.\n\n## C\n", "# A\n\ntext\n\n## C\n"),
    "whitespace": ("a  b\u00a0c \n\n\n\nd", "a b c\n\nd"),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_does_its_work(rule: Rule) -> None:
    before, after = CASES[rule]
    assert clean(before, [rule]) == after
    assert clean(before, []) == before
    assert clean(after, [rule]) == after, "twice is once"


def test_rules_go_in_the_order_given() -> None:
    text = "a <b> </b> b\n"
    assert clean(text, ["html", "whitespace"]) == "a b\n"
    assert clean(text, ["whitespace", "html"]) == "a   b\n"


def test_what_is_no_tag_stays() -> None:
    text = "if a < b and c > d: <think> stays, so does x<y>z and List<int>"
    assert clean(text, ["html"]) == text


#: What must come out as it went in, in every format.
PROTECTED = [
    "```html\n<b>&amp;</b>   x\x07\n\n\n\n● 🚀 cafe\u0301\n[l](u)\n## References\n```\n",
    "~~~\n```\n<i>  x\n~~~\n",
    "`<div>  &lt; [l](u) ﬁ`",
    "$a  <b> \\text{●} [x](y)$",
    "$$\n<p>  x ● \u200b\n$$\n",
    "$$a  <b> [x](y)$$",
    "\\[ a  <b>\n ● \\]",
    "\\( a  <b> ● \\)",
    "| <b>a</b>  | ● |\n|---|---|\n| `x`  | [l](u) \u200b |\n",
    "\\begin{equation}a &amp;  <b> ●\n\n [x](y)\\end{equation}",
    "\\begin{align*}\n  x &= 1   \\\\\n\\end{align*}\n",
]
UNPROTECTED = ["prose <b>x</b> ", "# H\n", "a | b\n", "*  *", "- $5 and $6", "``", "[x]: http://u", "[x][]", "<pre>q  q</pre>"]
FORMATS: list[Format] = ["markdown", "text", "html", "pdf"]


@pytest.mark.parametrize("part", PROTECTED)
@pytest.mark.parametrize("format", FORMATS)
def test_code_tables_and_formulas_come_out_as_they_went_in(part: str, format: Format) -> None:
    text = f"Prose <u>here</u>.\n\n{part}\n\n● More prose 🚀.\n"
    cleaned = clean(text, RULES, format)
    assert part in cleaned
    assert ("<u>" in cleaned) is (format in ("html", "pdf"))
    assert "\n- More prose .\n" in cleaned


@given(
    st.lists(st.sampled_from([*PROTECTED, *UNPROTECTED]), max_size=8),
    st.permutations(RULES),
    st.integers(0, len(RULES)),
    st.sampled_from(FORMATS),
)  # fmt: skip
def test_no_rule_nor_any_of_their_combinations_touches_a_protected_part(
    parts: list[str], rules: list[Rule], count: int, format: Format
) -> None:
    text = "\n\n".join(parts)
    kept = [span.text for span in spans(text, indented=format == "markdown") if span.kind not in ("prose", "front-matter")]
    cleaned = clean(text, rules[:count], format)
    place = 0
    for part in kept:
        assert part.strip() in cleaned[place:], (part, cleaned)
        place = cleaned.index(part.strip(), place) + len(part.strip())


@given(st.text(alphabet="ab `$|\\-=#\n\t<>[]()*:/_\u0301●🚀\u200b~&;", max_size=60), st.permutations(RULES), st.sampled_from(FORMATS))
def test_no_text_makes_a_rule_fail_or_lose_letters(text: str, rules: list[Rule], format: Format) -> None:
    rules = [rule for rule in rules if rule not in ("html", "links", "references", "front-matter", "unicode")]
    cleaned = clean(text, rules, format)
    for letter in "ab":
        assert cleaned.count(letter) == text.count(letter)
    clean(text, RULES, format)


def test_indented_code_is_of_markdown_only() -> None:
    text = "before\n\n    x = <b>1</b>  # ● two\n\nafter\n"
    assert clean(text, ["html", "special-symbols"]) == text
    assert clean("before\n\n    An indented ﬁrst line.\n", ["special-symbols"], "text") == "before\n\n    An indented first line.\n"


def test_an_html_table_becomes_a_pipe_table() -> None:
    text = "<table>\n<tr><th>Model</th><th>a|b</th></tr>\n<tr><td>R1</td><td>1 &lt; 2<sup>3</sup></td></tr></table>"
    assert clean(text, ["html"]).strip() == "| Model | a\\|b |\n|---|---|\n| R1 | 1 < 2^3 |"


def test_code_in_html_stays_code() -> None:
    text = "<p>Call <code>f(a  &lt; b)</code>:</p>\n<pre><code class=x>if a &lt; b:\n\n\n    <span>go</span>()   # now\n</code></pre>\n"
    text += "<p>10<sup>-3</sup> H<sub>2</sub>O</p>"
    cleaned = clean(text, ["html", "special-symbols", "whitespace"])
    assert "```\nif a < b:\n\n\n    go()   # now\n```\n" in cleaned
    assert "Call `f(a  < b)`:" in cleaned
    assert "10^-3 H_2O" in cleaned


def test_links_hold_code_and_formulas() -> None:
    assert clean("see [`a[0](x)`](http://u), [$x$ and **b**](v) and [![c](d)](e)", ["links"]) == "see `a[0](x)`, $x$ and **b** and c"


def test_links_by_reference_lose_their_targets_where_they_have_some() -> None:
    text = '[a][1], [b][], [c], ![d][1], [x] is a choice, a[0][9]\n\n[1]: http://u "T"\n[b]: <http://v>\n[C]: w\n'
    assert clean(text, ["links"]) == "a, b, c, d, [x] is a choice, a[0][9]\n\n"


@pytest.mark.parametrize("format", FORMATS)
def test_columns_stay_under_each_other(format: Format) -> None:
    table = "model     bleu  rouge\nqwen      41.2   38.0\nllama-3   40.1    9.5"
    assert clean(table, ["whitespace"], format) == table
    assert clean("One  sentence.  Another\nline of  text", ["whitespace"], format) == "One sentence. Another\nline of text"


def test_signs_of_formulas_and_pictures_of_tables_are_no_ornaments() -> None:
    text = "a ∙ b ∘ c □ ◇p ⊕ △ ⟂ ✓ ✗ ✅ BF16 ❌ FP4 ☑ ☐ ✖ ⠓⠊ №5 │ ─ ┌ ①"
    assert clean(text, ["special-symbols"]) == text


@pytest.mark.parametrize("text", ["क्‍ष", "می‌خواهم", "\u200fשלום\u200e", "ภาษาไทย", "e\u0301", "\U00030000\U0001e4d0"])
def test_letters_of_every_script_stay(text: str) -> None:
    assert unicodedata.normalize("NFC", clean(text, RULES)) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "heading",
    ["# References", "## 7. References", "## VII Bibliography:", "References\n---", "### Literaturverzeichnis", "# **References**"],
)
def test_headings_of_references(heading: str) -> None:
    assert clean(f"text\n\n{heading}\n\n[1] A.\n", ["references"]).strip() == "text"


@pytest.mark.parametrize(
    "text", ["# Reference\n\nx", "# References to memory\n\nx", "References are good.\n", "- References\n", "```\n# References\n```\n"]
)
def test_no_headings_of_references(text: str) -> None:
    assert clean(text, ["references"]) == text


def test_a_plain_text_ends_before_its_references() -> None:
    text = "Title\n\nReferences\n\nare discussed here at some length, " + "word " * 20 + "\n\nReferences\n\n[1] A.\n"
    assert clean(text, ["references"], "text") == text[: text.rindex("References")].rstrip("\n") + "\n"


@pytest.mark.parametrize(
    "text", ["---\n\n# A\n", "---\nno key\n---\n", "--- a: b\n---\n", "---\na: b\nnever closed\n", "text\n---\na: b\n---\n"]
)
def test_what_is_no_front_matter_stays(text: str) -> None:
    assert clean(text, ["front-matter"]) == text


def test_a_pdf_keeps_what_looks_like_markup() -> None:
    assert clean("The <div> tag, a &amp; b, [1](2)", RULES, "pdf") == "The <div> tag, a &amp; b, [1](2)"
