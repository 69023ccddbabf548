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

#: A field of Params -> two settings that must give different chunks.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "size": ({"size": 200}, {"size": 90}),
    "overlap": ({"overlap": 0, "by": "text"}, {"overlap": 80, "by": "text"}),
    "unit": ({**TOKENS, "unit": "characters", "tokenizer": None}, TOKENS),
    "tokenizer.path": (TOKENS, {**TOKENS, "tokenizer": {"path": "characters"}}),
    "by": ({"by": "markdown", "size": 100}, {"by": "text", "size": 100}),
}
HUB = {"id": "some/model", "revision": "abc"}
PROVED: set[str] = {*CASES, *(f"tokenizer.{field}" for field in HUB)}  # the hub's: test_a_tokenizer_of_the_hub


@pytest.mark.parametrize("field", CASES)
def test_every_field_changes_the_chunks(tmp_path: Path, tokenizers: dict[str, Path], field: str) -> None:
    found = [run(tmp_path / str(n), tokenizers, **params) for n, params in enumerate(CASES[field])]
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
    rows = run(tmp_path)
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
        (
            {"unit": "tokens", "tokenizer": {"path": "x", "revision": "y"}},
            ("tokenizer.revision", "is that of no hub model", "`id` beside it"),
        ),
    ],
)
def test_rules_between_fields(params: dict[str, Any], fault: tuple[str, str, str]) -> None:
    (found,) = chunk.check(msgspec.convert({"size": 200, **params}, chunk.Params), {})
    assert (found.path, found.found, found.expected) == fault
