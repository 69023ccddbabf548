from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import MissingPackage
from runner.training import trackers as module
from runner.training.trackers import trackers
from tests.training.tiny import EXAMPLES, LORA, SFT, no_bases

ROOT = Path(__file__).parents[2]


def train(model: Path, folder: Path, name: str, **options: bool) -> None:
    from runner.training.sft import Surroundings, fine_tune

    with trackers([name], folder / "trackers", **options) as report_to:
        fine_tune(
            model, no_bases, EXAMPLES[:4], lora=LORA, sft=SFT | {"max_steps": 2, "logging_steps": 1},
            surroundings=Surroundings(folder / "journal", "cpu", report_to=report_to),
        )  # fmt: skip


def test_tensorboard_gets_the_curve(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tiny_model, tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path / "trackers/tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2]
    assert "TENSORBOARD_LOGGING_DIR" not in os.environ


@pytest.mark.slow
def test_wandb_stays_offline(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    train(tiny_model, tmp_path, "wandb")
    assert list((tmp_path / "trackers/wandb").glob("**/offline-run-*/*.wandb"))
    assert "WANDB_MODE" not in os.environ


@pytest.mark.slow
def test_trackio_writes_its_database_and_prints_nothing(tiny_model: Path, tmp_path: Path) -> None:
    if not importlib.util.find_spec("trackio"):
        pytest.skip("trackio is not installed")
    program = (
        f"from pathlib import Path; from {__name__} import train; train(Path({str(tiny_model)!r}), Path({str(tmp_path)!r}), 'trackio')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]
    assert list((tmp_path / "trackers/trackio").glob("*.db"))


def test_a_tracker_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage) as caught, trackers(["wandb"], tmp_path):
        pass
    assert caught.value.remedy == 'pip install "recipe-runner[wandb]"'
    assert not list(tmp_path.iterdir())
