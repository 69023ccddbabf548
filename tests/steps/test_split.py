from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.errors import InputError, StepError
from runner.steps import split
from tests.steps.local_context import LocalContext, artifact

WORDS = ["attention", "quantisation", "retrieval", "optimiser", "tokeniser", "adapter", "bootstrap", "schedule", "cluster", "template"]


def rows(documents: int = 10, each: int = 4, twins: int = 0) -> list[dict[str, Any]]:
    made = [
        {"id": f"{d}-{n}", "question": f"What does paragraph {d * 31 + n * 7} say about {WORDS[d % 10]}{'!' * n}?", "answer": "a",
         "documents": [f"doc{d}"], "origin": "o"}
        for d in range(documents) for n in range(each)
    ]  # fmt: skip
    for n in range(twins):  # the same question in every document
        made += [
            {"id": f"t{d}-{n}", "question": f"Who wrote it {n}?", "answer": "a", "documents": [f"doc{d}"], "origin": "o"}
            for d in range(documents)
        ]
    return made


def run(
    tmp_path: Path, given: list[dict[str, Any]], shown: list[dict[str, Any]] | None = None, **params: Any
) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]], LocalContext]:
    folder = tmp_path / "qa"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    ctx = LocalContext(tmp_path / "ctx", tmp_path)
    converted = msgspec.convert({"parts": {"train": 0.8, "test": 0.2}, **params}, split.Params)
    ctx.sources = {field: [tmp_path / path for path in paths] for field, paths in split.sources(converted).items()}
    inputs: dict[str, Any] = {"examples": artifact(folder, "examples"), "shown": []}
    if shown is not None:
        (tmp_path / "shown").mkdir()
        (tmp_path / "shown/examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in shown))
        inputs["shown"] = [artifact(tmp_path / "shown", "examples", step="few_shot")]
    split.run(converted, inputs, tmp_path / "out", ctx)
    parts, summaries = {}, {}
    for name in split.outputs(converted):
        parts[name] = [json.loads(line)["id"] for line in (tmp_path / "out" / name / "examples.jsonl").read_text().splitlines()]
        summaries[name] = json.loads((tmp_path / "out" / name / "split.json").read_text())
    return parts, summaries, ctx


#: A field of Params -> settings and rows that must give different parts, different reports, or one an error.
CASES: dict[str, tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]] = {
    "parts": (rows(), {}, {"parts": {"train": 0.5, "test": 0.5}}),
    "group_by": (rows(), {"max_leakage": 1.0}, {"group_by": "none", "max_leakage": 1.0}),
    "topics": (rows(), {"group_by": "topic", "topics": 10}, {"group_by": "topic", "topics": 3}),
    "shown_files": (rows(), {}, {"shown_files": ["few_shot.txt"]}),
    "seed": (rows(), {}, {"seed": 1}),
    "near_duplicate": (rows(), {"max_leakage": 1.0}, {"near_duplicate": 0.2, "max_leakage": 1.0}),
    "leaking": (rows(twins=1), {"max_leakage": 1.0}, {"leaking": "drop", "max_leakage": 1.0}),
    "max_leakage": (rows(twins=1), {}, {"max_leakage": 0.5}),
}
PROVED: set[str] = set(CASES)


@pytest.mark.parametrize("field", CASES)
def test_every_field_changes_the_outcome(tmp_path: Path, field: str) -> None:
    given, *settings = CASES[field]
    (tmp_path / "few_shot.txt").write_text("".join(f"Q: {row['question']} A: a\n" for row in given))
    seen: list[Any] = []
    for params in settings:
        try:
            seen.append(run(tmp_path, given, **params)[:2])
        except StepError as error:
            seen.append(str(error))
    assert seen[0] != seen[1]


def test_parts_share_no_document_and_report_what_they_are(tmp_path: Path) -> None:
    parts, summaries, ctx = run(tmp_path, rows())
    documents = {name: {id.split("-")[0] for id in ids} for name, ids in parts.items()}
    assert not documents["train"] & documents["test"]
    assert sorted(parts["train"] + parts["test"]) == sorted(row["id"] for row in rows())
    test = summaries["test"]
    assert (test["part"], test["examples"], test["share"], test["wanted"], test["groups"]) == ("test", 8, 0.2, 0.2, 2)
    assert test["leakage"]["any"] == 0
    assert ctx.facts == {"share_train": 0.8, "share_test": 0.2, "leakage_train": 0, "leakage_test": 0}


