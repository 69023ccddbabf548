"""Making prompts fit into a model's context, by a stated rule: one place for the answer step, for asking and for chatting."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from runner.answering.answerer import Answerer, Message, Prompt
from runner.answering.cutting import beginning
from runner.answering.prompting import Passage, Renders, render
from runner.answering.summaries import NOTHING, Kept, Spent, Summaries, summarise
from runner.errors import StepError

#: What is done about a prompt that does not fit, after the oldest exchanges of its conversation were left out. It begins with the worst
#: passage in all of them:
#: ``drop-passages`` leaves passages out; ``truncate`` does so too, but of the last one that is left out keeps as many sentences, or else
#: words, as there is room for; ``fail`` raises; ``Summaries`` puts summaries by the model itself in the place of passages, and
#: leaves passages out where that is not enough.
Rule = Literal["drop-passages", "truncate", "fail"] | Summaries


@dataclass(frozen=True)
class Fitted:
    """A prompt that fits. ``passages`` are those that it holds, best first: each with the ``text`` that was retrieved, less what was
    cut off, and with a ``summary`` where that stands in the text's place. ``seconds`` is the question's share of the summaries' time."""

    prompt: Prompt
    passages: tuple[Passage, ...]
    dropped: int = 0  # passages left out
    truncated: int = 0  # passages cut
    forgotten: int = 0  # earlier exchanges of the conversation left out, the oldest ones
    spent: Spent = NOTHING
    seconds: float = 0.0

    @property
    def summarised(self) -> int:
        """Passages that the prompt holds in summary."""
        return sum("summary" in passage for passage in self.passages)


def fit(
    answerer: Answerer,
    template: Renders,
    question: str,
    passages: Sequence[Passage],
    *,
    window: int,
    reserve: int,
    overflow: Rule = "drop-passages",
    earlier: Sequence[Message] = (),
) -> Fitted:
    """The prompt for one question; see :func:`fit_all`."""
    return fit_all(answerer, template, [(question, passages)], window=window, reserve=reserve, overflow=overflow, earlier=[earlier])[0]


def fit_all(
    answerer: Answerer,
    template: Renders,
    asked: Sequence[tuple[str, Sequence[Passage]]],
    *,
    window: int,
    reserve: int,
    overflow: Rule = "drop-passages",
    earlier: Sequence[Sequence[Message]] | None = None,
    batch_size: int = 16,
    progress: Callable[[float], None] | None = None,
    kept: Kept | None = None,
) -> list[Fitted]:
    """For every question with its passages (best first) a prompt that fits into ``window`` tokens, with ``reserve`` for the answer.

    ``template`` has the variables ``question`` and ``passages``. ``earlier`` are for each question the turns of its conversation before
    it, whole exchanges: of those the oldest are left out first, as many as must. Summaries of all questions are made together,
    ``batch_size`` at a time; ``progress`` gets the share of them that is done, and may raise to stop; ``kept`` remembers them.
    StepError, naming the question, where it does not fit without any passage, or under ``fail`` with all of them.
    """

    room = window - reserve
    talks = [
        _Talk(answerer, template, question, passages, turns, room)
        for (question, passages), turns in zip(asked, earlier or [()] * len(asked), strict=True)
    ]
    if not isinstance(overflow, Summaries):
        return [_fitted(talk, passages, window, overflow) for talk, (_, passages) in zip(talks, asked, strict=True)]
    for talk in talks:
        _fitted(talk, [], window, "fail")  # raises where no summary would help
    drafts = summarise(
        answerer,
        overflow,
        asked,
        lambda number, passages: not talks[number].fits(passages),
        window=window,
        batch_size=batch_size,
        progress=progress or (lambda share: None),
        kept=kept,
    )
    return [
        replace(one, dropped=one.dropped + draft.dropped, spent=draft.spent, seconds=draft.seconds)
        for draft in drafts
        for one in [_fitted(talks[draft.number], draft.passages, window, "drop-passages")]
    ]


class _Talk:
    """A question, after as many of the exchanges before it as leave ``room`` (in tokens) for its passages; ``forgotten`` counts the
    others, which are the oldest."""

    def __init__(
        self,
        answerer: Answerer,
        template: Renders,
        question: str,
        passages: Sequence[Passage],
        earlier: Sequence[Message],
        room: int,
    ) -> None:
        self._answerer, self._template, self._earlier = answerer, template, earlier
        self.question, self.room, self.forgotten = question, room, 0
        self.forgotten = bisect_left(range(len(earlier) // 2), True, key=lambda number: self.fits(passages, number))

    def prompt(self, passages: Sequence[Passage], forgotten: int | None = None) -> Prompt:
        earlier = self._earlier[2 * (self.forgotten if forgotten is None else forgotten) :]
        return self._answerer.prompt(render(self._template, self.question, passages), earlier)

    def fits(self, passages: Sequence[Passage], forgotten: int | None = None) -> bool:
        return len(self.prompt(passages, forgotten).tokens) <= self.room


def _fitted(talk: _Talk, passages: Sequence[Passage], window: int, overflow: Literal["drop-passages", "truncate", "fail"]) -> Fitted:
    kept = len(passages)
    while len((prompt := talk.prompt(passages[:kept])).tokens) > talk.room:
        if overflow == "fail" or not kept:
            raise _misfit(talk.question, prompt, kept, window - talk.room, window)
        kept -= 1
    if overflow == "truncate" and kept < len(passages):
        whole, next_best = passages[:kept], passages[kept]
        text = beginning(next_best["text"], lambda text: len(talk.prompt([*whole, next_best | {"text": text}]).tokens), talk.room)
        if text:
            cut = (*whole, _cut(next_best, text))
            return Fitted(talk.prompt(cut), cut, dropped=len(passages) - len(cut), truncated=1, forgotten=talk.forgotten)
    return Fitted(prompt, tuple(passages[:kept]), dropped=len(passages) - kept, forgotten=talk.forgotten)


def _cut(passage: Passage, text: str) -> Passage:
    """The passage as far as ``text``, its beginning, goes; its span ends with it."""
    span = {"end": min(passage["end"], passage["start"] + len(text))} if isinstance(passage.get("end"), int) else {}
    return passage | {"text": text} | span


def _misfit(question: str, prompt: Prompt, passages: int, reserve: int, window: int) -> StepError:
    return StepError(
        f"the prompt has {len(prompt.tokens)} tokens with {passages} passages; with {reserve} for the answer that is more than {window}",
        where=question if len(question) <= 80 else question[:79] + "…",
        remedy="lower max_new_tokens or top_k, shorten the prompt, or raise context_window as far as the model allows"
        + (", or choose another rule than overflow: {kind: fail}" if passages else ""),
    )
