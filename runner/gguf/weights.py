"""Weights of a Hugging Face checkpoint, one tensor at a time, with a LoRA adapter merged on the way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from runner.errors import InputError, StepError
from runner.gguf.adapter import Adapter

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


class Weights:
    """The tensors of ``folder`` (safetensors, one file or shards) by their Hugging Face names.

    ``tied`` is true when the output layer is the embedding itself, also after merging: an adapter that changes only one of
    the two unties them. InputError when the checkpoint is missing, damaged, or only there as pickles.
    """

    def __init__(self, folder: Path, adapter: Path | None = None) -> None:
        self.folder = folder
        self.config: dict[str, Any] = _json(folder / "config.json")
        located = _located(folder)
        opened = {file: self._open(file) for file in dict.fromkeys(located.values())}
        self._files = {name: opened[file] for name, file in located.items()}
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name, file in self._files.items()}
        self._tied = bool(self.config.get("tie_word_embeddings")) and HEAD not in shapes
        if self._tied:
            shapes[HEAD] = shapes[EMBEDDING]
        self._adapter = Adapter(adapter) if adapter else None
        if self._adapter:
            shapes = self._adapter.checked(shapes)
        self.tied = self._tied and not (self._adapter and self._adapter.changes(HEAD, EMBEDDING))
        if self.tied:
            del shapes[HEAD]
        self.shapes: dict[str, tuple[int, ...]] = shapes

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor in float32, merged."""
        source = EMBEDDING if self._tied and name == HEAD else name
        weight = None
        if source in self._files:
            try:
                weight = self._files[source].get_tensor(source)
            except SafetensorError as error:
                raise InputError(f"cannot read {source}: {error}", where=str(self.folder)) from None
            if not weight.is_floating_point():
                raise StepError(
                    f"{name} holds {weight.dtype} values: the base is already quantised", remedy="export from unquantised weights"
                )
            weight = weight.to(torch.float32)
        if self._adapter:
            weight = self._adapter.merged(name, weight)
        assert weight is not None, name
        if not torch.isfinite(weight).all():
            raise InputError(f"{name} holds values that are not finite", where=str(self.folder), remedy="train with a lower learning rate")
        return weight

    @staticmethod
    def _open(file: Path) -> Any:
        try:
            return safe_open(file, framework="pt")
        except (SafetensorError, OSError) as error:
            raise InputError(f"not a readable safetensors file: {error}", where=str(file)) from None


def _located(folder: Path) -> dict[str, Path]:
    """Tensor name -> file."""
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        found = {name: folder / file for name, file in _json(index)["weight_map"].items()}
        missing = sorted({file.name for file in found.values() if not file.is_file()})
        if missing:
            raise InputError(f"shards are missing: {', '.join(missing)}", where=str(folder))
        return found
    if single.is_file():
        with Weights._open(single) as file:
            return dict.fromkeys(file.keys(), single)
    pickles = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
    raise InputError(
        "no model.safetensors" + (", only pickled weights, which are never loaded" if pickles else ""),
        where=str(folder),
        remedy="save the model as safetensors",
    )


def _json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"no {file.name}", where=str(file.parent)) from None
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", where=str(file)) from None
    if not isinstance(data, dict):
        raise InputError("expected a JSON object", where=str(file))
    return data
