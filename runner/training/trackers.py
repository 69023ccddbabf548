"""Experiment trackers that follow a training, by Transformers' own callbacks, into a folder: nothing leaves the machine unasked."""

from __future__ import annotations

import importlib.util
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path

from runner.errors import MissingPackage

#: What Transformers calls them, and where each writes: a variable of the environment, as the package reads it.
_FOLDER = {"tensorboard": "TENSORBOARD_LOGGING_DIR", "wandb": "WANDB_DIR", "trackio": "TRACKIO_DIR"}


@contextmanager
def trackers(names: Sequence[str], folder: Path, *, wandb_online: bool = False) -> Iterator[list[str]]:
    """Within it a Trainer may ``report_to`` the trackers of these names (tensorboard, wandb, trackio), which write to ``folder/NAME``.

    wandb records offline, to be sent by ``wandb sync``; with ``wandb_online`` it sends at once, by the key in WANDB_API_KEY.
    trackio reads its folder once, when it is first imported. MissingPackage when one is not installed.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MissingPackage.of(name, name, f"resources.report_to: [{name}]")
    settings = {_FOLDER[name]: str(folder / name) for name in names}
    if "wandb" in names:
        settings |= {"WANDB_MODE": "online" if wandb_online else "offline", "WANDB_SILENT": "true", "WANDB_CONSOLE": "off"}
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
    before = {name: os.environ.get(name) for name in settings}
    os.environ |= settings
    try:
        with redirect_stdout(io.StringIO()) if "trackio" in names else nullcontext():  # it prints what it does, and cannot be told not to
            yield list(names)
    finally:
        if (wandb := sys.modules.get("wandb")) is not None and "wandb" in names:
            wandb.finish()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
