"""An Ollama Modelfile for a GGUF: its chat template said again in the language of Ollama's templates (Go's text/template)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonprefix

from runner.errors import StepError

#: Renders messages by a chat template; the flag asks for the beginning of the assistant's turn at the end.
Renders = Callable[[Sequence[Mapping[str, str]], bool], str]

# Words that no template holds, in place of what is said.
_SYSTEM, _QUESTION, _ANSWER, _AGAIN = "SYSTEMQZ", "QUESTIONQZ", "ANSWERQZ", "AGAINQZ"


@dataclass(frozen=True)
class Turns:
    """A chat template that puts fixed texts around every message: what most are, whatever they look like.

    ``default`` stands at the beginning where no system message is given; ``around`` has the texts before and after a message, by role;
    ``reply`` begins the assistant's turn.
    """

    opening: str
    default: str
    around: Mapping[str, tuple[str, str]]
    reply: str

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        told = "".join(self.around[turn["role"]][0] + turn["content"] + self.around[turn["role"]][1] for turn in messages)
        return self.opening + ("" if messages[0]["role"] == "system" else self.default) + told + self.reply


def turns(render: Renders, bos: str = "") -> Turns | None:
    """What the chat template behind ``render`` puts around messages; None where that is not all it does (it numbers the turns, say, or
    moves the system prompt into the first question). ``bos`` is the text of the token that begins every prompt."""
    user, assistant, again = _turn("user", _QUESTION), _turn("assistant", _ANSWER), _turn("user", _AGAIN)
    try:
        lead, tail = _cut(render([user], True), _QUESTION)
        between, rest = _cut(_cut(render([user, assistant, again], True), _QUESTION)[1], _ANSWER)
        after_answer = _cut(rest, _AGAIN)[0]
        if render([user], False) != lead + _QUESTION + tail:
            after_user = _cut(render([user], False), _QUESTION)[1]
            after_assistant = _cut(render([user, assistant], False), _ANSWER)[1]
        else:  # Llama 3's first template always begins the assistant's turn: the end of the user's is then taken for part of that
            same = commonprefix([lead.removeprefix(bos)[::-1], after_answer[::-1]])  # noqa: RUF071 - of texts, not of paths
            after_user, after_assistant = "", after_answer.removesuffix(same[::-1])
        reply, next_user = _without(tail, after_user), _without(after_answer, after_assistant)
        around = {"user": (next_user, after_user), "assistant": (_without(between, after_user), after_assistant)}
        default = _before(lead, next_user)
        opening = bos if bos and default.startswith(bos) else ""
        try:
            before, rest = _cut(render([_turn("system", _SYSTEM), user], True), _SYSTEM)
        except StepError:  # the template refuses system messages
            pass
        else:
            around["system"] = (_without(before, opening), _before(_cut(rest, _QUESTION)[0], next_user))
        found = Turns(opening, default.removeprefix(opening), around, reply)
        return found if all(found.render(talk) == render(talk, True) for talk in _talks("system" in around)) else None
    except (ValueError, StepError):
        return None


def modelfile(found: Turns, *, system_prompt: str | None, context_window: int, max_new_tokens: int, adds_bos: bool) -> str | None:
    """The Modelfile's text, for a ``model.gguf`` beside it. Greedy and without penalties, as ``inference.py`` is.

    ``adds_bos`` says that llama.cpp begins every prompt with the token of that name itself. None where a text cannot be said in a
    Modelfile, or where the template has no place for the system prompt.
    """
    opening, default = "" if adds_bos else found.opening, found.default
    if system_prompt is not None:
        if "system" not in found.around:
            return None
        if not system_prompt:  # Ollama leaves out a system message that is empty
            default = "".join(found.around["system"])
    fixed = [opening, default, found.reply, system_prompt or "", *(text for pair in found.around.values() for text in pair)]
    if any(mark in text for text in fixed for mark in ('"""', "{{", "}}")):
        return None
    lead = f"{opening}{{{{ if not .System }}}}{default}{{{{ end }}}}" if default else opening
    cases = [
        f'{{{{ {"else " if number else ""}if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}'
        for number, (role, (before, after)) in enumerate(sorted(found.around.items()))
    ]
    template = f"{lead}{{{{ range .Messages }}}}{''.join(cases)}{{{{ end }}}}{{{{ end }}}}{found.reply}"
    stop = found.around["assistant"][1].strip()
    lines = [
        "# ollama create NAME -f Modelfile",
        "FROM ./model.gguf",
        f'TEMPLATE """{template}"""',
        *([f'SYSTEM """{system_prompt}"""'] if system_prompt else []),
        *([f'PARAMETER stop "{stop}"'] if stop and '"' not in stop and "\n" not in stop else []),
        f"PARAMETER num_ctx {context_window}",
        f"PARAMETER num_predict {max_new_tokens}",
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1.0",
    ]
    return "\n".join(lines) + "\n"


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _talks(system: bool) -> list[list[dict[str, str]]]:
    """Conversations of several lengths, with and without a system message."""
    plain = [_turn("assistant" if number % 2 else "user", f"Words, {number} of them.\nAnd a line.") for number in range(5)]
    talks = [plain[:count] for count in (1, 3, 5)]
    return [*talks, *([_turn("system", "Be brief."), *talk] for talk in talks if system)]


def _cut(text: str, word: str) -> tuple[str, str]:
    before, after = text.split(word)  # ValueError where it stands twice, or not at all
    return before, after


def _without(text: str, start: str) -> str:
    if not text.startswith(start):
        raise ValueError(start)
    return text.removeprefix(start)


def _before(text: str, end: str) -> str:
    if not text.endswith(end):
        raise ValueError(end)
    return text.removesuffix(end)
