from __future__ import annotations

from pathlib import Path

import pytest

from runner.documents import document_ids


def ids(root: Path, patterns: list[str], *names: str) -> list[str]:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("x")
    return list(document_ids([root / name for name in names], patterns, root).values())


def test_an_id_is_the_path_below_the_corpus_and_outlives_a_move(tmp_path: Path) -> None:
    there = ids(tmp_path / "one", ["corpus/**/*.md", "corpus/**/*.pdf"], "corpus/a.md", "corpus/sub/b.pdf")
    moved = ids(tmp_path / "two", ["elsewhere/deep/**/*.md", "elsewhere/deep/**/*.pdf"], "elsewhere/deep/a.md", "elsewhere/deep/sub/b.pdf")
    assert there == moved == ["a.md", "sub/b.pdf"]


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["corpus"], ["a.md", "sub/a.md"]),
        (["corpus/a.md", "corpus/sub/*.md"], ["a.md", "sub/a.md"]),
        (["./corpus/sub/../*.md", "corpus/sub"], ["a.md", "sub/a.md"]),
        (["**/*.md"], ["corpus/a.md", "corpus/sub/a.md"]),
    ],
)
def test_folders_files_and_globs(tmp_path: Path, patterns: list[str], expected: list[str]) -> None:
    assert ids(tmp_path, patterns, "corpus/a.md", "corpus/sub/a.md") == expected


def test_files_of_two_corpora_that_would_share_an_id_are_told_apart(tmp_path: Path) -> None:
    assert ids(tmp_path, ["x/*.md", "y/*.md"], "x/a.md", "y/a.md", "y/b.md") == ["x/a.md", "y/a.md", "b.md"]
