"""A run that went well exits with 1 all the same when a requirement of the recipe does not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.cli import call

HEIGHT = "\nchecks:\n  - says: the wall is high enough\n    measure: {step: middle, fact: height}\n    greater_than: "


@pytest.mark.parametrize(("least", "code", "verdict"), [(5, 0, "holds"), (6, 1, "does not hold"), (7, 1, "does not hold")])
def test_checks_decide_the_exit_code(project: Path, capfd: pytest.CaptureFixture[str], least: int, code: int, verdict: str) -> None:
    file = project / "recipes/walls.yaml"
    file.write_text(file.read_text() + HEIGHT + f"{least}\n")
    assert call(["run", "recipes/walls.yaml"]) == code
    said = capfd.readouterr()
    assert f"check: the wall is high enough: {verdict}" in said.out
    assert "report: " in said.out


def test_a_part_of_a_run_need_not_measure_everything(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = project / "recipes/walls.yaml"
    file.write_text(file.read_text() + HEIGHT + "5\n")
    assert call(["run", "recipes/walls.yaml", "--until", "low"]) == 0
    assert "the wall is high enough: not measured" in capfd.readouterr().out


def test_a_bug_in_the_report_does_not_undo_the_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from runner import reports

    def broken(folder: Path) -> Path:
        raise ZeroDivisionError

    monkeypatch.setattr(reports, "render", broken)
    monkeypatch.setattr("tempfile.tempdir", str(project))
    assert call(["run", "recipes/walls.yaml"]) == 0
    said = capfd.readouterr()
    assert "the report could not be made\nerror: this is a bug in the runner (ZeroDivisionError)" in said.err
    assert "report: " not in said.out


def test_a_crash_in_a_step_is_that_steps_failure(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = project / "recipes/walls.yaml"
    file.write_text(file.read_text().replace("with: {count: 4}", "with: {count: 4, crash: true}"))
    assert call(["run", "recipes/walls.yaml"]) == 1
    said = capfd.readouterr()
    assert "error: middle: " in said.err
    assert "Traceback" not in said.err
    assert "log: artifacts/runs/walls/" in said.err
