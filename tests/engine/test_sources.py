"""Source files: found by pattern, hashed by bytes, refused where they do not belong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.engine.sources import Sources
from runner.errors import InputError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("a.md", "sub/b.md", "sub/deep/c.md", "sub/d.txt", ".hidden/e.md", "sub/.f.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (tmp_path / "outside.md").write_text("outside")
    return root


def names(root: Path, *patterns: str, outside: tuple[str, ...] = ()) -> list[str]:
    return [source.name for source in Sources(root, outside).find({"paths": patterns})["paths"]]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["**/*.md"], ["a.md", "sub/b.md", "sub/deep/c.md"]),
        (["*.md"], ["a.md"]),
        (["sub/*"], ["sub/b.md", "sub/d.txt"]),
        (["sub"], ["sub/b.md", "sub/d.txt", "sub/deep/c.md"]),
        (["sub/**"], ["sub/b.md", "sub/d.txt", "sub/deep/c.md"]),
        (["s?b/[bd].*", "a.md", "a.md"], ["a.md", "sub/b.md", "sub/d.txt"]),
        (["**/deep/*.md"], ["sub/deep/c.md"]),
        ([".hidden/*.md"], [".hidden/e.md"]),
        (["./sub/../a.md"], ["a.md"]),
    ],
)
def test_patterns(tree: Path, patterns: list[str], found: list[str]) -> None:
    assert names(tree, *patterns) == found


def test_a_file_whose_name_looks_like_a_pattern(tree: Path) -> None:
    (tree / "x[1].md").write_text("x")
    assert names(tree, "x[1].md") == ["x[1].md"]


def test_links_to_folders_are_followed_once(tree: Path) -> None:
    (tree / "linked").symlink_to("sub")
    assert names(tree, "linked/**/*.md") == ["linked/b.md", "linked/deep/c.md"]


def refused(root: Path, *patterns: str) -> str:
    with pytest.raises(InputError) as caught:
        names(root, *patterns)
    return str(caught.value)


def test_errors_name_the_path_or_the_pattern(tree: Path) -> None:
    assert refused(tree, "*.pdf").startswith("paths: `*.pdf` matches no file")
    assert refused(tree, "b.md").startswith("paths: there is no file `b.md`")
    (tree / "bare").mkdir()
    (tree / "bare" / ".hidden.md").write_text("x")
    assert refused(tree, "bare") == "paths: the folder `bare` holds no file\n  hidden ones do not count"
    assert refused(tree, "../outside.md").startswith("paths: `../outside.md` leads out of the project")
    assert refused(tree, "/etc/passwd").startswith("paths: `/etc/passwd` leads out of the project")
    assert refused(tree, "a\0b") == "paths: the path 'a\\x00b' holds a NUL character"
    assert refused(tree, "x" * 300).startswith("paths: ")
    (tree / "out.md").symlink_to("../outside.md")
    assert "out.md` is a link that leads out of the project" in refused(tree, "*.md")


@pytest.mark.timeout(10)
def test_pipes_and_loops_are_refused(tree: Path) -> None:
    os.mkfifo(tree / "sub/deep/pipe.md")
    assert refused(tree, "**/*.md").startswith(f"paths: `{tree}/sub/deep/pipe.md` is neither a file nor a folder")
    (tree / "loops").mkdir()
    (tree / "loops/again").symlink_to(".")
    assert refused(tree, "loops/**/*.md") == f"paths: `{tree}/loops/again` is a link to a folder that it lies in"
    (tree / "itself.md").symlink_to("itself.md")
    assert "itself.md" in refused(tree, "itself.md")


def test_the_command_line_may_lead_outside(tree: Path) -> None:
    assert names(tree, "../*.md", outside=("../*.md",)) == ["../outside.md"]
    assert names(tree, "../outside.md", outside=("..",)) == ["../outside.md"]


def test_changed_bytes_with_the_same_size_and_time(tree: Path) -> None:
    before = Sources(tree).find({"paths": ["a.md"]})["paths"][0]
    status = before.path.stat()
    before.path.write_text("b.md")
    os.utime(before.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert before.path.stat().st_size == status.st_size
    assert Sources(tree).find({"paths": ["a.md"]})["paths"][0].sha256 != before.sha256


def test_a_name_that_is_no_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a\udcff.md").write_text("x")
    with pytest.raises(InputError, match=r"the name of `a\\udcff.md` is no UTF-8"):
        Sources(tmp_path).find({"paths": ["*.md"]})
