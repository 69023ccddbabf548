"""Data sets of questions and answers: read from files and hubs, mixed without duplicates, split without leakage.

from runner.datasets import Leaks, examples, groups, mix, read_records, split

manual = examples(read_records(Path("manual-qa.jsonl")), {"answer": "reply"})
mixed = mix({"manual": manual, "synthetic": synthetic}).examples
parts = split(groups(mixed), {"train": 0.9, "test": 0.1}, seed=1)
print(Leaks(mixed).leakage(parts["test"], parts["train"]))
"""

from __future__ import annotations

from runner.datasets.clustering import Topic, topics
from runner.datasets.conversations import Conversations, told
from runner.datasets.drawing import draw
from runner.datasets.examples import FIELDS, Bad, examples
from runner.datasets.filtering import Filter, members
from runner.datasets.folding import asked, fold
from runner.datasets.leakage import Leakage, Leaks
from runner.datasets.mixing import Count, Mixed, mix
from runner.datasets.near_duplicates import NearDuplicates
from runner.datasets.reading import Record, hub_file, hub_records, read_records
from runner.datasets.rows import RowWriter, count_rows, read_rows
from runner.datasets.settings import Condition, IdFile, Table, Turns
from runner.datasets.splitting import groups, split
from runner.datasets.tally import Tally

__all__ = [
    "FIELDS", "Bad", "Condition", "Conversations", "Count", "Filter", "IdFile", "Leakage", "Leaks", "Mixed", "NearDuplicates", "Record",
    "RowWriter", "Table", "Tally", "Topic", "Turns", "asked", "count_rows", "draw", "examples", "fold", "groups", "hub_file",
    "hub_records", "members", "mix", "read_records", "read_rows", "split", "told", "topics",
]  # fmt: skip
