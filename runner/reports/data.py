"""The data: what was read, what was made of it, and how it was divided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from runner.reports import teachers
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
    "context": "have the same context as one",
    "shown": "stand in what the model is shown besides",
    "any": "have any of these",
    "answer": "have a long answer in common with another part, which is not counted",
}
_VERDICTS: dict[str, Tone] = {"read": "good", "partly": "warn"}


def blocks(run: Run) -> list[Block]:
    """Documents with the verdict on every file, chunks, examples by origin and type, curation, and what teachers were asked."""
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
        found.extend(_read(examples))
        found.extend(_examples(examples))
        found.extend(teachers.curated(examples))
    found.extend(teachers.asked(run))
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


def _read(examples: Sequence[Made]) -> list[Block]:
    """The files and hub sets that examples were read from: their rows, and what became of them."""
    rows = []
    for made in examples:
        summary = made.json("dataset.json")
        filtered = "; ".join(f"{_condition(rule['condition'])}: {rule['left_out']:,}" for rule in summary.get("filter") or [])
        for number, file in enumerate(summary.get("files") or []):
            whole = [
                Cell(f"{summary['left_out']:,}", filtered, sort=summary["left_out"]),
                Cell(f"{summary['taken']:,}", f"of {summary['usable']:,} usable", sort=summary["taken"]),
            ]
            bad = Cell(f"{file['bad']:,}", sort=file["bad"], tone="warn" if file["bad"] else "")
            rows.append(
                [Cell(made.label, href=made.link("dataset.json").href), Cell(str(file["file"]), code=True), _count(file["read"]), bad]
            )
            rows[-1] += whole if number == 0 else [Cell("–", tone="quiet", sort=-1)] * 2
    columns = [
        Column("Data set", wide=True),
        Column("Read from", wide=True),
        Column("Rows", True),
        Column("Broken", True),
        Column("Filtered out", True),
    ]
    return [Heading("Data sets"), Table([*columns, Column("Taken", True)], rows)] if rows else []


def _condition(condition: Mapping[str, object]) -> str:
    return f"{condition.get('column')} {assigned({name: value for name, value in condition.items() if name != 'column'})}"


def _examples(examples: Sequence[Made]) -> list[Block]:
    rows, leaks, out, topics, more = list[list[Cell]](), list[str](), list[list[Cell]](), list[list[Cell]](), 0
    splits = {made.instance["id"] for made in examples if made.json("split.json")}
    for made in examples:
        origins, types, writers, number = Counter[str](), Counter[str](), set[str](), 0
        for row in made.rows("examples.jsonl"):
            number += 1
            origins[str(row.get("origin") or "unknown")] += 1
            if row.get("type"):
                types[str(row["type"])] += 1
            if teacher := row.get("teacher"):
                writers.add(" ".join(dict.fromkeys(str(teacher[part]) for part in ("provider", "model") if teacher.get(part))))
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
                Cell(_shares(origins), ", ".join(sorted(writers - set(origins)))),
                Cell(_shares(types)),
                Cell(
                    f"{left_out.total():,}", _shares(left_out) if left_out else "", sort=left_out.total(), tone="warn" if rejected else ""
                ),
                Cell(f"{split['share']:.1%}", _wanted(split)) if isinstance(split.get("share"), (int, float)) else Cell("–", tone="quiet"),
            ]
        )
        if isinstance(split.get("leakage"), dict):
            part = made.label if len(splits) > 1 else str(split.get("part") or made.name)
            leaks.append(
                _leakage(part, split["leakage"], sum(row.get("reason") == "leaks" for row in rejected))
                + (f"; {counted(split['repeated'], 'question')} nearly like another of its own" if split.get("repeated") else "")
            )
        topics += [
            [Cell(made.label), Cell(", ".join(map(str, topic.get("terms") or []))), _count(topic.get("examples"))]
            for topic in split.get("topics") or []
        ]
        if not made.json("curation.json"):  # the rules' victims stand with the rules
            alike = _alike(rejected)
            out += [[Cell(made.label), *cells] for cells in alike[:REJECTED]]
            more += max(0, len(alike) - REJECTED)
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
    if topics:
        found.append(Fold("Topics of the parts", [Table([Column("Part"), Column("Terms", wide=True), Column("Examples", True)], topics)]))
    if out:
        table = Table([Column("Examples of"), Column("Question or document", wide=True), Column("Reason", wide=True)], out, left_out=more)
        found.append(Fold("Examples that were left out, and why", [table]))
    instances = {made.instance["id"]: made.instance for made in examples}.values()
    measured = [[Cell(instance["id"]), Cell("", lines=lines)] for instance in instances if (lines := facts(instance, teachers.TOLD))]
    if measured:
        found.append(Fold("Measured while the examples were made", [Table([Column("Step"), Column("Facts", wide=True)], measured)]))
    return found


def _alike(rejected: Sequence[Mapping[str, object]]) -> list[list[Cell]]:
    """What was left out, and why: what has no question to tell it by, once for each reason."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for row in rejected:
        why = ": ".join(str(row[name]) for name in ("reason", "detail") if row.get(name))
        found.setdefault((str(row.get("question") or ""), why), Counter())[str(row.get("document") or "–")] += 1
    rows = []
    for (question, why), documents in found.items():
        times = documents.total()
        note = f"{times:,} times" + (f", in {len(documents):,} documents" if len(documents) > 1 else "") if times > 1 else ""
        rows.append([Cell(question or next(iter(documents)), note), Cell(why)])
    return rows


def _leakage(part: str, measured: Mapping[str, object], dropped: int) -> str:
    """What of a part could be learnt from the others, in words."""
    shares = {kind: share for kind in _LEAKS if isinstance(share := measured.get(kind), (int, float))}
    if any(shares.values()):
        text = "; ".join(f"{share:.1%} {_LEAKS[kind]}" for kind, share in shares.items())
    else:
        text = "nothing in common with another part or with what the model is shown besides" if shares else plain(measured)
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
