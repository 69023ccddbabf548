"""How an index is built: the embedder and the FAISS structure, as plain data. Imports nothing heavy."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from runner.contract import Struct, doc

Metric = Literal["cosine", "inner_product"]


Name = Annotated[str, Meta(min_length=1)]

StopWords = Literal[
    "danish", "dutch", "english", "english_plus", "french", "german", "italian", "korean", "norwegian", "portuguese", "russian",
    "spanish", "swedish", "turkish",
]  # fmt: skip
Stemmer = Literal[
    "arabic", "armenian", "basque", "catalan", "czech", "danish", "dutch", "english", "esperanto", "estonian", "finnish", "french",
    "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "persian", "polish",
    "porter", "portuguese", "romanian", "russian", "serbian", "sesotho", "spanish", "swedish", "tamil", "turkish", "yiddish",
]  # fmt: skip


class Texts(Struct):
    """How a model that embeds texts is told questions from chunks, and where it stops reading."""

    revision: Annotated[str | None, doc("hub revision; null: the one in the recipe's lock file")] = None
    query_prompt: Annotated[str | None, doc("text put before every question; null: the model's own prompt, where it has one")] = None
    passage_prompt: Annotated[str | None, doc("text put before every chunk; null: the model's own prompt, where it has one")] = None
    max_seq_length: Annotated[
        Annotated[int, Meta(ge=1)] | None, doc("longest text that is embedded; null: the model's own limit", unit="tokens")
    ] = None


class SentenceTransformer(Texts, tag_field="kind", tag="sentence-transformer"):
    """A dense embedder, loaded by sentence-transformers; only safetensors weights, no remote code."""

    model: Annotated[
        Name | None,
        doc("hub id (`org/name`), or a local folder written with a leading `./`, `../` or `/`; null: the tuned one on the port embedder"),
    ] = None
    batch_size: Annotated[int, doc("texts embedded at once", unit="texts", ge=1)] = 32


class LateInteraction(Texts, tag_field="kind", tag="late-interaction", kw_only=True):
    """A ColBERT (Khattab and Zaharia, 2020): a vector for every token, loaded by sentence-transformers' MultiVectorEncoder.

    It reads Stanford's checkpoints, such as ColBERTv2, and PyLate's; only safetensors weights, no remote code.
    """

    model: Annotated[Name, doc("hub id (`org/name`), or a local folder written with a leading `./`, `../` or `/`")]
    scoring: Annotated[
        Literal["max-sim", "mean-pool"],
        doc("max-sim: for each token of the question its best token of the chunk, summed; mean-pool: one mean vector for each text"),
    ] = "max-sim"
    batch_size: Annotated[int, doc("texts embedded at once", unit="texts", ge=1)] = 32


class Okapi(Struct):
    """BM25 (Robertson and Zaragoza, 2009) over the words of the chunks, by bm25s.

    A question's words add up what each weighs in a chunk: its idf, times how often it stands there, which counts for less and less
    (`k1`), and for less in a long chunk (`b`). Words are taken in lower case and Unicode form NFKC; scripts without spaces (Chinese,
    Japanese, Thai, Lao, Khmer, Burmese) count each pair of neighbouring characters as a word.
    """

    k1: Annotated[float, doc("how soon a repeated word stops counting; 0: it counts once", ge=0)] = 1.5
    b: Annotated[float, doc("how much the length of a chunk counts; 0: not at all", ge=0, le=1)] = 0.75
    method: Annotated[
        Literal["lucene", "robertson", "atire", "bm25l", "bm25+"], doc("which BM25: its formulas, as Kamphuis et al. (2020) list them")
    ] = "lucene"
    delta: Annotated[float, doc("what bm25l and bm25+ add for a word that stands in a chunk; no other method has it", ge=0)] = 0.5
    stopwords: Annotated[StopWords | None, doc("words left out: those that bm25s lists for this language; null: none")] = None
    stemmer: Annotated[
        Stemmer | None, doc("Snowball's rules for this language, which make one word of `model` and `models`; null: words as they are")
    ] = None


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


def by_token(settings: object) -> bool:
    """Whether chunks are searched by a vector for each of their tokens."""
    return isinstance(settings, LateInteraction) and settings.scoring == "max-sim"


def is_folder(model: str) -> bool:
    """Whether a model's name is a folder rather than a hub id."""
    return model.startswith((".", "/"))


