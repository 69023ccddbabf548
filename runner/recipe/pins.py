"""Pins: the revisions of models and data sets, in `recipes/NAME.lock`, as read from the hub by `recipe pin` and by nobody else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.contract import HubUse, Kind, Struct
from runner.errors import StepError, UsageError
from runner.recipe.nodes import undotted
from runner.recipe.overlay import display
from runner.recipe.problems import Findings
from runner.recipe.reader import Unreadable
from runner.recipe.reader import read as read_yaml

_HEAD = "# Revisions of models and data sets, read from the hub by `recipe pin`. Not to be written by hand.\n"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def read(file: Path, root: Path, findings: Findings) -> dict[str, str]:
    """The pins of a lock file: hub id -> commit. Empty where there is no file."""
    if not file.is_file():
        return {}
    name = display(file, root)
    try:
        document = read_yaml(file.read_bytes(), name, findings)
    except Unreadable:
        return {}
    pins: dict[str, str] = {}
    for id_, node in document.items():
        if isinstance(node.value, str) and _COMMIT.fullmatch(node.value):
            pins[id_] = node.value
        else:
            findings.add(node.where, id_, "is no commit of the hub", "40 hexadecimal digits, as `recipe pin` writes them")
    return pins


def fill(kind: Kind, params: Struct, pins: Mapping[str, str]) -> Struct:
    """Params with the pinned commit put in wherever a hub id stands beside no ``revision``, or beside a branch or tag."""
    for use in kind.hub(params):
        if not use.pinned and use.id in pins:
            params = _replace(params, undotted(use.field)[:-1], pins[use.id])
    return params


def _replace(struct: Any, path: tuple[str | int, ...], revision: str) -> Any:
    if path:
        below = getattr(struct, str(path[0]), None)
        return msgspec.structs.replace(struct, **{str(path[0]): _replace(below, path[1:], revision)}) if below is not None else struct
    return msgspec.structs.replace(struct, revision=revision) if "revision" in struct.__struct_fields__ else struct


def pin(file: Path) -> tuple[Path, dict[str, str]]:
    """Ask the hub for the current commit of everything that the recipe fetches from it, and write the lock file.

    Returns the lock's path and what it holds. Raises StepError when the hub does not answer or does not have an id.
    """
    from runner.recipe.kinds import kind_named
    from runner.recipe.load import load

    recipe = load(file, locked=False)  # as the recipe states them, whatever an earlier lock says
    uses: dict[str, HubUse] = {}
    for instance in recipe.instances.values():
        kind = kind_named(instance.kind)
        for use in kind.hub(instance.params) if kind is not None else ():
            other = uses.setdefault(use.id, use)
            if (other.kind, other.revision) != (use.kind, use.revision):
                raise UsageError(f"{use.id} is used at two revisions", remedy="name the same one in every step")
    pins = {id_: _commit(use) for id_, use in sorted(uses.items())}
    lock = recipe.file.with_suffix(".lock")
    text = _HEAD + "".join(f'{id_}: "{revision}"\n' for id_, revision in pins.items())
    fresh = lock.with_name(f".{lock.name}.new")
    fresh.write_text(text, encoding="utf-8", newline="\n")
    os.replace(fresh, lock)
    return lock, pins


def _commit(use: HubUse) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=os.environ.get("HF_TOKEN") or False)
    where = f"{use.kind} {use.id}"
    try:
        if use.kind == "model":
            sha = api.model_info(use.id, revision=use.revision, timeout=30).sha
        else:
            sha = api.dataset_info(use.id, revision=use.revision, timeout=30).sha
    except RevisionNotFoundError as error:
        raise StepError(f"the hub has no revision `{use.revision}` of it", where=where) from error
    except RepositoryNotFoundError as error:
        raise StepError(
            "the hub does not have it, or not for you", where=where, remedy="check the id; for a gated one set HF_TOKEN"
        ) from error
    except HFValidationError as error:
        raise StepError("is no id of the hub", where=where, remedy="owner/name") from error
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", "no status")
        raise StepError(f"the hub answers {status}", where=where, remedy="try again later") from error
    except (OSError, OfflineModeIsEnabled) as error:
        raise StepError("the hub cannot be reached", where=where, remedy="`recipe pin` needs the network") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "requests"):
            raise StepError("the hub cannot be reached", where=where, remedy="`recipe pin` needs the network") from error
        raise
    if not sha or not _COMMIT.fullmatch(sha):
        raise StepError("the hub names no commit for it", where=where)
    return sha
