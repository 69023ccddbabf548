from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.options import Artifacts, RunName, find_run, project_root
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.answering import Chat, Reply
    from runner.reports.record import Json, Made, Run

Model = Annotated[
    str | None, typer.Option("--model", metavar="STEP", help="The GGUF to ask, where the run has several.", show_default=False)
]
TopK = Annotated[
    int | None, typer.Option("--top-k", min=1, metavar="N", help="Passages; by default as many as in the run.", show_default=False)
]


def command(
    run: RunName,
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to ask.", show_default=False)],
    rag: Annotated[bool, typer.Option("--rag/--no-rag", help="With passages from the run's index, if it has one.")] = True,
    model: Model = None,
    top_k: TopK = None,
    artifacts: Artifacts = None,
) -> None:
    """Ask the 4-bit model that a run has made.

    Prompt, passages and their number are those of the run's own answers. Sources are named with their pages.
    """
    if not question.strip():
        raise UsageError("the question is empty", remedy='recipe ask NAME "What does the corpus say about …?"')
    chat = open_chat(run, artifacts, rag=rag, model=model, top_k=top_k)
    print_reply(chat.ask(question), searched=chat.searches)
    chat.close()


def open_chat(run: str, artifacts: Path | None, *, rag: bool, model: str | None, top_k: int | None) -> Chat:
    """A conversation with a run's GGUF, with the prompt, the passages and the generation of the run's own answers."""
    from runner.reports.record import Run

    opened = Run.open(find_run(run, artifacts))
    gguf = _choose(opened.made("model", form="gguf"), model)
    steps = _answering(opened, gguf)
    params = next((step["params"] for step in steps if step["params"].get("prompt")), None)
    if params is None:
        raise UsageError(
            "no step of this run names a prompt to ask with", remedy="give the step that exports, or one that answers, a `prompt`"
        )
    index = next((made for step in steps for made in opened.inputs(step, "index")), None) if rag else None

    from runner.answering import Chat, Generation
    from runner.prompts import load

    settings = {name: params[name] for name in ("max_new_tokens", "temperature", "top_p", "seed") if params.get(name) is not None}
    return Chat(
        gguf.folder,
        None if index is None else index.folder,
        load(project_root(), params["prompt"]),
        top_k=top_k or params.get("top_k") or 3,
        generation=Generation(**settings),
    )


def print_reply(reply: Reply, *, searched: bool) -> None:
    """Print the answer as it is made, then its sources. ^C stops the answer, and is passed on after a line end."""
    try:
        for piece in reply.pieces:
            print(piece, end="", flush=True)
    finally:
        reply.pieces.close()
        print(flush=True)
    if reply.sources:
        print("\nSources" + (f" ({reply.dropped} more did not fit)" if reply.dropped else ""))
        for number, passage in enumerate(reply.sources, 1):
            print(f"  {number}. {_source(passage)}")
    elif searched:
        print("\nNo passage of the index was given to the model: " + ("none fitted." if reply.dropped else "none matches the question."))


def _choose(found: Sequence[Made], wanted: str | None) -> Made:
    if not found:
        raise UsageError("this run has no GGUF", remedy="run the recipe with a step that exports one")
    chosen = [made for made in found if wanted is None or wanted in (made.label, made.instance["step"])]
    if not chosen:
        raise UsageError(f"the run has no GGUF of `{wanted}`", remedy=f"it has {', '.join(made.label for made in found)}")
    if len(chosen) > 1:
        print(f"asking {chosen[-1].label}; --model chooses another of {', '.join(made.label for made in found)}", file=sys.stderr)
    return chosen[-1]


def _answering(run: Run, gguf: Made) -> list[Json]:
    """The steps to take prompt and index from: those that answer with this GGUF, its export, then whatever else answers."""
    steps = [instance for instance in run.instances if any(output["type"] == "answers" for output in instance["outputs"].values())]
    own = [step for step in steps if any(ref["instance"] == gguf.instance["id"] for refs in step["inputs"].values() for ref in refs)]
    return [*own, gguf.instance, *(step for step in steps if step not in own)]


def _source(passage: dict[str, Any]) -> str:
    parts = [passage.get("title") or passage.get("document") or passage.get("chunk"), passage.get("section")]
    page = [f"page {passage['page']}"] if passage.get("page") else []
    return ", ".join([*dict.fromkeys(str(part) for part in parts if part), *page]) + f" ({passage['score']:.2f})"
