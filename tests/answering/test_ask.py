"""Asking one question of a GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.answering import Chat, Generation, ask, open_answerer
from runner.errors import InputError, StepError
from runner.gguf.export import export
from runner.retrieval import open_index
from runner.retrieval.selection import Selector
from runner.retrieval.settings import Similarity
from tests.gguf import tiny
from tests.gguf.test_bundle import index


class Template:
    def render(self, **variables: Any) -> str:
        return "\n".join([*(passage["text"] for passage in variables["passages"]), variables["question"]])


def found(folder: Path) -> Selector:
    return Selector(open_index(folder), Similarity())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ask")
    base = tiny.model(folder / "base", initializer_range=0.05)
    (folder / "gguf").mkdir()
    export(base, folder / "gguf" / "model.gguf", quantization="Q8_0")
    tiny.record(folder / "gguf", form="gguf", architecture="qwen2", system_prompt="Be brief.")
    index(folder / "index")
    return folder


def test_the_answer_comes_in_pieces_and_is_that_of_a_batch(root: Path) -> None:
    reply = ask(root / "gguf", None, "What is attention?", Template(), threads=1, generation=Generation(10))
    pieces = list(reply.pieces)
    assert len(pieces) > 3
    answerer = open_answerer(root / "gguf", "gguf", Path, threads=1)
    assert "".join(pieces).strip() == answerer.answer([answerer.prompt("What is attention?")], Generation(10))[0].text
    assert (reply.sources, reply.dropped) == ((), 0)


def test_sources_are_what_the_prompt_holds(root: Path) -> None:
    reply = ask(root / "gguf", found(root / "index"), "low-rank attention quantisation?", Template(), threads=1, generation=Generation(2))
    assert {source["chunk"] for source in reply.sources} == {"lora#0", "attention#0", "bits#0"}
    assert [source["score"] for source in reply.sources] == sorted((source["score"] for source in reply.sources), reverse=True)
    one = ask(
        root / "gguf", found(root / "index"), "low-rank attention quantisation?", Template(), top_k=1, threads=1, generation=Generation(2)
    )
    assert one.sources == reply.sources[:1]
    small = ask(
        root / "gguf",
        found(root / "index"),
        "low-rank attention quantisation?",
        Template(),
        context_window=150,
        threads=1,
        generation=Generation(2),
    )
    assert small.sources == reply.sources[: 3 - small.dropped]
    assert small.dropped > 0


def test_an_answer_may_be_left_half_read(root: Path) -> None:
    reply = ask(root / "gguf", None, "Why?", Template(), threads=1, generation=Generation(50))
    next(iter(reply.pieces))
    reply.pieces.close()  # type: ignore[attr-defined]


def test_what_is_wrong_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"no model\.json"):
        ask(tmp_path, None, "Why?", Template())
    tiny.record(tmp_path, form="gguf", architecture="qwen2")
    with pytest.raises(InputError, match="no such GGUF file"):
        ask(tmp_path, None, "Why?", Template())
    with pytest.raises(StepError, match=r"the prompt has .* tokens with 0 passages"):
        ask(root / "gguf", None, "Why? " * 300, Template())


def test_a_conversation_remembers_what_was_said(root: Path) -> None:
    chat = Chat(root / "gguf", found(root / "index"), Template(), top_k=1, threads=1, generation=Generation(6))
    assert chat.searches
    said = ["".join(chat.ask(question).pieces).strip() for question in ("low-rank?", "attention?")]
    chat.close()
    answerer = open_answerer(root / "gguf", "gguf", Path, threads=1)
    passages = {
        question: ask(root / "gguf", found(root / "index"), question, Template(), top_k=1, threads=1).sources
        for question in ("low-rank?", "attention?")
    }
    earlier = [{"role": "user", "content": "low-rank?"}, {"role": "assistant", "content": said[0]}]  # without its passages
    prompt = answerer.prompt(Template().render(question="attention?", passages=passages["attention?"]), earlier)
    assert passages["attention?"][0]["text"] in prompt.text
    assert passages["low-rank?"][0]["text"] not in prompt.text
    assert answerer.answer([prompt], Generation(6))[0].text == said[1]


def test_the_oldest_exchanges_make_room_before_any_passage(root: Path) -> None:
    chat = Chat(root / "gguf", found(root / "index"), Template(), threads=1, generation=Generation(20), context_window=230)
    replies = []
    for _ in range(5):
        replies.append(chat.ask("low-rank attention quantisation?"))
        "".join(replies[-1].pieces)
    assert replies[0].forgotten == 0
    assert 0 < replies[-1].forgotten < 5
    assert all(reply.dropped == replies[0].dropped for reply in replies)
    with pytest.raises(StepError, match="the prompt has"):
        chat.ask("Why? " * 300)
    assert "".join(chat.ask("Why?").pieces)  # the conversation goes on
    chat.close()


def test_an_answer_that_was_stopped_is_part_of_the_conversation(root: Path) -> None:
    chat = Chat(root / "gguf", None, Template(), threads=1, generation=Generation(50))
    reply = chat.ask("Why?")
    begun = next(reply.pieces)
    reply.pieces.close()
    assert chat._turns == [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": begun.strip()}]
    chat.close()
