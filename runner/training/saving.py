"""A tuned model as an artifact: the adapter on its base, or all of the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.training.adapters import copy_tokenizer, save_adapter
from runner.training.quiet import quiet
from runner.training.stored import ModelInfo, Resolve, describe, write_record


def save_tuned(
    model: Any, folder: Path, *, given: ModelInfo, ref: str, resolve: Resolve, quantization: Mapping[str, Any] | None = None
) -> None:
    """Write ``model``, tuned from the stored model ``given`` (whose artifact is ``ref``), into the empty ``folder``.

    A PeftModel is stored as an adapter on ``ref``, or, where ``given`` is an adapter itself, on that one's base and in its 4-bit layers;
    ``quantization`` are those of a new one. Anything else is stored as a full model. Tokenizer, chat template and system prompt are those
    of ``given``, byte for byte, so that the tuned model is asked as it was trained.
    """
    about = {"architecture": given.record["architecture"], "system_prompt": given.system_prompt}
    with quiet():
        copy_tokenizer(given.tokenizer, folder)
        if not hasattr(model, "peft_config"):
            model.save_pretrained(str(folder))
            _keep_use_cache(folder, given)
            write_record(folder, form="full", **about)
            return
        if given.base is not None:
            base, ref, quantization = describe(given.base, resolve), given.record["base"], given.record.get("quantization")
        else:
            base = given
        hub = base.record.get("hub") or {}
        save_adapter(model, folder, base=hub.get("id"), revision=hub.get("revision"))
        write_record(folder, form="adapter", base=ref, quantization=quantization, **about)


def _keep_use_cache(folder: Path, given: ModelInfo) -> None:
    """The Trainer switches the cache off while it trains, and a model stored so would answer slowly."""
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8")) | {"use_cache": given.config.get("use_cache", True)}
    file.write_text(json.dumps(config, ensure_ascii=False, sort_keys=True, indent=2) + "\n", encoding="utf-8")
