"""Data sets of questions and answers: read from files and hubs, mixed without duplicates, split without leakage.

from runner.datasets import examples, groups, leakage, mix, read_records, split

manual = examples(read_records(Path("manual-qa.jsonl")), {}, origin="manual", name="manual-qa.jsonl")
mixed = mix({"manual": manual, "synthetic": synthetic}).examples
parts = split(groups(mixed), {"train": 0.9, "test": 0.1}, seed=1)
"""

from __future__ import annotations

from runner.datasets.examples import FIELDS, examples
from runner.datasets.folding import fold
from runner.datasets.leakage import Leakage, counterparts, leakage, near_duplicates
from runner.datasets.mixing import Count, Mixed, mix
from runner.datasets.reading import hub_records, read_records
from runner.datasets.rows import RowWriter, count_rows, read_rows
from runner.datasets.splitting import groups, split

__all__ = [
    "FIELDS", "Count", "Leakage", "Mixed", "RowWriter", "count_rows", "counterparts", "examples", "fold", "groups", "hub_records",
    "leakage", "mix", "near_duplicates", "read_records", "read_rows", "split",
]  # fmt: skip
