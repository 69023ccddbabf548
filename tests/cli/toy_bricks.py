"""A toy step kind for the command line's tests: makes bricks, slowly if asked, and fails if asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from runner.contract import MAIN, Context, Inputs, Output, Port, Struct, doc
from runner.errors import StepError

VERSION = 1
PORTS = (Port("bricks", "bricks", "many", required=False),)


class Params(Struct):
    count: Annotated[int, doc("how many", unit="bricks", ge=0)] = 3
    fail: Annotated[str, doc("fail with these words; empty: do not")] = ""
    crash: Annotated[bool, doc("raise what is no error of the user's")] = False


def outputs(params: Any) -> Mapping[str, Output]:
    return {MAIN: Output("bricks")}


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    if params.fail:
        raise StepError(params.fail, remedy="ask for less")
    if params.crash:
        raise ValueError("the wall fell")
    below = sum(int((artifact.path / "wall.txt").read_text()) for artifact in inputs.get("bricks") or [])
    for brick in range(params.count):
        ctx.progress(brick + 1, params.count, "bricks")
        ctx.check_cancelled()
        time.sleep(0.001)
    ctx.fact("height", below + params.count, "bricks")
    ctx.metrics(1, loss=0.5)
    (out / MAIN).mkdir(parents=True, exist_ok=True)
    (out / MAIN / "wall.txt").write_text(str(below + params.count), encoding="utf-8")
