from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.options import Artifacts, Format, Formats, RunName, find_run, project_root
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.answering import Chat, Reply
    from runner.reports.record import Json, Made, Run
    from runner.steps.answer import Params

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
    form: Formats = Format.text,
    artifacts: Artifacts = None,
) -> None:
    """Ask the 4-bit model that a run has made.

    The model sees what the run's own answers had it see: their prompt, passages selected alike, the same rule for what does not fit.
    Sources are named with their pages. `--format json` has their texts and the whole prompt too.
    """
    if not (question := readable(question)):
        raise UsageError("the question is empty", remedy='recipe ask NAME "What does the corpus say about …?"')
    chat = open_chat(run, artifacts, rag=rag, model=model, top_k=top_k)
    reply = chat.ask(question)
    if form is Format.json:
        print(json.dumps({"question": question, "prompt": reply.prompt, "sources": reply.sources, "dropped": reply.dropped}
                         | {"answer": "".join(reply.pieces).strip()}, ensure_ascii=False))  # fmt: skip
    else:
        print_reply(reply, searched=chat.searches)
    chat.close()


def readable(text: str) -> str:
    """What was typed, without space around it; bytes that are no UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").strip()


def open_chat(run: str, artifacts: Path | None, *, rag: bool, model: str | None, top_k: int | None) -> Chat:
    """A conversation with a run's GGUF as one of the run's steps of the kind `answer` would have it, or else its export."""
    from runner.reports.record import Run

    opened = Run.open(find_run(run, artifacts))
    gguf = _choose(opened.made("model", form="gguf"), model)
    step, index = _like(opened, gguf, rag)
    params, root = _params(step), project_root()

    from runner.answering import Chat, Generation
    from runner.prompts import load
    from runner.steps import answer

    return Chat(
        gguf.folder,
        None if index is None else answer.selector(params, index.folder, root, "cpu"),
        load(root, params.prompt),
        top_k=top_k or params.top_k,
        generation=Generation(params.max_new_tokens, params.temperature, params.top_p, params.seed),
        context_window=params.context_window,
        overflow=answer.rule(params, lambda file: load(root, file)),
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
        raise UsageError(
            "this run has no GGUF",
            remedy="run the recipe with a step that exports one, or name an earlier run by NAME/TIME (`recipe runs` lists them)",
        )
    chosen = [made for made in found if wanted is None or wanted in (made.label, made.instance["step"])]
    if not chosen:
        raise UsageError(f"the run has no GGUF of `{wanted}`", remedy=f"it has {', '.join(made.label for made in found)}")
    if len(chosen) > 1:
        print(f"asking {chosen[-1].label}; --model chooses another of {', '.join(made.label for made in found)}", file=sys.stderr)
    return chosen[-1]


def _like(run: Run, gguf: Made, rag: bool) -> tuple[Json, Made | None]:
    """The step to ask as, and its index: first those that answer with this GGUF, then its export, then whatever else answers; of them
    first those with an index, or, without retrieval, those that have none."""
    answering = [step for step in run.instances if step.get("kind") == "answer"]
    own = [step for step in answering if any(ref["instance"] == gguf.instance["id"] for refs in step["inputs"].values() for ref in refs)]
    steps = [step for step in (*own, gguf.instance, *answering) if step["params"].get("prompt")]
    if not steps:
        raise UsageError(
            "no step of this run names a prompt to ask with", remedy="give the step that exports, or one that answers, a `prompt`"
        )
    found = [(step, next(iter(run.inputs(step, "index")), None)) for step in steps]
    step, index = next(((step, index) for step, index in found if (index is not None) == rag), found[0])
    return step, index if rag else None


def _params(step: Json) -> Params:
    """The parameters of a step that answers; an export's as if it did."""
    import msgspec

    from runner.steps.answer import Params

    shared = ("prompt", "top_k", "max_new_tokens")
    given = step["params"] if step["kind"] == "answer" else {name: step["params"][name] for name in shared if name in step["params"]}
    try:
        return msgspec.convert(given, Params)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"the parameters of {step['id']} are not those of this version: {error}", remedy="run the recipe again, which answers anew"
        ) from None


def _source(passage: dict[str, Any]) -> str:
    parts = [passage.get("title") or passage.get("document") or passage.get("chunk"), passage.get("section")]
    page = [f"page {passage['page']}"] if passage.get("page") else []
    score = f"({passage['score']:.2f})" + ", in summary" * ("summary" in passage)
    return ", ".join([*dict.fromkeys(str(part) for part in parts if part), *page]) + f" {score}"
