from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import HubUse
from runner.errors import InputError, StepError
from runner.steps import dataset
from tests.steps.local_context import LocalContext

ROWS = [{"question": f"Q{n}", "answer": f"A{n}", "document": f"d{n}", "other": f"O{n}", "n": n} for n in range(20)]


def talk(role: str, content: str, user: str = "user", assistant: str = "assistant", *system: dict[str, str]) -> list[dict[str, str]]:
    said = [(user, "Hello?"), (assistant, "Hi."), (user, "Why?"), (assistant, "So.")]
    return [*system, *({role: who, content: text} for who, text in said)]


def write(folder: Path) -> None:
    def rows(*found: Any) -> str:
        return "".join(json.dumps(row) + "\n" for row in found)

    files = {
        "rows.jsonl": rows(*ROWS),
        "nested.json": json.dumps({"one": ROWS[:3], "two": ROWS[3:5]}),
        "gaps.jsonl": rows(ROWS[0], {**ROWS[1], "answer": ""}),
        "talk.jsonl": rows({"m": talk("role", "content"), "q": "And?", "question": "And?", "answer": "Then."}),
        "odd-talk.jsonl": rows({"m": talk("from", "value", "human", "gpt"), "q": "And?"}),
        "empty.jsonl": "",
        "odd.csv": 'a note\nquestion;answer\nQ;"A"\n',
        "system-talk.jsonl": rows({"m": talk("role", "content", "user", "assistant", {"role": "system", "content": "Be brief."})}),
        "noted.csv": "question,answer\nWhat?,Nothing\nWhy?,Because\n",
        "ids.json": json.dumps(["O1", "O2"]),
        "ids.csv": "first,second\nO1,O2\n",
        "more/ids.txt": "O3\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    from openpyxl import Workbook

    book = Workbook()
    for name in ("First", "Second"):
        sheet = book.create_sheet(name)
        sheet.append(["question", "answer"])
        sheet.append([f"Q of {name}", "A"])
    book.remove(book["Sheet"])
    book.save(folder / "two.xlsx")


def run(tmp_path: Path, preview: int | None = None, **params: Any) -> tuple[list[dict[str, Any]], LocalContext]:
    write(tmp_path)
    given = msgspec.convert({"path": "rows.jsonl", **params}, dataset.Params)
    assert list(dataset.check(given, {})) == []
    sources = {field: [found for path in paths for found in sorted(tmp_path.glob(path))] for field, paths in dataset.sources(given).items()}
    ctx = LocalContext(tmp_path / "ctx", tmp_path, sources=sources, preview=preview)
    dataset.run(given, {}, tmp_path / "out", ctx)
    return [json.loads(line) for line in (tmp_path / "out" / "main" / "examples.jsonl").read_text().splitlines()], ctx


def summary(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "out" / "main" / "dataset.json").read_text())
    return found


NAMED = {"path": "odd.csv", "table": {"header": 2, "delimiter": ";"}}
TALKS = {"path": "talk.jsonl", "fields": {"conversation": "m"}}
SHAREGPT = {"role": "from", "content": "value", "roles": {"human": "user", "gpt": "assistant"}}
ODD = {"path": "odd-talk.jsonl", "fields": {"conversation": "m"}, "turns": SHAREGPT}
SYSTEM = {"path": "system-talk.jsonl", "fields": {"conversation": "m"}}
WANTED = {"column": "other", "one_of": ["O1", "O2", "O3"]}

