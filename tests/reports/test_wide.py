"""A run with many arms: the short answer, what every arm took, which ingredient helped, and drawings that can still be read."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from runner.evaluation.bootstrap import Resampling
from runner.evaluation.compare import compare
from runner.reports import factors, render, training
from runner.reports.arms import Took, took
from runner.reports.page import Block, Figures, Fold, Table
from runner.reports.record import Run
from runner.reports.write import compose
from tests.reports import wide_run

BEST = {"system": "full", "rag": "index"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.open(wide_run.build(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def document(run: Run) -> Any:
    (made,) = run.made("scores")
    return made.json("scores.json")


def section(run: Run, name: str) -> list[Block]:
    return list(next(section.blocks for section in compose(run).sections if section.id == name))


def flat(blocks: list[Block]) -> list[Block]:
    return [part for block in blocks for part in ([block, *flat(list(block.blocks))] if isinstance(block, Fold) else [block])]


def figures(blocks: list[Block]) -> list[str]:
    return [figure.title for block in flat(blocks) if isinstance(block, Figures) for figure in block.items]


def table(blocks: list[Block], title: str) -> Table:
    return next(block for block in flat(blocks) if isinstance(block, Table) and block.columns[0].title == title)


def test_the_first_block_is_the_answer_and_how_sure_it_is(run: Run, document: Any) -> None:
    (made,) = run.made("scores")
    best = section(run, "result")[0]
    assert isinstance(best, Table)
    assert [column.title for column in best.columns] == ["Metric", "Best arm", "Score", "Against the baseline", "Cannot be told from it"]
    rows = {row[0].text: row for row in best.rows}
    assert list(rows) == ["Exact match", "chrF", "Held-out loss"]
    assert rows["Exact match"][1].text == "full · index"  # 32 of 40; a lower loss is better in the last row, too
    assert rows["Held-out loss"][1].text == "full · index"
    assert rows["Exact match"][2].text == "80.0"
    [pair] = [pair for pair in document["paired"] if pair["metric"] == "exact_match" and pair["arm"] == BEST]
    assert rows["Exact match"][3].text == f"+{pair['difference']:.1f}"
    items = list(made.rows("items.jsonl"))
    how = document["bootstrap"]
    alike = []
    for axes in wide_run.arms():
        if axes != BEST:
            resampling = Resampling(how["samples"], how["confidence"], how["seed"])
            found = compare(items, BEST, axes, "exact_match", resampling=resampling)
            alike += [axes] if found.low <= 0 <= found.high else []
    assert 0 < len(alike) < 15
    assert rows["Exact match"][4].text == f"{len(alike)} of 15 others"
    assert "fastest: " in rows["Exact match"][4].detail or len(alike) == 1


def test_what_an_arm_took_comes_from_the_steps_behind_it(run: Run, document: Any) -> None:
    (made,) = run.made("scores")
    found = dict(zip((run.arm(arm["axes"]) for arm in document["arms"]), took(run, made, document["arms"]), strict=True))
    base, full, qlora, gguf = (found[name] for name in ("base · none", "full · none", "qlora · 8 · index", "gguf · 8 · index"))
    assert base == Took(
        seconds=0.54, seconds_p50=0.5, seconds_p95=0.9, prompt_tokens=10, answer_tokens=19.5, answering_memory=5e8 + 4, model_bytes=3000
    )
    assert (full.trained_parameters, full.trained_percent, full.training_memory) == (1_000_000, 100.0, 9e8)
    assert full.model_bytes == wide_run.WEIGHTS
    assert qlora.model_bytes == wide_run.WEIGHTS + 80  # the base's and the adapter's
    assert gguf.model_bytes == 900
    for arm in (qlora, gguf):  # of the training behind it, though the GGUF's own step recorded none
        assert (arm.trained_parameters, arm.training_memory, arm.training_memory_of) == (8000, 6.08e8, "GPU allocator")
        assert (arm.training_seconds, arm.training_energy, arm.training_rate) == (30.0, 1500.0, 2000.0)
        assert arm.money == 0.75  # the questions' and the training's, each once
    assert found["qlora · 16 · none"].trained_parameters == 16_000


def test_without_records_nothing_is_invented(tmp_path: Path) -> None:
    folder = wide_run.build(tmp_path)
    record = json.loads((folder / "run.json").read_text())
    for instance in record["instances"]:
        instance["facts"] = {}
    (folder / "run.json").write_text(json.dumps(record))
    for name in ("model.safetensors", "adapter_model.safetensors", "model.gguf"):
        for path in tmp_path.rglob(name):
            path.unlink()
    run = Run.open(folder)
    (made,) = run.made("scores")
    for arm in took(run, made, made.json("scores.json")["arms"]):
        assert {name for name, value in asdict(arm).items() if value} == {"prompt_tokens", "answer_tokens"}
    assert not [title for title in figures(section(run, "result")) if "against" in title]


def test_costs_stand_in_a_table_and_scores_against_them(run: Run) -> None:
    result = section(run, "result")
    costs = next(block for block in flat(result) if isinstance(block, Table) and any(column.title == "Weights" for column in block.columns))
    titles = [(column.title, column.detail) for column in costs.columns]
    row = next(row for row in costs.rows if [cell.text for cell in row[:3]] == ["gguf", "8", "index"])
    shown = dict(zip(titles, row, strict=True))
    assert shown["Weights", "on disk"].text == "900 bytes"
    assert (shown["Trained", "parameters"].text, shown["Trained", "parameters"].detail) == ("8,000", "0.80 % of all")
    assert shown["Memory", "training, peak"].text == "608 MB"
    assert shown["Energy", "training"].text == "1.50 kJ"
    assert shown["Money", "teachers, all steps"].text == "0.75"
    assert "Peak memory of training: GPU allocator." in costs.caption
    against = [title for title in figures(result) if title.startswith("Exact match against")]
    assert against == [
        f"Exact match against {what}"
        for what in ("time of an answer", "weights on disk", "peak memory of answering", "peak memory of training")
    ]  # money is 0.75 wherever it is known: nothing to draw


def test_ranks_are_drawn_along_an_axis_of_numbers(run: Run, document: Any) -> None:
    titles = figures(section(run, "result"))
    assert "Exact match along rank" in titles
    figure = next(
        figure
        for block in flat(section(run, "result"))
        if isinstance(block, Figures)
        for figure in block.items
        if figure.title == "Exact match along rank"
    )
    lines = ["qlora · none", "qlora · index", "gguf · none", "gguf · index"]
    assert [key.label for key in figure.legend] == [*lines, "base · none", "full · index"]
    assert "across: the baseline and the best arm without rank" in figure.caption
    value = next(arm["values"]["exact_match"] for arm in document["arms"] if arm["axes"] == {"system": "gguf", "rank": "8", "rag": "index"})
    assert f"gguf · index, rank 8: {value['mean']:.1f} ({value['low']:.1f} to {value['high']:.1f})" in figure.svg


def test_the_heat_map_has_the_axis_that_meets_all_others(run: Run) -> None:
    block = next(block for block in section(run, "result") if isinstance(block, Figures) and block.items[-1].title == "Exact match by rag")
    svg = block.items[-1].svg
    assert len(re.findall("<rect", svg)) == 16  # no holes: 8 systems and ranks, with retrieval and without
    assert "qlora · 16, index: " in svg


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        (["4", "8", "16"], {"4": 4, "8": 8, "16": 16}),
        (["base", "r8", "r16"], {"r8": 8, "r16": 16}),
        (["0.5B", "3B", "none"], {"0.5B": 0.5, "3B": 3}),
        (["1e-4", "2e-4"], {"1e-4": 1e-4, "2e-4": 2e-4}),
        (["q4", "r8"], {}),
        (["qwen2.5", "qwen2.5-instruct"], {}),
        (["8"], {}),
        (["none", "index"], {}),
    ],
)
def test_labels_that_are_numbers(labels: list[str], numbers: dict[str, float]) -> None:
    assert factors.numbers_of(labels) == numbers


def test_one_arm_and_one_axis_have_no_needless_drawings(tmp_path: Path) -> None:
    folder = wide_run.build(tmp_path)
    (made,) = Run.open(folder).made("scores")
    document = dict(made.json("scores.json"))
    document["arms"], document["paired"], document["effects"], document["interactions"] = document["arms"][:1], [], [], []
    (made.folder / "scores.json").write_text(json.dumps(document))
    result = section(Run.open(folder), "result")
    assert figures(result) == []
    assert "Best arm" not in [column.title for block in flat(result) if isinstance(block, Table) for column in block.columns]


def test_many_arms_are_cut_and_it_is_said(tmp_path: Path) -> None:
    folder = wide_run.build(tmp_path)
    (made,) = Run.open(folder).made("scores")
    document = dict(made.json("scores.json"))
    arms = document["arms"]
    for copy in (1, 2):
        arms = [*arms, *({**arm, "axes": {**arm["axes"], "copy": str(copy)}} for arm in document["arms"])]
    (made.folder / "scores.json").write_text(json.dumps({**document, "arms": arms}))
    result = section(Run.open(folder), "result")
    bars = next(block.items[0] for block in result if isinstance(block, Figures))
    assert bars.caption == "higher is better; the best 20 of 48 arms and the baseline"
    assert len(re.findall("<rect", bars.svg)) == 21
    assert any(isinstance(block, Fold) and block.title == "The scores of all 48 arms" for block in result)


def test_trainings_are_drawn_over_each_other(run: Run) -> None:
    blocks = section(run, "training")
    assert figures(blocks) == ["Training loss", "Held-out loss"]
    drawn = next(block for block in blocks if isinstance(block, Figures))
    assert [key.label for key in drawn.items[0].legend] == ["full", "qlora · 4", "qlora · 8", "qlora · 16"]
    assert "full: 3 at step 1" in drawn.items[0].svg
    rows = {row[0].text: row for row in table(blocks, "Model").rows}
    assert rows["qlora · 4"][0].detail == "adapter; checkpoints step-2"
    sampled = next(block for block in blocks if isinstance(block, Fold) and block.title == "The curves in figures").blocks[0]
    assert isinstance(sampled, Table)
    assert [cell.text for cell in sampled.rows[0]] == ["full", "1: 3.000; 2: 2.500; 4: 2.250", "2: 2.500; 4: 2.500"]


def test_more_trainings_than_colours_are_divided_by_an_axis(tmp_path: Path) -> None:
    from tests.reports.fake_run import FakeRun

    run = FakeRun(tmp_path, "many")
    run.record["matrix"] = {"rank": ["4", "8", "16"], "model": ["a", "b", "c", "d"]}
    for model in "abcd":
        for rank in ("4", "8", "16"):
            files = {"main/log.jsonl": [{"step": step, "loss": 1 / step} for step in (1, 2)]}
            run.add("lora", "train", {"main": ("model", "adapter")}, axes={"rank": rank, "model": model}, files=files)
    drawn = next(block for block in training.blocks(Run.open(run.save())) if isinstance(block, Figures))
    assert [(figure.caption, len(figure.legend)) for figure in drawn.items] == [("rank 4", 4), ("rank 8", 4), ("rank 16", 4)]


def test_files_are_one_table_and_what_is_alike_is_told_once(run: Run) -> None:
    blocks = section(run, "export")
    files = table(blocks, "File")
    assert [row[0].text for row in files.rows] == [f"gguf[rank={rank}]/model.gguf" for rank in wide_run.RANKS]
    shown = dict(zip((column.title for column in files.columns), files.rows[2], strict=True))
    assert (shown["Calibration"].text, shown["Beside it"].text) == ("12 texts, 1 token", "README.md")
    assert (shown["Calibration"].detail, shown["Calibration"].href) == ("weighs 9 tensors", "")
    assert [row[5].text for row in files.rows[:2]] == ["none", "none"]
    assert [block.title for block in blocks if isinstance(block, Fold)] == ["Tensors of gguf[rank=4] and 2 files alike"]


def test_what_did_not_fit_is_told_for_every_arm(run: Run) -> None:
    blocks = section(run, "answering")
    rows = table(blocks, "Arm")
    titles = [column.title for column in rows.columns]
    assert titles == ["Arm", "Model", "Passages", "Questions", "Answers cut", "Left out", "Summarised", "Forgotten", "Speed", "Otherwise"]
    row = dict(zip(titles, next(row for row in rows.rows if row[0].text == "qlora · 8 · index"), strict=True))
    assert (row["Left out"].text, row["Left out"].detail) == ("5", "in 2 questions")
    assert row["Summarised"].detail == "in 3 questions\nby 9 calls\n1,234 → 56 tokens"
    assert (row["Forgotten"].text, row["Forgotten"].detail) == ("4", "in 1 question")
    assert (row["Summarised"].text, row["Answers cut"].text, row["Answers cut"].detail) == ("7", "3", "8%")
    assert row["Otherwise"].text == "batch_size = 16"
    assert "max_new_tokens = 64; temperature = 0; prompt = prompts/answer.j2" in blocks[0].text  # type: ignore[union-attr]


def test_equal_answers_are_shown_once_with_all_their_arms(run: Run) -> None:
    comparison = next(block for block in section(run, "answers") if block.kind == "comparison")
    assert len(comparison.answers) == 2  # right and half right
    best, worst = comparison.answers
    assert "number" in best.text
    assert float(best.score) > float(worst.score)
    told = [1 + given.arm.count(";") + int((re.search(r"and (\d+) other", given.arm) or [0, 0])[1]) for given in comparison.answers]
    assert sum(told) == 16


def test_every_fact_can_be_found(run: Run) -> None:
    steps = table([block for block in section(run, "steps") if isinstance(block, Fold)], "Step")
    lines = {row[0].text: dict(row[1].lines) for row in steps.rows}
    assert lines["qlora[rank=8]"]["Energy"] == "1,500 J"
    assert lines["gguf[rank=4]"]["File bytes"] == "900 bytes"


def test_markdown_has_no_empty_headings(run: Run) -> None:
    render(run.folder)
    text = (run.folder / "report.md").read_text(encoding="utf-8")
    assert "could not be made" not in text
    assert not re.search(r"^#+ [^\n]*\n+#", re.sub(r"^## [^\n]*\n", "", text, flags=re.M), re.M)
    assert "The same for the other metrics" not in text
    assert "| Exact match | full · index" in text
