"""Asking one question of a GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.answering import Generation, ask, open_answerer
from runner.errors import ArtifactDamaged, InputError, StepError
from runner.gguf.export import export
from tests.gguf import tiny
from tests.gguf.test_bundle import index


class Template:
    def render(self, **variables: Any) -> str:
        return "\n".join([*(passage["text"] for passage in variables["passages"]), variables["question"]])


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
    reply = ask(root / "gguf", root / "index", "low-rank attention quantisation?", Template(), threads=1, generation=Generation(2))
    assert {source["chunk"] for source in reply.sources} == {"lora#0", "attention#0", "bits#0"}
    assert [source["score"] for source in reply.sources] == sorted((source["score"] for source in reply.sources), reverse=True)
    one = ask(root / "gguf", root / "index", "low-rank attention quantisation?", Template(), top_k=1, threads=1, generation=Generation(2))
    assert one.sources == reply.sources[:1]
    small = ask(
        root / "gguf",
        root / "index",
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
    with pytest.raises(ArtifactDamaged, match="no index can be read here"):
        ask(root / "gguf", tmp_path, "Why?", Template())
    with pytest.raises(StepError, match=r"the prompt has .* tokens with 0 passages"):
        ask(root / "gguf", None, "Why? " * 300, Template())
