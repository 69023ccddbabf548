"""Models from the Hugging Face hub: safetensors, configuration and tokenizer, into the hub's own cache and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from runner.errors import StepError
from runner.training.listener import Listener, Nobody

#: What is fetched of a model. Pickled weights (.bin, .pt) and code (.py) are not.
PATTERNS = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")


@dataclass(frozen=True)
class Snapshot:
    """A model in the hub's cache: its folder and the commit that was fetched."""

    folder: Path
    revision: str


def fetch(model: str, revision: str | None = None, *, offline: bool = False, listener: Listener | None = None) -> Snapshot:
    """Fetch a model's files, or find them in the cache. ``revision`` is a branch, tag or commit; None is the main branch.

    StepError when the hub does not have it, wants a login, cannot be reached, or offers pickled weights only.
    """
    from huggingface_hub import HfApi, hf_hub_download

    if offline:
        folder = cached(model, revision or "main")
        return Snapshot(folder, folder.name)
    listener = listener or Nobody()
    api = HfApi()
    try:
        details = api.model_info(model, revision=revision, files_metadata=True)
        files = {
            file.rfilename: file.size or 0
            for file in details.siblings or []
            if "/" not in file.rfilename and any(fnmatch(file.rfilename, pattern) for pattern in PATTERNS)
        }
        if not any(name.endswith(".safetensors") for name in files):
            raise StepError(
                f"{model} on the hub has no safetensors", remedy="pickled weights are refused; choose a revision with safetensors"
            )
        done, total, path = 0, sum(files.values()), ""
        for name, size in sorted(files.items(), key=lambda item: item[1]):
            listener.check_cancelled()
            path = hf_hub_download(model, name, revision=details.sha, endpoint=api.endpoint, tqdm_class=_bar(done, total, listener))
            done += size
            listener.progress(done, total, "bytes")
        if revision != details.sha and "config.json" in files:  # lets a later run without a network find the branch or tag
            hf_hub_download(model, "config.json", revision=revision, endpoint=api.endpoint)
    except StepError:
        raise
    except Exception as error:  # the hub's client raises its own, its transport's and the system's errors
        raise _explained(model, revision, error) from error
    return Snapshot(Path(path).parent, str(details.sha))


def cached(model: str, revision: str) -> Path:
    """The folder of a model in the hub's cache, without a network. StepError when it is not there."""
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(model, revision=revision, local_files_only=True, allow_patterns=list(PATTERNS), ignore_patterns="*/*")
        )
    except Exception as error:
        raise StepError(
            f"{model} at revision {revision} is not in the hub's cache",
            remedy="run once with the network, or with HF_HOME set to the cache",
        ) from error


def _bar(before: int, total: int, listener: Listener) -> Any:
    """A tqdm class that draws nothing and tells the listener how far the whole download is."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)
            self.received = int(options.get("initial") or 0)
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.received += int(n or 0)
            listener.progress(min(before + self.received, total), total, "bytes")
            return None

    return Bar


def _explained(model: str, revision: str | None, error: Exception) -> StepError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return StepError(f"{model} is gated on the hub", remedy="accept its licence there and set HF_TOKEN")
    if isinstance(error, errors.RevisionNotFoundError):
        return StepError(f"{model} has no revision {revision} on the hub", remedy="name a branch, tag or commit that it has")
    if isinstance(error, errors.RepositoryNotFoundError):
        return StepError(f"the hub has no model {model}, or it is private", remedy="check the id; set HF_TOKEN for a private model")
    if isinstance(error, errors.HFValidationError):
        return StepError(f"{model!r} is no model id", remedy="an id reads owner/name")
    if isinstance(error, errors.HfHubHTTPError):
        return StepError(f"the hub refused {model}: {str(error).strip().splitlines()[0]}")
    return StepError(
        f"{model} cannot be fetched from the hub: {type(error).__name__}", remedy="check the network; --offline takes what is in the cache"
    )
