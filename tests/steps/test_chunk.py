from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.contract import HubUse
from runner.errors import StepError
from runner.steps import chunk
from tests.steps.local_context import LocalContext, artifact

TEXT = "# T\n\n" + "\n\n".join(f"## Part {n}\n\nIt is said that alpha {n} comes before beta {n}. Then comes gamma {n}." for n in range(12))


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two tokenizers: one token a word, one token a character."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("tokenizers")
    found = {}
    for name, pattern in (("words", r"\s+"), ("characters", "")):
        made = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.Split(Regex(pattern or "."), "removed" if pattern else "isolated")
        found[name] = folder / f"{name}.json"
        made.save(str(found[name]))
    return found


def run(tmp_path: Path, tokenizers: dict[str, Path] | None = None, text: str = TEXT, **params: Any) -> list[dict[str, Any]]:
    given = msgspec.convert({"size": 200, **params}, chunk.Params)
    folder = tmp_path / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    row = {
        "id": "d.md", "source": "d.md", "title": "T", "format": "markdown", "text": text, "sha256": "0",
        "pages": [{"page": 4, "start": 0, "end": len(text)}], "sections": [{"level": 1, "title": "T", "start": 0}],
    }  # fmt: skip
    (folder / "documents.jsonl").write_text(json.dumps(row) + "\n")
    sources = {
        field: [tmp_path / path if not tokenizers else tokenizers[path] for path in paths] for field, paths in chunk.sources(given).items()
    }
    ctx = LocalContext(tmp_path / "ctx", tmp_path, sources=sources)
    chunk.run(given, {"documents": artifact(folder, "documents")}, tmp_path / "out", ctx)
    assert ctx.last_progress == (1, 1, "documents")
    return [json.loads(line) for line in (tmp_path / "out" / "main" / "chunks.jsonl").read_text().splitlines()]


TOKENS = {"unit": "tokens", "size": 30, "tokenizer": {"path": "words"}}
CODE = "So it is.\n\n```\n" + "call a. Then b.\n\n" * 6 + "```\n\nThus."
GERMAN = "Ja. So war es am 21. August in Bonn."
WINDOWS = "x | y  | z ||" * 20


def recursive(size: int = 24, **settings: Any) -> dict[str, Any]:
    return {"text": WINDOWS, "size": size, "splitter": {"kind": "recursive", "separators": ["|", " "], **settings}}


#: A field of Params -> two settings that must give different chunks.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "size": ({"size": 200}, {"size": 90}),
    "overlap": ({"size": 90, "overlap": 0}, {"size": 90, "overlap": 50}),
    "unit": ({**TOKENS, "unit": "characters", "tokenizer": None}, TOKENS),
    "tokenizer.path": (TOKENS, {**TOKENS, "tokenizer": {"path": "characters"}}),
    "splitter.markup": tuple(
        {"text": CODE, "size": 60, "splitter": {"kind": "structure", "markup": markup}} for markup in ("markdown", "text")
    ),  # type: ignore[dict-item]
    "splitter.language": tuple(
        {"text": GERMAN, "size": 34, "splitter": {"kind": "sentence", "language": language}} for language in ("de", "en")
    ),  # type: ignore[dict-item]
    "splitter.separators": (recursive(), recursive(separators=[" "])),
    "splitter.keep_separator": (recursive(), recursive(keep_separator="end")),
    "splitter.is_separator_regex": (recursive(), recursive(is_separator_regex=True)),
    "splitter.strip_whitespace": (recursive(), recursive(strip_whitespace=False)),
}
#: The same for the kinds themselves and for fields that two kinds have.
MORE = {
    "kind": ({"size": 150}, {"size": 150, "splitter": {"kind": "sentence"}}),
    "kind recursive": ({"size": 60}, {"size": 60, "splitter": {"kind": "recursive"}}),
    "markup of sentence": tuple(
        {"text": CODE, "size": 60, "splitter": {"kind": "sentence", "markup": markup}} for markup in ("markdown", "text")
    ),
    "language of structure": tuple(
        {"text": GERMAN, "size": 34, "splitter": {"kind": "structure", "language": name}} for name in ("de", "en")
    ),
    "separators by name": (
        {"size": 100, "splitter": {"kind": "recursive"}},
        {"size": 100, "splitter": {"kind": "recursive", "separators": "markdown", "is_separator_regex": True}},
    ),
    "separators nowhere": (recursive(), recursive(keep_separator="none")),
}
HUB = {"id": "some/model", "revision": "abc"}
PROVED: set[str] = {*CASES, *(f"tokenizer.{field}" for field in HUB)}  # the hub's: test_a_tokenizer_of_the_hub


@pytest.mark.parametrize("field", [*CASES, *MORE])
def test_every_field_changes_the_chunks(tmp_path: Path, tokenizers: dict[str, Path], field: str) -> None:
    found = [run(tmp_path / str(n), tokenizers, **params) for n, params in enumerate((CASES | MORE)[field])]
    assert [row["text"] for row in found[0]] != [row["text"] for row in found[1]]


