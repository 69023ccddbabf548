"""A run in which nothing has changed, whole process, 20 steps in a chain: `recipe run` beside DVC and Snakemake on the same graph.

``python benchmarks/noop.py [--rounds N] [--peers VENV]``. Without ``--peers`` the peers are installed from PyPI into a throw-away
environment. The three take turns, so that a busy moment of the machine hits all of them; the median of each is compared.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

STEPS = 20

KIND = '''
"""Adds a line to a text."""
from typing import Annotated
from runner.contract import MAIN, Output, Port, Struct, doc

class Params(Struct):
    line: Annotated[str, doc("what to add")]

VERSION = 1
PORTS = (Port("text", "text", required=False),)

def outputs(params):
    return {MAIN: Output("text")}

def run(params, inputs, out, ctx):
    before = (inputs["text"].path / "text").read_text() if inputs["text"] else ""
    (out / MAIN).mkdir(parents=True)
    (out / MAIN / "text").write_text(before + params.line)
'''
MAIN = """
import sys
sys.path.insert(0, ".")
from runner import steps
steps.KINDS["add"] = "add"
from runner.cli import main
sys.exit(main())
"""


def own_project(folder: Path) -> Sequence[str]:
    """The recipe of 20 steps, and the command that runs it."""
    (folder / "recipes").mkdir(parents=True)
    (folder / "add.py").write_text(KIND)
    lines = ["recipe: 1", "name: noop", "title: Twenty steps", "steps:"]
    for n in range(STEPS):
        lines += [f"  s{n}:", "    uses: add", *([f"    from: s{n - 1}"] if n else []), f"    with: {{line: line {n}}}"]
    (folder / "recipes/noop.yaml").write_text("\n".join(lines) + "\n")
    return [sys.executable, "-c", MAIN, "run", "recipes/noop.yaml"]


def dvc_project(folder: Path, tools: Path) -> Sequence[str]:
    folder.mkdir()
    (folder / "s.txt").write_text("start\n")
    subprocess.run([tools / "dvc", "init", "--no-scm", "-q"], cwd=folder, check=True)
    subprocess.run([tools / "dvc", "config", "core.analytics", "false"], cwd=folder, check=True)
    lines = ["stages:"]
    for n in range(STEPS):
        before, after = f"s{n - 1}.txt" if n else "s.txt", f"s{n}.txt"
        lines += [
            f"  s{n}:",
            f"    cmd: cat {before} > {after} && echo line {n} >> {after}",
            f"    deps: [{before}]",
            f"    outs: [{after}]",
        ]
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    return [str(tools / "dvc"), "repro", "-q"]


def snakemake_project(folder: Path, tools: Path) -> Sequence[str]:
    folder.mkdir()
    (folder / "s.txt").write_text("start\n")
    lines = ["rule all:", f"    input: 's{STEPS - 1}.txt'"]
    for n in range(STEPS):
        before = f"s{n - 1}.txt" if n else "s.txt"
        shell = f"cat {{input}} > {{output}} && echo line {n} >> {{output}}"
        lines += [f"rule s{n}:", f"    input: '{before}'", f"    output: 's{n}.txt'", f"    shell: '{shell}'"]
    (folder / "Snakefile").write_text("\n".join(lines) + "\n")
    return [str(tools / "snakemake"), "--cores", "1", "--quiet", "all"]


def seconds(command: Sequence[str], folder: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def peers(folder: Path) -> Path:
    """Install the peers; the folder of their commands."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin/pip", "install", "-q", "dvc", "snakemake"], check=True)
    return folder / "bin"


def report(times: Mapping[str, Sequence[float]]) -> None:
    own = statistics.median(times["recipe"])
    print(f"{STEPS} steps, nothing changed, whole process, {len(times['recipe'])} rounds in turn")
    print(f"{'':10} {'median s':>9} {'best s':>9} {'ratio':>7}")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:10} {median:9.3f} {min(measured):9.3f} {median / own:6.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--peers", type=Path, help="a virtual environment that has dvc and snakemake")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tools = asked.peers / "bin" if asked.peers else peers(folder / "venv")
        contenders = {
            "recipe": (own_project(folder / "own"), folder / "own"),
            "DVC": (dvc_project(folder / "dvc", tools), folder / "dvc"),
            "Snakemake": (snakemake_project(folder / "snakemake", tools), folder / "snakemake"),
        }
        for command, place in contenders.values():
            seconds(command, place)  # the run that does the work
            seconds(command, place)
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(asked.rounds):
            for name, (command, place) in contenders.items():
                times[name].append(seconds(command, place))
        report(times)
    validate(asked.rounds)


def validate(rounds: int) -> None:
    """`recipe validate` on every recipe of the project, plain and under each profile, beside starting Python and importing PyYAML."""
    root = Path(__file__).resolve().parents[1]
    recipes = sorted(str(file) for file in (root / "recipes").glob("*.yaml"))
    commands = {
        "recipe": [str(Path(sys.executable).parent / "recipe"), "validate", *recipes],
        "yaml": [sys.executable, "-c", "import yaml"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(seconds(command, root))
    own, floor = (statistics.median(times[name]) for name in ("recipe", "yaml"))
    print(f"validate, {len(recipes)} recipe(s), whole process")
    print(f"median {own:.3f} s, best {min(times['recipe']):.3f} s; python -c 'import yaml' {floor:.3f} s, ratio {own / floor:.1f}")


if __name__ == "__main__":
    main()
