"""Answers that another teacher gave before, from a file: for CI, for runs without a network, and to repeat a run exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import InputError, StepError
from runner.teachers.interface import Reply, Request, request_digest
from runner.teachers.providers import Connection


def open(connection: Connection, *, path: str) -> ReplayTeacher:
    """The teacher of a recording (``docs/artifacts.md``, ``provenance/replies.jsonl``); it connects to nothing.

    Errors: InputError for a file that is missing, empty, damaged, or holds the answers of several teachers.
    """
    return ReplayTeacher(Path(path))


class ReplayTeacher:
    """Gives each request the recorded reply to the same prompt, reply form and sample index.

    ``provider``, ``model`` and ``generation`` are those of the teacher that answered, so that what is made of its answers is equal to
    what was made of them then. Only the places of the replies are held in memory.
    """

    recorded = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, int] = {}  # by request digest: where its line begins
        self._ids: set[str] = set()
        teachers: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
        place = 0
        try:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    row = _row(line, f"{path.name}:{number}")
                    teachers.setdefault(
                        json.dumps([row["provider"], row["model"], row["generation"]], sort_keys=True),
                        (row["provider"], row["model"], row["generation"]),
                    )
                    self._places.setdefault(row["request"], place)
                    self._ids.add(row["id"])
                    place += len(line)
        except OSError as error:
            raise InputError(f"the recorded answers cannot be read ({error.strerror})", where=str(path)) from None
        if len(teachers) != 1:
            names = ", ".join(f"{provider} {model}" for provider, model, _ in teachers.values())
            found = f"answers of {len(teachers)} teachers or settings ({names})" if teachers else "no answer"
            raise InputError(f"a recording of one teacher is needed; it holds {found}", where=path.name, remedy="use one step's recording")
        ((self.provider, self.model, self.generation),) = teachers.values()

    def ask(self, request: Request) -> Reply:
        """The recorded reply. Error: StepError when there is none."""
        place = self._places.get(request_digest(request))
        if place is None:
            other = "answers it in other words or another form" if request.id in self._ids else "does not know it"
            raise StepError(
                f"no recorded answer to {request.id}, sample {request.sample}: {self._path.name} {other}; "
                "the text, the prompt, the form of the reply or the sample is not as it was recorded",
                remedy=f"record anew: run the step with the teacher {self.provider} {self.model}, and take its provenance/replies.jsonl",
            )
        with self._path.open("rb") as file:
            file.seek(place)
            return Reply(**_row(file.readline(), self._path.name)["reply"])


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
        strings = [row[name] for name in ("request", "id", "provider", "model")]
        if not all(isinstance(value, str) for value in strings) or not isinstance(row["generation"], dict):
            raise TypeError
        Reply(**row["reply"])
    except (ValueError, KeyError, TypeError):
        raise InputError("not a recorded answer", where=where, remedy="take a step's provenance/replies.jsonl as it is") from None
    return row
