"""Rules of the house that a linter does not hold: lean imports, small files, telling names, no machine's own paths."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    *("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate", "faiss", "llama_cpp", "gguf"),
    *("sentence_transformers", "google.generativeai", "google.api_core", "matplotlib", "numpy", "scipy", "pandas", "pypdfium2"),
    *("sacrebleu", "evaluate", "rouge_score", "jsonschema", "rich"),
)
SOURCES = sorted((ROOT / "runner").rglob("*.py"))


@pytest.mark.parametrize(
    "imports",
    [
        "import runner.steps, importlib; [importlib.import_module(m) for m in runner.steps.KINDS.values()]",
        "import runner.recipe",
        "import runner.engine",
        "import runner.cli",
    ],
)
def test_imports_nothing_heavy(imports: str) -> None:
    code = f"import sys; {imports}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert loaded.stdout.split() == []


def test_no_file_is_too_long() -> None:
    assert {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400} == {}


def test_no_name_says_nothing() -> None:
    vague = re.compile(r"(^|/)(utils?|helpers?|common|base|misc)(\.py|/)")
    assert [str(p.relative_to(ROOT)) for p in SOURCES if vague.search(str(p.relative_to(ROOT)))] == []


def test_tests_mirror_the_source() -> None:
    """Every domain library, and every step kind, has a folder or a file of tests."""
    packages = [p.parent.name for p in (ROOT / "runner").glob("*/__init__.py")]
    assert [name for name in packages if not (ROOT / "tests" / name).is_dir()] == []
    kinds = [p.stem for p in (ROOT / "runner/steps").glob("*.py") if p.stem != "__init__"]
    assert [name for name in kinds if not (ROOT / f"tests/steps/test_{name}.py").is_file()] == []


def test_no_path_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split("\0")
    pattern = re.compile(r"(?<![\w.])/(work|root|home/\w+|farm)/")
    found = []
    for name in filter(None, listed):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".j2", ".toml", ".json", ".txt", ""} and path.is_file():
            found += [f"{name}:{n}" for n, line in enumerate(path.read_text(errors="ignore").splitlines(), 1) if pattern.search(line)]
    assert [place for place in found if not place.startswith("tests/test_house.py")] == []
