"""A run of toys as a program of its own, to be killed: ``python -m tests.faults.program ROOT STEPS SECONDS [FORCE]``.

``TOY_KILL_AT=n`` kills it before its n-th call that changes the disk for good; ``TOY_SEED`` makes the toys' names its own.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.engine import Store, run
from tests.engine.toys.building import chain


def kill_at(moment: int) -> None:
    """Die before the n-th of the calls by which the store writes."""
    counter = itertools.count(1)

    def deadly(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(counter) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        return call

    for name in ("fsync", "replace", "mkdir", "symlink", "rmdir"):
        setattr(os, name, deadly(getattr(os, name)))


def main() -> int:
    root, length, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    if moment := int(os.environ.get("TOY_KILL_AT", "0")):
        kill_at(moment)
    result = run(chain(root, length, seconds=seconds, items=max(1, int(seconds * 20))), Store(root / "artifacts"), force=sys.argv[4:])
    print(json.dumps({"code": result.exit_code, "states": {name: record.state for name, record in result.instances.items()}}))
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
