from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from runner.cli.ask import Model, TopK, open_chat, print_reply, readable
from runner.cli.options import Artifacts, RunName

if TYPE_CHECKING:
    from runner.answering import Chat


def command(
    run: RunName,
    rag: Annotated[bool, typer.Option("--rag/--no-rag", help="With passages from the run's index, if it has one.")] = True,
    model: Model = None,
    top_k: TopK = None,
    artifacts: Artifacts = None,
) -> None:
    """Talk with the 4-bit model that a run has made.

    The model sees the earlier questions and answers; each question gets its own passages, and the sources are named with their pages.
    ^C stops an answer, or ends the conversation while a question is awaited; so does the end of the input (^D). Without a terminal
    every line of the standard input is a question.
    """
    chat = open_chat(run, artifacts, rag=rag, model=model, top_k=top_k)
    try:
        if sys.stdin is not None and sys.stdin.isatty():
            _talk(chat)
        else:
            for line in sys.stdin or ():
                if question := readable(line):
                    _answer(chat, question)
    finally:
        chat.close()


def _talk(chat: Chat) -> None:
    """Questions from a terminal. One that cannot be asked does not end the conversation."""
    import readline  # noqa: F401 - gives input() a history and keys to edit the line

    from runner.cli.output import complain
    from runner.errors import RunnerError

    print("Ask what you like; ^D ends.", file=sys.stderr)
    while True:
        try:
            question = readable(input("\n> "))
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not question:
            continue
        try:
            _answer(chat, question)
        except RunnerError as error:
            complain(error)
        except KeyboardInterrupt:
            print("(stopped)", file=sys.stderr)


def _answer(chat: Chat, question: str) -> None:
    reply = chat.ask(question)
    if reply.forgotten:
        what = "exchange is" if reply.forgotten == 1 else f"{reply.forgotten} exchanges are"
        print(f"(the context is full: the oldest {what} left out)", file=sys.stderr)
    print_reply(reply, searched=chat.searches)
