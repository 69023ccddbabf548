from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from runner.cli.options import Artifacts, Format, Formats, open_store
from runner.cli.output import aligned, print_json
from runner.errors import DONE, STEP_FAILED, UsageError
from runner.reports.formats import size

_KEYS = ("GOOGLE_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "HF_TOKEN")


@dataclass(frozen=True)
class Check:
    """One thing looked at. ``needed`` and not ``good`` makes the command fail."""

    name: str
    found: str
    good: bool = True
    needed: bool = False
    remedy: str = ""


def command(artifacts: Artifacts = None, format: Formats = Format.text) -> int:
    """Tell what this machine has, and what is missing."""
    checks = [*_machine(), _disk(_store(artifacts)), _gpu(), *_tools(), *_keys(), *_packages()]
    failed = [check for check in checks if check.needed and not check.good]
    if format is Format.json:
        print_json([asdict(check) for check in checks])
    else:
        rows = [
            ("ok" if check.good else "MISSING" if check.needed else "-", check.name, check.found, "" if check.good else check.remedy)
            for check in checks
        ]
        print(aligned([("", "", "", ""), *rows]).lstrip("\n"))
        print("\n" + ("nothing that is needed is missing" if not failed else f"missing: {', '.join(check.name for check in failed)}"))
    return STEP_FAILED if failed else DONE


def _store(artifacts: Path | None) -> Path:
    """The store's folder, or this one outside of a project."""
    try:
        return open_store(artifacts).path
    except UsageError:
        return Path.cwd()


def _machine() -> list[Check]:
    version = platform.python_version()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        Check("Python", version, sys.version_info >= (3, 11), True, "3.11 or later is needed"),
        Check("system", platform.platform()),
        Check("cores", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())),
        Check("memory", size(memory), memory >= 4e9, False, "the smoke runs want 4 GB"),
    ]


def _disk(store: Path) -> Check:
    place = next(folder for folder in (store, *store.parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    writable = os.access(place, os.W_OK)
    return Check(
        "disk",
        f"{size(free)} free at {store}" + ("" if writable else ", not writable"),
        free > 2e9 and writable,
        True,
        "free some space, or take another --artifacts",
    )


def _gpu() -> Check:
    if shutil.which("nvidia-smi") is None:
        return Check("GPU", "none (no nvidia-smi)", False)
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return Check("GPU", "nvidia-smi does not answer", False)
    return Check("GPU", "; ".join(answer.splitlines()) or "none", bool(answer))


def _tools() -> list[Check]:
    """The compiler and CMake are needed to build llama-cpp-python only, so not once it is there."""
    built = _version("llama-cpp-python") is not None
    compiler = next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)
    cmake = shutil.which("cmake")
    remedy = "apt install build-essential cmake"
    return [
        Check("C++ compiler", compiler or "none", compiler is not None, not built, remedy),
        Check("CMake", cmake or "none", cmake is not None, not built, remedy),
    ]


def _keys() -> list[Check]:
    return [Check(name, "set" if os.environ.get(name) else "not set", bool(os.environ.get(name))) for name in _KEYS]


def _packages() -> list[Check]:
    """What the installed distribution says it needs, and what is installed of it."""
    checks = []
    for requirement in metadata.requires("recipe-runner") or []:
        if "extra ==" in requirement:
            continue
        name = re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0]
        found = _version(name)
        checks.append(Check(name, found or "not installed", found is not None, True, f"pip install {name}"))
    return checks


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