def test_of_two_halves_it_is_not_training_that_is_held_out(tmp_path: Path) -> None:
    _, summaries, _ = run(tmp_path, rows(), parts={"train": 0.5, "test": 0.5})
    assert {name: summary["held_out"] for name, summary in summaries.items()} == {"train": False, "test": True}


def test_the_order_of_the_parts_does_not_matter(tmp_path: Path) -> None:
    given = rows()
    assert run(tmp_path, given, parts={"a": 0.5, "b": 0.5})[0] == run(tmp_path, given, parts={"b": 0.5, "a": 0.5})[0]


def test_a_random_split_leaks_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        run(tmp_path, rows(), group_by="none")
    text = str(caught.value)
    assert text.startswith("max_leakage: 100.0% of test leaks from elsewhere, more than 5.0%: 100.0% share a document; for instance ")
    assert text.endswith("\n  set `group_by: document`; set `leaking: drop`, or raise `max_leakage` and report it")


def test_the_same_question_in_every_document_leaks(tmp_path: Path) -> None:
    with pytest.raises(
        StepError, match=r"20\.0% of test leaks from elsewhere, more than 5\.0%: 20\.0% have the same question, 20\.0% have a nearly"
    ):
        run(tmp_path, rows(twins=1))
    _, summaries, _ = run(tmp_path, rows(twins=1), max_leakage=0.2)
    assert summaries["test"]["leakage"]["question"] == 0.2


def test_one_document_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"(?s)1 group of examples that must stay together cannot fill 2 parts.*add documents"):
        run(tmp_path, rows(documents=1))


def test_unreachable_shares_and_unknown_documents_are_warned_about(tmp_path: Path) -> None:
    given = rows(documents=2)
    given.append({"id": "x", "question": "Unknown?", "answer": "a", "documents": [], "origin": "o"})
    _, _, ctx = run(tmp_path, given, parts={"train": 0.75, "test": 0.25})
    assert ctx.warnings == [
        "1 of 9 examples name no document and are split one by one",
        "test has 11.1% of the examples and not 25.0%: documents are not cut",
        "train has 88.9% of the examples and not 75.0%: documents are not cut",
    ]


@pytest.mark.parametrize(
    ("parts", "path", "found"),
    [
        ({"train": 0.9, "test": 0.2}, "parts", "the shares add up to 1.1"),
        ({"train": 0.9, "provenance": 0.1}, "parts.provenance", "is no name for an output"),
        ({"train": 0.9, "a/b": 0.1}, "parts.a/b", "is no name for an output"),
    ],
)
def test_rules_between_fields(parts: dict[str, float], path: str, found: str) -> None:
    (fault,) = split.check(msgspec.convert({"parts": parts}, split.Params), {})
    assert (fault.path, fault.found) == (path, found)
    assert not list(split.check(msgspec.convert({"parts": {"a": 0.7, "b": 0.2, "c": 0.1}}, split.Params), {}))


@pytest.mark.parametrize("parts", [{"train": 1.0}, {"train": 0.0, "test": 1.0}, {"train": -0.5, "test": 1.5}])
def test_shares_out_of_range_are_refused_by_the_schema(parts: dict[str, float]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"parts": parts}, split.Params)


def test_leaking_examples_are_dropped_from_the_smaller_part_and_listed(tmp_path: Path) -> None:
    given = rows(twins=2)
    whole, _, _ = run(tmp_path / "keep", given, max_leakage=1.0)
    parts, summaries, ctx = run(tmp_path / "drop", given, leaking="drop", max_leakage=0)
    assert parts["train"] == whole["train"]
    assert set(parts["test"]) == {id for id in whole["test"] if not id.startswith("t")}
    assert summaries["test"]["leakage"]["any"] == 0
    assert summaries["test"]["dropped"] == len(whole["test"]) - len(parts["test"]) == 4
    rejected = [json.loads(line) for line in (tmp_path / "drop/out/test/rejected.jsonl").read_text().splitlines()]
    assert {row["reason"] for row in rejected} == {"leaks"}
    assert {row["id"] for row in rejected} == set(whole["test"]) - set(parts["test"])
    assert "4 of 12 examples left out of test: a larger part or what is shown has the same question or nearly so" in ctx.warnings


