"""What the tests of synthesize share: three small texts, a Gemini that writes about them, and a run of the step."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from runner.contract import Artifact
from runner.steps import synthesize
from runner.steps.synthesize import Params, Resources
from tests.steps.local_context import LocalContext, artifact
from tests.teachers.gemini_server import Answer, Server, says

ROOT = Path(__file__).parents[2]
KEY = "canary-4711-key"
TEXTS = {
    "cache": "DualCache is a two-level store for the keys and values of a model. Each DualCache node keeps three copies of every block. "
    "Blocks are written in order because a reader may follow at once.\n\nThe eviction policy is chosen by measuring the reuse distance.",
    "router": "The Router sends each token to two experts of the layer. To balance the load, the Router adds a bias to each score. "
    "Balanced Expert Placement (BEP) is the name of this idea.\n\nIf an expert is full, the Router picks the next expert on the list.",
    "trainer": "A Trainer shard holds four optimizer states in memory. Checkpoints are stored on local disks of the node. "
    "The Trainer uses a warm-up phase to avoid early divergence.\n\nA restart takes less time than a full reload of the weights.",
}


def documents(folder: Path) -> Artifact:
    main = folder / "documents"
    main.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": id,
            "title": f"On the {id}",
            "text": text,
            "pages": [{"page": 1, "start": 0, "end": 150}, {"page": 2, "start": 150, "end": 9999}],
        }
        for id, text in TEXTS.items()
    ]
    (main / "documents.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return artifact(main, "documents", step="papers")


def chunks(folder: Path) -> Artifact:
    main = folder / "chunks"
    main.mkdir(parents=True, exist_ok=True)
    with (main / "chunks.jsonl").open("w") as file:
        for id, text in TEXTS.items():
            start = 0
            for number, part in enumerate(text.split("\n\n")):
                start = text.index(part, start)
                place = {"document": id, "title": f"On the {id}", "section": "S", "page": 7, "start": start, "end": start + len(part)}
                file.write(json.dumps({"id": f"{id}#{number}", "text": part, **place}) + "\n")
    return artifact(main, "chunks", step="chunks")


PROMPTS = {
    "whole-document": {"prompt": "prompts/qa/whole_document.j2"},
    "per-chunk": {"prompt": "prompts/qa/per_chunk.j2"},
    "retrieve-then-answer": {"prompt": "prompts/qa/retrieve_then_answer.j2", "questions_prompt": "prompts/qa/questions.j2"},
}
HOPS = "prompts/qa/multi_hop.j2"
MULTI_HOP: dict[str, Any] = {"multi_hop_prompt": HOPS, "question_types": {"multi-hop": 1}}
EXTRACTIVE = {"provider": "extractive"}
GEMINI = {"provider": "google-generativeai", "model": "gemini-3.6-flash"}


def params(mode: str = "per-chunk", teacher: dict[str, Any] = EXTRACTIVE, **more: Any) -> Params:
    return msgspec.convert({"mode": mode, "teacher": teacher, "count": 1, **PROMPTS[mode], **more}, Params)


@dataclasses.dataclass
class Made:
    folder: Path
    ctx: LocalContext

    def rows(self, name: str = "examples") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "main" / f"{name}.jsonl").read_text().splitlines()]


def make(
    tmp_path: Path, wanted: Params, index: Artifact | None = None, server: Server | None = None, name: str = "out", **resources: Any
) -> Made:
    """Run the step on the three texts."""
    given: dict[str, Any] = {}
    if server:
        given = {"endpoint": server.url, "backoff": 0.01, "api_key_env": "GOOGLE_API_KEY"}
    ctx = LocalContext(tmp_path, ROOT, Resources(**{**given, **resources}), secrets={"GOOGLE_API_KEY": KEY, "OTHER": "other-key"})
    inputs: dict[str, Any] = {"documents": None, "chunks": None, "index": None}
    if wanted.mode == "whole-document":
        inputs["documents"] = documents(tmp_path / "in")
    else:
        inputs["chunks"] = chunks(tmp_path / "in")
    if wanted.mode != "whole-document":
        inputs["index"] = index if wanted.mode == "retrieve-then-answer" or wanted.multi_hop_prompt else None
    synthesize.run(wanted, inputs, tmp_path / name, ctx)
    return Made(tmp_path / name, ctx)


def teach(number: int, body: dict[str, Any]) -> Answer:
    """A well-behaved Gemini: a pair, a question or an answer about the first sentence between the marks."""
    prompt = body["contents"][0]["parts"][0]["text"]
    properties = body["generationConfig"]["responseSchema"]["properties"]
    inside = prompt.rsplit("BEGIN ", 1)[1].split("\n", 1)[1]
    line = next(line for line in inside.splitlines() if line.endswith(".") and len(line.split()) > 7)
    sentence = line.removesuffix(".").split(". ")[0] + "."
    if "pairs" in properties:
        return says(
            json.dumps({"pairs": [{"question": f"Q {sentence}?", "answer": "An answer.", "quotes": [sentence], "type": "factual"}]})
        )
    if "questions" in properties:
        return says(json.dumps({"questions": [{"question": f"What about: {sentence}?", "type": "analytical"}]}))
    return says(json.dumps({"answerable": True, "answer": "An answer.", "passage": 1, "quote": sentence}))


def payload(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((out / "main").iterdir())}


def numbered(number: int, body: dict[str, Any]) -> Answer:
    """A Gemini that gives what is asked for by type, one sentence a pair, and minds what was asked before."""
    prompt = body["contents"][0]["parts"][0]["text"]
    inside = prompt.split("\nBEGIN ", 1)[1].split("\n", 1)[1].split("\nEND ")[0]
    asked = prompt.count("\n- About ")
    types = re.findall(r'- (\d+) of type "([a-z-]+)"', prompt)
    sentences = [part.strip() for line in inside.splitlines() for part in re.split(r"(?<=[.]) ", line) if part.endswith(".")][asked:]
    wanted = [type for count, type in types for _ in range(int(count))]
    return says(
        json.dumps(
            {
                "pairs": [
                    {"question": f"About {sentence}?", "answer": "Yes.", "quotes": [sentence], "type": type}
                    for type, sentence in zip(wanted, sentences, strict=False)
                ]
            }
        )
    )
