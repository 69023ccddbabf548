"""Rules of number types, with a GPU that is only told of."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from runner.errors import StepError
from runner.training import precision


@pytest.fixture
def t4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)


@pytest.mark.parametrize(
    ("asked", "where", "remedy"),
    [
        ({"bf16": True}, "bf16", "set bf16 to false and fp16 to true"),
        ({"dtype": "bfloat16"}, "dtype", "set dtype to float16"),
        ({"compute_dtype": "bfloat16"}, "method.bnb_4bit_compute_dtype", "set method.bnb_4bit_compute_dtype to float16"),
    ],
)
@pytest.mark.usefixtures("t4")
def test_a_t4_has_no_bfloat16(asked: dict[str, Any], where: str, remedy: str) -> None:
    with pytest.raises(StepError) as caught:
        precision.check("cuda", **asked)
    assert (caught.value.message, caught.value.where, caught.value.remedy) == ("this GPU, Tesla T4, has no bfloat16", where, remedy)


@pytest.mark.usefixtures("t4")
def test_a_t4_has_float16() -> None:
    precision.check("cuda", dtype="float16", fp16=True, compute_dtype="float16")


def test_a_newer_gpu_has_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    precision.check("cuda", dtype="bfloat16", bf16=True, compute_dtype="bfloat16")


def test_a_cpu_has_bfloat16_and_no_fp16_training() -> None:
    precision.check("cpu", dtype="bfloat16", bf16=True, compute_dtype="bfloat16")
    with pytest.raises(StepError, match="fp16 mixed precision needs a GPU"):
        precision.check("cpu", fp16=True)
