"""Readers that do what hostile files make libraries do, for tests of the process around them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from runner.errors import StepError


def read(item: dict[str, Any]) -> Any:
    match item["do"]:
        case "sleep":
            time.sleep(item["seconds"])
        case "spin":
            while True:
                pass
        case "bloat":
            return "x" * item["bytes"]
        case "bloat and crash":
            held = [bytearray(1 << 20) for _ in range(item["megabytes"])]
            for block in held:
                block[::4096] = b"x" * len(block[::4096])
            os.kill(os.getpid(), signal.SIGABRT)
        case "kill":
            os.kill(os.getpid(), item["signal"])
        case "exit":
            os._exit(item["status"])
        case "raise":
            raise ValueError("odd \ud800 thing")
        case "refuse":
            raise StepError("a package is missing", remedy="install it")
        case "bug":
            import runner.documents.nothing_of_that_name  # type: ignore[import-not-found]  # noqa: F401
        case "write":
            print("noise on standard output")
            os.write(1, b"more noise\n")
        case "tell":
            Path(item["file"]).write_text(str(os.getpid()))
            time.sleep(60)
    return {"item": item, "process": os.getpid()}
