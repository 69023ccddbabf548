"""The report in a real browser: nothing runs off the page, nothing is asked of the network, tables sort, both schemes can be read."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from runner.reports import render
from tests.reports import fake_run, wide_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render(fake_run.full(tmp_path_factory.mktemp("store"))).as_uri()


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render(wide_run.build(tmp_path_factory.mktemp("store"))).as_uri()


class Page:
    """A page with what it said on the console and what it asked for."""

    def __init__(self, browser: Any, url: str, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page, self.said, self.asked = self.context.new_page(), list[str](), list[str]()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def __call__(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.mark.parametrize("run", ["url", "wide"])
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_page_does_not_scroll_sideways_and_is_silent(browser: Any, request: Any, run: str, width: int) -> None:
    page = Page(browser, request.getfixturevalue(run), width)
    page("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert page("document.documentElement.scrollWidth") <= width
    assert page.said == []
    assert [asked for asked in page.asked if not asked.startswith(("file:", "data:"))] == []
    assert page("document.title").startswith("LoRA on Qwen2.5")


@pytest.mark.parametrize("width", [390, 1280])
def test_texts_of_a_drawing_neither_overlap_nor_leave_it(browser: Any, wide: str, width: int) -> None:
    page = Page(browser, wide, width)
    page("document.querySelectorAll('details').forEach(part => part.open = true)")
    script = """() => [...document.querySelectorAll('figure > svg')].flatMap(svg => {
      const frame = svg.getBoundingClientRect();
      const boxes = [...svg.querySelectorAll('text')].map(text => [text.firstChild.data, text.getBoundingClientRect()]);
      const out = boxes.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1);
      const over = boxes.filter(([, a], place) => boxes.slice(place + 1).some(([, b]) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3));
      return [...out, ...over].map(([text]) => [svg.getAttribute('aria-label').slice(0, 40), text]) })"""
    assert page("document.querySelectorAll('figure > svg').length") > 8
    assert page(script) == []
    assert page("Math.min(...[...document.querySelectorAll('figure > svg text')].map(t => t.getBoundingClientRect().height))") > 9


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_in_coloured_cells_can_be_read(browser: Any, wide: str, scheme: str) -> None:
    """4.5 to 1 also on the strongest colour of a heat map."""
    script = """() => {
      const numbers = text => text.match(/[\\d.]+/g).map(Number);
      const light = ([r, g, b]) => { const f = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b) };
      const paper = numbers(getComputedStyle(document.body).backgroundColor);
      return [...document.querySelectorAll('figure > svg rect + text')].map(text => {
        const cell = getComputedStyle(text.previousElementSibling), fill = numbers(cell.fill), part = Number(cell.fillOpacity);
        const back = [0, 1, 2].map(at => fill[at] * part + paper[at] * (1 - part));
        const [a, b] = [light(numbers(getComputedStyle(text).fill)), light(back)].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05) }) }"""
    contrasts = Page(browser, wide, scheme=scheme)(script)
    assert len(contrasts) >= 16
    assert min(contrasts) >= 4.5


def test_the_answer_is_on_the_first_screen(browser: Any, wide: str) -> None:
    bottom = Page(browser, wide)("document.querySelector('#result table').tBodies[0].rows[0].getBoundingClientRect().bottom")
    assert bottom < 900


def test_it_prints_with_everything_open(browser: Any, wide: str) -> None:
    page = Page(browser, wide, scheme="dark")
    assert page("[...document.querySelectorAll('details')].some(part => !part.open)")
    paper = page.page.pdf(format="A4")
    assert paper.startswith(b"%PDF")
    assert page("[...document.querySelectorAll('details')].every(part => part.open)")
    page.page.emulate_media(media="print")
    assert page("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"  # dark on paper would waste ink
    assert page("getComputedStyle(document.body).color") == "rgb(29, 33, 38)"


def test_figures_stand_to_the_right_one_below_the_other(browser: Any, url: str) -> None:
    edges = Page(browser, url)(
        "[...document.querySelectorAll('#result table')[1].tBodies[0].rows].map(row => {"
        "const range = document.createRange(); range.selectNodeContents(row.cells[3].firstChild); "
        "return range.getBoundingClientRect().right})"
    )
    assert len(edges) == 8
    assert max(edges) - min(edges) < 1


def test_tables_sort_by_value_both_ways(browser: Any, url: str) -> None:
    page = Page(browser, url)
    column = "[...document.querySelectorAll('#result table')[1].tBodies[0].rows].map(row => parseFloat(row.cells[4].dataset.sort))"
    button = page.page.locator("#result table").nth(1).locator("th button").nth(4)
    button.click()
    assert page(column) == sorted(page(column))
    button.click()
    assert page(column) == sorted(page(column), reverse=True)


def test_tables_sort_by_the_keyboard_alone(browser: Any, url: str) -> None:
    page = Page(browser, url)
    head = page.page.locator("#result table").nth(1).locator("th").nth(4)
    head.locator("button").focus()
    for key, order in (("Enter", "ascending"), ("Space", "descending")):
        page.page.keyboard.press(key)
        assert head.get_attribute("aria-sort") == order


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_is_too_wide_shows_that_there_is_more_and_scrolls_by_the_keyboard(browser: Any, url: str, scheme: str) -> None:
    page = Page(browser, url, 390, scheme)
    table = page.page.locator("#result .table", has=page.page.locator("table:not(.stack)")).first
    assert table.evaluate("part => part.scrollWidth > part.clientWidth + 40")

    def edges() -> list[int]:
        """How far the pixels at the left and at the right edge, between two lines of text, are from the page's paper."""
        shot = table.screenshot()
        with Image.open(io.BytesIO(shot)) as image:
            row = [image.convert("L").getpixel((x, 6)) for x in range(image.width)]
        return [max(abs(row[x] - row[image.width // 2]) for x in part) for part in (range(4), range(len(row) - 4, len(row)))]

    left, right = edges()
    assert left < 8 < 16 < right
    table.focus()
    for _ in range(80):
        page.page.keyboard.press("ArrowRight")
    page.page.wait_for_function("part => part.scrollLeft + part.clientWidth >= part.scrollWidth - 1", arg=table.element_handle())
    left, right = edges()
    assert right < 8 < 16 < left


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(browser: Any, url: str, scheme: str) -> None:
    """Contrast of 4.5 to 1 or more (WCAG 2.2, 1.4.3) for every text, those in the drawings too."""
    script = """() => {
      const numbers = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a] };
      const light = ([r, g, b]) => { const f = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
        return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b) };
      const paper = element => { for (; element; element = element.parentElement) {
        const colour = numbers(getComputedStyle(element).backgroundColor); if (colour[3] > 0) return colour } };
      const bad = [];
      document.querySelectorAll('main *').forEach(element => {
        if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()) || !element.getClientRects().length) return;
        const style = getComputedStyle(element);
        const drawing = element.closest('svg');
        const ink = numbers(drawing ? style.fill : style.color), back = paper(drawing ? drawing.parentElement : element);
        const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) bad.push([element.textContent.slice(0, 40), style.color, (a + 0.05) / (b + 0.05)]);
      });
      return bad }"""
    assert Page(browser, url, scheme=scheme)(script) == []