def test_a_part_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    given = [
        {"id": f"{d}-{n}", "question": f"Who wrote it {n}?", "answer": "a", "documents": [f"d{d}"]} for d in range(6) for n in range(3)
    ]
    with pytest.raises(StepError, match="nothing is left of test: a larger part or what is shown has each of its questions"):
        run(tmp_path, given, leaking="drop")


def test_96_pairs_repeated_21_times_do_not_pass_a_random_split(tmp_path: Path) -> None:
    """As a data set that was multiplied to look larger: `mix` keeps the repeats, and the split finds them."""
    from runner.steps import mix

    pairs = [
        {
            "id": f"q{n}",
            "question": f"What does the paper say about {WORDS[n % 10]} in its {n}th claim?",
            "answer": f"claim {n}",
            "documents": [],
        }
        for n in range(96)
    ]
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs * 21))
    mix.run(
        msgspec.convert({"duplicates": "keep"}, mix.Params), {"examples": [artifact(folder, "examples")]}, tmp_path / "mixed",
        LocalContext(tmp_path / "mix", tmp_path),
    )  # fmt: skip
    mixed = [json.loads(line) for line in (tmp_path / "mixed/main/examples.jsonl").read_text().splitlines()]
    assert len(mixed) == 96 * 21
    for group_by in ("none", "document"):  # no document is named: both draw pair by pair
        with pytest.raises(StepError, match=r"100\.0% of test leaks from elsewhere, more than 5\.0%: 100\.0% have the same question"):
            run(tmp_path / group_by, mixed, group_by=group_by)
    parts, summaries, ctx = run(tmp_path / "kept", mixed, group_by="topic", topics=8, max_leakage=1.0)
    assert summaries["test"]["leakage"]["question"] == 0, "equal questions are of one topic"
    assert summaries["test"]["repeated"] >= len(parts["test"]) * 20 / 21
    assert any("nearly repeat another of test" in warning for warning in ctx.warnings)


def test_topics_keep_documents_whole_and_are_told(tmp_path: Path) -> None:
    parts, summaries, _ = run(tmp_path, rows(), group_by="topic", topics=10, seed=2)
    assert not {id.split("-")[0] for id in parts["train"]} & {id.split("-")[0] for id in parts["test"]}
    told = [topic for summary in summaries.values() for topic in summary["topics"]]
    assert sum(topic["examples"] for topic in told) == 40
    assert len(told) == 10
    assert {topic["terms"][0] for topic in told} == set(WORDS)


def test_test_questions_among_what_is_shown_are_an_error_or_dropped(tmp_path: Path) -> None:
    given = rows()
    with pytest.raises(
        StepError, match=r"(?s)100\.0% of test leaks .*100\.0% stand in what the model is shown besides; for instance .* and few_shot/"
    ):
        run(tmp_path / "port", given, shown=given)
    (tmp_path / "few_shot.txt").write_text("Q: " + given[0]["question"] + "\nA: a\n", encoding="utf-8-sig")
    train, _, _ = run(tmp_path / "free", given, max_leakage=0)
    shown = next(row for row in given if row["id"] not in train["train"])
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop/few_shot.txt").write_text(f"Q: {shown['question']}\nA: a\n", encoding="utf-8-sig")
    parts, summaries, _ = run(tmp_path / "drop", given, shown_files=["few_shot.txt"], leaking="drop", max_leakage=0)
    assert parts == {"train": train["train"], "test": [id for id in train["test"] if id != shown["id"]]}
    assert summaries["test"]["dropped"] == 1
    (rejected,) = [json.loads(line) for line in (tmp_path / "drop/out/test/rejected.jsonl").read_text().splitlines()]
    assert rejected["detail"] == "its question stands in few_shot.txt:1, which the model is shown"


def test_a_shown_file_that_is_no_text_and_no_examples_are_errors(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"(?s)weights\.bin: is no text in UTF-8: .*at byte 0.*wire it to the port `shown`"):
        run(tmp_path, rows(), shown_files=["weights.bin"])
    with pytest.raises(StepError, match="there are no examples to split"):
        run(tmp_path, [])


@pytest.mark.parametrize("params", [{"group_by": "topic"}, {"topics": 3}])
def test_topics_and_their_number_belong_together(params: dict[str, Any]) -> None:
    (fault,) = split.check(msgspec.convert({"parts": {"a": 0.5, "b": 0.5}, **params}, split.Params), {})
    assert (fault.path, fault.expected) == ("topics", "a number of clusters, with `group_by: topic`")
