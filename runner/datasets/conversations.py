"""Conversations of data sets: lists of turns in the usual public forms, checked and brought into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.datasets.columns import lookup, text_of
from runner.datasets.nested import keys, kind
from runner.datasets.settings import Turns

#: ``{"role": "user" or "assistant", "content": ...}``, as OpenAI's messages and chat templates have it.
Turn = dict[str, str]

_OWN = {role: role for role in ("user", "assistant", "system")}


class Conversations:
    """Reads lists of turns as ``settings`` describe them; ``system_turns`` counts those of a system that were left out."""

    def __init__(self, settings: Turns | None = None) -> None:
        self.settings = settings or Turns()
        self.roles: Mapping[str, str] = _OWN | dict(self.settings.roles)
        self.system_turns = 0

    def read(self, value: Any, source: str) -> list[Turn]:
        """The turns of the user and the assistant, who take them one after the other, the user first.

        ``source`` names the value in messages. ValueError, naming the turn (from 1), for what is no such conversation.
        """
        if not isinstance(value, list):
            raise ValueError(f"`{source}` is {kind(value)} where a list of turns should be")
        turns: list[Turn] = []
        dropped = 0
        for number, item in enumerate(value, 1):
            turn = self._turn(item, f"turn {number} of `{source}`")
            if turn["role"] == "system":
                dropped += 1
            elif turn["role"] == ("assistant" if len(turns) % 2 else "user"):
                turns.append(turn)
            else:
                before = f"and so is the one before: {_SPEAKERS}" if turns else f"the first: {_SPEAKERS}"
                raise ValueError(f"turn {number} of `{source}` is the {turn['role']}'s, {before}")
        if not turns:
            raise ValueError(f"`{source}` holds no turn" + (" but a system's" if dropped else ""))
        self.system_turns += dropped
        return turns

    def _turn(self, item: Any, where: str) -> Turn:
        if not isinstance(item, dict):
            raise ValueError(f"{where} is {kind(item)} where a map should be")
        said = self._part(item, self.settings.role, where)
        role = self.roles.get(said)
        if role is None:
            known = ", ".join(f"`{word}`" for word in self.roles)
            raise ValueError(f"{where} is of `{said[:60]}`, which is none of {known}; say by `turns.roles` what it means")
        if role == "system" and not self.settings.drop_system:
            raise ValueError(f"{where} is a system's, and the system prompt is the model's; `turns: {{drop_system: true}}` leaves it out")
        content = "" if role == "system" else self._part(item, self.settings.content, where)
        if not content and role != "system":
            raise ValueError(f"{where} is empty")
        return {"role": role, "content": content}

    def _part(self, item: Mapping[str, Any], name: str, where: str) -> str:
        try:
            value = lookup(item, name)
        except ValueError:
            raise ValueError(f"{where} has no `{name}`; it has {keys(item)}") from None
        try:
            return text_of(value)
        except ValueError as error:
            raise ValueError(f"`{name}` of {where} is {error}") from None


_SPEAKERS = "user and assistant speak in turn, the user first"


def told(example: Mapping[str, Any]) -> str:
    """The question as a judge needs it: after the turns before it, each with its speaker, where there are any."""
    history = example.get("history") or ()
    question = str(example["question"])
    if not history:
        return question
    turns = [*history, {"role": "user", "content": question}]
    return "\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in turns)


def before_last(turns: Sequence[Turn], source: str) -> list[Turn]:
    """Turns before a question: whole exchanges. ValueError when the last question is left open."""
    if len(turns) % 2:
        raise ValueError(f"`{source}` ends with the user's turn, and the question comes after it")
    return list(turns)


def last_exchange(turns: Sequence[Turn]) -> tuple[list[Turn], str, str]:
    """What was said before, the last question, and its answer, which is empty where the conversation ends with the question."""
    if len(turns) % 2:
        return list(turns[:-1]), turns[-1]["content"], ""
    return list(turns[:-2]), turns[-2]["content"], turns[-1]["content"]
