"""Where a model comes from, as far as a recipe tells before anything runs: the model that a chain of steps begins with, and its adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.contract import Upstream
from runner.training.footprint import Adapter
from runner.training.shapes import Shape, of_folder, of_hub


def lineage(model: Upstream) -> Iterator[Upstream]:
    """The producer of a model, the producer of the model that it reads, and so on to the first."""
    yield model
    for before in model.reads.get("model", ())[:1]:
        yield from lineage(before)


def shape(model: Upstream, root: Path) -> Shape | None:
    """The shape of a model, by the Params of the step ``model`` at the beginning of its chain; None where they do not tell."""
    *_, first = lineage(model)
    params = first.params
    if scratch := getattr(params, "scratch", None):
        names = [name for name in Shape.__dataclass_fields__ if hasattr(scratch, name)]
        return Shape(model_type=scratch.architecture, **{name: getattr(scratch, name) for name in names})
    if local := getattr(params, "local", None):
        return of_folder(root / local.path)
    pretrained = getattr(params, "pretrained", None)
    return None if pretrained is None else of_hub(pretrained.id, pretrained.revision)


def method(model: Upstream) -> Any:
    """Of an adapter, the ``method`` by which it was first made, through however many trainings; None of a full model."""
    for step in lineage(model):
        if step.output.form != "adapter":
            return None
        found = getattr(step.params, "method", None)
        if hasattr(found, "r"):
            return found
    return None


def adapter(method: Any) -> Adapter:
    """The adapter that ``method`` (of a training) makes."""
    return Adapter(method.r, method.target_modules)


def four_bits(method: Any) -> dict[str, Any]:
    """The 4-bit layers that a base has under ``method``, as the estimates take them: none but under QLoRA."""
    double = getattr(method, "bnb_4bit_use_double_quant", None)
    return {"double_quant": double, "compute_dtype": getattr(method, "bnb_4bit_compute_dtype", None)}
