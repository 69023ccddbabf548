"""Question-answer pairs about many texts: as many as are wanted, of the types that are wanted, each asked for once and in a fixed order.

synthesis = Synthesis(Texts(file, Unit.of_chunk), Plan(3, {"factual": 1.0}), caller, Pairs(prompt), intake)
synthesis.run()

What is asked depends on the texts, the plan and the answers so far, and on nothing else: not on time, nor on how many calls run at once.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from runner.teachers.calls import Caller, Outcome
from runner.teachers.decoding import Rejected
from runner.teachers.interface import Request
from runner.teachers.prompting import Prompt
from runner.teachers.synthesis.intake import Intake
from runner.teachers.synthesis.pairs import Writer, answer_request, multi_hop_request, pair_request, question_request
from runner.teachers.synthesis.partners import Near, partners
from runner.teachers.synthesis.planning import Plan, Turns, apportion
from runner.teachers.synthesis.texts import Row, Texts, Unit
from runner.teachers.tasks import MULTI_HOP, Question

#: Finds chunks (rows with ``text`` and ``score``) for each of some questions, best first.
Search = Callable[[Sequence[str]], Sequence[Sequence[Mapping[str, Any]]]]
_SEARCHED_AT_ONCE = 64


@dataclass(frozen=True)
class Pairs:
    """Ask for question, answer and quotes together. With ``near``, multi-hop pairs are asked of a chunk and ``partners`` others."""

    prompt: Prompt
    multi_hop: Prompt | None = None
    near: Near | None = None
    partners: int = 2


@dataclass(frozen=True)
class Retrieved:
    """Ask for questions about a text, and for each an answer from what ``search`` finds."""

    questions: Prompt
    prompt: Prompt
    search: Search


class Synthesis:
    """Asks ``caller`` about ``texts`` as ``plan`` says, in the manner of ``way``, and hands every row to ``intake``.

    ``progress(done, total)`` counts calls, of which there may come to be more than were foreseen.
    ``attempts`` is how often a request whose reply is rejected is tried, each time with the next sample index.
    """

    def __init__(
        self,
        texts: Texts,
        plan: Plan,
        caller: Caller,
        way: Pairs | Retrieved,
        intake: Intake,
        *,
        attempts: int = 1,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._texts, self._plan, self._caller, self._way, self._intake = texts, plan, caller, way, intake
        self._attempts, self._progress = attempts, progress
        self._writer = Writer(caller.teacher)
        chosen = plan.choose(texts.documents)
        self._places = {id: place for place, id in enumerate(texts.documents) if id in chosen}
        documents = {id: texts.documents[id] for id in self._places}
        self._turns = Turns(plan, documents)
        self.wanted = plan.wanted(documents)
        self.types_wanted = apportion(self.wanted, plan.types)
        self.types_reached: Counter[str] = Counter()
        self._asked: dict[str, list[str]] = defaultdict(list)  # by text
        self._known: dict[str, set[str]] = defaultdict(set)  # by document, without case and punctuation
        self._done = self._calls = 0
        intake.expect(self.wanted, self._turns.most)

    def run(self, only_first: int | None = None) -> None:
        """Ask until as many pairs are taken as are wanted, or no text may be asked any more.

        ``only_first`` ends it after the first so many texts, which are asked the very same as without it: a preview.
        Errors: StepError when too much is rejected, and those of the caller.
        """
        while missing := self.wanted - self._intake.taken:
            round, slots = self._turns.batch(missing)
            if not slots:
                break
            left = {type: self.types_wanted[type] - self.types_reached[type] for type in self.types_wanted}
            weights = self._plan.types if not self._intake.taken else {type: float(max(0, number)) for type, number in left.items()}
            types = self._plan.assign({id: slots[id] for id in sorted(slots, key=self._places.__getitem__)}, weights)
            if only_first is not None:
                types = self._limit(types, list(slots)[:only_first])
            self._progress(self._done, self._calls or len(types))
            if isinstance(self._way, Pairs):
                self._ask_pairs(types, round * self._attempts)
            else:
                self._ask_questions(types, round * self._attempts, only_first)
            if only_first is not None:
                break

    def _limit(self, types: Mapping[str, tuple[str, ...]], ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The types of these texts alone, which are then all that is wanted."""
        chosen = {id: types[id] for id in sorted(ids, key=self._places.__getitem__)}
        self.types_wanted = dict(Counter(type for wanted in chosen.values() for type in wanted))
        self.wanted = sum(self.types_wanted.values())
        self._intake.expect(self.wanted, self.wanted)
        return chosen

    def _ask_pairs(self, types: Mapping[str, Sequence[str]], sample: int) -> None:
        assert isinstance(self._way, Pairs)
        way, hops = self._way, self._way.near is not None
        self._calls += sum((MULTI_HOP in wanted) + any(type != MULTI_HOP for type in wanted) if hops else 1 for wanted in types.values())

        def requests() -> Iterator[tuple[Request | None, tuple[list[Unit], int]]]:
            for unit in self._texts.get(list(types)):
                known, wanted = tuple(self._asked[unit.id]), types[unit.id]
                plain = [type for type in wanted if not (hops and type == MULTI_HOP)]
                if plain:
                    yield pair_request(unit, plain, way.prompt, known, sample), ([unit], len(plain))
                if hops and (count := len(wanted) - len(plain)):
                    assert way.near is not None
                    assert way.multi_hop is not None
                    beside = partners(unit, way.near, self._texts, way.partners)
                    request = multi_hop_request([unit, *beside], count, way.multi_hop, known, sample) if beside else None
                    yield request, ([unit, *beside], count)

        for (units, count), outcome in self._outcomes(requests()):
            if outcome is None:
                self._reject(units[0], Rejected("nothing-to-ask", "no other chunk speaks of the same things"), count)
                self._step()
                continue
            for row, rejection in self._writer.pairs(units, outcome):
                if row is None or self._new(units[0], row["question"]):
                    self._take(units[0], row, rejection, count if outcome.rejected else 1)
                else:
                    self._reject(units[0], _DUPLICATE, question=row["question"], answer=row["answer"])
            if outcome.rejected and outcome.rejected.reason == "nothing-to-ask" and len(units) == 1:
                self._turns.spend(units[0].id)
            self._step()

    def _ask_questions(self, types: Mapping[str, Sequence[str]], sample: int, only_first: int | None) -> None:
        assert isinstance(self._way, Retrieved)
        way, found = self._way, list[tuple[Unit, int, Question]]()
        foreseen = sum(len(wanted) for wanted in types.values())
        self._calls += len(types) + foreseen
        questions = (
            (question_request(unit, types[unit.id], way.questions, self._asked[unit.id], sample), unit)
            for unit in self._texts.get(list(types))
        )
        for unit, outcome in self._outcomes(questions):
            assert outcome is not None
            if outcome.rejected:
                self._intake.put(None, self._writer.rejection(unit, outcome.rejected, outcome), len(types[unit.id]))
                if outcome.rejected.reason == "nothing-to-ask":
                    self._turns.spend(unit.id)
            for number, item in enumerate(outcome.items, 1):
                assert isinstance(item, Question)
                if self._new(unit, item.question):
                    found.append((unit, number, item))
                else:
                    self._reject(unit, _DUPLICATE, question=item.question)
            self._step()
        found = found[:only_first]  # a preview answers as many questions as it looks at texts
        self._calls += len(found) - foreseen

        def requests() -> Iterator[tuple[Request | None, tuple[Unit, Question, list[Unit]]]]:
            left = iter(found)
            while batch := list(islice(left, _SEARCHED_AT_ONCE)):
                hits = way.search([question.question for _, _, question in batch])
                for (unit, number, question), passages in zip(batch, hits, strict=True):
                    request = answer_request(question, number, unit, passages, way.prompt, sample) if passages else None
                    yield request, (unit, question, [Unit.of_chunk(row) for row in passages])

        for (unit, question, passages), outcome in self._outcomes(requests()):
            if outcome is None:
                self._reject(unit, Rejected("unanswerable", "the index found nothing"), question=question.question)
            else:
                self._take(unit, *self._writer.answer(unit, question, passages, outcome))
            self._step()

    def _outcomes(self, requests: Iterable[tuple[Request | None, Any]]) -> Iterator[tuple[Any, Outcome | None]]:
        """Outcomes in the order of the requests, each with what belongs to it; None where there was nothing to ask."""
        waiting: deque[tuple[bool, Any]] = deque()

        def asked() -> Iterator[Request]:
            for request, about in requests:
                waiting.append((request is not None, about))
                if request is not None:
                    yield request

        for outcome in self._caller.ask_all(asked(), attempts=self._attempts):
            while not waiting[0][0]:
                yield waiting.popleft()[1], None
            yield waiting.popleft()[1], outcome
        while waiting:
            yield waiting.popleft()[1], None

    def _take(self, unit: Unit, row: Row | None, rejection: Row | None, pairs: int = 1) -> None:
        if row is not None:
            self.types_reached[row["type"]] += 1
            self._turns.took(unit.id)
        self._intake.put(row, rejection, pairs)

    def _reject(self, unit: Unit, why: Rejected, pairs: int = 1, **more: Any) -> None:
        self._intake.put(None, self._writer.rejection(unit, why, **more), pairs)

    def _new(self, unit: Unit, question: str) -> bool:
        """Whether nobody has asked this about the document yet; remembers that it has been asked now."""
        self._asked[unit.id].append(" ".join(question.split()))
        plain = " ".join(re.findall(r"\w+", question.casefold()))
        if plain in self._known[unit.document]:
            return False
        self._known[unit.document].add(plain)
        return True

    def _step(self) -> None:
        self._done += 1
        self._progress(self._done, self._calls)


_DUPLICATE = Rejected("duplicate", "the question was asked about this document before")
