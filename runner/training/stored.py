"""A model as an artifact: ``model.json`` and what lies beside it (docs/artifacts.md), read and written without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import StepError

#: From the ``ref`` of an artifact to its folder.
Resolve = Callable[[str], Path]


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a stored model.

    ``base`` is the folder of the base model's artifact (adapters only). ``weights`` is the folder that holds ``config.json``
    and the safetensors of a full model, wherever that is (the artifact, the hub's cache, a folder of the user); for an adapter it
    is the artifact itself, with PEFT's files. ``tokenizer`` is the folder with the tokenizer and its chat template; an
    adapter's is its base's.
    ``config`` is the model's ``config.json`` (an adapter's: its base's). ``record`` is ``model.json`` as it stands.
    """

    form: str
    architecture: str
    base: Path | None
    config: dict[str, Any]
    system_prompt: str | None
    weights: Path
    tokenizer: Path
    record: dict[str, Any]


def describe(folder: Path, resolve: Resolve) -> ModelInfo:
    """Read a model artifact. StepError when it is no model, or when weights that it refers to are gone."""
    record = read_record(folder)
    form = str(record.get("form", ""))
    if form not in ("full", "adapter", "gguf"):
        raise StepError(f"{folder / 'model.json'} has the form {form!r}", remedy="a model is full, adapter or gguf")
    base = resolve(str(record["base"])) if form == "adapter" else None
    weights = folder if base is not None else weights_folder(folder, record)
    below = describe(base, resolve) if base is not None else None
    config = below.config if below else _config(weights) if form == "full" else {}
    tokenizer = below.tokenizer if below else folder if has_tokenizer(folder) else weights
    return ModelInfo(form, str(record["architecture"]), base, config, record.get("system_prompt"), weights, tokenizer, record)


def read_record(folder: Path) -> dict[str, Any]:
    """``model.json`` of an artifact. StepError when there is none or it is no JSON object."""
    try:
        record = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StepError(f"{folder} is no model: it has no model.json") from None
    except ValueError as error:
        raise StepError(f"{folder / 'model.json'} is no JSON: {error}") from None
    if not isinstance(record, dict):
        raise StepError(f"{folder / 'model.json'} is not a JSON object")
    return record


def write_record(folder: Path, **fields: Any) -> None:
    """Write ``model.json``; fields that are None are left out."""
    record = {name: value for name, value in fields.items() if value is not None}
    (folder / "model.json").write_text(json.dumps(record, ensure_ascii=False, sort_keys=True, indent=1) + "\n", encoding="utf-8")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")


def architecture_of(weights: Path) -> str:
    """The first of ``architectures`` in a folder's config.json, or its ``model_type``."""
    config = _config(weights)
    return str((config.get("architectures") or [config.get("model_type", "unknown")])[0])


def weights_folder(folder: Path, record: dict[str, Any]) -> Path:
    """Where a full model's weights lie: in the hub's cache, in a folder of the user, or in the artifact."""
    if hub := record.get("hub"):
        from runner.training.hub import cached

        return cached(str(hub["id"]), str(hub["revision"]))
    if local := record.get("local"):
        path = Path(local)
        missing = [name for name in record.get("files", {}) if not (path / name).is_file()]
        if missing:
            raise StepError(
                f"the model in {path} has lost {', '.join(missing[:3])}",
                remedy="put the folder back, or run the recipe with its new path",
            )
        return path
    return folder


def weight_bytes(weights: Path) -> int:
    """Bytes of a full model's weights: of the files that its index names, or of ``model.safetensors``, or else of all safetensors.

    A published model may hold the same weights a second time, in another cut.
    """
    try:
        index = json.loads((weights / "model.safetensors.index.json").read_text(encoding="utf-8"))
        names = set(index["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        names = {"model.safetensors"}
    found = [weights / str(name) for name in names if (weights / str(name)).is_file()] or list(weights.glob("*.safetensors"))
    return sum(path.stat().st_size for path in found)


def has_tokenizer(folder: Path) -> bool:
    return (folder / "tokenizer.json").is_file() or (folder / "tokenizer_config.json").is_file()


def _config(weights: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((weights / "config.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise StepError(f"{weights} holds no config.json", remedy="a model folder has config.json, safetensors and a tokenizer") from None
    except ValueError as error:
        raise StepError(f"{weights / 'config.json'} is no JSON: {error}") from None