def test_a_tokenizer_of_the_hub(tmp_path: Path, tokenizers: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, str, str | None]] = []

    def download(id: str, file: str, revision: str | None = None) -> str:
        asked.append((id, file, revision))
        return str(tokenizers["words"])

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    params = {**TOKENS, "tokenizer": HUB}
    assert run(tmp_path / "hub", **params) == run(tmp_path / "path", tokenizers, **TOKENS)
    assert asked == [(HUB["id"], "tokenizer.json", HUB["revision"])]
    assert list(chunk.hub(msgspec.convert(params, chunk.Params))) == [HubUse("tokenizer.id", "model", "some/model", "abc")]

    def refused(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refused)
    with pytest.raises(StepError, match=r"some/model: its tokenizer\.json cannot be had: no network"):
        run(tmp_path / "hub", **params)


def test_chunks_are_as_the_artifact_says(tmp_path: Path) -> None:
    rows = run(tmp_path, size=90)
    assert rows[1] == {
        "id": "d.md#1", "document": "d.md", "title": "T", "section": "T", "page": 4,
        "start": rows[1]["start"], "end": rows[1]["end"], "text": TEXT[rows[1]["start"] : rows[1]["end"]],
    }  # fmt: skip


def test_a_document_without_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="1 documents gave no chunk"):
        run(tmp_path, text=" ")


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"overlap": 200}, ("overlap", "200 is not less than the size 200", "0 to 199")),
        ({"unit": "tokens"}, ("unit", "tokens of no tokenizer", "`tokenizer: {path: ...}` or `tokenizer: {id: ...}`")),
        ({"tokenizer": {"path": "x"}}, ("tokenizer", "is not used: `unit` is characters", "`unit: tokens`")),
        ({"unit": "tokens", "tokenizer": {}}, ("tokenizer", "needs exactly one of `path` and `id`", "")),
        ({"splitter": {"kind": "recursive", "separators": []}}, ("splitter.separators", "is empty", "at least one separator")),
        (
            {"splitter": {"kind": "recursive", "separators": [" ", "", "x"]}},
            ("splitter.separators[1]", "those after it are not used", "it comes last"),
        ),
        (
            {"splitter": {"kind": "recursive", "separators": ["(", " "], "is_separator_regex": True}},
            ("splitter.separators[0]", "is no regular expression: missing ), unterminated subpattern at position 0", ""),
        ),
        (
            {"splitter": {"kind": "recursive", "separators": [" ", "(a|b)"], "is_separator_regex": True}},
            ("splitter.separators[1]", "captures a group, whose text would be repeated", "(?:...) instead of (...)"),
        ),
        (
            {"unit": "tokens", "tokenizer": {"path": "x", "revision": "y"}},
            ("tokenizer.revision", "is that of no hub model", "`id` beside it"),
        ),
    ],
)
def test_rules_between_fields(params: dict[str, Any], fault: tuple[str, str, str]) -> None:
    (found,) = chunk.check(msgspec.convert({"size": 200, **params}, chunk.Params), {})
    assert (found.path, found.found, found.expected) == fault


def test_a_preview_does_so_many_documents(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir()
    rows = [{"id": f"{n}.md", "source": "", "title": "T", "format": "text", "text": "A text.", "sha256": "0"} for n in range(5)]
    (folder / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ctx = LocalContext(tmp_path / "ctx", tmp_path, preview=2)
    chunk.run(chunk.Params(size=100), {"documents": artifact(folder, "documents")}, tmp_path / "out", ctx)
    found = (tmp_path / "out/main/chunks.jsonl").read_text().splitlines()
    assert [json.loads(line)["document"] for line in found] == ["0.md", "1.md"]
    assert ctx.last_progress == (2, 2, "documents")


def test_memory_is_bounded_however_many_chunks_there_are(tmp_path: Path) -> None:
    """Row 25 of the faults: what is held depends on the longest document, not on their number."""
    import tracemalloc

    folder = tmp_path / "documents"
    folder.mkdir()
    row = {"source": "", "title": "T", "format": "text", "text": "A sentence here. " * 120, "sha256": "0"}
    peaks = []
    for count in (10, 100):
        with (folder / "documents.jsonl").open("w") as file:
            file.writelines(json.dumps({"id": f"{n}.md", **row}) + "\n" for n in range(count))
        tracemalloc.start()
        chunk.run(
            chunk.Params(size=20), {"documents": artifact(folder, "documents")}, tmp_path / "out", LocalContext(tmp_path / "ctx", tmp_path)
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    with (tmp_path / "out/main/chunks.jsonl").open("rb") as lines:
        assert sum(1 for _ in lines) == 100 * 120
    assert peaks[1] < 1.5 * peaks[0] + 1_000_000
