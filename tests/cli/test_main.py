"""What the console script does with what goes wrong, and how fast it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli import BUG, call


def test_a_bug_says_so_names_its_log_and_keeps_secrets(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from runner.cli import runs

    monkeypatch.setenv("SOME_API_KEY", "canary-4711-canary")
    monkeypatch.setenv("TMPDIR", str(project))
    monkeypatch.setattr("tempfile.tempdir", None)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("with canary-4711-canary")

    monkeypatch.setattr(runs, "open_store", broken)
    assert call(["runs"]) == BUG == 70
    said = capsys.readouterr().err
    found = re.fullmatch(r"error: this is a bug in the runner \(ZeroDivisionError\)\n  its log is (\S+)\n", said)
    assert found
    log = Path(found[1]).read_text()
    assert "Traceback" in log
    assert "recipe runs" in log
    assert "canary" not in log


def test_an_interrupt_exits_with_130(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.cli import runs

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "open_store", interrupted)
    assert call(["runs"]) == 130


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("arguments", [["doctor"], ["explain", "chunk"], ["run", "--help"]])
def test_output_that_nobody_takes_is_an_error_and_no_bug(project: Path, arguments: list[str], buffered: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | (
        {} if buffered else {"PYTHONUNBUFFERED": "1"}
    )
    with Path("/dev/full").open("w") as full:
        code = "from runner.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False
        )
    assert (done.returncode, done.stderr) == (1, "error: writing failed: No space left on device\n")


def test_a_folder_of_somebody_elses_is_no_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from runner.cli import runs

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "runs/report.html")

    monkeypatch.setattr(runs, "open_store", refused)
    assert call(["runs"]) == 1
    assert capsys.readouterr().err == "error: runs/report.html: Permission denied\n"


def test_closed_streams_are_no_error(project: Path) -> None:
    shown = f"{sys.executable} -c 'from runner.cli import main; main()'"
    for command, code in ((f"{shown} explain >&-", 0), (f"{shown} explain <&- >&- 2>&-", 0), (f"{shown} explain nothing >&- 2>&-", 2)):
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", ""), command


def test_a_closed_pipe_is_no_error(project: Path) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    command = f"{sys.executable} -c 'from runner.cli import main; main()' doctor | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("ok")
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments", [["validate", "recipes/walls.yaml"], ["show", "recipes/walls.yaml"], ["plan", "recipes/walls.yaml"], ["runs"]]
)
def test_reading_commands_import_nothing_heavy(project: Path, arguments: list[str]) -> None:
    heavy = ("torch", "transformers", "numpy", "jsonschema", "rich", "matplotlib", "jinja2", "datasets", "faiss", "pydantic")
    code = "import sys; from runner import steps; steps.KINDS['bricks'] = 'tests.cli.toy_bricks'; from runner.cli import call; "
    code += f"code = call({arguments!r}); print([name for name in {heavy!r} if name in sys.modules], "
    code += "[name for name in sys.modules if name.startswith('runner.cli.')], file=sys.stderr); sys.exit(code)"
    repository = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(repository)}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("[] ")
    assert "runner.cli.doctor" not in done.stderr  # only the command that was called is loaded


def test_an_interrupted_run_stops_its_step_reports_and_exits_with_130(project: Path) -> None:
    recipe = project / "recipes/walls.yaml"
    recipe.write_text(recipe.read_text().replace("{count: 4}", "{count: 100000}"))
    code = "from runner import steps; steps.KINDS['bricks'] = 'tests.cli.toy_bricks'; from runner.cli import main; main()"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", code, "run", "recipes/walls.yaml"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("middle") and "started" in line:
                process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        errors = process.stderr.read()
    assert process.returncode == 130, errors
    assert "interrupted: 1 done, " in said
    assert "Traceback" not in errors
    page = re.search(r"^report: (.+)$", said, re.M)
    assert page
    assert "This run was interrupted" in (project / page[1]).read_text()
