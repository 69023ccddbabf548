from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from runner.documents.html import read_html
from runner.documents.html.formulas import linear


def text(body: str) -> str:
    return read_html(f"<!DOCTYPE html><html><head><title>Head</title></head><body>{body}</body></html>").text


PAGE = """<!DOCTYPE html>
<html><head><title>Routing - Blog</title><style>p {color: red}</style><script>document.write("<p>no</p>")</script></head><body>
<div id="cookie-banner" role="dialog"><p>We use cookies.</p><button>Accept</button></div>
<div class="siteBreadcrumbs"><a href="/">Home</a></div>
<header><img alt="Logo"><nav><ul><li><a href="/">Start</a></li></ul></nav></header>
<main><article class="sidebar-right">
<h1>Mixture of Experts</h1>
<p>A router takes <strong>k</strong> of <em>n</em>; see <a href="https://example.org">the paper</a>.</p>
<h2 id="r">Routing<a class="headerlink" href="#r">¶</a></h2>
<ul><li>One<ul><li>Nested</li></ul></li><li>Two: <code>top_k(x, 2)</code></li></ul>
<ol start="3"><li>Do</li><li>Then</li></ol>
<aside><h3>Related</h3><ul><li><a href="/1">Another post</a></li></ul></aside>
<figure><img src="a.png" alt="Loss falls"><figcaption>Figure 1: Loss.</figcaption></figure>
<blockquote><p>Quoted.</p></blockquote>
<p style="display: none">hidden</p><p hidden>hidden</p><p aria-hidden="true">hidden</p>
<!-- a note -->
<p>A literal &lt;think&gt; tag, snake_case_name, 2 * 3 * 4 &amp; more.</p>
</article></main>
<footer>© Blog</footer></body></html>"""


def test_a_page_is_its_main_content() -> None:
    page = read_html(PAGE)
    assert page.title == "Mixture of Experts"
    assert page.text == (
        "# Mixture of Experts\n\nA router takes **k** of *n*; see the paper.\n\n## Routing\n\n- One\n  - Nested\n"
        "- Two: `top_k(x, 2)`\n\n3. Do\n4. Then\n\nLoss falls\n\nFigure 1: Loss.\n\n> Quoted.\n\n"
        "A literal <think> tag, snake_case_name, 2 * 3 * 4 & more."
    )


CODE = "def f(x):\n    if x < 3 and x & 1:\n\n\n        return `x`   # two  spaces\n\t*no* _emphasis_\n"


@pytest.mark.parametrize(
    ("markup", "language"),
    [
        ("<pre>{}</pre>", ""),
        ('<pre><code class="language-python">{}</code></pre>', "python"),
        ('<div class="highlight-c++ notranslate"><div class="highlight"><pre><span></span>{}</pre></div></div>', "c++"),
        ("<ul><li>item<pre>{}</pre>end</li></ul>", ""),
        ("<blockquote><pre>\n{}</pre></blockquote>", ""),
        ('<table class="highlighttable"><tr><td class="linenos"><pre>1\n2</pre></td><td class="code"><pre>{}</pre></td></tr></table>', ""),
    ],
)
def test_code_is_kept_to_the_byte(markup: str, language: str) -> None:
    escaped = CODE.replace("&", "&amp;").replace("<", "&lt;").replace("f(x)", '<span class="nf">f</span>(x)')
    assert f"\n```{language}\n{CODE}```\n" in f"\n{text('<p>before</p>' + markup.format(escaped) + '<p>after</p>')}\n"


def test_a_fence_is_longer_than_those_inside() -> None:
    assert text("<pre>```\nx\n```</pre>") == "````\n```\nx\n```\n````"


MATHML = "<mrow><msup><mi>x</mi><mn>2</mn></msup><mo>+</mo><mfrac><mi>a</mi><msub><mi>b</mi><mi>i</mi></msub></mfrac></mrow>"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('<math alttext="x^{2}*y_{i}"><mi>no</mi></math>', "$x^{2}*y_{i}$"),
        ('<math><semantics><mi>no</mi><annotation encoding="application/x-tex">a_1 * b_1</annotation></semantics></math>', "$a_1 * b_1$"),
        (
            '<span class="katex"><span class="katex-mathml"><math><semantics><mi>E</mi><annotation encoding="application/x-tex">E=mc^2'
            '</annotation></semantics></math></span><span class="katex-html" aria-hidden="true">E=mc2</span></span>',
            "$E=mc^2$",
        ),
        (
            '<span class="mwe-math-element"><span style="display: none;"><math alttext="{\\displaystyle \\alpha _{i}}"></math></span>'
            '<img class="mwe-math-fallback-image-inline" alt="{\\displaystyle \\alpha _{i}}"></span>',
            "$\\alpha _{i}$",
        ),
        ('<script type="math/tex">x < y</script>', "$x < y$"),
        (f"<math>{MATHML}</math>", "$x^{2} + \\frac{a}{b_{i}}$"),
        ("\\(L = \\sum_i f_i * P_i\\) and $a_1 * b_1$", "\\(L = \\sum_i f_i * P_i\\) and $a_1 * b_1$"),
        ("10<sup>-5</sup>, H<sub>2</sub>O, e<sup>x + y</sup>, note<sup><a href='#1'>3</a></sup>", "10^-5, H_2O, e^(x + y), note3"),
    ],
)
def test_formulas_are_kept_as_tex(markup: str, expected: str) -> None:
    assert text(f"<p>before {markup} after</p>") == f"before {expected} after"


