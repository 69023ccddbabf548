"""What the README and the documentation show is there, and works."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from runner.recipe import render_problems, validate

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_recipe_of_the_readme_is_valid(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "one.md").write_text("# One\n\nThe first note.\n")
    shutil.copytree(ROOT / "prompts", tmp_path / "prompts")
    found = re.search(r"^```yaml\n(.*?)^```$", PAGES[0].read_text(encoding="utf-8"), re.M | re.S)
    assert found is not None
    file = tmp_path / "recipes" / "mine.yaml"
    file.write_text(found[1], encoding="utf-8")
    problems = validate(file)
    assert not problems, render_problems(problems)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.M)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], target


def test_every_page_is_linked_from_the_readme() -> None:
    readme = PAGES[0].read_text(encoding="utf-8")
    assert [page.name for page in PAGES[2:] if f"(docs/{page.name}" not in readme] == []
