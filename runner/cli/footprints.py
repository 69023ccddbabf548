"""What a plan takes of GPUs: the estimates of its steps, and which common cards they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from runner.cli.output import aligned
from runner.contract import Memory
from runner.engine.planner import Planned

#: Cards by name: bytes as CUDA reports them, and whether they compute in bfloat16.
CARDS: Mapping[str, tuple[int, bool]] = {
    "T4 (16 GB)": (15_830_000_000, False),
    "RTX 3090 (24 GB)": (25_430_000_000, True),
    "A100 (80 GB)": (85_090_000_000, True),
}

#: Arms are shown together where their estimates differ by no more than this factor.
ALIKE = 1.25

#: An estimate within this share of a card's memory may turn out too low.
CLOSE = 0.9

#: Below this, any card will do, and nothing is said.
SMALL = 1_000_000_000

NO_BFLOAT16 = "no bfloat16"

Arm = tuple[tuple[str, str], ...]


def lines(items: Sequence[tuple[Planned, Memory | None]]) -> list[str]:
    """A table of the steps that are to run, with arms together that do not differ; empty where nothing needs a GPU worth speaking of."""
    steps: dict[str, dict[Arm, list[Memory]]] = {}
    for item, memory in items:
        if memory is not None and item.state != "cached":
            steps.setdefault(item.instance.step, {})[tuple(item.instance.axes.items())] = [memory]
    if not any(memory.total >= SMALL for arms in steps.values() for (memory,) in arms.values()):
        return []
    rows = [("step", "arm", "about", *CARDS)]
    for step, arms in steps.items():
        for arm, memories in _together(arms).items():
            least, most = min(memory.total for memory in memories), max(memory.total for memory in memories)
            about = _gigabytes(most) if _gigabytes(least) == _gigabytes(most) else f"{_gigabytes(least)} to {_gigabytes(most)}"
            label = "  ".join(f"{axis}={value}" for axis, value in arm)
            largest = max(memories, key=lambda memory: memory.total)
            rows.append((step, label, f"{about} GB", *(verdict(largest, *card) for card in CARDS.values())))
    head = "GPU memory at the peak, estimated for rows as long as the settings allow (docs/training.md):"
    said = [head, *("  " + line for line in aligned(rows).splitlines())]
    if any(NO_BFLOAT16 in row for row in rows):
        said.append(f"{NO_BFLOAT16}: the memory would do, but the card does not compute in it; float16 takes as much, float32 twice")
    return said


def verdict(memory: Memory, size: int, bfloat16: bool) -> str:
    """Whether an estimate fits a card of ``size`` bytes, in a few words."""
    if memory.total - memory.paged > size:
        return "does not fit"
    if memory.bfloat16 and not bfloat16:
        return NO_BFLOAT16
    if memory.total > size:
        return f"fits, {_gigabytes(memory.total - size)} GB of it in main memory"
    return "fits" if memory.total <= CLOSE * size else "fits, but only just"


def _gigabytes(size: int) -> str:
    """Two digits, as an estimate is no better."""
    return f"{size / 1e9:.0f}" if size >= 9.95e9 else f"{size / 1e9:.1f}"


def _together(arms: dict[Arm, list[Memory]]) -> dict[Arm, list[Memory]]:
    """Arms without the axes that make no difference: to what fits where, and hardly one to the estimate."""
    carried = Counter(axis for arm in arms for axis, _ in arm)
    for axis in sorted(carried, key=lambda axis: carried[axis]):  # first those that only some arms have: other axes tell these arms apart
        merged: dict[Arm, list[Memory]] = {}
        for arm, memories in arms.items():
            merged.setdefault(tuple(part for part in arm if part[0] != axis), []).extend(memories)
        if all(_alike(memories) for memories in merged.values()):
            arms = merged
    return arms


def _alike(memories: Sequence[Memory]) -> bool:
    totals = [memory.total for memory in memories]
    kinds = {tuple(verdict(memory, *card).split(",")[0] for card in CARDS.values()) for memory in memories}
    return len(kinds) == 1 and max(totals) <= ALIKE * min(totals)
