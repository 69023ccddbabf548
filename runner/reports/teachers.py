"""Who was asked and what it cost, and which rules took which examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runner.reports.formats import duration
from runner.reports.page import Block, Cell, Column, Fold, Heading, Paragraph, Table
from runner.reports.record import Made, Run, fact

#: Facts that the table of teachers tells.
TOLD = (
    *("teacher", "calls", "cached", "tokens_in", "tokens_out", "money", "latency_p50", "latency_p95"),
    *("rejected", "repaired", "retried", "lost_in_flight"),
)
#: Victims of one rule of one step that are shown; all stand in rejected.jsonl.
VICTIMS = 5


def asked(run: Run) -> list[Block]:
    """Every step that asked a teacher: calls, answers from the record, tokens, money, latency, rejected replies."""
    rows = []
    totals = Counter[str]()
    money: float | None = None
    for instance in run.instances:
        if fact(instance, "teacher")[0] is None:
            continue
        found = {name: fact(instance, name)[0] for name in TOLD}
        totals.update({name: int(found[name] or 0) for name in ("calls", "cached", "tokens_in", "tokens_out")})
        if found["money"] is not None:
            money = (money or 0.0) + float(found["money"])
        mended = [
            f"{found[name]:,} {word}"
            for name, word in (("retried", "tried again"), ("repaired", "unwrapped"), ("lost_in_flight", "lost"))
            if found[name]
        ]
        rejected = Counter({str(reason): int(number) for reason, number in (found["rejected"] or {}).items()})
        rows.append(
            [
                Cell(instance["id"]),
                Cell(str(found["teacher"])),
                _number(found["calls"], ", ".join(mended)),
                _number(found["cached"]),
                _number(found["tokens_in"]),
                _number(found["tokens_out"]),
                _money(found["money"], bool(found["tokens_in"] or found["tokens_out"])),
                Cell(_latency(found["latency_p50"], found["latency_p95"]), sort=found["latency_p50"] or -1),
                Cell(
                    f"{rejected.total():,}",
                    ", ".join(f"{reason} {number:,}" for reason, number in rejected.most_common()),
                    sort=rejected.total(),
                ),
            ]
        )
    if not rows:
        return []
    columns = [Column("Step", wide=True), Column("Teacher", wide=True), Column("Calls", True), Column("From the record", True)]
    columns += [
        Column("Tokens in", True),
        Column("Tokens out", True),
        Column("Money", True),
        Column("Latency", True),
        Column("Rejected replies", True),
    ]
    told = f"{totals['calls']:,} calls, {totals['cached']:,} answers from the record"
    told += f"; {totals['tokens_in']:,} tokens in, {totals['tokens_out']:,} out"
    told += f"; {money:,.4g} in the money of the recipe's prices" if money is not None else ""
    return [Heading("Teachers"), Paragraph(told + "."), Table(columns, rows)]


def curated(examples: Sequence[Made]) -> list[Block]:
    """Every rule of every step that curates: what came to it, what it dropped, and some of its victims."""
    found: list[Block] = []
    for made in examples:
        summary = made.json("curation.json")
        if not summary.get("rules"):
            continue
        victims = list(made.rows("rejected.jsonl"))
        rows, shown = [], []
        for rule in summary["rules"]:
            name, given, checked, dropped = (rule.get(key) for key in ("rule", "given", "checked", "dropped"))
            unchecked = f"{given - checked:,} could not be judged" if given > checked else ""
            rows.append(
                [
                    Cell(str(name), unchecked),
                    _number(given),
                    _number(dropped),
                    Cell(f"{dropped / given:.1%}" if given else "–", sort=dropped / given if given else -1),
                ]
            )
            shown += [victim for victim in victims if victim.get("reason") == name][:VICTIMS]
        text = f"{summary['taken']:,} of {summary['given']:,} examples stay. An example is counted by the first rule that it breaks."
        columns = [Column("Rule"), Column("Given", True), Column("Dropped", True), Column("Share", True)]
        sources = [made.link("curation.json"), made.link("rejected.jsonl")]
        found += [Heading(f"Curation by {made.label}"), Paragraph(text), Table(columns, rows, sources=sources)]
        if shown:
            listed = [
                [Cell(str(victim["reason"])), Cell(str(victim.get("question", ""))), Cell(str(victim.get("detail", "")))]
                for victim in shown
            ]
            table = Table(
                [Column("Rule"), Column("Question", wide=True), Column("What is wrong", wide=True)],
                listed,
                left_out=len(victims) - len(shown),
            )
            found.append(Fold("Some that each rule dropped", [table]))
    return found


def _number(value: object, note: str = "") -> Cell:
    number = int(value) if isinstance(value, (int, float)) else 0
    return Cell(f"{number:,}", note, sort=number)


def _money(value: object, used: bool) -> Cell:
    if isinstance(value, (int, float)):
        return Cell(f"{value:,.4g}", sort=float(value))
    return Cell("–", "no price given" if used else "", tone="quiet", sort=-1)


def _latency(half: object, most: object) -> str:
    if isinstance(half, (int, float)) and isinstance(most, (int, float)):
        return f"{duration(half)}, 95 % within {duration(most)}"
    return "–"
