"""What some metrics have to be told: plain data. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from runner.contract import Struct, doc


class Label(Struct, tag_field="kind", tag="label"):
    """The label that the answer gives: a whole word, without case (a label of one letter: in its own case)."""

    labels: Annotated[list[Annotated[str, Meta(min_length=1)]], doc("all labels, as the references write them", min_length=2)]
    take: Annotated[
        Literal["whole", "first", "last", "only"],
        doc("whole: the answer is the label and nothing more; first, last: the label mentioned first or last; only: just one is mentioned"),
    ] = "first"


class Number(Struct, tag_field="kind", tag="number"):
    """The number after `####`, else the last number, compared by value."""


class Embedder(Struct):
    """An embedder of texts, loaded by sentence-transformers; only safetensors weights, no remote code."""

    model: Annotated[str, doc("hub id (`org/name`), or a local folder written with a leading `./`, `../` or `/`", min_length=1)]
    revision: Annotated[str | None, doc("hub revision; null: the one in the recipe's lock file")] = None
    max_seq_length: Annotated[
        Annotated[int, Meta(ge=1)] | None, doc("longest text that is embedded; null: the model's own limit", unit="tokens")
    ] = None
    batch_size: Annotated[int, doc("texts embedded at once; moves last bits", unit="texts", ge=1)] = 32

    @property
    def is_folder(self) -> bool:
        return self.model.startswith((".", "/"))