def test_displayed_formulas_stand_alone() -> None:
    numbered = '<table class="ltx_equation"><tr><td></td><td><math alttext="x_1" display="block"></math></td><td>(1)</td></tr></table>'
    assert text(f"a{numbered}b") == "a\n\n$$\nx_1\n$$\n\n(1)\n\nb"
    assert text('<p>a</p><math display="block" alttext="\\int_0^1 x\\,dx"></math><p>b</p>') == "a\n\n$$\n\\int_0^1 x\\,dx\n$$\n\nb"
    assert text('a<script type="math/tex; mode=display">x_1</script>b') == "a\n\n$$\nx_1\n$$\n\nb"


def test_a_formula_without_source_is_written_in_a_line() -> None:
    def of(markup: str) -> str:
        found = BeautifulSoup(f"<math>{markup}</math>", "lxml").math
        assert found is not None
        return linear(found)

    assert of("<msubsup><mo>∑</mo><mi>i</mi><mi>n</mi></msubsup><msqrt><mi>x</mi></msqrt>") == "∑_{i}^{n} \\sqrt{x}"
    assert of("<mtable><mtr><mtd>1</mtd><mtd>0</mtd></mtr><mtr><mtd>0</mtd><mtd>1</mtd></mtr></mtable>") == "1 & 0 \\\\ 0 & 1"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        (
            "<table><caption>Results</caption><thead><tr><th>Model<th>Acc|%</thead><tr><td>R1<td>90.1<tr><td>V3<br>base<td><b>88</b></table>",
            "Results\n\n| Model | Acc\\|% |\n|---|---|\n| R1 | 90.1 |\n| V3 base | **88** |",
        ),
        (
            "<table><tr><td rowspan=2>A<td colspan=2>1<tr><td>2<td>3</table>",
            "| A | 1 | 1 |\n|---|---|---|\n| A | 2 | 3 |",
        ),
        ("<table><tr><td rowspan=99>A<td>1<tr><td>2</table>", "| A | 1 |\n|---|---|\n| A | 2 |"),
        ("<table><tr><td><h2>Layout</h2><p>text</p></td><td><ul><li>x</li></ul></td></tr></table>", "## Layout\n\ntext\n\n- x"),
        ("<table><tr><td>one cell</td></tr><tr><td>below</td></tr></table>", "one cell\n\nbelow"),
        ("<table></table><p>x</p>", "x"),
        (
            '<table><tr><td>a<td><math alttext="|x|"></math><tr><td>b<td><code>x|y</code></table>',
            "| a | $\\vert x\\vert $ |\n|---|---|\n| b | `x\\|y` |",
        ),
        ("<table><tr><td colspan=abc>a<td>b</table>", "| a | b |\n|---|---|"),
    ],
)
def test_tables_are_pipe_tables(markup: str, expected: str) -> None:
    assert text(markup) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<title>T</title><nav>Home</nav><p>no body tag<p>unclosed <b>bold <i>both</b>", "no body tag\n\nunclosed **bold *both***"),
        ("plain text, no tags at all", "plain text, no tags at all"),
        ("<div><nav><p>all of it is navigation</p></nav></div>", "all of it is navigation"),
        ("<main></main><div><p>beside an empty main</p></div>", "beside an empty main"),
        ("<article><p>one</p></article><article><p>two</p></article>", "one\n\ntwo"),
        ("<header><h1>Title</h1><nav>menu</nav></header><p>text</p>", "# Title\n\ntext"),
        ("a\x02b 0\x03 \x020\x03", "ab 0 0"),
        ("<![CDATA[x]]><?php echo 1 ?><p>text</p>", "text"),
        ("<p>&#0;&#x110000;&nosuch;&amp;amp;</p>", "\ufffd\ufffd&nosuch;&amp;"),
        ("<svg><text>drawing</text></svg><noscript>Turn on JavaScript</noscript>", ""),
        ("", ""),
    ],
)
def test_odd_pages(source: str, expected: str) -> None:
    assert read_html(source).text == expected


def test_the_title_is_the_only_top_heading_or_that_of_the_head() -> None:
    assert read_html("<title>Head</title><h1>Top <a>¶</a></h1>").title == "Top"
    assert read_html("<title>Head\n line</title><h1>A</h1><h1>B</h1>").title == "Head line"
    assert read_html("<h2>First</h2><h2>Second</h2>").title == "First"
    assert read_html("<p>none</p>").title == ""


def test_elements_as_deep_as_they_like() -> None:
    assert "bottom" in text("<div>" * 1500 + "bottom")


PIECES = ["<p>", "</p>", "<td>", "<table>", "</table>", "<pre>", "</pre>", "<math>", "<ul><li>", "<script>", "</script>", "<!--", "-->"]
PIECES += ["<", "&", "x", "\x02", "\x000", "<main>", "<h1>", "$", "|", "<tr rowspan=3>"]


@given(st.lists(st.sampled_from([*PIECES, "\n", " "]), max_size=25))
def test_no_markup_makes_it_fail(parts: list[str]) -> None:
    page = read_html("".join(parts))
    assert "\x02" not in page.text
    assert "\x03" not in page.text
