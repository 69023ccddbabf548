"""The data: what was read, what was made of it, and how it was divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from runner.reports.formats import assigned, counted, plain
from runner.reports.page import Block, Cell, Column, Fold, Heading, Note, Paragraph, Table, Tone
from runner.reports.record import Made, Run, count_rows, facts

#: Files listed one by one before the rest is only counted.
FILES = 200
#: Examples that were left out, listed one by one for each output before the rest is only counted.
REJECTED = 20
_LEAKS = {
    "document": "of the examples share a document with another part",
    "question": "have an equal question there",
    "near_question": "have a nearly equal one",
    "any": "have any of these",
}
_VERDICTS: dict[str, Tone] = {"read": "good", "partly": "warn"}


def blocks(run: Run) -> list[Block]:
    """Documents with the verdict on every file, chunks, and examples by origin and type."""
    found: list[Block] = []
    for made in run.made("documents"):
        found.extend(_documents(made))
    if chunks := run.made("chunks"):
        found.append(Heading("Chunks"))
        rows = [
            [
                Cell(made.label, href=made.link("chunks.jsonl").href),
                Cell(f"{count:,}", sort=count),
                Cell(assigned({name: value for name, value in (made.instance.get("params") or {}).items() if value is not None}) or "–"),
            ]
            for made in chunks
            for count in [count_rows(made.folder / "chunks.jsonl")]
        ]
        found.append(Table([Column("Chunks of"), Column("Number", True), Column("Settings", wide=True)], rows))
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
    columns = [Column("File", wide=True), Column("Verdict"), Column("Pages", True), Column("Characters", True)]
    rows = [
        [
            Cell(str(row.get("path", "")), code=True),
            Cell(str(row.get("verdict", "")), tone=_VERDICTS.get(str(row.get("verdict")), "bad"), badge=True),
            _count(row.get("pages")),
            _count(row.get("characters")),
        ]
        for row in files[:FILES]
    ]
    if any(row.get("reason") for row in files):
        columns.append(Column("Reason", wide=True))
        rows = [[*cells, Cell(str(row.get("reason") or ""))] for cells, row in zip(rows, files, strict=False)]
    table = Table(
        columns,
        rows,
        sources=[made.link("files.jsonl"), made.link("documents.jsonl")],
        left_out=max(0, len(files) - FILES),
    )
    return [Heading(f"Documents of {made.label}"), Paragraph(summary + "."), table]


def _count(value: object) -> Cell:
    return Cell(f"{value:,}", sort=float(value)) if isinstance(value, (int, float)) and value else Cell("–", tone="quiet", sort=-1)


def _examples(examples: Sequence[Made]) -> list[Block]:
    rows, leaks, out = list[list[Cell]](), list[str](), list[list[Cell]]()
    for made in examples:
        origins, types, teachers, number = Counter[str](), Counter[str](), set[str](), 0
        for row in made.rows("examples.jsonl"):
            number += 1
            origins[str(row.get("origin") or "unknown")] += 1
            if row.get("type"):
                types[str(row["type"])] += 1
            if teacher := row.get("teacher"):
                teachers.add(" ".join(dict.fromkeys(str(teacher[part]) for part in ("provider", "model") if teacher.get(part))))
        rejected = list(made.rows("rejected.jsonl"))
        left_out = Counter(str(row.get("reason") or "unknown") for row in rejected)
        for given in made.json("mix.json").get("sets") or []:
            left_out.update({"duplicates": given.get("duplicates") or 0, "over a limit": given.get("left_out") or 0})
        left_out = +left_out
        split = made.json("split.json")
        rows.append(
            [
                Cell(made.label, href=made.link("examples.jsonl").href),
                Cell(f"{number:,}", sort=number),
                Cell(_shares(origins), ", ".join(sorted(teachers - set(origins)))),
                Cell(_shares(types)),
                Cell(
                    f"{left_out.total():,}", _shares(left_out) if left_out else "", sort=left_out.total(), tone="warn" if rejected else ""
                ),
                Cell(f"{split['share']:.1%}", _wanted(split)) if isinstance(split.get("share"), (int, float)) else Cell("–", tone="quiet"),
            ]
        )
        if isinstance(split.get("leakage"), dict):
            leaks.append(
                _leakage(str(split.get("part") or made.name), split["leakage"], sum(row.get("reason") == "leaks" for row in rejected))
            )
        for row in rejected[:REJECTED]:
            words = [str(row[name]) for name in ("reason", "detail") if row.get(name)]
            out.append([Cell(made.label), Cell(str(row.get("question") or row.get("document") or "–")), Cell(": ".join(words))])
    columns = [
        Column("Examples of"),
        Column("Number", True),
        Column("Origin", wide=True),
        Column("Type", wide=True),
        Column("Left out", True),
        Column("Share of split", True),
    ]
    found: list[Block] = [Heading("Examples"), Table(columns, rows)]
    if leaks:
        found.append(Note("What the parts of the split have in common:", "quiet", list(dict.fromkeys(leaks))))
    if out:
        more = sum(max(0, count_rows(made.folder / "rejected.jsonl") - REJECTED) for made in examples)
        table = Table([Column("Examples of"), Column("Question or document", wide=True), Column("Reason", wide=True)], out, left_out=more)
        found.append(Fold("Examples that were left out, and why", [table]))
    instances = {made.instance["id"]: made.instance for made in examples}.values()
    measured = [[Cell(instance["id"]), Cell("", lines=lines)] for instance in instances if (lines := facts(instance, ()))]
    if measured:
        found.append(Fold("Measured while the examples were made", [Table([Column("Step"), Column("Facts", wide=True)], measured)]))
    return found


def _leakage(part: str, measured: Mapping[str, object], dropped: int) -> str:
    """What of a part could be learnt from the others, in words."""
    shares = {kind: share for kind in _LEAKS if isinstance(share := measured.get(kind), (int, float))}
    if any(shares.values()):
        text = "; ".join(f"{share:.1%} {_LEAKS[kind]}" for kind, share in shares.items())
    else:
        text = "no shared document, no equal and no nearly equal question" if shares else plain(measured)
    text = f"{part}: {text}"
    if dropped:
        text += f", after {counted(dropped, 'example')} with such a question {'was' if dropped == 1 else 'were'} left out"
    return text


def _shares(counts: Counter[str]) -> str:
    return (
        ", ".join(f"{name}\N{NO-BREAK SPACE}{number:,}" for name, number in counts.most_common(8)) + (", …" if len(counts) > 8 else "")
        if counts
        else "–"
    )


def _wanted(split: object) -> str:
    wanted = split.get("wanted") if isinstance(split, dict) else None
    return f"wanted {wanted:.1%}" if isinstance(wanted, (int, float)) else ""
