"""The data: what was read, what was made of it, and how it was divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runner.reports.formats import plain, spaced
from runner.reports.page import Block, Cell, Column, Fold, Heading, Note, Pairs, Paragraph, Table, Tone
from runner.reports.record import Made, Run, count_rows, fact

#: Files listed one by one before the rest is only counted.
FILES = 200
_VERDICTS: dict[str, Tone] = {"read": "good", "partly": "warn"}


def blocks(run: Run) -> list[Block]:
    """Documents with the verdict on every file, chunks, and examples by origin and type."""
    found: list[Block] = []
    for made in run.made("documents"):
        found.extend(_documents(made))
    if chunks := run.made("chunks"):
        counts = [(made.label, count_rows(made.folder / "chunks.jsonl"), made.link("chunks.jsonl").href) for made in chunks]
        found.append(Heading("Chunks"))
        found.append(Pairs([(label, Cell(f"{count:,} chunks", href=href)) for label, count, href in counts]))
    if examples := run.made("examples"):
        found.extend(_examples(examples))
    return found


def _documents(made: Made) -> list[Block]:
    files = list(made.rows("files.jsonl"))
    verdicts = Counter(str(row.get("verdict")) for row in files)
    total = sum(row.get("characters") or 0 for row in files)
    summary = f"{count_rows(made.folder / 'documents.jsonl'):,} documents from {len(files):,} files, {total:,} characters"
    if set(verdicts) - {"read"}:
        summary += ": " + ", ".join(f"{number:,} {verdict}" for verdict, number in verdicts.most_common())
    files.sort(key=lambda row: row.get("verdict") == "read")  # what went wrong first
    table = Table(
        [Column("File", wide=True), Column("Verdict"), Column("Pages", True), Column("Characters", True), Column("Reason", wide=True)],
        [
            [
                Cell(str(row.get("path", ""))),
                Cell(str(row.get("verdict", "")), tone=_VERDICTS.get(str(row.get("verdict")), "bad"), badge=True),
                _count(row.get("pages")),
                _count(row.get("characters")),
                Cell(str(row.get("reason") or "")),
            ]
            for row in files[:FILES]
        ],
        sources=[made.link("files.jsonl"), made.link("documents.jsonl")],
        left_out=max(0, len(files) - FILES),
    )
    return [Heading(f"Documents of {made.label}"), Paragraph(summary + "."), table]


def _count(value: object) -> Cell:
    return Cell(f"{value:,}", sort=float(value)) if isinstance(value, (int, float)) and value else Cell("–", tone="quiet", sort=-1)


def _examples(examples: Sequence[Made]) -> list[Block]:
    rows, notes, kinds = list[list[Cell]](), list[str](), list[Block]()
    for made in examples:
        origins, types, teachers, number = Counter[str](), Counter[str](), set[str](), 0
        for row in made.rows("examples.jsonl"):
            number += 1
            origins[str(row.get("origin") or "unknown")] += 1
            if row.get("type"):
                types[str(row["type"])] += 1
            if teacher := row.get("teacher"):
                teachers.add(" ".join(dict.fromkeys(str(teacher[part]) for part in ("provider", "model") if teacher.get(part))))
        reasons = Counter(str(row.get("reason") or "unknown") for row in made.rows("rejected.jsonl"))
        split = made.json("split.json")
        rows.append(
            [
                Cell(made.label, href=made.link("examples.jsonl").href),
                Cell(f"{number:,}", sort=number),
                Cell(_shares(origins)),
                Cell(_shares(types)),
                Cell(", ".join(sorted(teachers)) or "–"),
                Cell(f"{reasons.total():,}", _shares(reasons) if reasons else "", sort=reasons.total(), tone="warn" if reasons else ""),
                Cell(f"{split['share']:.1%}", _wanted(split)) if isinstance(split.get("share"), (int, float)) else Cell("–", tone="quiet"),
            ]
        )
        if split.get("leakage"):
            notes.append(_leakage(split["leakage"]))
    columns = [
        Column("Examples of"),
        Column("Number", True),
        Column("Origin", wide=True),
        Column("Type", wide=True),
        Column("Teacher"),
        Column("Rejected", True),
        Column("Share of split", True),
    ]
    kinds.append(Heading("Examples"))
    kinds.append(Table(columns, rows))
    if notes:
        kinds.append(Note("Leakage between the parts of the split, as measured:", "quiet", list(dict.fromkeys(notes))))
    facts = [
        [Cell(instance["id"]), Cell(plain({name: fact(instance, name)[0] for name in instance["facts"]}))]
        for instance in {made.instance["id"]: made.instance for made in examples}.values()
        if instance.get("facts")
    ]
    if facts:
        kinds.append(Fold("Measured while the examples were made", [Table([Column("Step"), Column("Facts", wide=True)], facts)]))
    return kinds


def _leakage(measured: object) -> str:
    """The counts, and what they are counts of where there is any."""
    if not isinstance(measured, dict):
        return plain(measured)
    return "; ".join(f"{spaced(name).lower()} {plain(value)}" for name, value in measured.items() if value not in ([], {}, None))


def _shares(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.most_common(8)) + (", …" if len(counts) > 8 else "") if counts else "–"


def _wanted(split: object) -> str:
    wanted = split.get("wanted") if isinstance(split, dict) else None
    return f"wanted {wanted:.1%}" if isinstance(wanted, (int, float)) else ""