class Bm25(Okapi, tag_field="kind", tag="bm25"):
    __doc__ = Okapi.__doc__


class Lexical(Struct, tag_field="kind", tag="lexical"):
    """A vector for the words of a text, weighed by idf, over a vocabulary taken from the chunks: no download, exact words only.

    For the FAISS structures without a model. It takes 4 bytes a chunk and word of the vocabulary; to search by words, BM25 is better.
    """

    max_features: Annotated[int, doc("size of the vocabulary; the words that stand in the most chunks are kept", unit="words", ge=1)] = 8192
    min_df: Annotated[int, doc("words that stand in fewer chunks are left out", unit="chunks", ge=1)] = 1
    use_idf: Annotated[bool, doc("weigh a word by its inverse document frequency, ln((1 + n) / (1 + df)) + 1")] = True
    cumulative_term_frequency: Annotated[bool, doc("count a word as often as it stands in a text, instead of once")] = False


Model = SentenceTransformer | LateInteraction


class Hybrid(Struct, tag_field="kind", tag="hybrid", kw_only=True):
    """A ranking by meaning and one by words (BM25), joined by reciprocal rank fusion (Cormack, Clarke and Büttcher, 2009).

    A chunk scores the sum of 1 / (`rank_constant` + its rank) over the rankings that hold it. The ranking by words is exhaustive.
    """

    dense: Annotated[Model, doc("what ranks by meaning")]
    lexical: Annotated[Okapi, doc("what ranks by words: BM25")] = Okapi()
    rank_constant: Annotated[int, doc("the k of the fusion; larger values tell the first ranks less from the later", ge=0)] = 60
    depth: Annotated[int, doc("chunks taken from each ranking; never fewer than are asked for", unit="chunks", ge=1)] = 100


class Similarity(Struct, tag_field="kind", tag="similarity"):
    """The passages that the search ranks first."""


class InformationDensity(Struct, tag_field="kind", tag="information-density"):
    """By similarity and by information density, so that a passage says much of the matter in few words.

    The density of a passage is the information of its distinct words over the number of its words, in bits a word; the information
    of a word is -log2 of the share of the chunks that hold it, which is its idf (Spärck Jones, 1972; Aizawa, 2003). Both are
    scaled to 0 to 1 over the candidates; a passage scores (1 - `weight`) times its similarity plus `weight` times its density.
    """

    weight: Annotated[float, doc("of the density; 0: similarity alone", ge=0, le=1)] = 0.3
    candidates: Annotated[int, doc("passages that are searched for, to select from", unit="passages", ge=1)] = 20


class MaximalMarginalRelevance(Struct, tag_field="kind", tag="mmr"):
    """Maximal marginal relevance (Carbonell and Goldstein, 1998): each next passage is like the question and unlike those before.

    It takes the passage with the largest `lambda_mult` times its similarity minus (1 - `lambda_mult`) times its largest cosine with a
    passage already taken. Scores that are no cosines are first scaled to 0 to 1 over the candidates.
    """

    lambda_mult: Annotated[float, doc("1: similarity alone; 0: diversity alone", ge=0, le=1)] = 0.5
    candidates: Annotated[int, doc("passages that are searched for, to select from", unit="passages", ge=1)] = 20


class CrossEncoder(Struct, tag_field="kind", tag="cross-encoder", kw_only=True):
    """A reranker that reads question and passage together (Nogueira and Cho, 2019), loaded by sentence-transformers."""

    model: Annotated[Name, doc("hub id (`org/name`), or a local folder written with a leading `./`, `../` or `/`")]
    revision: Annotated[str | None, doc("hub revision; null: the one in the recipe's lock file")] = None
    candidates: Annotated[int, doc("passages that are searched for and read again", unit="passages", ge=1)] = 20
    max_length: Annotated[
        Annotated[int, Meta(ge=1)] | None, doc("longest question with a passage; null: the model's own limit", unit="tokens")
    ] = None
    batch_size: Annotated[int, doc("pairs read at once", unit="pairs", ge=1)] = 32


Embedder = SentenceTransformer | LateInteraction | Lexical | Bm25 | Hybrid
Selection = Similarity | InformationDensity | MaximalMarginalRelevance | CrossEncoder
Structure = Flat | Hnsw | Ivf
