"""How much of one part of a data set could be learnt from elsewhere: other parts, and texts that the model is shown besides them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from runner.datasets.folding import asked, fold, said_before
from runner.datasets.near_duplicates import NearDuplicates, Progress

Example = dict[str, Any]

#: What counts as leaking, the plainest first; ``answer`` is reported besides, for answers may be equal for good reasons.
KINDS = ("question", "near_question", "shown", "context", "document")

_LONG_ANSWER = 40  # folded characters; shorter ones, such as "yes" or a label, are equal by chance
_CONTAINED = 12  # bytes that a folded question must have to be looked for inside a text


@dataclass(frozen=True)
class Leakage:
    """Shares (0 to 1) of a part's examples with a counterpart elsewhere.

    ``document``: one from the same document; ``context``: one with the same context; ``question``: the same question up to case,
    punctuation and spaces (with the same context and after the same turns, where there are any); ``near_question``: a nearly equal
    one; ``shown``: its question, or a nearly equal one, stands in a text that the model is shown besides; ``any``: one of these.
    ``answer``: the same answer of 40 characters or more, which is not in ``any``. ``pairs``: up to ten pairs (id here, name there, why).

    An example that was taken from a conversation gives away its earlier exchanges too: each counts as a question with an answer there.
    """

    document: float
    context: float
    question: float
    near_question: float
    shown: float
    any: float
    answer: float
    pairs: Sequence[tuple[str, str, str]] = ()

    def row(self) -> dict[str, Any]:
        return asdict(self)


def exchanges(example: Example) -> Iterable[Example]:
    """The earlier exchanges of an example's conversation, as examples."""
    history = example.get("history") or []
    for turn in range(0, len(history), 2):
        question, answer = history[turn]["content"], history[turn + 1]["content"]
        yield {**example, "history": history[:turn], "question": question, "answer": answer}


class Leaks:
    """A search for counterparts among ``examples``, which are named by their places.

    ``shown`` are examples that the model or the quantiser sees besides training, by name: few-shot examples or calibration sets.
    ``files`` are whole texts by name, such as prompt templates: an example leaks when its context (where it has none, its question)
    stands in one, or its question is nearly equal to a line. ``near`` is the Jaccard similarity from which two questions, with the
    same context, count as nearly equal (see ``near_duplicates``).
    """

    def __init__(
        self,
        examples: Sequence[Example],
        near: float = 0.8,
        *,
        shown: Iterable[tuple[str, Example]] = (),
        files: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._examples = examples
        earlier = [(place, exchange) for place, example in enumerate(examples) for exchange in exchanges(example)]
        lines = [
            (f"{name}:{number}", {"question": line})
            for name, text in (files or {}).items()
            for number, line in enumerate(text.splitlines(), 1)
            if line.strip()
        ]
        named = [(name, part) for name, example in shown for part in (example, *exchanges(example))]
        known = [*examples, *(exchange for _, exchange in earlier), *(example for _, example in (*named, *lines))]
        self._place_of = [*range(len(examples)), *(place for place, _ in earlier)]
        self._earlier: dict[int, list[tuple[int, Example]]] = {}
        for number, (place, exchange) in enumerate(earlier, len(examples)):
            self._earlier.setdefault(place, []).append((number, exchange))
        self._questions = [fold(asked(example)) for example in examples]
        self._search = NearDuplicates(
            (f"{said_before(example)}\n{example['question']}" for example in known),
            near,
            progress,
            within=(example.get("context") or "" for example in known),
        )
        names, first = [name for name, _ in (*named, *lines)], len(self._place_of)
        by_twin = self._search.twins(range(len(examples)), range(first, len(known))) if names else {}
        self._shown_as = {place: names[twin - first] for place, twin in by_twin.items()}
        for name, text in (files or {}).items():
            for place in self._contained(fold(text).encode("utf-8", "surrogatepass")):
                self._shown_as.setdefault(place, name)

    def counterparts(self, places: Sequence[int], others: Iterable[int]) -> list[dict[str, str]]:
        """For each of ``places``, what gives it away, by kind (see :class:`Leakage`): the id of one of ``others``, or a shown name."""
        documents: dict[str, str] = {}
        contexts: dict[str, str] = {}
        questions: dict[str, str] = {}
        answers: dict[str, str] = {}
        others = list(others)
        for place in others:
            example = self._examples[place]
            questions.setdefault(self._questions[place], example["id"])
            answers.setdefault(fold(example["answer"]), example["id"])
            for _, exchange in self._earlier.get(place, ()):
                questions.setdefault(fold(asked(exchange)), example["id"])
                answers.setdefault(fold(exchange["answer"]), example["id"])
            if example.get("context"):
                contexts.setdefault(fold(example["context"]), example["id"])
            for document in example.get("documents", []):
                documents.setdefault(document, example["id"])
        near = self._search.twins(places, [*others, *(number for place in others for number, _ in self._earlier.get(place, ()))])
        found = []
        for place in places:
            example = self._examples[place]
            answer = fold(example["answer"])
            there = {
                "question": questions.get(self._questions[place]),
                "near_question": self._examples[self._place_of[near[place]]]["id"] if place in near else None,
                "shown": self._shown_as.get(place),
                "context": contexts.get(fold(example["context"])) if example.get("context") else None,
                "document": next((documents[name] for name in example.get("documents", []) if name in documents), None),
                "answer": answers.get(answer) if len(answer) >= _LONG_ANSWER else None,
            }
            found.append({kind: name for kind, name in there.items() if name is not None})
        return found

    def leakage(self, places: Sequence[int], others: Iterable[int]) -> Leakage:
        """What of the examples at ``places`` has a counterpart among ``others`` or in what is shown."""
        hits: Counter[str] = Counter()
        pairs: list[tuple[str, str, str]] = []
        for place, found in zip(places, self.counterparts(places, others), strict=True):
            hits.update(found.keys())
            kind = next((kind for kind in KINDS if kind in found), None)
            hits["any"] += kind is not None
            if kind and len(pairs) < 10:
                pairs.append((self._examples[place]["id"], found[kind], kind))
        return Leakage(**{kind: round(hits[kind] / max(1, len(places)), 6) for kind in (*KINDS, "any", "answer")}, pairs=pairs)

    def repeats(self, places: Sequence[int]) -> dict[int, int]:
        """Those of ``places`` whose question nearly repeats that of an earlier one, with the place of such a one."""
        return self._search.repeats(places)

    def _contained(self, text: bytes) -> Iterable[int]:
        """Places of examples whose context, or else question, stands in a folded text: one pass over it, whatever their number."""
        by_start: dict[bytes, list[tuple[bytes, int]]] = {}
        for place, example in enumerate(self._examples):
            question = fold(example.get("context") or example["question"]).encode("utf-8", "surrogatepass")
            if len(question) >= _CONTAINED:
                by_start.setdefault(question[:_CONTAINED], []).append((question, place))
        for start in range(len(text) - _CONTAINED + 1):
            for question, place in by_start.get(text[start : start + _CONTAINED], ()):
                if text.startswith(question, start):
                    yield place
