"""What lies beside a model.gguf so that others can use it: a script, its settings, and the index."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from runner.errors import StepError

_WINDOW = 4096  # tokens; the script's context, where the model has as many positions


def add_script(
    folder: Path,
    *,
    prompt: str,
    templates: Mapping[str, str],
    index: Path | None = None,
    system_prompt: str | None = None,
    positions: int = _WINDOW,
    top_k: int = 3,
    max_new_tokens: int = 256,
) -> None:
    """Write ``inference.py`` and ``inference.json`` into ``folder``, and copy the folder ``index`` to ``index/``.

    ``templates`` holds the sources of the template named ``prompt`` and of all that it includes, by the names that they
    include each other by. ``positions`` is what the model has, in tokens.
    """
    if prompt not in templates:
        raise StepError(f"the template {prompt} is not among {', '.join(templates)}")
    shutil.copyfile(Path(__file__).with_name("inference.py"), folder / "inference.py")
    settings = {
        "prompt": prompt,
        "templates": dict(templates),
        "system_prompt": system_prompt,
        "context_window": min(positions, _WINDOW),
        "top_k": top_k,
        "max_new_tokens": max_new_tokens,
    }
    text = json.dumps(settings, ensure_ascii=False, sort_keys=True, indent=1) + "\n"
    (folder / "inference.json").write_text(text, encoding="utf-8", newline="\n")
    if index is not None:
        for file in sorted(index.rglob("*")):
            if file.is_file():
                target = folder / "index" / file.relative_to(index)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)  # without the modes: stored artifacts are read-only