#: A field of Params -> two settings that must give different examples (or one of them an error).
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "path": ({"path": "rows.jsonl"}, {"path": ["nested.json"], "records": "one"}),
    "records": ({"path": "nested.json", "records": "one"}, {"path": "nested.json", "records": "two"}),
    "table.sheet": ({"path": "two.xlsx", "table": {"sheet": "First"}}, {"path": "two.xlsx", "table": {"sheet": "Second"}}),
    "table.header": (NAMED, {"path": "odd.csv", "table": {"delimiter": ";"}}),
    "table.columns": ({"path": "noted.csv"}, {"path": "noted.csv", "table": {"columns": ["answer", "question"]}}),
    "table.delimiter": (NAMED, {"path": "odd.csv", "table": {"header": 2}}),
    "table.quoting": (NAMED, {"path": "odd.csv", "table": {"header": 2, "delimiter": ";", "quoting": False}}),
    **{f"fields.{field}": ({}, {"fields": {field: "other"}}) for field in dataset.Fields.__struct_fields__ if field != "extra"},
    "fields.conversation": (TALKS, {"path": "talk.jsonl"}),
    "fields.history": ({"path": "talk.jsonl"}, {"path": "talk.jsonl", "fields": {"history": "m"}}),
    "turns.role": (ODD, ODD | {"turns": {name: value for name, value in SHAREGPT.items() if name != "role"}}),
    "turns.content": (ODD, ODD | {"turns": {name: value for name, value in SHAREGPT.items() if name != "content"}}),
    "turns.roles": (ODD, ODD | {"turns": {name: value for name, value in SHAREGPT.items() if name != "roles"}}),
    "turns.drop_system": (SYSTEM, SYSTEM | {"turns": {"drop_system": True}}),
    "fields.extra": ({}, {"fields": {"extra": {"what": "other"}}}),
    "values": ({}, {"first": 1, "values": {"answer": {"A0": "nought"}}}),
    "filter": ({}, {"filter": [WANTED]}),
    "reference": ({"path": "gaps.jsonl", "reference": "optional"}, {"path": "gaps.jsonl"}),
    "on_bad_row": ({"path": "gaps.jsonl", "on_bad_row": "skip"}, {"path": "gaps.jsonl"}),
    "first": ({}, {"first": 3}),
    "sample": ({}, {"sample": 3}),
    "at_most": ({"first": 30}, {"first": 30, "at_most": True}),
    "seed": ({"sample": 3}, {"sample": 3, "seed": 1}),
}
HUB_CASES: dict[str, dict[str, Any]] = {
    "hub.id": {"id": "other/set"}, "hub.config": {"config": "main"}, "hub.split": {"split": "test"}, "hub.revision": {"revision": "abc"},
}  # fmt: skip
PROVED: set[str] = {*CASES, *HUB_CASES, "hub.file"}  # the last by a test of its own

#: A test of a condition -> what it lets through, of the numbers 0 to 19.
CONDITIONS: dict[str, tuple[Any, list[int]]] = {
    "one_of": (["O1", "O2"], [1, 2]),
    "none_of": ([f"O{n}" for n in range(18)], [18, 19]),
    "at_least": (18, [18, 19]),
    "at_most": (1, [0, 1]),
    "matches": ("O1[89]", [18, 19]),
    "present": (False, []),
    "in_file": ({"path": "ids.json"}, [1, 2]),
}


@pytest.mark.parametrize("field", CASES)
def test_every_field_changes_the_examples(tmp_path: Path, field: str) -> None:
    seen: list[Any] = []
    for params in CASES[field]:
        try:
            seen.append(run(tmp_path, **params)[0])
        except InputError as error:
            seen.append(str(error))
    assert seen[0] != seen[1]


@pytest.mark.parametrize("test", CONDITIONS)
def test_every_condition_decides(tmp_path: Path, test: str) -> None:
    wanted, kept = CONDITIONS[test]
    condition = {"column": "n" if test.startswith("at_") else "other", test: wanted}
    if not kept:
        with pytest.raises(InputError, match="no row gives an example: 20 rows read, 20 left out by `filter`"):
            run(tmp_path, filter=[condition])
        return
    found, ctx = run(tmp_path, filter=[condition])
    assert [int(example["question"][1:]) for example in found] == kept
    assert (ctx.facts["rows_read"], ctx.facts["rows_left_out"], ctx.facts["examples"]) == (20, 20 - len(kept), len(kept))
    assert summary(tmp_path)["filter"] == [{"condition": condition, "left_out": 20 - len(kept)}]


def test_conditions_are_proved_one_by_one(tmp_path: Path) -> None:
    assert set(CONDITIONS) == {*dataset.Condition.__struct_fields__} - {"column"}
    for column, number in (("first", 1), ("second", 2)):
        found, _ = run(tmp_path, filter=[{"column": "other", "in_file": {"path": "ids.csv", "column": column}}])
        assert [example["question"] for example in found] == [f"Q{number}"]
    found, _ = run(tmp_path, filter=[{"column": "question", "none_of": ["x"]}, {"column": "other", "in_file": {"path": "more/*.txt"}}])
    assert [example["question"] for example in found] == ["Q3"]


