from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.errors import InputError, StepError
from runner.steps import ingest
from tests.steps.local_context import LocalContext

Rows = list[dict[str, Any]]


def run(
    tmp_path: Path, files: dict[str, bytes | str], resources: dict[str, Any] | None = None, **params: Any
) -> tuple[Rows, Rows, LocalContext]:
    given = msgspec.convert({"paths": ["corpus/**/*"], **params}, ingest.Params)
    for name, data in files.items():
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    found = sorted({p for pattern in given.paths for p in tmp_path.glob(pattern) if p.is_file()})
    ctx = LocalContext(tmp_path / "ctx", tmp_path, msgspec.convert(resources or {}, ingest.Resources), {"paths": found})
    out = tmp_path / "out"
    ingest.run(given, {}, out, ctx)
    rows = [[json.loads(line) for line in (out / "main" / name).read_text().splitlines()] for name in ("documents.jsonl", "files.jsonl")]
    return rows[0], rows[1], ctx


TWO = {"a.md": "# A\n\n<b>bold</b>  ● x", "b.txt": "plain", "LICENSE": "x"}

#: A field of Params -> two values of it that must give different outputs (or one of them an error).
CASES: dict[str, tuple[Any, Any]] = {
    "paths": (["corpus/a.md"], ["corpus/b.txt"]),
    "clean": ([], ["html", "whitespace", "special-symbols"]),
    "on_unreadable": ("fail", "skip"),
}
PROVED: set[str] = set(CASES)


@pytest.mark.parametrize("field", CASES)
def test_every_field_changes_the_output(tmp_path: Path, field: str) -> None:
    seen = []
    for number, value in enumerate(CASES[field]):
        try:
            documents, files, _ = run(
                tmp_path / str(number), {**TWO, **({"c.md": ""} if field == "on_unreadable" else {})}, **{field: value}
            )
            seen.append((documents, files))
        except InputError as error:
            seen.append(str(error))  # type: ignore[arg-type]
    assert seen[0] != seen[1]


def test_documents_are_as_the_artifact_says(tmp_path: Path) -> None:
    documents, files, ctx = run(tmp_path, TWO, clean=["html", "special-symbols", "whitespace"])
    assert documents[0] == {
        "id": "a.md", "source": "corpus/a.md", "title": "A", "format": "markdown", "text": "# A\n\nbold - x", "pages": [],
        "sections": [{"level": 1, "title": "A", "start": 0}], "sha256": documents[0]["sha256"],
    }  # fmt: skip
    assert [row["id"] for row in documents] == ["a.md", "b.txt"]
    assert files[1] == {"path": "corpus/b.txt", "verdict": "read", "reason": "", "pages": 0, "characters": 5}
    assert ctx.facts == {"documents": 2, "characters": 18}
    assert ctx.messages == ["1 of 3 files have no known extension and are left out"]
    assert ctx.last_progress == (2, 2, "files")


def test_a_file_without_text_fails_or_is_left_out_and_said(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a.md": "text", "b.pdf": b"none", "c.txt": ""}
    with pytest.raises(InputError) as caught:
        run(tmp_path, files)
    assert str(caught.value) == (
        "paths: 2 files give no text\n"
        "  corpus/b.pdf: damaged: not a PDF, or its structure is damaged\n"
        "  corpus/c.txt: empty: the file has no bytes\n"
        "  mend the files, leave them out of `paths`, or set `on_unreadable: skip`"
    )
    documents, verdicts, ctx = run(tmp_path, files, on_unreadable="skip")
    assert [row["id"] for row in documents] == ["a.md"]
    assert [row["verdict"] for row in verdicts] == ["read", "damaged", "empty"]
    assert len(ctx.warnings) == 2


def test_nothing_readable_is_an_error_under_skip_too(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no document could be read"):
        run(tmp_path, {"c.txt": ""}, on_unreadable="skip")
    with pytest.raises(StepError, match=r"known extensions are \.markdown, \.md"):
        run(tmp_path / "2", {"c.zip": "x"})


def test_a_file_that_is_named_must_have_a_known_format(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"corpus/LICENSE: unsupported: the formats are"):
        run(tmp_path, TWO, paths=["corpus/LICENSE"])


def test_same_bytes_are_warned_about(tmp_path: Path) -> None:
    _, _, ctx = run(tmp_path, {"a.md": "text", "b.md": "text"})
    assert ctx.warnings == ["corpus/b.md has the same bytes as corpus/a.md"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    pdf = (Path(__file__).parents[2] / "recipes" / "corpus" / "heron-cluster.pdf").read_bytes()
    texts = []
    for number in range(2):
        run(tmp_path / str(number), {**TWO, "p.pdf": pdf})
        texts.append((tmp_path / str(number) / "out" / "main" / "documents.jsonl").read_bytes())
    assert texts[0] == texts[1]


def test_resources_bound_the_reading_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[float, int]] = []
    import runner.documents as documents

    real: Callable[..., Any] = documents.PdfReader
    monkeypatch.setattr(documents, "PdfReader", lambda seconds, megabytes: given.append((seconds, megabytes)) or real(seconds, megabytes))
    run(tmp_path, TWO, {"file_timeout": 7, "file_memory": 777})
    assert given == [(7, 777)]
