"""`recipe run --only STEP --preview N`, through the same door as the console script."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner import steps
from runner.cli import call
from runner.contract import Kind

RECIPE = """\
recipe: 1
name: looks
title: Looks
steps:
  wall:
    uses: bricks
  low:
    uses: glances
    from: {bricks: wall}
  odd:
    uses: glances
    with: {items: "${matrix.items}"}
  alone:
    uses: glances
  upper:
    uses: bricks
    from: [wall]
    with: {count: "${matrix.items}"}
matrix:
  items: [1, 2]
"""
FILE = "recipes/looks.yaml"
ROOT = Path(__file__).parents[2]
TOYS = {"bricks": "tests.cli.toy_bricks", "glances": "tests.cli.toy_glances"}


class Said(NamedTuple):
    code: int
    out: str
    err: str


Look = Callable[..., Said]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, module in TOYS.items():
        monkeypatch.setitem(steps.KINDS, name, module)
    monkeypatch.delenv("RECIPE_ARTIFACTS", raising=False)
    root = tmp_path / "project"
    for folder in ("recipes", "prompts", "temporary"):
        (root / folder).mkdir(parents=True)
    (root / FILE).write_text(RECIPE)
    (root / "prompts/item.j2").write_text("Look at {{ item }}.\nThen tell.")
    monkeypatch.chdir(root)
    monkeypatch.setattr(tempfile, "tempdir", str(root / "temporary"))
    return root


@pytest.fixture
def look(project: Path, capfd: pytest.CaptureFixture[str]) -> Look:
    def run(*arguments: str) -> Said:
        code = call(["run", FILE, *arguments])
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return run


def tree(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below a folder, with times and bytes."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in [folder, *folder.rglob("*")] if folder.exists() else ():
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = (status.st_mtime_ns, status.st_ctime_ns, status.st_mode, status.st_ino, content)
    return found


def test_prompts_and_rows_are_shown_and_nothing_is_written(project: Path, look: Look) -> None:
    assert look("--until", "wall").code == 0
    (project / "artifacts/cache/oracle/deep").mkdir(parents=True)
    (project / "artifacts/cache/oracle/deep/known.txt").write_text("known")
    before = tree(project)
    said = look("--only", "low", "--preview", "2")
    after = tree(project)
    assert after.keys() == before.keys()
    assert {name for name, what in after.items() if what != before[name]} == {"temporary"}  # a folder has come and gone there
    assert said.code == 0
    assert said.out.startswith(
        "preview of low: 2 items; nothing is kept\n\nprompt prompts/item.j2, 1 of 2\n  | Look at 0.\n  | Then tell.\n"
    )
    assert "main/items.jsonl\n  - item    0\n    text    Look at 0. Then tell.Look at 0." in said.out
    assert "… (840 characters)" in said.out
    assert '- known  ["known.txt"]' in said.out  # the cache is read
    assert "asked  2 items" in said.out
    assert "times" not in said.out
    assert "a preview of 2 items" in said.err
    assert "warning: the oracle is tired" in said.err


def test_a_store_that_is_not_there_is_not_made(project: Path, look: Look) -> None:
    assert look("--only", "alone", "--preview", "1").code == 0
    assert not (project / "artifacts").exists()


def test_what_is_in_the_store_already_can_be_looked_at_too(project: Path, look: Look) -> None:
    assert look("--until", "alone").code == 0
    before = tree(project / "artifacts")
    assert "preview of alone: 1 items" in look("--only", "alone", "--preview", "1").out
    assert tree(project / "artifacts") == before


def test_json_holds_everything(look: Look) -> None:
    said = json.loads(look("--only", "alone", "--preview", "3", "--format", "json").out)
    assert said["prompts"] == [{"file": "prompts/item.j2", "text": f"Look at {n}.\nThen tell."} for n in range(3)]
    assert [row["text"] for row in said["files"]["main/items.jsonl"]] == [f"Look at {n}.\nThen tell." * 40 for n in range(3)]
    assert len(said["files"]["main/items.jsonl"][0]["digest"]) == 64  # the template is still the template
    assert (said["instance"], said["items"], said["count"]) == ("alone", "items", 3)
    assert (said["warnings"], said["facts"]["asked"]) == (["the oracle is tired"], {"value": 2, "unit": "items"})
    assert said["error"] is None


def test_long_prompts_are_shortened_and_say_so(project: Path, look: Look) -> None:
    (project / "prompts/item.j2").write_text("begin\n" + "{{ item }} and so on\n" * 1000 + "the end")
    said = look("--only", "alone", "--preview", "1").out
    assert "  | begin\n" in said
    assert "  | the end\n" in said
    assert "characters more; --format json shows them" in said
    assert len(said) < 6000


def test_a_failure_shows_what_was_done_by_then(project: Path, look: Look) -> None:
    said = look("--only", "alone", "--preview", "2", "--set", "steps.alone.with.fail=too much")
    assert said.code == 1
    assert "| Look at 0." in said.out
    assert "- item    0" in said.out
    assert said.err.endswith("error: alone: too much\n  ask for less\n")
    assert not list((project / "temporary").iterdir())


def test_a_bug_in_the_step_shows_its_log(look: Look) -> None:
    said = look("--only", "alone", "--preview", "2", "--set", "steps.alone.with.crash=true")
    assert said.code == 1
    assert "error: alone: ValueError: the oracle fell silent" in said.err
    assert "  | Traceback (most recent call last):" in said.err


def test_what_is_asked_over_the_network_is_said_and_can_be_refused(look: Look) -> None:
    arguments = ("--only", "alone", "--preview", "2", "--set", "steps.alone.with.network=true")
    assert "it asks the Oracle for what is not on record, and keeps no answer" in look(*arguments).err
    said = look(*arguments, "--offline")
    assert (said.code, "the step needs Oracle, and --offline refuses it" in said.err) == (2, True)


def test_secrets_are_not_shown(project: Path, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "canary-0123456789")
    (project / "prompts/item.j2").write_text("{{ item }} canary-0123456789")
    for form in ("text", "json"):
        said = look("--only", "alone", "--preview", "2", "--format", form)
        assert "canary" not in said.out + said.err
        assert "0 [SOME_API_KEY]" in said.out


@pytest.mark.parametrize(
    ("arguments", "finding", "remedy"),
    [
        (["--preview", "2"], "--preview is a look at one step\n", "name it: recipe run RECIPE --only STEP --preview 5"),
        (["--only", "low", "--only", "alone", "--preview", "2"], "--preview is a look at one step, not 2", "name it"),
        (
            ["--only", "low", "--preview", "2", "--force", "low", "--dry-run"],
            "does not go with --force and --dry-run",
            "whatever is in the store",
        ),
        (["--only", "low", "--preview", "2", "--until", "low", "-j", "2"], "does not go with --until and --jobs", ""),
        (["--only", "low", "--preview", "2", FILE], "--preview is a look at one recipe", "name one"),
        (["--only", "low", "--preview", "0"], "Invalid value for '--preview'", ""),
        (["--only", "loww", "--preview", "2"], "the recipe has no step `loww`", "did you mean `low`?"),
        (["--only", "low", "--preview", "2"], "`low` reads `wall`, which is not computed", f"run first: recipe run {FILE} --until wall"),
        (
            ["--only", "wall", "--preview", "2"],
            "`wall` is a step of the kind bricks, which has no preview",
            "these have one: low, odd, alone",
        ),
        # Before its inputs are to be computed, and one of its arms is to be named.
        (["--only", "upper", "--preview", "2"], "`upper` is a step of the kind bricks, which has no preview", "these have one"),
        (["--only", "odd", "--preview", "2"], "`odd` has 2 arms, and a preview shows one", "--only 'odd[items=1]', --only 'odd[items=2]'"),
        (["--format", "json"], "--format is how a preview is printed", "--preview N"),
    ],
)
def test_what_cannot_be_previewed_says_why(project: Path, look: Look, arguments: list[str], finding: str, remedy: str) -> None:
    said = look(*arguments)
    assert said.code == 2
    assert finding in said.err
    assert remedy in said.err
    assert not (project / "artifacts").exists()


def test_one_arm_is_named_as_the_error_says(look: Look) -> None:
    assert "preview of odd[items=2]: 5 items" in look("--only", "odd[items=2]", "--preview", "5").out


def test_a_damaged_input_is_told_and_left_alone(project: Path, look: Look) -> None:
    assert look("--until", "wall").code == 0
    (wall,) = (project / "artifacts/objects").rglob("wall.txt")
    wall.chmod(0o644)
    wall.write_text("4")
    before = tree(project / "artifacts")
    said = look("--only", "low", "--preview", "1")
    assert said.code == 1
    assert "an input of `low` is damaged" in said.err
    assert f"`recipe run {FILE} --until low` computes it again" in said.err
    assert tree(project / "artifacts") == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_preview_that_is_stopped_leaves_nothing_in_the_store(project: Path, number: int) -> None:
    program = f"import sys; from runner import steps; steps.KINDS.update({TOYS!r}); from runner.cli import main; main(sys.argv[1:])"
    arguments = ["run", FILE, "--only", "alone", "--preview", "9", "--set", "steps.alone.with.sleep=30"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(project / "temporary")}
    with subprocess.Popen([sys.executable, "-c", program, *arguments], env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not list((project / "temporary").glob("*/out/main/items.jsonl")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        process.wait(30)
    assert process.returncode == (130 if number != signal.SIGKILL else -9)
    assert not (project / "artifacts").exists()
    if number != signal.SIGKILL:
        assert not list((project / "temporary").iterdir())


def test_every_kind_that_works_item_by_item_has_a_preview() -> None:
    able = {name for name in steps.KINDS if Kind(name, steps.kind(name).module).preview}
    assert able == {"ingest", "chunk", "dataset", "synthesize", "mix", "curate", "split", "answer"}