def test_a_file_of_a_hub_repository_is_read_like_a_local_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []
    (tmp_path / "cached.json").write_text(json.dumps({"data": [{"question": "Q", "answer": "A"}]}))

    def download(id: str, file: str, **options: Any) -> str:
        asked.append((id, file, options))
        return str(tmp_path / "cached.json")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    found, _ = run(tmp_path, path=None, hub={"id": "some/set", "file": "in/all.json", "revision": "abc"}, records="data")
    assert [(row["question"], row["origin"]) for row in found] == [("Q", "some/set")]
    assert summary(tmp_path)["files"] == [{"file": "some/set/in/all.json", "read": 1, "bad": 0}]
    assert asked == [("some/set", "in/all.json", {"repo_type": "dataset", "revision": "abc", "local_files_only": True})]


@pytest.mark.parametrize("field", HUB_CASES)
def test_every_field_of_a_hub_set_reaches_load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    import datasets

    calls = []
    monkeypatch.setattr(datasets, "load_dataset", lambda id, **options: calls.append((id, options)) or ROWS)
    for change in ({}, HUB_CASES[field]):
        found, _ = run(tmp_path, path=None, hub={"id": "some/set", **change})
        assert len(found) == 20
        assert found[0]["origin"] == change.get("id", "some/set")
    assert calls[0] == ("some/set", {"name": None, "split": "train", "revision": None, "streaming": False})
    assert calls[0] != calls[1]


def test_examples_are_as_the_artifact_says(tmp_path: Path) -> None:
    found, ctx = run(tmp_path, first=1)
    assert found == [{"id": found[0]["id"], "question": "Q0", "answer": "A0", "documents": ["d0"], "origin": "rows"}]
    assert ctx.facts == {"rows_read": 1, "rows_left_out": 0, "rows_bad": 0, "examples": 1}
    assert summary(tmp_path) == {
        "files": [{"file": "rows.jsonl", "read": 1, "bad": 0}],
        "filter": [], "read": 1, "left_out": 0, "bad": 0, "usable": 1, "taken": 1,
    }  # fmt: skip


