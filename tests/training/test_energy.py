"""NVML's counter, as its own package gives it; no GPU is needed to count in joules."""

from __future__ import annotations

from types import SimpleNamespace

import pynvml
import pytest
import torch

from runner.training.energy import joules


def test_millijoules_of_the_gpu_that_torch_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1234-abcd"))
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", lambda handle: {"GPU-1234-abcd": 2_500_000}[handle])
    assert joules("cuda") == 2500.0


def test_nothing_tells() -> None:
    assert joules("cpu") is None
    if not torch.cuda.is_available():
        assert joules("cuda") is None  # the real library, which finds no driver
