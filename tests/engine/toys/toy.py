"""Writes its text after those of its inputs, or goes wrong as told."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import runner.contract as c
from runner.contract import MAIN, Context, HubUse, Inputs, Output, Port, PromptUse, Struct, doc
from runner.errors import StepError


class Params(Struct):
    """What the toy does; ``name`` is told to the diary, so that executions can be counted."""

    name: Annotated[str, doc("told to the diary")] = ""
    text: Annotated[str, doc("written")] = ""
    rate: Annotated[float, doc("a number")] = 0.5
    count: Annotated[int, doc("a number")] = 1
    wrong: Annotated[str, doc("how to go wrong")] = ""
    seconds: Annotated[float, doc("how long to work", unit="s")] = 0.0
    items: Annotated[int, doc("progress to report")] = 0
    paths: Annotated[tuple[str, ...], doc("source files")] = ()
    prompt: Annotated[str | None, doc("template")] = None
    hub: Annotated[str | None, doc("hub id")] = None
    revision: Annotated[str | None, doc("hub revision")] = None
    online: Annotated[bool, doc("needs a network")] = False
    secret: Annotated[str, doc("variable to read")] = ""


class Resources(c.Resources):
    """Nothing that changes the result."""

    note: Annotated[str, doc("a word")] = ""


VERSION = 1
PRELOAD = tuple(filter(None, [os.environ.get("TOY_PRELOAD")]))
PORTS = (
    Port("texts", "text", "many", required=False),
    Port("base", "text", required=False),
    Port("arms", "text", "gather", required=False),
)


def outputs(params: Params) -> Mapping[str, Output]:
    return {MAIN: Output("text")}


def sources(params: Params) -> Mapping[str, Sequence[str]]:
    return {"paths": params.paths}


def prompts(params: Params) -> Iterable[PromptUse]:
    return [PromptUse("prompt", params.prompt, frozenset({"text"}))] if params.prompt else []


def hub(params: Params) -> Iterable[HubUse]:
    return [HubUse("hub", "model", params.hub, params.revision)] if params.hub else []


def network(params: Params) -> Iterable[str]:
    return ["the Toy API"] if params.online else []


def run(params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    with (ctx.root / "diary").open("a") as diary:
        diary.write(f"{params.name}\n")
    time.sleep(float(os.environ.get("TOY_DEAF", "0")))
    for n in range(params.items):
        ctx.progress(n + 1, params.items)
        time.sleep(params.seconds / params.items)
    if not params.items:
        time.sleep(params.seconds)
    given = [*(inputs["texts"] or ()), *([inputs["base"]] if inputs["base"] else ()), *(inputs["arms"] or ())]
    parts = [(artifact.path / "text").read_text() for artifact in given]
    parts += [path.read_text() for path in ctx.sources["paths"]]
    parts += [f"without {name}" for name in getattr(ctx, "missing", ())]
    text = params.text
    if params.prompt:
        text = ctx.prompt(params.prompt).render(text=text)
    if params.wrong:
        go_wrong(params.wrong, params, inputs, out, ctx)
    ctx.fact("length", len(text), "characters")
    (out / MAIN).mkdir(parents=True)
    (out / MAIN / "text").write_text("\n".join([*parts, f"{text} {params.rate} {params.count}"]))


def go_wrong(how: str, params: Params, inputs: Inputs, out: Path, ctx: Context) -> None:
    """Every way to go wrong that the engine must live through."""
    ways: dict[str, Any] = {
        "step-error": lambda: _raise(StepError("there is nothing to write", remedy="give it a text")),
        "half-characters": lambda: (ctx.log("a\udcff"), ctx.warn("b\udcff"), ctx.fact("c\udcff", "d\udcff"), print("\udcff")),
        "half-character": lambda: _raise(StepError("the file a\udcff is odd", remedy="rename a\udcff")),
        "no-text": lambda: _raise(StepError(ValueError("not a text"))),  # type: ignore[arg-type]
        "mute": lambda: _raise(Mute()),
        "odd-numbers": lambda: (ctx.progress(float("nan"), float("inf")), ctx.metrics(1, loss=float("inf")), ctx.fact("n", 2**70)),
        "odd-metric": lambda: ctx.metrics(1, loss="high"),  # type: ignore[arg-type]
        "odd-progress": lambda: ctx.progress("some"),  # type: ignore[arg-type]
        "real-time-signal": lambda: os.kill(os.getpid(), signal.SIGRTMIN + 6),
        "odd-name": lambda: (out / "a\udcff").touch(),
        "hard-link": lambda: ((out / MAIN).mkdir(), os.link(__file__, out / MAIN / "toy"), (out / MAIN).rename(out / "provenance")),
        "output-is-link": lambda: os.symlink("/etc", out / "provenance"),
        "no-folder": lambda: (out.rename(out.with_name("elsewhere")), os.symlink("elsewhere", out)),
        "chatter": lambda: [print("x" * 99) for _ in range(5000)],
        "bug": lambda: _raise(ZeroDivisionError("one by nothing")),
        "segfault": lambda: (print("about to crash", flush=True), ctypes.string_at(0)),
        "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "exit": lambda: os._exit(3),
        "sys-exit": lambda: sys.exit(4),
        "memory": lambda: _raise(MemoryError()),
        "disk": lambda: _raise(OSError(28, "No space left on device", "somewhere")),
        "foreign-file": lambda: (out / "stray").write_text("x"),
        "link": lambda: ((out / MAIN).mkdir(), os.symlink("/etc/passwd", out / MAIN / "link"), (out / MAIN).rename(out / "provenance")),
        "edit-source": lambda: ctx.sources["paths"][0].write_text("other bytes"),
        "child": lambda: _child(ctx),
        "leak": lambda: _leak(params.secret, out, ctx),
        "say-secret": lambda: _say(params.secret, ctx),
        "warn": lambda: (ctx.warn("this is odd"), ctx.metrics(1, loss=0.5, bad=float("nan")), ctx.log("a word")),
        "nothing": lambda: os._exit(0),
        "open": lambda: ctx.artifact((inputs["base"].path / "text").read_text().split()[0]),
        "threads": lambda: ctx.log(f"threads {os.environ['OMP_NUM_THREADS']} offline {os.environ.get('HF_HUB_OFFLINE')} {ctx.offline}"),
        "once": lambda: _once(ctx),
        "slow-start": lambda: ((ctx.root / "begun").write_text(str(os.getpid())), time.sleep(60)),
    }
    ways[how]()


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def _raise(error: BaseException) -> None:
    raise error


def _once(ctx: Context) -> None:
    tried = ctx.journal / "tried"
    if not tried.exists():
        tried.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def _child(ctx: Context) -> None:
    child = subprocess.Popen(["sleep", "600"])
    (ctx.root / "child").write_text(str(child.pid))
    time.sleep(600)


def _leak(variable: str, out: Path, ctx: Context) -> None:
    (out / MAIN).mkdir()
    (out / MAIN / "leak").write_bytes(b"x" * (1 << 20) + ctx.secret(variable).encode())
    (out / MAIN).rename(out / "provenance")


def _say(variable: str, ctx: Context) -> None:
    value = ctx.secret(variable)
    print("out", value[:5], end="", flush=True)
    time.sleep(0.05)
    print(value[5:], flush=True)
    print("whole", value, flush=True)
    ctx.log(f"I know {value}")
    ctx.warn(f"key {value}")
    ctx.fact("key", value)
    if os.environ.get("TOY_FAILS"):
        raise StepError(f"401 for https://host/?key={value}")
