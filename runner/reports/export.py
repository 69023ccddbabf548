"""Export: the 4-bit files, their sizes, and what they consist of."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

from runner.reports.formats import assigned, counted, fixed, plain, size
from runner.reports.page import Block, Cell, Column, Fold, Link, Note, Pairs, Table
from runner.reports.record import Json, Made, Run, fact

#: Fall-backs listed one by one.
SHOWN = 5
#: What may lie beside a GGUF for those who use it.
BESIDE = ("README.md", "Modelfile", "inference.py")


def blocks(run: Run) -> list[Block]:
    """Every GGUF: its size, its bits a weight, and how many of its tensors have which type."""
    files = [(made, made.json("quantization.json")) for made in run.made("model", form="gguf")]
    if not files:
        return []
    if len(files) == 1:
        [(made, data)] = files
        return [
            Pairs([(column.title, cell) for column, cell in zip(_COLUMNS, _row(made, data), strict=True) if cell.text]),
            *_inside(files),
        ]
    kept = [place for place in range(len(_COLUMNS)) if any(_row(*file)[place].text for file in files)]
    found: list[Block] = [Table([_COLUMNS[place] for place in kept], [[_row(*file)[place] for place in kept] for file in files])]
    alike: dict[str, list[tuple[Made, Json]]] = {}
    for made, data in files:
        parts = {name: data.get(name) for name in ("quantization", "tensors", "fallbacks")}
        alike.setdefault(json.dumps(parts, sort_keys=True, default=str), []).append((made, data))
    for some in alike.values():
        if inside := _inside(some):
            more = f" and {counted(len(some) - 1, 'file')} alike" if len(some) > 1 else ""
            found.append(Fold(f"Tensors of {some[0][0].label}{more}", inside))
    return found


_COLUMNS = (
    Column("File", wide=True),
    Column("Type of the file"),
    Column("Size", True),
    Column("Bits a weight", True, "over all tensors"),
    Column("Fall-backs", True),
    Column("Calibration", wide=True),
    Column("Beside it", wide=True),
)


def _row(made: Made, data: Json) -> list[Cell]:
    path = made.folder / "model.gguf"
    measured = data.get("file_bytes") or (path.stat().st_size if path.is_file() else 0)
    bits, fallbacks = data.get("bits_per_weight", fact(made.instance, "bits_per_weight")[0]), data.get("fallbacks") or []
    beside = [name for name in BESIDE if (made.folder / name).is_file()]
    return [
        Cell(f"{made.label}/model.gguf", href=made.link("model.gguf").href, code=True),
        Cell(str(data.get("quantization") or "–")),
        Cell(size(measured), f"{measured:,} bytes", sort=measured),
        Cell(fixed(bits, 2) if isinstance(bits, (int, float)) else "–", sort=bits if isinstance(bits, (int, float)) else -1),
        Cell(f"{len(fallbacks):,}" if fallbacks else "none", tone="bad" if fallbacks else "good", sort=len(fallbacks)),
        _calibration(made, data.get("calibration")),
        Cell(", ".join(beside), href=made.link("").href if beside else ""),
    ]


def _calibration(made: Made, found: object) -> Cell:
    """On how much text, and how many tensors it weighs; with the importance matrix where it lies beside the file."""
    if not isinstance(found, dict):
        return Cell(plain(found) if found else "none", tone="" if found else "quiet")
    parts = [counted(found[name], name[:-1]) for name in ("texts", "tokens") if name in found]
    weighed = f"weighs {counted(found['tensors'], 'tensor')}" if "tensors" in found else ""
    path = made.folder / "imatrix.gguf"
    return Cell(", ".join(parts) or assigned(found), weighed, href=made.link(path.name).href if path.is_file() else "")


def _inside(files: Sequence[tuple[Made, Json]]) -> list[Block]:
    """What files that consist of the same types consist of."""
    data, found = files[0][1], list[Block]()
    fallbacks, name = data.get("fallbacks") or [], str(data.get("quantization") or "")
    if isinstance(tensors := data.get("tensors"), dict) and tensors:
        found.append(_tensors(tensors, data, [made.link("quantization.json") for made, _ in files]))
    if fallbacks:
        items = [_fall_back(entry) for entry in fallbacks[:SHOWN]]
        items += [f"and {len(fallbacks) - SHOWN:,} more"] if len(fallbacks) > SHOWN else []
        found.append(Note(f"These tensors could not have the type that {name or 'the file type'} gives them:", "warn", items))
    return found


def _tensors(tensors: Json, data: Json, sources: Sequence[Link]) -> Table:
    """A row for each type of tensor, the one with the most weights first."""
    name, given = str(data.get("quantization") or ""), Counter(str(entry.get("given")) for entry in data.get("fallbacks") or [])
    entries = {kind: entry if isinstance(entry, dict) else {"count": entry} for kind, entry in tensors.items()}
    rows = []
    for kind, entry in sorted(entries.items(), key=lambda item: -(item[1].get("bytes") or 0)):
        count, weights, held = (entry.get(part) for part in ("count", "parameters", "bytes"))
        rows.append(
            [
                Cell(kind),
                Cell("–" if count is None else f"{count:,}", sort=count),
                Cell("–" if weights is None else f"{weights:,}", sort=weights),
                Cell("–" if held is None else size(held), sort=held),
                Cell(fixed(8 * held / weights, 2) if weights and held is not None else "–"),
                Cell(_why_this_type(kind, name, bool(data.get("pure")), given)),
            ]
        )
    columns = [
        Column("Tensor type"),
        *(Column(title, True) for title in ("Tensors", "Weights", "Size", "Bits a weight")),
        Column("Why", wide=True),
    ]
    return Table(columns, rows, sources=sources)


def _why_this_type(kind: str, name: str, pure: bool, given: Counter[str]) -> str:
    """Why a file of type ``name`` has tensors of type ``kind`` (llama.cpp's rules for types that are mixtures)."""
    if given[kind]:
        return f"{counted(given[kind], 'fall-back')}, listed below"
    main = re.sub(r"_[SML]$", "", name)
    if kind == main:
        return "the file's own type"
    if kind == "F32":
        return "norms and other vectors, which are never quantised"
    if pure or not main:
        return ""
    return f"prescribed by {name}, which is a mixture, for the output matrix and some others; no fall-back"


def _fall_back(entry: Json) -> str:
    if {"tensor", "wanted", "given", "columns", "divisor"} <= entry.keys():
        because = f"{entry['columns']:,} columns are not divisible by {entry['divisor']}"
        return f"{entry['tensor']}: {entry['given']} instead of {entry['wanted']}, because {because}"
    return plain(entry)
