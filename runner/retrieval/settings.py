"""How an index is built: the embedder and the FAISS structure, as plain data. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from runner.contract import Struct, doc

Metric = Literal["cosine", "inner_product"]


class SentenceTransformer(Struct, tag_field="kind", tag="sentence-transformer"):
    """A dense embedder, loaded by sentence-transformers; only safetensors weights, no remote code."""

    model: Annotated[str, doc("hub id (`org/name`), or a local folder written with a leading `./`, `../` or `/`", min_length=1)]
    revision: Annotated[str | None, doc("hub revision; null: the one in the recipe's lock file")] = None
    query_prompt: Annotated[str | None, doc("text put before every question; null: the model's own prompt, where it has one")] = None
    passage_prompt: Annotated[str | None, doc("text put before every chunk; null: the model's own prompt, where it has one")] = None
    max_seq_length: Annotated[
        Annotated[int, Meta(ge=1)] | None, doc("longest text that is embedded; null: the model's own limit", unit="tokens")
    ] = None
    batch_size: Annotated[int, doc("texts embedded at once", unit="texts", ge=1)] = 32

    @property
    def is_folder(self) -> bool:
        return self.model.startswith((".", "/"))


class Lexical(Struct, tag_field="kind", tag="lexical"):
    """Weighted bags of words over a vocabulary taken from the chunks: no download, no training, exact words only."""

    max_features: Annotated[int, doc("size of the vocabulary; the words that stand in the most chunks are kept", unit="words", ge=1)] = 8192
    min_df: Annotated[int, doc("words that stand in fewer chunks are left out", unit="chunks", ge=1)] = 1
    use_idf: Annotated[bool, doc("weigh a word by its inverse document frequency, ln((1 + n) / (1 + df)) + 1")] = True
    cumulative_term_frequency: Annotated[bool, doc("count a word as often as it stands in a text, instead of once")] = False


class Flat(Struct, tag_field="kind", tag="flat"):
    """Exhaustive search: exact, linear in the number of chunks."""


class Hnsw(Struct, tag_field="kind", tag="hnsw"):
    """Hierarchical navigable small-world graph (Malkov and Yashunin, 2018).

    The defaults are wide: with FAISS's own 40 and 16, a chunk whose one rare word is asked for can be out of reach.
    """

    m: Annotated[int, doc("neighbours of a node, twice as many on the lowest level", ge=2)] = 32
    ef_construction: Annotated[int, doc("candidates kept while building", ge=1)] = 200
    ef_search: Annotated[int, doc("candidates kept while searching; never fewer than the results asked for", ge=1)] = 128


class Ivf(Struct, tag_field="kind", tag="ivf"):
    """Inverted lists around k-means centroids; a search reads `nprobe` of the `nlist` lists."""

    nlist: Annotated[int, doc("number of lists; needs at least as many chunks, and FAISS advises 39 chunks a list", ge=1)] = 16
    nprobe: Annotated[int, doc("lists read by a search", ge=1)] = 4


Embedder = SentenceTransformer | Lexical
Structure = Flat | Hnsw | Ivf