def test_conversations_are_examples_with_a_history(tmp_path: Path) -> None:
    for params in (TALKS, ODD, SYSTEM | {"turns": {"drop_system": True}}):
        (example,), ctx = run(tmp_path, **params)
        assert (example["question"], example["answer"]) == ("Why?", "So.")
        assert example["history"] == [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hi."}]
        if params["path"] == "system-talk.jsonl":
            assert ctx.warnings == ["1 turn of a system is left out: the system prompt is the model's"]
            assert summary(tmp_path)["system_turns"] == 1
        else:
            assert ctx.warnings == []
            assert "system_turns" not in summary(tmp_path)
    (example,), _ = run(tmp_path, path="talk.jsonl", fields={"history": "m"})
    assert (example["question"], len(example["history"])) == ("And?", 4)


def test_templates_are_rendered_over_the_columns(tmp_path: Path) -> None:
    fields = {"question": "{{ question }} of {{ row['document'] }}\n{{ missing | default('-') }}", "answer": "{{ n + 1 }}"}
    found, _ = run(tmp_path, first=1, fields=fields)
    assert (found[0]["question"], found[0]["answer"]) == ("Q0 of d0\n-", "1")
    for template, message in (
        ("{{ nope }}", "line 1: there is no `nope`, which the template of `fields.answer` reads; the columns are `question`, `answer`, "),
        ("{{ answer.split('#')[1] }}", "line 1: the template of `fields.answer` fails: list object has no element 1"),
        ("{{ [n] }}", "line 1: the template of `fields.answer` fails: it would print a list: `join` it, or name an item of it"),
        ("{{ 'x' * 10 ** 9 }}", "line 1: the template of `fields.answer` fails: a value 1000000000 long"),
        ("{{ ' ' }}", "line 1: the answer that it gives is empty"),
    ):
        with pytest.raises(InputError) as caught:
            run(tmp_path, fields={"answer": template})
        assert message in str(caught.value)


def test_text_of_a_row_is_never_a_template(tmp_path: Path) -> None:
    (tmp_path / "evil.jsonl").write_text(json.dumps({"question": "{{ 7 * 7 }}", "answer": "{% raw %}", "self": 1, "row": 2}) + "\n")
    found, _ = run(tmp_path, path="evil.jsonl", fields={"answer": "{{ question }}{{ answer }}{{ row }}"})
    assert (found[0]["question"], found[0]["answer"]) == ("{{ 7 * 7 }}", "{{ 7 * 7 }}{% raw %}2")


def test_a_draw_keeps_the_order_and_is_one_of_the_first(tmp_path: Path) -> None:
    drawn = [int(example["question"][1:]) for example in run(tmp_path, sample=5, first=10, seed=3)[0]]
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 5
    assert max(drawn) < 10
    assert (summary(tmp_path)["usable"], summary(tmp_path)["taken"]) == (10, 5)


def test_fewer_examples_than_asked_for_are_an_error_unless_they_may_be(tmp_path: Path) -> None:
    wanted = {"filter": [{"column": "n", "at_most": 4}]}
    for name in ("first", "sample"):
        with pytest.raises(InputError) as caught:
            run(tmp_path, **wanted, **{name: 6})
        assert str(caught.value) == (
            f"rows.jsonl: 5 examples where `{name}` wants 6: 20 rows read, 15 left out by `filter`\n"
            f"  set `{name}` to at most 5, or `at_most: true`"
        )
        assert len(run(tmp_path, **wanted, **{name: 6}, at_most=True)[0]) == 5
        assert len(run(tmp_path, **wanted, **{name: 5})[0]) == 5


def test_bad_rows_that_are_left_out_are_listed(tmp_path: Path) -> None:
    _, ctx = run(tmp_path, path="gaps.jsonl", on_bad_row="skip")
    assert ctx.warnings == ["1 of 2 rows are left out; the first: gaps.jsonl, line 2: `answer` is empty"]
    assert json.loads((tmp_path / "out/main/rejected.jsonl").read_text()) == {
        "reason": "bad row", "detail": "gaps.jsonl, line 2: `answer` is empty", "file": "gaps.jsonl", "place": "line 2",
    }  # fmt: skip
    assert summary(tmp_path)["files"] == [{"file": "gaps.jsonl", "read": 2, "bad": 1}]


def test_several_files_are_one_set(tmp_path: Path) -> None:
    found, ctx = run(tmp_path, path=["noted.csv", "*s.jsonl", "empty.jsonl"], on_bad_row="skip", fields={"document": "question"})
    assert ctx.warnings[1] == "empty.jsonl holds no rows"
    assert {example["origin"] for example in found} == {"noted", "rows", "gaps"}
    assert [file["file"] for file in summary(tmp_path)["files"]] == ["empty.jsonl", "gaps.jsonl", "noted.csv", "rows.jsonl"]


def test_nothing_to_take_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^empty\.jsonl: no row gives an example: 0 rows read\n"):
        run(tmp_path, path="empty.jsonl")
    with pytest.raises(InputError, match=r"20 bad; the first bad row: rows\.jsonl, line 1: there is no `reply`"):
        run(tmp_path, fields={"answer": "reply"}, on_bad_row="skip")


def test_a_preview_reads_a_few(tmp_path: Path) -> None:
    assert len(run(tmp_path, preview=2, first=30)[0]) == 2


def test_the_examples_are_the_same_each_time(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(tmp_path / name, fields={"extra": {"n": "n", "t": "{{ n }}"}}, sample=7, values={"answer": {f"A{n}": "x" for n in range(20)}})
        files.append({path.name: path.read_bytes() for path in (tmp_path / name / "out/main").iterdir()})
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("params", "path", "found"),
    [
        ({}, "", "needs exactly one of `path` and `hub`"),
        ({"path": "a.json", "hub": {"id": "x"}}, "", "needs exactly one of `path` and `hub`"),
        ({"path": "a.csv", "records": "x"}, "records", "is for .json files, and not for .csv"),
        ({"hub": {"id": "x"}, "records": "x"}, "records", "is for .json files, and not for a hub data set"),
        ({"hub": {"id": "x", "file": "a.csv"}, "records": "x"}, "records", "is for .json files, and not for .csv"),
        ({"hub": {"id": "x", "file": "a.bin"}}, "hub.file", "has no known extension"),
        ({"hub": {"id": "x", "file": "a.csv", "split": "test"}}, "hub.split", "a file is read as a whole"),
        ({"hub": {"id": "x", "file": "a.csv", "config": "main"}}, "hub.config", "a file is read as a whole"),
        ({"path": "a.json.gz", "table": {"header": 2}}, "table", "is for .csv, .tsv, .xlsx files, and not for .json"),
        ({"path": "a.csv", "table": {"sheet": "x"}}, "table.sheet", "is for .xlsx files, and not for .csv"),
        ({"path": "a.xlsx", "table": {"delimiter": ";"}}, "table.delimiter", "is for .csv, .tsv files, and not for .xlsx"),
        ({"path": "a.xlsx", "table": {"quoting": False}}, "table.quoting", "is for .csv, .tsv files, and not for .xlsx"),
        ({"path": "a.csv", "table": {"columns": ["a"], "header": 2}}, "table.header", "the table has no row of names, as `columns` says"),
        ({"path": "a.csv", "filter": [{"column": "a"}]}, "filter[0]", "tests nothing"),
        ({"path": "a.csv", "filter": [WANTED, {"column": "a", "matches": "("}]}, "filter[1].matches",
         "no regular expression: missing ), unterminated subpattern at position 0"),
        ({"path": "a.csv", "fields": {"question": "{{ a"}}, "fields.question",
         "unexpected end of template, expected 'end of print statement'."),
        ({"path": "a.csv", "fields": {"extra": {"b": "{{ a | shout }}"}}}, "fields.extra.b", "no filter `shout` for prompts"),
        ({"path": "a.csv", "values": {"answr": {"a": "b"}}}, "values.answr", "there is no such field"),
        ({"path": "a.csv", "values": {"answer": {}}}, "values.answer", "names no values"),
        ({"path": "a.csv", "fields": {"answers": "a"}, "values": {"answer": {"a": "b"}}}, "values.answer",
         "the answer is the first of `answers`"),
        ({"path": "a.json", "fields": {"conversation": "{{ m }}"}}, "fields.conversation", "is a template, which gives a text"),
        ({"path": "a.json", "fields": {"conversation": "m", "question": "q"}}, "fields.question", "the conversation gives the question"),
        ({"path": "a.json", "fields": {"conversation": "m", "history": "h"}}, "fields.history", "the conversation gives the history"),
        ({"path": "a.json", "turns": {"drop_system": True}}, "turns", "no list of turns is named"),
        ({"path": "a.csv", "at_most": True}, "at_most", "there is no limit that it could soften"),
    ],
)  # fmt: skip
def test_rules_between_fields(params: dict[str, Any], path: str, found: str) -> None:
    (fault,) = dataset.check(msgspec.convert(params, dataset.Params), {})
    assert (fault.path, fault.found) == (path, found)


def test_a_folder_or_glob_may_hold_anything() -> None:
    given = {"path": ["sets", "a/*"], "records": "x", "table": {"sheet": "y"}, "values": {"b": {"c": "d"}}, "fields": {"extra": {"b": "e"}}}
    assert list(dataset.check(msgspec.convert(given, dataset.Params), {})) == []


def test_a_hub_set_is_named_for_pinning() -> None:
    given = msgspec.convert({"hub": {"id": "some/set", "revision": "abc"}}, dataset.Params)
    assert list(dataset.hub(given)) == [HubUse("hub.id", "dataset", "some/set", "abc")]
    assert dataset.sources(given) == {}


def test_a_hub_set_of_which_the_first_are_wanted_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load(id: str, **options: Any) -> Any:
        assert options["streaming"] is streaming
        for number in range(1000):
            if number == 5:
                raise StepError("more was read than is wanted")
            yield {"question": f"Q{number}", "answer": "A"}

    monkeypatch.setattr(datasets, "load_dataset", load)
    write(tmp_path)
    given = msgspec.convert({"hub": {"id": "some/set"}, "first": 5}, dataset.Params)
    for streaming in (True, False):
        ctx = LocalContext(tmp_path / "ctx", tmp_path)
        ctx.offline = not streaming
        dataset.run(given, {}, tmp_path / "out", ctx)
        assert ctx.facts["examples"] == 5
