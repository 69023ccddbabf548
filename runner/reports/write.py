"""From a run to its two pages."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from runner.reports import answering, answers, claims, data, execution, export, method, retrieval, scores, training
from runner.reports.formats import duration
from runner.reports.page import Block, Cell, Figures, Fold, Heading, Note, Page, Section, Tone
from runner.reports.record import Run, fact

if TYPE_CHECKING:
    from jinja2 import BytecodeCache, Environment
    from markupsafe import Markup

_SECTIONS: Sequence[tuple[str, str, Callable[[Run], list[Block]]]] = (
    ("failures", "Failures", execution.failures),
    ("result", "Result at a glance", scores.blocks),
    ("claims", "Claims", claims.blocks),
    ("method", "Method", method.blocks),
    ("data", "Data", data.blocks),
    ("training", "Training", training.blocks),
    ("export", "Export", export.blocks),
    ("retrieval", "Retrieval", retrieval.blocks),
    ("answering", "Answering", answering.blocks),
    ("answers", "Where the arms disagree", answers.blocks),
    ("steps", "Steps", execution.steps),
    ("warnings", "Warnings", execution.warnings),
    ("provenance", "Provenance", execution.provenance),
)
_STATUS: dict[str, Tone] = {"done": "good", "failed": "bad", "interrupted": "warn", "running": "warn"}


def write(run: Run) -> Path:
    """Write both pages, each in one rename, and return the path of the HTML one."""
    page = compose(run)
    environment = _environment()
    for name, template in (("report.md", "report.md.j2"), ("report.html", "report.html.j2")):
        written = name.endswith(".md")
        text = environment.get_template(template).render(page=_in_words(page) if written else page)
        if written:
            text = re.sub(r"\n{3,}", "\n\n", re.sub(r" +\n", "\n", text)).rstrip() + "\n"
        draft = run.folder / f".{name}.{os.getpid()}"
        draft.write_text(text, encoding="utf-8", newline="\n", errors="replace")
        os.replace(draft, run.folder / name)
    return run.folder / "report.html"


def _in_words(page: Page) -> Page:
    """The page without its drawings, which Markdown cannot hold, and without what is empty then. Their figures stand in tables too."""
    return replace(page, sections=[replace(section, blocks=_words(section.blocks)) for section in page.sections])


def _words(blocks: Sequence[Block]) -> list[Block]:
    kept: list[Block] = []
    for block in blocks:
        if isinstance(block, Fold):
            inside = _words(block.blocks)
            kept += [replace(block, blocks=inside)] if inside else []
        elif not isinstance(block, Figures):
            kept.append(block)
    last = len(kept) - 1
    return [
        block
        for place, block in enumerate(kept)
        if not isinstance(block, Heading) or (place < last and not isinstance(kept[place + 1], Heading))
    ]


def compose(run: Run) -> Page:
    """The page's content: empty sections are left out, and one that cannot be made says so instead of taking the rest with it."""
    record = run.record
    sections = []
    for name, title, blocks in _SECTIONS:
        try:
            found = blocks(run)
        except Exception as error:  # a damaged artifact must not hide the rest of the report
            found = [
                Note(
                    f"This part could not be made: {type(error).__name__}: {error}", "bad", ["`recipe verify` looks for damaged artifacts"]
                )
            ]
        if found:
            sections.append(Section(name, title, found))
    status = str(record.get("status") or "unknown")
    counted = len(record.get("instances") or [])
    return Page(
        title=str(record.get("title") or record.get("recipe") or "A run"),
        recipe=str(record.get("recipe", "")),
        run=str(record.get("run", "")),
        status=status,
        tone=_STATUS.get(status, "warn"),
        subtitle=f"{record.get('recipe', '')}, run {record.get('run', '')}",
        notes=_notes(run, status),
        sections=sections,
        facts=(
            ("Status", Cell(status, tone=_STATUS.get(status, "warn"), badge=True)),
            ("Started", Cell(str(record.get("started") or "–").replace("T", " ").removesuffix("Z").partition(".")[0] + " UTC")),
            ("Time", Cell(duration(record.get("seconds")))),
            ("Steps", Cell(f"{counted}")),
            ("Recipe", Cell(str(record.get("file", "")), code=True)),
        ),
    )


def _notes(run: Run, status: str) -> list[Note]:
    notes = []
    if status == "failed":
        failed = [str(instance["id"]) for instance in run.instances if instance.get("state") == "failed"]
        notes.append(Note("This run failed, so what it shows is incomplete." + (" These steps failed:" if failed else ""), "bad", failed))
    elif status == "interrupted":
        notes.append(Note("This run was interrupted. What it shows is incomplete; the same command continues it."))
    elif status == "running":
        notes.append(Note("This run had not ended when the report was made."))
    if overlays := run.record.get("overlays"):
        notes.append(Note(f"This run was changed by {' and '.join(overlays)}: its figures are not results of the recipe as it stands."))
    if extractive := _extractive(run):
        text = "In these steps the extractive teacher stood in for a language model: it copies sentences from the documents, "
        notes.append(Note(text + "and compares words where it grades:", "warn", extractive))
    if run.record.get("unpinned"):
        notes.append(Note("Models or data sets of a hub were used without a pinned revision."))
    return notes


def _extractive(run: Run) -> list[str]:
    """The steps that asked the extractive teacher, and those whose stored examples say so (a replay, a step that was stopped)."""
    found = [str(instance["id"]) for instance in run.instances if str(fact(instance, "teacher")[0]).partition(",")[0] == "extractive"]
    for made in run.made("examples"):
        first = next(made.rows("examples.jsonl"), {})
        if (first.get("teacher") or {}).get("provider") == "extractive" and not run.inputs(made.instance, "examples"):
            found.append(str(made.instance["id"]))
    return list(dict.fromkeys(found))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=lambda name: bool(name) and ".html" in str(name),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=_bytecode(),
    )
    environment.filters["breaking"] = breaking
    environment.filters["md"] = markdown
    environment.filters["fenced"] = fenced
    environment.filters["trusted"] = Markup
    environment.globals["style"] = Markup((folder / "report.css").read_text(encoding="utf-8"))
    environment.globals["script"] = Markup((folder / "report.js").read_text(encoding="utf-8"))
    return environment


def _bytecode() -> BytecodeCache | None:
    """Compiled templates, in the user's own temporary folder: compiling them is a quarter of a run where nothing changed.

    None where Jinja finds no folder that is safe; what cannot be written there is compiled again next time.
    """
    from jinja2 import FileSystemBytecodeCache
    from jinja2.bccache import Bucket

    class Lenient(FileSystemBytecodeCache):
        def dump_bytecode(self, bucket: Bucket) -> None:
            with suppress(OSError):
                super().dump_bytecode(bucket)

    try:
        return Lenient()
    except (RuntimeError, OSError):
        return None


def breaking(text: object) -> Markup:
    """Escaped text that may break after the signs that join the words of a path."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([._/,](?=\w)|\[)", r"\1<wbr>", str(escape(text))))


def markdown(text: object) -> str:
    """Text that Markdown must not interpret, on one line."""
    escaped = re.sub(r"([\\`*_\[\]|~#])", r"\\\1", " ".join(str(text).split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any run of back-ticks in the text."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
