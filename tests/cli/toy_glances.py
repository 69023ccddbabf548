"""A toy step kind for previews: it renders a prompt for each item, asks a cache, and misbehaves if asked to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from runner.contract import MAIN, Context, Inputs, Output, Port, PromptUse, Struct, doc
from runner.errors import StepError

VERSION = 1
PREVIEW = "items"
PORTS = (Port("bricks", "bricks", required=False),)


class Params(Struct):
    prompt: Annotated[str, doc("a prompt")] = "prompts/item.j2"
    items: Annotated[int, doc("how many there are")] = 40
    fail: Annotated[str, doc("fail with these words after the first item; empty: do not")] = ""
    crash: Annotated[bool, doc("raise what is no error of the user's")] = False
    sleep: Annotated[float, doc("time for an item", unit="seconds")] = 0
    network: Annotated[bool, doc("whether it says that it needs the network")] = False


def outputs(params: Any) -> Mapping[str, Output]:
    return {MAIN: Output("items")}


def prompts(params: Any) -> Iterable[PromptUse]:
    yield PromptUse("prompt", params.prompt, frozenset({"item"}))


def network(params: Any) -> Iterable[str]:
    return ("Oracle",) if params.network else ()


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    cache, prompt = ctx.cache("oracle") / "deep", ctx.prompt(params.prompt)
    cache.mkdir(exist_ok=True)
    (out / MAIN).mkdir()
    (out / "provenance").mkdir()
    (out / "provenance" / "times.jsonl").write_text("{}\n")
    (out / MAIN / "summary.json").write_text(json.dumps({"known": sorted(path.name for path in cache.iterdir())}))
    with (out / MAIN / "items.jsonl").open("w") as rows:
        for item in range(min(params.items, ctx.preview or params.items)):
            ctx.progress(item, ctx.preview, "items")
            text = prompt.render(item=item)
            if not (cache / f"{item}.txt").exists():
                (cache / f"{item}.txt").write_text(text)
            (ctx.journal / f"{item}.txt").write_text(text)
            print(json.dumps({"item": item, "text": text * 40, "digest": prompt.digest}), file=rows, flush=True)
            time.sleep(params.sleep)
            if params.fail:
                raise StepError(params.fail, remedy="ask for less")
            if params.crash:
                raise ValueError("the oracle fell silent")
    ctx.fact("asked", 2, "items")
    ctx.warn("the oracle is tired")
