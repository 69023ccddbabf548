"""Settings that contradict each other are told before a run."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import pytest

from runner.teachers import PROVIDERS, settings
from runner.teachers.settings import Extractive, Local, faults

CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a path": ({"path": "m.gguf"}, []),
    "a model of the hub": ({"id": "o/m", "revision": "a" * 40, "temperature": 0.7, "top_p": 0.9, "seed": 3, "context_window": 4096}, []),
    "neither": ({}, ["teacher"]),
    "both": ({"path": "m.gguf", "id": "o/m"}, ["teacher"]),
    "a revision of a path": ({"path": "m.gguf", "revision": "main"}, ["teacher.revision"]),
    "draws at temperature 0": ({"path": "m.gguf", "top_p": 0.9, "seed": 3}, ["teacher.top_p", "teacher.seed"]),
    "no room": ({"path": "m.gguf", "context_window": 512}, ["teacher.context_window"]),
}


@pytest.mark.parametrize("case", CASES)
def test_contradictions_of_a_local_teacher(case: str) -> None:
    given, paths = CASES[case]
    assert [fault.path for fault in faults(Local(**given))] == paths


def test_other_teachers_have_none() -> None:
    assert list(faults(Extractive())) == []


@pytest.mark.parametrize("kind", get_args(settings.Teacher), ids=lambda kind: kind.__struct_config__.tag)
def test_every_setting_is_taken_by_its_provider_with_the_same_default(kind: Any) -> None:
    import importlib

    module = importlib.import_module(PROVIDERS[kind.__struct_config__.tag])
    parameters = dict(inspect.signature(module.open).parameters)
    del parameters["connection"]
    assert set(parameters) == set(kind.__struct_fields__)
    for name, default in zip(reversed(kind.__struct_fields__), reversed(kind.__struct_defaults__), strict=False):
        if parameters[name].default is not inspect.Parameter.empty:
            assert parameters[name].default == default, name
