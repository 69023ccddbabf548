"""The two files that synthesis writes, and the limit on what may be rejected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from runner.errors import StepError
from runner.teachers.synthesis.texts import Row

#: Written down, but no fault of the teacher's, and so not counted against the limit.
_NO_FAULT = ("nothing-to-ask", "duplicate")


class Intake:
    """Writes ``examples.jsonl`` and ``rejected.jsonl`` into ``folder`` row by row, and fails once too much is rejected.

    ``max_rejected`` is the share (0 to 1) of rejected ones among all pairs that came. ``on_failure`` runs before the error is raised.
    """

    def __init__(self, folder: Path, max_rejected: float, on_failure: Callable[[], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.taken = self._wanted = self._most = 0
        self.rejected: Counter[str] = Counter()
        self._limit, self._on_failure, self._first = max_rejected, on_failure, ""
        self._examples = (folder / "examples.jsonl").open("w", encoding="utf-8", newline="\n")
        self._rejections = (folder / "rejected.jsonl").open("w", encoding="utf-8", newline="\n")

    def __enter__(self) -> Intake:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._examples.close()
        self._rejections.close()

    def expect(self, wanted: int, most: int) -> None:
        """``wanted`` pairs are hoped for, and ``most`` can be asked for."""
        self._wanted, self._most = wanted, most

    def put(self, row: Row | None, rejection: Row | None, pairs: int = 1) -> None:
        """Write a row or a rejection; a rejected reply stands for the ``pairs`` that it should have held."""
        if row is not None:
            self.taken += 1
            self._examples.write(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n")
        if rejection is not None:
            self.rejected[rejection["reason"]] += pairs
            if rejection["reason"] not in _NO_FAULT and not self._first:
                self._first = f"{rejection.get('chunk') or rejection['document']}: {rejection['reason']}, {rejection.get('detail', '')}"
            self._rejections.write(json.dumps(rejection, ensure_ascii=False, sort_keys=True) + "\n")
            faults = self._faults()
            if faults > self._limit * (faults + min(self._wanted, max(self._most - faults, 0))):
                self._fail()  # whatever else comes cannot mend it, and costs

    def finish(self) -> None:
        """Error: StepError when nothing was taken, or when the share of the rejected is over the limit."""
        if not self.taken or self._faults() > self._limit * (self.taken + self._faults()):
            self._fail()

    def _faults(self) -> int:
        return self.rejected.total() - sum(self.rejected[reason] for reason in _NO_FAULT)

    def _fail(self) -> None:
        self._on_failure()
        faults, came = self._faults(), self.taken + self._faults()
        if not faults:
            raise StepError("the teacher found nothing to ask about in any text", remedy="look at the prompt, and at the texts")
        counts = sorted(self.rejected.items(), key=lambda item: (-item[1], item[0]))
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts if count)
        much = f"{faults} of {came} pairs were rejected, more than max_rejected {self._limit:g} allows"
        raise StepError(
            f"{much if self.taken or self._limit < 1 else 'every pair was rejected'}: {reasons}; first: {self._first[:200]}",
            remedy="mend the prompt or the teacher's settings; what was rejected is asked again in the next run",
        )
