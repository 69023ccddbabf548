"""How the run went: steps, warnings, failures, and what it ran on."""

from __future__ import annotations

from collections import Counter

from runner.reports.formats import arms_together, duration, plain, quantity, size, spaced
from runner.reports.page import Block, Cell, Code, Column, Fold, Heading, Note, Pairs, Table, Tone
from runner.reports.record import Json, Run, fact, facts

TONES: dict[str, Tone] = {"done": "good", "hit": "quiet", "failed": "bad", "blocked": "warn", "cancelled": "warn", "running": "warn"}
#: Types that a section of their own shows.
KNOWN = {"documents", "chunks", "examples", "model", "embedder", "index", "answers", "scores"}
#: Lines of a log shown with a failure.
LINES = 30


def failures(run: Run) -> list[Block]:
    """Every failed step: the finding, the remedy, and the end of its log."""
    found: list[Block] = []
    for instance in run.instances:
        if instance.get("state") != "failed":
            continue
        error = instance.get("error") or {}
        found.append(Heading(instance["id"]))
        found.append(
            Note(
                str(error.get("message") or "The step failed without saying why."), "bad", [error["remedy"]] if error.get("remedy") else []
            )
        )
        if log := _log(run, instance):
            found.append(Fold("The last lines of its log", [Code(log)]))
    blocked: dict[str, list[str]] = {}
    for instance in run.instances:
        if instance.get("state") == "blocked":
            blocked.setdefault(str(instance["step"]), []).append(str(instance["id"]))
    if blocked:
        items = [ids[0] if len(ids) == 1 else f"{step} ({len(ids)} arms)" for step, ids in blocked.items()]
        found.append(Note("Not run, because something they read is missing:", "warn", items))
    return found


def _log(run: Run, instance: Json) -> str:
    try:
        with run.log(instance).open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 16384))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-LINES:])
    except OSError:
        return ""


def warnings(run: Run) -> list[Block]:
    """What steps found worth a reader's attention; what several say is said once."""
    said: dict[str, list[str]] = {}
    for instance in run.instances:
        for text in instance.get("warnings") or []:
            said.setdefault(str(text), []).append(str(instance["id"]))
    rows = [[Cell(arms_together(", ".join(dict.fromkeys(steps))), code=True), Cell(text)] for text, steps in said.items()]
    return [Table([Column("Step", wide=True), Column("Warning", wide=True)], rows)] if rows else []


def steps(run: Run) -> list[Block]:
    """Every step at every arm: what happened and why, how long it took, and where its artifact is."""
    rows = []
    for instance in run.instances:
        log = run.log(instance)
        artifact = run.artifacts / instance["artifact"] if instance.get("artifact") else None
        memory, unit = fact(instance, "peak_memory")
        state = str(instance.get("state"))
        seconds = instance.get("seconds") if state in ("done", "failed", "cancelled") else None
        rows.append(
            [
                Cell(instance["id"], href=run.href(artifact) if artifact is not None and artifact.is_dir() else ""),
                Cell(str(instance.get("kind", ""))),
                Cell(state, tone=TONES.get(state, ""), badge=True, href=run.href(log) if log.is_file() else ""),
                Cell(duration(seconds), sort=-1 if seconds is None else seconds),
                Cell(quantity(memory, unit) if memory is not None else "–", sort=memory if isinstance(memory, (int, float)) else -1),
                Cell(arms_together(str(instance.get("why") or ""))),
            ]
        )
    columns = [Column("Step"), Column("Kind"), Column("State"), Column("Time", True), Column("Peak memory", True), Column("Why", wide=True)]
    counts = Counter(str(instance.get("state")) for instance in run.instances)
    caption = ", ".join(f"{number} {'from the store' if state == 'hit' else state}" for state, number in counts.items()) + "."
    found: list[Block] = [Table(columns, rows, caption=caption)]
    if measured := [[Cell(instance["id"]), Cell("", lines=lines)] for instance in run.instances if (lines := facts(instance, ()))]:
        found.append(Fold("Everything that was measured, step by step", [Table([Column("Step"), Column("Facts", wide=True)], measured)]))
    if others := [made for made in run.made() if made.type not in KNOWN]:
        listing = []
        for made in others:
            files = [path for path in sorted(made.folder.rglob("*")) if path.is_file()]
            listing.append(
                [
                    Cell(made.label, href=made.link("").href),
                    Cell(made.type),
                    Cell(", ".join(str(path.relative_to(made.folder)) for path in files[:5]) + (", …" if len(files) > 5 else "")),
                    Cell(size(sum(path.stat().st_size for path in files))),
                ]
            )
        found.append(
            Fold("Other artifacts", [Table([Column("Output"), Column("Type"), Column("Files", wide=True), Column("Size", True)], listing)])
        )
    return found


def provenance(run: Run) -> list[Block]:
    """The machine, the versions, the times and every key."""
    record, environment = run.record, run.record.get("environment") or {}
    machine = [
        ("Recipe", Cell(str(record.get("file", "")))),
        ("Started", Cell(str(record.get("started") or "–"))),
        ("Finished", Cell(str(record.get("finished") or "–"))),
        ("Overlays", Cell(", ".join(record.get("overlays") or []) or "none")),
        ("Hub revisions", Cell("not pinned (--unpinned)" if record.get("unpinned") else "pinned, or none needed")),
    ]
    for name, value in environment.items():
        if name != "libraries":
            label = "Memory" if name == "memory_bytes" else "GPU" if name == "gpu" else "CPU" if name == "cpu" else spaced(name)
            machine.append((label, Cell(size(value) if name == "memory_bytes" else plain(value) if value != [] else "none")))
    found: list[Block] = [Pairs(machine)]
    if libraries := environment.get("libraries"):
        rows = [[Cell(name), Cell(str(version))] for name, version in sorted(libraries.items())]
        found.append(Fold("Versions of the libraries", [Table([Column("Library"), Column("Version")], rows)]))
    keys = [[Cell(instance["id"]), Cell(str(instance.get("key") or "–"))] for instance in run.instances]
    if keys:
        found.append(Fold("Keys of the artifacts", [Table([Column("Step"), Column("Key (SHA-256)")], keys)]))
    return found
