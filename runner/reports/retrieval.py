"""The indexes that passages were searched in, and the embedders that were tuned."""

from __future__ import annotations

from runner.reports.formats import assigned, fixed, plain, quantity, spaced
from runner.reports.page import Block, Cell, Column, Figures, Table
from runner.reports.record import Json, Made, Run, fact

#: Facts that stand elsewhere on the page.
TOLD = ("seconds", "peak_memory", "chunks", "dimension")


def blocks(run: Run) -> list[Block]:
    """Tuned embedders before and after, and every index with what was measured."""
    return _embedders(run) + _curves(run) + _indexes(run)


def _embedders(run: Run) -> list[Block]:
    """Hit rates on held-out questions, before the tuning and after it."""
    rows, names = [], list[str]()
    tuned = [(made, made.json("embedder.json")) for made in run.made("embedder")]
    for _, data in tuned:
        names += [name for name in (data.get("held_out") or {}).get("after") or {} if name not in names]
    names.sort(key=lambda name: (name.rsplit("_", 1)[0], int(name.rsplit("_", 1)[1])))
    for made, data in tuned:
        held_out = data.get("held_out") or {}
        before, after = held_out.get("before") or {}, held_out.get("after") or {}
        base = data.get("base") or {}
        rows.append(
            [
                Cell(made.label, href=made.link("embedder.json").href),
                Cell(plain(base.get("model") or "none, from scratch"), plain(base["revision"]) if base.get("revision") else ""),
                Cell(f"{data.get('pairs', 0):,}", sort=data.get("pairs", 0)),
                Cell(f"{held_out['questions']:,}", _asked(held_out), sort=held_out["questions"]) if held_out else Cell("–", sort=-1),
                *(
                    Cell(fixed(after[name], 3), f"before {fixed(before.get(name, 0), 3)}", sort=after[name])
                    if name in after
                    else Cell("–", sort=-1)
                    for name in names
                ),
            ]
        )
    if not rows:
        return []
    columns = [
        Column("Tuned embedder"),
        Column("Base", wide=True),
        Column("Pairs", True),
        Column("Held-out questions", True),
        *(Column(name.replace("mrr_at_", "MRR@").replace("hit_at_", "Hit@"), True) for name in names),
    ]
    caption = (
        "Hit@k is the share of held-out questions with a passage that answers them among the k nearest of all passages; MRR@10 the mean of "
        "1 / rank of the first one, 0 beyond rank 10. None of these questions was tuned on."
    )
    return [Table(columns, rows, caption if names else "", sources=[made.link("embedder.json") for made, _ in tuned])]


def _asked(held_out: Json) -> str:
    """What the questions were asked of, and how many of their passages were tuned on, though with other questions."""
    text = f"among {held_out['passages']:,} passages"
    return text + (f"\n{held_out['of_passages_tuned_on']:,} of passages tuned on" if held_out.get("of_passages_tuned_on") else "")


def _curves(run: Run) -> list[Block]:
    """The loss of every tuning."""
    from runner.reports.training import LINES, drawings, named

    tuned = [(made, list(made.rows("log.jsonl"))) for made in run.made("embedder")][:LINES]
    figures = drawings("loss", [(named(run, made), log) for made, log in tuned], axis="loss")
    return [Figures(figures, [made.link("log.jsonl") for made, _ in tuned], wide=True)] if figures else []


def _indexes(run: Run) -> list[Block]:
    """Every index with its embedder, its FAISS structure and what was measured."""
    rows, measured = [], dict[str, Column]()
    made_indexes = run.made("index")
    for made in made_indexes:
        for name in made.instance.get("facts") or {}:
            if name not in TOLD:
                measured.setdefault(
                    name, Column(spaced(name.removesuffix("_per_second")), True, "a second" if name.endswith("_per_second") else "")
                )
    for made in made_indexes:
        data = made.json("index.json")
        rows.append(
            [
                Cell(made.label, href=made.link("index.json").href),
                _part(data.get("embedder")),
                _part(data.get("faiss")),
                Cell(f"{data.get('count', 0):,}", sort=data.get("count", 0)),
                Cell(f"{data.get('dimension', 0):,}", sort=data.get("dimension", 0)),
                *(_measured(made, name) for name in measured),
            ]
        )
    if not rows:
        return []
    columns = [
        Column("Index"),
        Column("Embedder", wide=True),
        Column("FAISS", wide=True),
        Column("Passages", True),
        Column("Dimension", True),
        *measured.values(),
    ]
    caption = "Recall at 10 is the share of the ten nearest passages of an exhaustive search that the index finds."
    return [Table(columns, rows, caption if "recall_at_10" in measured else "", sources=[made.link("index.json") for made in made_indexes])]


def _part(settings: object) -> Cell:
    """``hnsw``, and below it its settings without what is off or unset."""
    if not isinstance(settings, dict):
        return Cell(plain(settings))
    parts = {name: value for name, value in settings.items() if isinstance(value, dict)}
    flat = settings | {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}
    left = {name: value for name, value in flat.items() if name not in ("kind", *parts) and value is not None and value is not False}
    return Cell(str(settings.get("kind") or "–"), assigned(left))


def _measured(made: Made, name: str) -> Cell:
    value, unit = fact(made.instance, name)
    if isinstance(value, (int, float)) and name.startswith("recall"):
        return Cell(fixed(value, 3), sort=value)
    return Cell(quantity(value, "" if name.endswith("_per_second") else unit), sort=value if isinstance(value, (int, float)) else -1)
