from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from math import log
from pathlib import Path

import numpy as np
import pytest

from runner.errors import ArtifactDamaged, InputError
from runner.retrieval import Bm25, Flat, Index, Okapi, open_index
from runner.retrieval.bm25 import Words
from runner.retrieval.build import build_index
from runner.retrieval.selection import Selector
from runner.retrieval.settings import MaximalMarginalRelevance

TEXTS = [
    "the cache holds the keys of the cache",
    "a router sends tokens to experts and the cache waits",
    "experts",
    "keys and values of a long context are held by many blocks of memory",
]


def write(folder: Path, texts: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "given.jsonl"
    path.write_text("".join(json.dumps({"id": f"c{number}", "text": text}) + "\n" for number, text in enumerate(texts)))
    return path


def index_of(folder: Path, settings: Bm25, texts: list[str] = TEXTS) -> Index:
    build_index(write(folder, texts), folder / "index", embedder=settings, structure=Flat())
    return open_index(folder / "index")


def ids(index: Index, question: str, k: int = 10) -> list[str]:
    return [hit.chunk["id"] for hit in index.search([question], k)[0]]


K1, B, DELTA = 1.2, 0.6, 0.7

#: Weight of a word and of its count in a chunk, as Kamphuis et al. (2020), "Which BM25 do you mean?", write them;
#: `long` is 1 - b + b * length / mean length.
FORMULAS: dict[str, tuple[Callable[[int, int], float], Callable[[float, float], float]]] = {
    "robertson": (lambda n, df: log(max(1, (n - df + 0.5) / (df + 0.5))), lambda tf, long: tf / (tf + K1 * long)),
    "lucene": (lambda n, df: log(1 + (n - df + 0.5) / (df + 0.5)), lambda tf, long: tf / (tf + K1 * long)),
    "atire": (lambda n, df: log(n / df), lambda tf, long: (K1 + 1) * tf / (tf + K1 * long)),
    "bm25l": (lambda n, df: log((n + 1) / (df + 0.5)), lambda tf, long: (K1 + 1) * (tf / long + DELTA) / (K1 + tf / long + DELTA)),
    "bm25+": (lambda n, df: log((n + 1) / df), lambda tf, long: (K1 + 1) * tf / (tf + K1 * long) + DELTA),
}


@pytest.mark.parametrize("method", FORMULAS)
def test_scores_are_those_of_the_formula(method: str, tmp_path: Path) -> None:
    delta = {"delta": DELTA} if method in ("bm25l", "bm25+") else {}
    index = index_of(tmp_path / "i", Bm25(k1=K1, b=B, method=method, **delta))
    idf, weight = FORMULAS[method]
    words = [text.split() for text in TEXTS]
    mean = sum(map(len, words)) / len(words)
    for question in ("keys experts", "cache keys cache", "router unknown", "of"):
        asked = [word for word in question.split() if any(word in text for text in words)]
        held = {n for n, text in enumerate(words) if set(text) & set(asked)}
        expected = {}
        for number in held:
            counts, long = Counter(words[number]), 1 - B + B * len(words[number]) / mean
            expected[f"c{number}"] = sum(idf(4, sum(word in text for text in words)) * weight(counts[word], long) for word in asked)
        hits = index.search([question], 4)[0]
        positive = {id: score for id, score in expected.items() if score > 0}
        assert {hit.chunk["id"]: hit.score for hit in hits} == pytest.approx(positive, rel=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_scores_are_those_of_rank_bm25(tmp_path: Path) -> None:
    """Its BM25Plus (0.2.2) with the same k1, b and delta, for the question `cache keys` in TEXTS; its third chunk has no word of it."""
    index = index_of(tmp_path / "i", Bm25(k1=K1, b=B, delta=DELTA, method="bm25+"))
    found = {hit.row: hit.score for hit in index.search(["cache keys"], 4)[0]}
    assert found == pytest.approx({0: 3.476825, 1: 2.139617, 3: 2.028912}, rel=1e-5)


def test_a_repeated_word_counts_for_less_and_a_long_chunk_too(tmp_path: Path) -> None:
    """What tells BM25 from an idf-weighed bag of words."""
    filler = " ".join(f"w{n}" for n in range(29))
    texts = [f"expert router {filler}", "expert " * 30 + "router", "expert router", "expert", *["nothing of it"] * 5]

    def scores(name: str, settings: Bm25, question: str) -> dict[str, float]:
        return {hit.chunk["id"]: hit.score for hit in index_of(tmp_path / name, settings, texts).search([question], 4)[0]}

    expert = scores("short", Bm25(b=0), "expert")
    assert 1 < expert["c1"] / expert["c0"] < 2.5  # 30 times the word: less than k1 + 1 times the weight
    assert expert["c0"] == pytest.approx(expert["c3"])  # without b, length does not count
    router = scores("long", Bm25(b=1), "router")
    assert router["c2"] > 2 * router["c0"]
    assert router["c0"] == pytest.approx(router["c1"])  # of the same length


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("LoRA's rank-8 update of top_k, 3.5 times", ["lora", "s", "rank", "8", "update", "of", "top_k", "3", "5", "times"]),
        ("eﬃcient Ｑｕｅｒｙ", ["efficient", "query"]),  # a ligature of PDFs, full-width letters
        ("Größe, naïve cafe\u0301", ["größe", "naïve", "café"]),
        ("大语言模型的 KV 缓存", ["大语", "语言", "言模", "模型", "型的", "kv", "缓存"]),
        ("用GPU训练", ["用", "gpu", "训练"]),
        ("モデルを訓練する", ["モデ", "デル", "ルを", "を訓", "訓練", "練す", "する"]),
        ("ภาษาไทย", ["ภา", "าษ", "ษา", "าไ", "ไท", "ทย"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("언어 모델", ["언어", "모델"]),
        ("...!? ", []),
    ],
)
def test_how_texts_are_cut_into_words(text: str, words: list[str]) -> None:
    assert Words.of(Okapi()).find(text) == words


def test_stop_words_and_stems(tmp_path: Path) -> None:
    assert Words.of(Okapi(stopwords="english")).find("The models of a cache") == ["models", "cache"]
    assert Words.of(Okapi(stopwords="english_plus")).find("I don't know what models are") == ["know", "models"]
    assert Words.of(Okapi(stopwords="german")).find("Das Modell und seine Größe") == ["modell", "größe"]
    assert Words.of(Okapi(stopwords="english", stemmer="english")).find("Training of the trained models") == ["train", "train", "model"]
    texts = ["Routers route tokens.", "A model caches keys."]
    assert ids(index_of(tmp_path / "plain", Bm25(), texts), "routing of caching") == []
    assert ids(index_of(tmp_path / "stemmed", Bm25(stemmer="english"), texts), "routing of caching") == ["c0", "c1"]
    assert ids(index_of(tmp_path / "stopped", Bm25(stopwords="english"), texts), "a") == []


def test_the_chinese_passage_is_found(tmp_path: Path) -> None:
    index = index_of(tmp_path / "i", Bm25(), ["键值缓存占用内存", "专家路由把词元送给专家", "学习率随步数下降"])
    assert ids(index, "专家路由怎样工作？") == ["c1"]


def test_what_finds_nothing_and_what_is_never_found(tmp_path: Path) -> None:
    said: list[str] = []
    built = build_index(
        write(tmp_path, ["cache", "...", "router"]), tmp_path / "index", embedder=Bm25(), structure=Flat(), warn=said.append
    )
    assert said == ["1 of 3 chunks hold no word for BM25, which never finds them"]
    assert (built.count, built.dimension, built.recall) == (3, 2, 1)
    index = open_index(tmp_path / "index")
    assert index.search(["quux", "", "!?", "cache"], 3)[:3] == [[], [], []]
    assert ids(index, "cache router quux", 1) == ["c0"]  # equal scores in the order of the chunks
    assert not index.is_cosine
    with pytest.raises(InputError, match="no word stands in any of the 2 chunks"):
        build_index(write(tmp_path, ["...", "!"]), tmp_path / "none", embedder=Bm25(), structure=Flat())
    with pytest.raises(InputError, match="no word stands in any of the 1 chunks"):
        build_index(write(tmp_path, ["of the"]), tmp_path / "none", embedder=Bm25(stopwords="english"), structure=Flat())


@pytest.mark.parametrize("method", ["lucene", "bm25+"])
def test_the_same_chunks_give_the_same_bytes_without_pickle(method: str, tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        index_of(tmp_path / name, Bm25(method=method, stopwords="english"))
        folder = tmp_path / name / "index"
        assert sorted(path.name for path in folder.iterdir()) == ["bm25", "chunks.jsonl", "index.json"]
        contents.append({path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()})
        for file in folder.rglob("*.npy"):
            np.load(file, allow_pickle=False)
    assert contents[0] == contents[1]
    assert b"version" not in contents[0]["params.index.json"]  # of bm25s


def test_words_that_are_names_of_the_files_keys(tmp_path: Path) -> None:
    index = index_of(tmp_path / "i", Bm25(), ["the version of the method", "k1 and b"])
    assert [ids(index, word) for word in ("version", "method", "k1")] == [["c0"], ["c0"], ["c1"]]


def test_passages_can_be_compared(tmp_path: Path) -> None:
    texts = ["cache eviction policy", "cache eviction policy", "cache placement of experts", "unlike all"]
    index = index_of(tmp_path / "i", Bm25(), texts)
    [hits] = index.search(["cache eviction"], 3)
    vectors = index.vectors(hits)
    assert (vectors @ vectors.T).diagonal() == pytest.approx([1, 1, 1])
    assert (vectors @ vectors.T)[0, 1] == pytest.approx(1)
    assert 0 < (vectors @ vectors.T)[0, 2] < 0.5
    [diverse] = Selector(index, MaximalMarginalRelevance(lambda_mult=0.3)).search(["cache eviction"], 2)
    assert [hit.chunk["id"] for hit in diverse] == ["c0", "c2"]


class TestDamage:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        index_of(tmp_path / "i", Bm25(method="bm25+"))
        return tmp_path / "i" / "index"

    @pytest.mark.parametrize(
        "name",
        ["data.csc.index.npy", "indices.csc.index.npy", "indptr.csc.index.npy", "nonoccurrence_array.index.npy", "params.index.json",
         "vocab.index.json", "words.json"],
    )  # fmt: skip
    @pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
    def test_a_file_that_cannot_be_read(self, name: str, damage: str, folder: Path) -> None:
        file = folder / "bm25" / name
        data = file.read_bytes()
        file.unlink() if damage == "missing" else file.write_bytes(b"" if damage == "empty" else data[: len(data) - 5])
        with pytest.raises(ArtifactDamaged, match=r"bm25: the weights of the words cannot be read") as caught:
            open_index(folder)
        assert caught.value.remedy == "build the index again"

    def test_files_of_another_index(self, folder: Path, tmp_path: Path) -> None:
        index_of(tmp_path / "j", Bm25(method="bm25+"), ["one chunk", "another chunk"])
        other = tmp_path / "j" / "index" / "bm25"
        for name in ("data", "indices", "indptr", "vocab"):
            file = next((folder / "bm25").glob(f"{name}.*"))
            kept = file.read_bytes()
            file.write_bytes((other / file.name).read_bytes())
            with pytest.raises(ArtifactDamaged, match="bm25: the weights do not belong together"):
                open_index(folder)
            file.write_bytes(kept)
        for file in other.iterdir():
            (folder / "bm25" / file.name).write_bytes(file.read_bytes())
        with pytest.raises(ArtifactDamaged, match=r"index\.json says 4 chunks, bm25 weighs 2, chunks\.jsonl holds 4 rows"):
            open_index(folder)
