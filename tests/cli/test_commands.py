"""The commands on a project of toy steps, through the same door as the console script."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.cli import call
from runner.cli.commands import COMMANDS

WALLS = "recipes/walls.yaml"


class Said(NamedTuple):
    code: int
    out: str
    err: str


Recipe = Callable[..., Said]


@pytest.fixture
def recipe(project: Path, capfd: pytest.CaptureFixture[str]) -> Recipe:
    def run(*arguments: str) -> Said:
        code = call(arguments)
        said = capfd.readouterr()
        return Said(code, said.out, said.err)

    return run


def edit(project: Path, old: str, new: str) -> None:
    file = project / WALLS
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_help_names_every_command(recipe: Recipe) -> None:
    said = recipe("--help")
    assert said.code == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S", said.out, re.M), name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(recipe: Recipe, name: str) -> None:
    said = recipe(name, "--help")
    assert said.code == 0
    assert said.out.startswith(f"Usage: recipe {name} ")


def test_version(recipe: Recipe) -> None:
    assert re.fullmatch(r"recipe \d+\.\d+\S*\n", recipe("--version").out)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("vaildate",), "error: there is no command `vaildate`\n  did you mean `recipe validate`?\n"),
        (("xyzzy",), "error: there is no command `xyzzy`\n  `recipe --help` lists the commands\n"),
        (("report", "wals"), "error: there is no run `wals` in {root}/artifacts/runs\n  `recipe runs` lists the runs\n"),
        (("ask", "../up", "why?"), "error: there is no run `../up` in {root}/artifacts/runs\n  `recipe runs` lists the runs\n"),
        (("schema", "none.json"), "error: there is no schema `none.json`\n  `recipe schema` lists them\n"),
        (("verify", "0123456789"), "error: no artifacts have a key that starts with 0123456789\n  give more of the key\n"),
    ],
)
def test_wrong_calls(recipe: Recipe, project: Path, arguments: tuple[str, ...], error: str) -> None:
    assert recipe(*arguments) == Said(2, "", error.replace("{root}", str(project)))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("run",), "Missing argument 'RECIPE'."),
        (("plan", WALLS, "--frobnicate"), "No such option: --frobnicate"),
        (("runs", "--format", "xml"), "Invalid value for '--format': 'xml' is none of text, json"),
        (("clean", "--keep-last", "-1"), "Invalid value for '--keep-last': -1 is less than 0"),
        (("run", WALLS, "-j", "two"), "Invalid value for '--jobs' / '-j': 'two' is no whole number"),
    ],
)
def test_wrong_options_exit_with_2_and_say_where_the_help_is(recipe: Recipe, arguments: tuple[str, ...], error: str) -> None:
    said = recipe(*arguments)
    assert said.code == 2
    assert f"Try 'recipe {arguments[0]} -h' for help." in said.err
    assert error in said.err
    assert "Traceback" not in said.err


def test_outside_of_a_project(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("nowhere"))
    said = recipe("runs")
    assert said.code == 2
    assert said.err.startswith("error: this folder lies in no project\n  go to a folder with recipes/ in it")


def test_validate(recipe: Recipe, project: Path) -> None:
    assert recipe("validate", WALLS) == Said(0, "1 recipe is valid\n", "")
    edit(project, "count: 2", "cuont: 2")
    said = recipe("validate", WALLS)
    assert said.code == 2
    assert "recipes/walls.yaml:7:12  steps.low.with.cuont  unknown key" in said.out
    assert "did you mean `count`?" in said.out
    problems = json.loads(recipe("validate", WALLS, "--format", "json").out)["problems"]
    assert (7, 12, "unknown key") in [(problem["line"], problem["column"], problem["found"]) for problem in problems]


def test_validate_with_an_overlay_checks_that_overlay(recipe: Recipe) -> None:
    assert recipe("validate", WALLS, "-p", "tiny").code == 0
    said = recipe("validate", WALLS, "--set", "steps.low.with.count=-4")
    assert said.code == 2
    assert "steps.low.with.count" in said.out


def test_errors_of_a_recipe_go_to_standard_error_when_it_was_to_be_used(recipe: Recipe, project: Path) -> None:
    edit(project, "from: low", "from: lov")
    for name in ("show", "plan", "run"):
        said = recipe(name, WALLS)
        assert (said.code, said.out) == (2, "")
        assert "did you mean `low`?" in said.err
    assert not (project / "artifacts").exists()


def test_show(recipe: Recipe) -> None:
    plain = recipe("show", WALLS, "-p", "tiny", "--set", "steps.middle.with.count=9")
    assert plain.code == 0
    assert "count: 1" in plain.out
    assert "count: 9" in plain.out
    document = json.loads(recipe("show", WALLS, "--format", "json").out)
    assert document["steps"]["low"]["with"]["count"] == 2
    origins = recipe("show", WALLS, "-p", "tiny", "--origin").out
    assert re.search(r"^steps\.low\.with\.count +1 +profile tiny", origins, re.M)
    assert re.search(r"^steps\.middle\.with\.count +4 +recipes/walls\.yaml:11", origins, re.M)


def test_graph(recipe: Recipe) -> None:
    graph = recipe("show", WALLS, "--graph").out
    assert graph.startswith("flowchart LR\n")
    assert 's2["high × 2<br><small>bricks</small>"]' in graph
    assert "s0 -->|bricks| s2" in graph
    data = json.loads(recipe("show", WALLS, "--graph", "--format", "json").out)
    assert {"from": "middle", "to": "high", "ports": ["bricks"]} in data["edges"]


def test_plan_run_plan_why(recipe: Recipe, project: Path) -> None:
    before = recipe("plan", WALLS)
    assert before.code == 0
    lines = before.out.splitlines()
    assert re.fullmatch(r"step +arm +state +why", lines[0])
    assert re.match(r"low +run +\S", lines[1])
    assert re.match(r"high +bricks=1 +depends +on low, middle", lines[3])
    assert not (project / "artifacts").exists()

    first = recipe("run", WALLS)
    assert first.code == 0, first.err
    assert re.search(r"^low +started", first.out, re.M)
    assert re.search(r"^high\[bricks=5\] +done in ", first.out, re.M)
    assert "done: 4 done\n" in first.out
    page = re.search(r"^report: (artifacts/runs/walls/.+/report\.html)$", first.out, re.M)
    assert page
    assert "<title>Three walls" in (project / page[1]).read_text()

    assert "4 cached" in recipe("plan", WALLS).out
    again = recipe("run", WALLS)
    assert again.code == 0
    assert "done: 4 cached\n" in again.out

    changed = ("--set", "steps.middle.with.count=6")
    plan = json.loads(recipe("plan", WALLS, *changed, "--format", "json").out)
    assert [(row["id"], row["state"]) for row in plan["instances"]] == [
        ("low", "cached"),
        ("middle", "run"),
        ("high[bricks=1]", "depends"),
        ("high[bricks=5]", "depends"),
    ]
    assert plan["overlays"] == ["--set steps.middle.with.count=6"]
    why = recipe("why", WALLS, "middle", *changed)
    assert why.out.splitlines()[0] == "middle  run"
    assert "count 4 -> 6" in why.out
    (reason,) = json.loads(recipe("why", WALLS, "low", "--format", "json").out)
    assert (reason["instance"], reason["state"]) == ("low", "cached")
    roots = recipe("why", WALLS, "high[bricks=1]", *changed).out  # down to what has changed, and not just to what stands before it
    assert roots == "high[bricks=1]  depends\n  on middle\n  middle: count 4 -> 6\n"
    listed = recipe("runs").out
    assert re.search(r"done +[\d.]+ m?s +4 done$", listed, re.M)
    assert re.search(r"done +[\d.]+ m?s +4 cached$", listed, re.M)


def test_pin_says_what_it_wrote(recipe: Recipe, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = {"org/model": "a" * 40, "org/corpus-of-texts": "b" * 40}
    monkeypatch.setattr("runner.recipe.pin", lambda file: (project / "recipes" / "walls.lock", pins))
    assert recipe("pin", WALLS) == Said(
        0, f"recipes/walls.lock:\n  org/model            {'a' * 40}\n  org/corpus-of-texts  {'b' * 40}\n", ""
    )
    pins.clear()
    assert recipe("pin", WALLS).out == "recipes/walls.lock: nothing is fetched from a hub\n"


def test_until_only_and_dry_run(recipe: Recipe, project: Path) -> None:
    dry = recipe("run", WALLS, "--dry-run")
    assert dry.code == 0
    assert "depends" in dry.out
    assert not (project / "artifacts").exists()
    alone = recipe("run", WALLS, "--only", "middle")
    assert alone.code == 2
    assert "--only leaves it out" in alone.err
    assert recipe("plan", WALLS, "--only", "middle").code == 2
    assert "done: 2 done" in recipe("run", WALLS, "--until", "middle").out
    assert "1 done" in recipe("run", WALLS, "--force", "low", "--until", "low").out


def test_a_failing_step(recipe: Recipe, project: Path) -> None:
    edit(project, "with: {count: 4}", "with: {count: 4, fail: too many bricks}")
    said = recipe("run", WALLS)
    assert said.code == 1
    assert re.search(r"^middle +failed after .*: too many bricks", said.out, re.M)
    assert "error: middle: too many bricks\n  ask for less\n" in said.err
    assert "Traceback" not in said.err
    page = re.search(r"^report: (.+)$", said.out, re.M)
    assert page
    assert "too many bricks" in (project / page[1]).read_text()


def test_several_recipes_are_all_checked_before_any_runs(recipe: Recipe, project: Path) -> None:
    (project / "recipes/second.yaml").write_text((project / WALLS).read_text().replace("uses: bricks", "uses: brics", 1))
    said = recipe("run", WALLS, "recipes/second.yaml")
    assert said.code == 2
    assert not (project / "artifacts").exists()


def test_runs_report_verify_clean(recipe: Recipe, project: Path) -> None:
    assert recipe("runs").out == f"no runs in {project}/artifacts/runs\n"
    recipe("run", WALLS)
    recipe("run", WALLS, "-p", "tiny")
    rows = json.loads(recipe("runs", "--format", "json").out)
    assert [row["status"] for row in rows] == ["done", "done"]
    table = recipe("runs").out.splitlines()
    assert re.fullmatch(r"run +status +time +steps +overlays", table[0])
    assert re.fullmatch(r"walls/\S+ +done +\S+ s +4 done +profile tiny", table[2])

    latest = recipe("report", "walls").out.strip()
    assert latest == f"{project}/artifacts/runs/walls/{rows[1]['run']}/report.html"
    for name in (f"walls/{rows[0]['run']}", f"artifacts/runs/walls/{rows[0]['run']}"):
        assert rows[0]["run"] in recipe("report", name).out
    assert "did you mean `walls`?" in recipe("report", "wals").err

    assert recipe("verify").out == "8 artifacts checked, 0 damaged\n"
    assert recipe("verify", "walls").out == "4 artifacts checked, 0 damaged\n"
    wall = next((project / "artifacts/objects").rglob("wall.txt"))
    key = wall.parent.parent.name
    wall.chmod(0o644)
    wall.write_text("9")
    said = recipe("verify")
    assert said.code == 1
    assert said.out.startswith(key[:16])
    assert json.loads(recipe("verify", key[:12], "--format", "json").out)["damaged"][0]["key"] == key

    dry = json.loads(recipe("clean", "--dry-run", "--format", "json").out)
    assert len(dry["runs"]) == 1
    assert len(json.loads(recipe("runs", "--format", "json").out)) == 2
    cleaned = recipe("clean")
    assert "\n1 run, 4 artifacts, 0 strays removed, " in cleaned.out
    assert [row["run"] for row in json.loads(recipe("runs", "--format", "json").out)] == [rows[1]["run"]]


def test_another_store(recipe: Recipe, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe("run", WALLS, "--artifacts", "elsewhere")
    assert (project / "elsewhere/objects").is_dir()
    monkeypatch.setenv("RECIPE_ARTIFACTS", str(project / "elsewhere"))
    assert recipe("report", "walls").code == 0
    assert not (project / "artifacts").exists()


def test_schema(recipe: Recipe, project: Path) -> None:
    names = recipe("schema").out.split()
    assert "recipe.schema.json" in names
    assert json.loads(recipe("schema", "recipe.schema.json").out)["type"] == "object"
    stale = recipe("schema", "--check")
    assert stale.code == 1
    assert "`recipe schema --write` renews them" in stale.out
    assert recipe("schema", "--write").code == 0
    assert recipe("schema", "--check").code == 0
    (project / "schemas/steps/old.schema.json").write_text("{}")
    assert "old.schema.json" in recipe("schema", "--check").out


def test_explain(recipe: Recipe) -> None:
    assert "A toy step kind for the command line's tests" in recipe("explain", "bricks").out
    assert "how many" in recipe("explain", "bricks.count").out
    assert "bricks" in recipe("explain").out
    said = recipe("explain", "briks")
    assert said.code == 2
    assert "did you mean `bricks`?" in said.err
    json.loads(recipe("explain", "bricks", "--format", "json").out)


def test_doctor(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "canary-4711-canary")
    said = recipe("doctor")
    assert said.code == 0, said.out
    assert re.search(r"^ok +Python +3\.", said.out, re.M)
    assert re.search(r"^ok +GOOGLE_API_KEY +set$", said.out, re.M)
    assert "canary" not in said.out
    checks: list[dict[str, Any]] = json.loads(recipe("doctor", "--format", "json").out)
    assert {"Python", "disk", "GPU", "C++ compiler", "CMake", "torch", "llama-cpp-python"} <= {check["name"] for check in checks}


def test_doctor_fails_when_something_needed_is_missing(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.cli import doctor

    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "faiss-cpu" else "1")
    said = recipe("doctor")
    assert said.code == 1
    assert re.search(r"^MISSING +faiss-cpu +not installed +pip install faiss-cpu", said.out, re.M)
    assert said.out.endswith("missing: faiss-cpu\n")
