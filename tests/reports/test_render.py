"""The report: complete, true to its artifacts, safe against hostile text, and possible for any run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from runner.errors import InputError
from runner.reports import render
from runner.reports.page import Comparison
from runner.reports.record import Run
from runner.reports.write import compose, fenced, markdown
from tests.reports import fake_run


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = fake_run.full(tmp_path_factory.mktemp("store"))
    render(folder)
    return folder


@pytest.fixture(scope="module")
def html(run_folder: Path) -> str:
    return (run_folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def text(run_folder: Path) -> str:
    return (run_folder / "report.md").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Collects elements, attributes, and whether every element that must be closed is."""

    VOID = frozenset({"meta", "link", "img", "br", "path", "use", "wbr"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open, tag
            assert self.open.pop() == tag


def test_every_section_is_there_in_order(html: str, text: str) -> None:
    titles = [
        "Result at a glance",
        "Claims",
        "Method",
        "Data",
        "Training",
        "Export",
        "Retrieval",
        "Answering",
        "Where the arms disagree",
        "Steps",
        "Warnings",
    ]
    titles.append("Provenance")
    assert re.findall(r"<h2>(.*?)</h2>", html) == titles
    assert re.findall(r"^## (.*)$", text, re.M) == titles
    assert "could not be made" not in text


def test_the_figures_are_those_of_the_artifacts(run_folder: Path, html: str, text: str) -> None:
    (scores,) = Run.open(run_folder).made("scores")
    for arm in scores.json("scores.json")["arms"]:
        value = arm["values"]["rouge_l"]
        for page in (html, text):
            assert f"{value['mean']:.1f}" in page
            assert f"{value['low']:.1f} to {value['high']:.1f}" in page
        loss = arm["values"]["held_out_loss"]
        assert f"{loss['low']:.3f} to {loss['high']:.3f}" in html
    for shown in (
        "4.91",
        "3,312,640 bytes",
        "prescribed by Q4_K_M, which is a mixture",
        "3.188 → 1.950",
        "1,343,488",
        "90.4%",
        "schema 3, duplicate 1",
        "0.0002",
    ):
        assert shown in text.replace("\\", ""), shown
        assert shown in html.replace("\N{NO-BREAK SPACE}", " "), shown


def test_a_sign_stands_where_the_paired_interval_excludes_zero_and_nowhere_else(run_folder: Path) -> None:
    run = Run.open(run_folder)
    (scores,) = run.made("scores")
    pairs = scores.json("scores.json")["paired"]
    clear = sum(1 for pair in pairs if pair["low"] > 0 or pair["high"] < 0)
    assert 0 < clear < len(pairs)
    result = next(section for section in compose(run).sections if section.id == "result")
    table = next(block for block in result.blocks if block.kind == "table" and block.columns[0].title == "system")
    assert sum(cell.text.startswith("▲") for row in table.rows for cell in row) == clear  # a lower loss is better too


def test_overlays_and_the_extractive_teacher_are_said_at_the_head(html: str) -> None:
    head = html[html.index("<header>") : html.index("</header>")]
    assert "This run was changed by profile smoke" in head
    assert "figures are not results" in head
    assert "extractive teacher" in head
    assert "<li>gemini_qa</li>" in head
    assert "splits" not in head  # it only passes them on


def test_claims_and_checks_have_verdicts(html: str) -> None:
    claims = html[html.index('id="claims"') : html.index('id="method"')]
    assert "not comparable" in claims  # an overlay has changed the run
    assert "the tuned model beats its base on held-out loss" in claims


def test_a_finding_says_in_lines_what_was_measured_and_against_what(run_folder: Path, text: str) -> None:
    run = Run.open(run_folder)
    (scores,) = run.made("scores")
    arms = {(arm["axes"]["system"], arm["axes"]["rag"]): arm["values"] for arm in scores.json("scores.json")["arms"]}
    claims = next(section for section in compose(run).sections if section.id == "claims")
    tables = [block for block in claims.blocks if block.kind == "table"]
    measured, against = arms["gguf", "index"]["rouge_l"], arms["gguf", "none"]["rouge_l"]
    claim, check = (dict(table.rows[0][2].lines) for table in tables)
    assert list(claim) == ["Metric", "Measured", "Should be above", "Paired difference"]
    assert claim["Metric"] == "ROUGE-L, of 100"
    assert claim["Measured"] == f"{measured['mean']:.1f} ({measured['low']:.1f} to {measured['high']:.1f}), gguf · index"
    assert claim["Should be above"] == f"{against['mean']:.1f} ({against['low']:.1f} to {against['high']:.1f}), gguf · none"
    assert re.fullmatch(r"\d+\.\d \(.* to .*; (includes|all above) zero\), 12 items, p = \d\.\d+", claim["Paired difference"])
    assert "Should be below" in check
    assert f"Measured: {claim['Measured']}<br>Should be above" in text


def test_what_was_not_measured_and_facts_have_lines(tmp_path: Path) -> None:
    folder = fake_run.full(tmp_path)
    record = json.loads((folder / "run.json").read_text()) | {"claims": [], "overlays": []}
    train = {"step": "lora", "fact": "trainable_parameters"}
    record["checks"] = [
        {"says": "small", "measure": train, "less_than": {"value": 2_000_000}},
        {"says": "fast", "measure": {"step": "lora", "fact": "speed"}, "greater_than": {"value": 1}},
        {"says": "same", "measure": train, "equals": {"value": 1_343_400, "tolerance": 100}},
        {"says": "hardly more", "measure": train, "less_than": 1_343_400, "margin": 100},
        {"says": "fits", "measure": {"step": "base", "fact": "peak_memory"}, "equals": {"value": 1.3e9, "tolerance": 1e8}},
    ]
    (folder / "run.json").write_text(json.dumps(record))
    (table,) = [block for section in compose(Run.open(folder)).sections if section.id == "claims" for block in section.blocks[1:]]
    assert [row[1].text for row in table.rows] == ["holds", "not measured", "holds", "holds", "holds"]
    first, second, third, fourth, fifth = (dict(row[2].lines) for row in table.rows)
    assert first["Measured"] == "1,343,488, lora"
    assert first["Should be below"] == "2,000,000"
    assert first["Difference"] == "−656,512"
    assert second["Why"].startswith("lora recorded no fact speed")
    assert third["Should equal"] == "1,343,400, give or take 100"
    assert fourth["Should be below"] == "1,343,400, with a margin of 100"
    assert fifth["Should equal"] == "1.30 GB, give or take 100 MB"


def test_an_interval_is_held_against_the_end_of_the_margin(run_folder: Path, tmp_path: Path) -> None:
    record = json.loads((run_folder / "run.json").read_text()) | {"overlays": [], "checks": []}
    claim = record["claims"][0]
    record["claims"] = [claim | {"margin": margin} for margin in (0, 90)]
    run = replace(Run.open(run_folder), record=record)
    (table,) = [block for section in compose(run).sections if section.id == "claims" for block in section.blocks]
    without, with_margin = (dict(row[2].lines) for row in table.rows)
    assert "zero" in without["Paired difference"]
    assert "; all above −90.0)" in with_margin["Paired difference"]
    assert with_margin["Should be above"].endswith(", with a margin of 90.0")


def test_settings_are_listed_with_their_values(run_folder: Path) -> None:
    method = next(section for section in compose(Run.open(run_folder)).sections if section.id == "method")
    stated, departs, assumed = [[[cell.text for cell in row] for row in block.rows] for block in method.blocks if block.kind == "table"]
    assert stated == [["lora: method.r", "16", "4, Hyperparameters"]]
    assert departs[0][0] == "split by document instead of at random"
    assert assumed[0][:2] == ["lora: learning_rate", "0.0002"]
    assert assumed[1][:2] == ["lora", "method.kind = lora; bf16 = no; seed = 3407"]  # what has an entry of its own, and defaults, are not


def test_a_whole_step_and_an_axis_are_settings_too(run_folder: Path) -> None:
    opened = Run.open(run_folder)
    for path, setting in (("steps.lora.with", "lora"), ("steps.lora.with.*", "lora"), ("matrix.system", "matrix.system")):
        run = replace(opened, record={**opened.record, "stated": [], "assumptions": [{"path": path, "why": "so"}]})
        method = next(section for section in compose(run).sections if section.id == "method")
        *_, table = [block for block in method.blocks if block.kind == "table"]
        ((name, value, _),) = table.rows
        assert name.text == setting
        wanted = ", ".join(opened.record["matrix"]["system"]) if setting == "matrix.system" else "method.kind = lora; method.r = 16; "
        assert value.text.startswith(wanted), value.text


def test_of_several_splits_each_part_has_its_step_s_name(tmp_path: Path) -> None:
    folder = fake_run.full(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    (split,) = (instance for instance in record["instances"] if instance["step"] == "splits")
    record["instances"].append({**split, "id": "others", "step": "others"})
    (folder / "run.json").write_text(json.dumps(record))
    data = next(section for section in compose(Run.open(folder)).sections if section.id == "data")
    (note,) = (block for block in data.blocks if block.kind == "note" and "in common" in block.text)
    assert {item.partition(":")[0].partition(".")[0] for item in note.items} == {"splits", "others"}


def test_examples_that_were_left_out_are_shown(html: str) -> None:
    data = html[html.index('id="data"') : html.index('id="training"')]
    assert "leaks\N{NO-BREAK SPACE}1" in data
    assert "leaks: its question stands in a larger part, as q3" in data
    assert "train: nothing in common with another part or with what the model is shown besides</li>" in data
    assert "25.0% have a nearly equal one; 0.0% have the same context as one; 12.5% stand in what the model is shown besides;" in data
    assert "after 1 example with such a question was left out; 2 questions nearly like another of its own</li>" in data
    assert "attention, head, layer" in data


def test_what_has_no_question_is_listed_once_for_each_reason(text: str) -> None:
    rows = [line for line in text.splitlines() if "schema: answer missing" in line]
    assert [row.split("|")[2].strip() for row in rows] == ["– (3 times)"]


def test_curation_names_its_rules_and_some_victims_of_each(html: str, text: str) -> None:
    assert "111 of 120 examples stay." in html
    assert "| language (23 could not be judged) | 120 | 2 | 1.7% |" in text
    assert "| quality | 118 | 7 | 5.9% |" in text
    victims = html[html.index("Some that each rule dropped") :]
    assert victims.count("confidence 0.98") == 2
    assert victims[: victims.index("</table>")].count("grade 2:") == 5
    assert "2 more" in victims


def test_rows_of_a_data_set_are_accounted_for(text: str) -> None:
    row = next(line for line in text.splitlines() if "recipes/data/manual.jsonl" in line)
    assert row.endswith("| recipes/data/manual.jsonl | 14 | 1 | 3 (lang one\\_of = en: 3) | 10 (of 10 usable) |")


def test_what_teachers_were_asked_and_what_it_cost(text: str) -> None:
    assert "234 calls, 68 answers from the record; 91,000 tokens in, 4,100 out; 0.0345 in the money of the recipe's prices." in text
    row = next(line for line in text.splitlines() if line.startswith("| curated | gemini"))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [
        "gemini gemini-3.8-flash", "110 (3 tried again)", "8", "91,000", "4,100", "0.0345",
        "0.8 s, 95 % within 2.4 s", "3 (malformed 2, safety 1)",
    ]  # fmt: skip
    assert "no price" not in next(line for line in text.splitlines() if "| extractive |" in line)


def test_a_teacher_without_prices_is_said_to_have_none(tmp_path: Path) -> None:
    folder = fake_run.full(tmp_path)
    record = (folder / "run.json").read_text()
    assert '"money"' in record
    (folder / "run.json").write_text(record.replace('"money"', '"mony"'))
    rows = [
        line for line in render(folder).with_suffix(".md").read_text(encoding="utf-8").splitlines() if line.startswith("| curated | gemini")
    ]
    assert ["– (no price given)" in row for row in rows] == [True]


def test_warnings_that_say_the_same_stand_once(run_folder: Path) -> None:
    warnings = next(section for section in compose(Run.open(run_folder)).sections if section.id == "warnings")
    rows = [[cell.text for cell in row] for row in warnings.blocks[0].rows]
    assert ["answers (4 arms)", "3 answers were cut off"] in rows


def test_a_metric_that_is_0_everywhere_is_said_not_drawn(html: str) -> None:
    assert "Every arm has 0 in Exact match; there is nothing to draw." in html
    assert "Exact match by arm" not in html


def test_a_fall_back_is_named(tmp_path: Path) -> None:
    folder = fake_run.full(tmp_path)
    (made,) = Run.open(folder).made("model", form="gguf")
    data = dict(made.json("quantization.json"))
    data["fallbacks"] = [{"tensor": "blk.0.ffn_down.weight", "wanted": "Q6_K", "given": "Q8_0", "columns": 100, "divisor": 256}]
    data["tensors"] = data["tensors"] | {"Q8_0": {"count": 1, "bytes": 106, "parameters": 100}}
    (made.folder / "quantization.json").write_text(json.dumps(data))
    html = render(folder).read_text(encoding="utf-8")
    assert "blk.0.ffn_down.weight: Q8_0 instead of Q6_K, because 100 columns are not divisible by 256" in html
    assert "1 fall-back, listed below" in html


def test_ids_are_unique_and_drawings_have_names(html: str) -> None:
    tags = Tags(html).seen
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert sorted(ids) == sorted(set(ids))
    drawings = [attributes for tag, attributes in tags if tag == "svg"]
    assert sum(attributes.get("role") == "img" for attributes in drawings) >= 5
    assert all(attributes.get("aria-label") for attributes in drawings if attributes.get("role") == "img")
    assert all(attributes.get("aria-hidden") == "true" for attributes in drawings if attributes.get("role") != "img")


def test_hostile_text_stays_text(html: str, text: str) -> None:
    assert html.count("<script>") == 1
    tags = Tags(html)
    assert tags.open == []
    assert not [tag for tag, _ in tags.seen if tag == "img"]
    assert not [name for _, attributes in tags.seen for name in attributes if name.startswith("on")]
    assert "&lt;script&gt;document.title=" in html
    assert "{{ 7*7 }}" in html
    outside = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    assert "<script" not in outside
    assert "<img" not in outside
    for line in outside.splitlines():
        if line.startswith("| recipes/corpus/&lt;"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 6  # five cells: the bar in the name did not make another


def test_the_page_asks_nothing_of_the_network(html: str) -> None:
    for _, attributes in Tags(html).seen:
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            value = attributes.get(name) or ""
            if value.startswith(("http:", "https:", "//")):
                assert value == "https://example.org/duo?a=1&b=2"  # the source's own page: a link, not a resource
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_relative_links_lead_to_files(run_folder: Path, html: str) -> None:
    links = {str(attributes["href"]) for tag, attributes in Tags(html).seen if tag == "a" and attributes.get("href")}
    files = [link for link in links if not link.startswith(("#", "http"))]
    assert len(files) > 20
    for link in files:
        assert (run_folder / unquote(link)).exists(), link


def test_the_same_run_gives_the_same_page(run_folder: Path, html: str, text: str) -> None:
    render(run_folder)
    assert (run_folder / "report.html").read_text(encoding="utf-8") == html
    assert (run_folder / "report.md").read_text(encoding="utf-8") == text
    assert not [path.name for path in run_folder.iterdir() if path.name.startswith(".report")]


def test_drawings_take_the_pages_colours(html: str) -> None:
    drawings = re.findall(r'<svg role="img".*?</svg>', html, re.S)
    names = [drawing.partition('aria-label="')[2].partition('"')[0] for drawing in drawings]
    assert [name.partition(" by arm: ")[0] for name in names if " by arm: " in name] == ["ROUGE-L", "BLEU", "Token F1", "Held-out loss"]
    assert sum(name.startswith("Loss over optimiser steps") for name in names) == 1
    for drawing in drawings:
        assert "var(--muted)" in drawing
        assert not re.search(r"#[0-9a-f]{6}\b", drawing)
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len([name for name in ids if name in {"result", "claims", "data"}]) == 3


def test_a_failed_run_says_what_failed_what_would_help_and_what_did_not_run(tmp_path: Path) -> None:
    folder = fake_run.failed(tmp_path)
    html = render(folder).read_text(encoding="utf-8")
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert html.index('id="failures"') < html.index('id="result"')
    for shown in ("This run failed", "the loss became NaN at step 3", "lower learning_rate first", "ended before any arm was scored"):
        assert shown in html, shown
        assert shown in text.replace("\\", ""), shown
    assert "<li>gguf</li>" in html
    assert html.count("<script>") == 1
    assert "could not be made" not in html


def test_unknown_types_are_listed(tmp_path: Path) -> None:
    html = render(fake_run.toy(tmp_path)).read_text(encoding="utf-8")
    for shown in ("bricks", "wall.txt", "6 bytes", "No arm was scored"):
        assert shown in html


def test_a_toy_run_imports_no_plotting(tmp_path: Path) -> None:
    folder = fake_run.toy(tmp_path)
    heavy = ("matplotlib", "numpy", "torch", "jsonschema", "rich", "runner.evaluation")
    code = f"import sys; from pathlib import Path; from runner.reports import render; render(Path({str(folder)!r})); "
    code += f"print([name for name in {heavy!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert found.stderr == ""


def test_a_damaged_artifact_does_not_hide_the_rest(tmp_path: Path) -> None:
    folder = fake_run.full(tmp_path)
    (scores,) = Run.open(folder).made("scores")
    (scores.folder / "scores.json").write_text('{"metrics": [{"name": "x"}], "arms": [{}]}')
    (papers,) = Run.open(folder).made("documents")
    (papers.folder / "files.jsonl").write_text('{"path": "a.md", "verdict": "read"}\n{"path": "cut o')
    text = (render(folder).parent / "report.md").read_text(encoding="utf-8")
    result = text[text.index("## Result") : text.index("## Claims")]
    assert "This part could not be made" in result
    assert "a.md" in text
    assert "## Provenance" in text


def test_a_run_that_was_killed_has_a_report(tmp_path: Path) -> None:
    folder = fake_run.toy(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    record |= {"status": "running", "finished": None, "seconds": None, "environment": {}}
    record["instances"][0] |= {"state": "running", "artifact": None, "seconds": None, "key": None}
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "recipe.yaml").unlink()
    assert "had not ended" in render(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize("content", [None, "", "[1]", '{"instances": 3}', "{"])
def test_what_is_no_run_is_said_in_words(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError) as caught:
        render(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_question_stands_after_the_turns_before_it_with_all_right_answers(tmp_path: Path) -> None:
    """And it is chosen by the first metric in which arms differ at all."""
    folder = fake_run.full(tmp_path)
    run = Run.open(folder)
    (scores,) = run.made("scores")
    items = [json.loads(line) for line in (scores.folder / "items.jsonl").read_text().splitlines()]
    for row in items:
        row["values"]["rouge_l"] = 0.0
    (scores.folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    history = [{"role": "user", "content": "What is <LoRA>?"}, {"role": "assistant", "content": "A method. " * 100}]
    for made in run.made("answers"):
        path = made.folder / "answers.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        more = {"history": history, "answers": ["thin ones", "two matrices", "thin ones"]}
        path.write_text("".join(json.dumps({**row, **more}) + "\n" for row in rows))
    (section,) = [section for section in compose(run).sections if section.id == "answers"]
    first = section.blocks[1]
    assert isinstance(first, Comparison)
    assert first.title.endswith("by BLEU")
    assert first.reference == "thin ones; or two matrices"
    assert [speaker for speaker, _ in first.before] == ["User", "Assistant"]
    assert first.before[0][1] == "What is <LoRA>?"
    assert first.before[1][1].endswith(" […]")
    render(folder)
    page = (folder / "report.html").read_text()
    assert page.count("<dt>User</dt><dd>What is &lt;LoRA&gt;?</dd>") == 4
    assert "- User: What is &lt;LoRA&gt;?" in (folder / "report.md").read_text()


def test_of_arms_with_the_same_score_the_baseline_is_named_best(tmp_path: Path) -> None:
    folder = fake_run.full(tmp_path)
    (made,) = Run.open(folder).made("scores")
    document = json.loads((made.folder / "scores.json").read_text())
    document["baseline"] = {"system": "qlora", "rag": "none"}
    for arm in document["arms"]:
        arm["values"]["rouge_l"]["mean"] = 20.0 if arm["axes"]["system"] == "base" else 30.0
    (made.folder / "scores.json").write_text(json.dumps(document))
    section = next(section for section in compose(Run.open(folder)).sections if section.id == "result")
    row = section.blocks[0].rows[0]  # type: ignore[union-attr]
    assert (row[0].text, row[1].text, row[3].text) == ("ROUGE-L", "qlora · none", "it is the baseline")
    assert row[1].detail.startswith("and 5 other arms with the same score")


def test_an_embedder_tuned_on_passages_that_are_asked_for_says_so(tmp_path: Path) -> None:
    run = fake_run.FakeRun(tmp_path)
    measured = {f"hit_at_{k}": 0.5 for k in (1, 3, 5, 10)} | {"mrr_at_10": 0.4}
    held_out = {"questions": 19, "passages": 32, "of_passages_tuned_on": 7, "before": measured, "after": measured}
    described = {"base": {"model": None, "revision": None}, "pairs": 57, "held_out": held_out}
    run.add("tuned", "tune-embedder", {"main": ("embedder", "")}, files={"main/embedder.json": described})
    (table,) = [block for section in compose(Run.open(run.save())).sections if section.id == "retrieval" for block in section.blocks]
    assert [cell.text for cell in table.rows[0][:4]] == ["tuned", "none, from scratch", "57", "19"]
    assert table.rows[0][3].detail == "among 32 passages\n7 of passages tuned on"


def test_markdown_escapes() -> None:
    assert markdown("a|b <i> `x` *y* [z](w)\n# t") == r"a\|b &lt;i&gt; \`x\` \*y\* \[z\](w) \# t"
    assert fenced("a ```` b") == "`````\na ```` b\n`````"


def test_a_stored_model_shows_the_time_that_its_training_took(tmp_path: Path) -> None:
    """Not the moment in which this run found it in the store."""
    folder = fake_run.full(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    lora = next(instance for instance in record["instances"] if instance["step"] == "lora")
    lora["state"], lora["seconds"], lora["facts"]["seconds"] = "hit", 0.0, {"value": 754.0, "unit": "s"}
    (folder / "run.json").write_text(json.dumps(record))
    render(folder)
    row = next(line for line in (folder / "report.md").read_text().splitlines() if line.startswith("| [lora]") and "adapter" in line)
    assert "12 min 34 s" in row


def test_a_resource_that_a_source_states_is_shown_with_its_value() -> None:
    from runner.reports import method

    steps = {"tuned": {"resources": {"report_to": ["wandb"]}}}
    assert method._values(None, "steps.tuned.resources.report_to", steps, set()) == "wandb"  # type: ignore[arg-type]
    assert method._setting("steps.tuned.resources.report_to").text == "tuned: report_to"
