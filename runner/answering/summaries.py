"""Passages that do not fit, summarised with respect to the question by the very model that is to answer it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from runner.answering.answerer import NONE, Answerer, Generated, Generation
from runner.answering.cutting import pieces
from runner.answering.prompting import Passage, Renders, shown
from runner.errors import StepError


@dataclass(frozen=True)
class Summaries:
    """The rule: from the worst on, passages are replaced by summaries until the prompt fits.

    A passage is cut into pieces that fit into the context together with ``template`` (variables ``question`` and ``passage``, whose
    ``text`` is the piece). Each is summarised greedily, in at most ``max_new_tokens`` tokens; the summaries of its pieces, in order, are
    the passage's, and are summarised again if need be. A passage stays as it is when it has no more than ``max_new_tokens`` tokens, and
    when its summary would be no shorter.
    """

    template: Renders
    max_new_tokens: int = 128


@dataclass(frozen=True)
class Spent:
    """What summaries cost: pieces that were summarised, tokens that were read for it, tokens that were made."""

    calls: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.calls + other.calls, self.prompt_tokens + other.prompt_tokens, self.answer_tokens + other.answer_tokens)


NOTHING = Spent()


class Kept(Protocol):
    """Remembers summaries, by the pass in which they were made and their number in it, so that a run that was killed makes none again."""

    def get(self, place: tuple[int, int]) -> Generated | None: ...

    def add(self, place: tuple[int, int], summary: Generated) -> None: ...


@dataclass
class Draft:
    """A question, by its number among those asked, on the way to its prompt. ``live`` are the passages that may still become shorter; the
    worst is the last. ``dropped`` counts those whose summary was empty; ``seconds`` is this question's share of the time."""

    number: int
    question: str
    passages: list[Passage]
    live: list[Passage] = field(init=False)
    dropped: int = 0
    spent: Spent = NOTHING
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.live = list(self.passages)


def summarise(
    answerer: Answerer,
    rule: Summaries,
    asked: Sequence[tuple[str, Sequence[Passage]]],
    long: Callable[[int, Sequence[Passage]], bool],
    *,
    window: int,
    batch_size: int,
    progress: Callable[[float], None],
    kept: Kept | None = None,
) -> list[Draft]:
    """Put summaries in the place of passages while the prompt of a question, told by its number, is too ``long`` and one of its passages
    can become shorter.

    One passage of every such question at a time, those of all questions together, ``batch_size`` pieces at a time. ``kept`` gets
    each summary as it is made, and gives those that an earlier call with the same arguments made. StepError when the prompt of a summary
    leaves no more room in ``window`` tokens for a text than its summary may have.
    """
    work = _Work(answerer, rule, window)
    if some := next((passages[0] for _, passages in asked if passages), None):
        work.check_room(some)
    drafts = [Draft(number, question, [dict(passage) for passage in passages]) for number, (question, passages) in enumerate(asked)]
    passes = 0
    while found := [(draft, parts) for draft in drafts if long(draft.number, draft.passages) and (parts := work.parts(draft))]:
        prompts = [answerer.prompt(work.message(draft.question, draft.live[-1], part)) for draft, parts in found for part in parts]
        made = iter(
            answerer.answer(
                prompts,
                Generation(rule.max_new_tokens),
                None,
                _half(progress, passes),
                batch_size=batch_size,
                kept={number: one for number in range(len(prompts)) if (one := kept.get((passes, number)))} if kept else NONE,
                done=partial(_keep, kept, passes) if kept else None,
            )
        )
        for draft, parts in found:
            answers = [next(made) for _ in parts]
            draft.seconds += sum(one.seconds for one in answers)
            draft.spent += Spent(len(parts), sum(one.prompt_tokens for one in answers), sum(one.answer_tokens for one in answers))
            work.replace(draft, "\n".join(one.text for one in answers if one.text))
        passes += 1
    return drafts


def _keep(kept: Kept, passes: int, number: int, summary: Generated) -> None:
    kept.add((passes, number), summary)


def _half(progress: Callable[[float], None], passes: int) -> Callable[[float], None]:
    """Progress through half of what the passes before left: how many there will be is not known."""
    return lambda share: progress(1 - 0.5**passes * (1 - share / 2))


class _Work:
    """Summarising with one model and one prompt."""

    def __init__(self, answerer: Answerer, rule: Summaries, window: int) -> None:
        self._answerer, self._rule, self._limit = answerer, rule, window - rule.max_new_tokens

    def check_room(self, passage: Passage) -> None:
        """StepError when even without a question no passage like this one could become shorter."""
        empty, longest = self._tokens("", passage, ""), self._rule.max_new_tokens
        if self._limit - empty <= longest:
            raise StepError(
                f"of {self._limit + longest} tokens the prompt of a summary takes {empty} and the summary up to {longest}: "
                "what is left for the text is no longer than its summary may be",
                remedy="lower overflow.max_new_tokens, shorten overflow.prompt, or raise context_window as far as the model allows",
            )

    def message(self, question: str, passage: Passage, text: str) -> str:
        return self._rule.template.render(question=question, passage=passage | {"text": text})

    def parts(self, draft: Draft) -> list[str]:
        """The pieces of the worst passage that can become shorter; none where no passage can."""
        while draft.live:
            if found := self._pieces(draft.question, draft.live[-1]):
                return found
            draft.live.pop()
        return []

    def _pieces(self, question: str, passage: Passage) -> list[str]:
        tokens = partial(self._tokens, question, passage)
        empty, longest = tokens(""), self._rule.max_new_tokens
        # Summaries of pieces that are no longer than a summary need not be shorter, and there might be thousands of such pieces.
        if self._limit - empty <= longest or tokens(shown(passage)) - empty <= longest:
            return []
        return pieces(shown(passage), tokens, self._limit)

    def replace(self, draft: Draft, summary: str) -> None:
        """Put the summary in the place of the passage that was summarised, unless it is no shorter; an empty one leaves the passage out."""
        passage = draft.live[-1]
        before, after = (self._tokens(draft.question, passage, text) for text in (shown(passage), summary))
        if not summary:
            draft.passages = [other for other in draft.passages if other is not passage]
            draft.dropped += 1
        elif after < before:
            passage["summary"] = summary
            return
        draft.live.pop()

    def _tokens(self, question: str, passage: Passage, text: str) -> int:
        return len(self._answerer.prompt(self.message(question, passage, text)).tokens)
