"""A model in a folder of the user: looked at, hashed, and left where it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from runner.errors import StepError
from runner.training.hub import PATTERNS
from runner.training.listener import Listener, Nobody


def fingerprint(folder: Path, files: Sequence[Path], listener: Listener | None = None) -> dict[str, str]:
    """SHA-256 by name of the files that make up the model directly in ``folder``, out of ``files``.

    StepError when there is no configuration, no tokenizer, or no safetensors (pickled weights are refused).
    """
    listener = listener or Nobody()
    own = sorted(path for path in files if path.parent == folder and any(fnmatch(path.name, pattern) for pattern in PATTERNS))
    names = {path.name for path in own}
    where = "local.path"
    if "config.json" not in names:
        raise StepError(f"{folder} holds no config.json", where=where, remedy="name the folder that save_pretrained wrote")
    if not any(name.endswith(".safetensors") for name in names):
        pickled = sorted(path.name for path in files if path.suffix in (".bin", ".pt", ".pth"))
        raise StepError(
            f"{folder} holds no safetensors" + (f", only {pickled[0]}" if pickled else ""),
            where=where,
            remedy="pickled weights are refused; save the model with save_pretrained, which writes safetensors",
        )
    if not names & {"tokenizer.json", "tokenizer_config.json"}:
        raise StepError(
            f"{folder} holds no tokenizer", where=where, remedy="put tokenizer.json and tokenizer_config.json beside the weights"
        )
    done, total = 0, sum(path.stat().st_size for path in own)
    digests = {}
    for path in own:
        listener.check_cancelled()
        listener.progress(done, total, "bytes")
        with path.open("rb") as file:
            digests[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        done += path.stat().st_size
    return digests
