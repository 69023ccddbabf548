"""What became of the rows of a data set, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import to_builtins

from runner.datasets.examples import Bad
from runner.datasets.reading import Record
from runner.datasets.settings import Condition
from runner.errors import InputError


@dataclass
class Tally:
    """Counts while rows go by: rows ``read`` by file, examples that were ``usable``, and those ``taken`` of them."""

    read: Counter[str] = field(default_factory=Counter)
    usable: int = 0
    taken: int = 0
    empty_files: list[str] = field(default_factory=list)  # read to their end without finding a row

    def reading(self, files: Iterable[tuple[str, Iterable[Record]]]) -> Iterator[Record]:
        """All records of files that are given by name."""
        for name, records in files:
            self.read[name] += 0
            for record in records:
                self.read[name] += 1
                yield record
            if not self.read[name]:
                self.empty_files.append(name)

    def passing(self, examples: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for example in examples:
            self.usable += 1
            yield example

    def summary(
        self, conditions: Sequence[Condition], left_out: Sequence[int], bad: Sequence[Bad], system_turns: int = 0
    ) -> dict[str, Any]:
        """The content of ``dataset.json``."""
        broken = Counter(row.file for row in bad)
        return {
            "files": [{"file": file, "read": count, "bad": broken[file]} for file, count in sorted(self.read.items())],
            "filter": [{"condition": to_builtins(c), "left_out": count} for c, count in zip(conditions, left_out, strict=True)],
            "read": self.read.total(),
            "left_out": sum(left_out),
            "bad": len(bad),
            "usable": self.usable,
            "taken": self.taken,
            **({"system_turns": system_turns} if system_turns else {}),
        }

    def check(self, summary: Mapping[str, Any], bad: Sequence[Bad], limits: Mapping[str, int]) -> None:
        """InputError when there is no example, or fewer than a limit, by name, asks for."""
        where = next(iter(self.read)) if len(self.read) == 1 else "path"
        parts = [f"{summary[name]} {words}" for name, words in (("left_out", "left out by `filter`"), ("bad", "bad")) if summary[name]]
        told = ", ".join([f"{summary['read']} rows read", *parts])
        if not self.usable:
            first = f"; the first bad row: {bad[0].where}: {bad[0].reason}" if bad else ""
            raise InputError(f"no row gives an example: {told}{first}", where=where, remedy="name files with questions and answers")
        for name, wanted in limits.items():
            if self.usable < wanted:
                remedy = f"set `{name}` to at most {self.usable}, or `at_most: true`"
                raise InputError(f"{self.usable} examples where `{name}` wants {wanted}: {told}", where=where, remedy=remedy)
