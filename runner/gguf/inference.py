#!/usr/bin/env python3
"""Ask the model in this folder.

    pip install llama-cpp-python jinja2
    pip install faiss-cpu sentence-transformers        # for the index, where there is one with vectors
    pip install PyStemmer                              # for an index whose words are stemmed
    python inference.py "What does low-rank adaptation change?"
    python inference.py "..." --no-rag                 # without retrieved passages
    python inference.py "..." --top-k 5 --max-new-tokens 400 --threads 8

The script needs nothing but these packages and the files beside it: model.gguf (llama.cpp), inference.json (the prompt, the
system prompt and the defaults) and, where the model was exported with one, index/ (FAISS vectors and the texts they stand
for). The answer appears as it is made; after it come the passages that it was given.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import posixpath
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOM = 64  # tokens that a chat template may add around system prompt and message


def main() -> int:
    for name in ("inference.json", "model.gguf"):
        if not (HERE / name).is_file():
            sys.exit(f"{name} is missing: it must lie beside this script")
    settings = json.loads((HERE / "inference.json").read_text(encoding="utf-8"))
    options = arguments(settings)
    try:
        import jinja2  # noqa: F401
        import llama_cpp
    except ImportError as error:
        sys.exit(f"{error.name} is missing: pip install llama-cpp-python jinja2")
    passages = []
    searched = not options.no_rag and (HERE / "index").is_dir()
    if searched:
        passages = retrieve(HERE / "index", options.question, options.top_k)
    found = len(passages)

    window = settings["context_window"]
    answer_tokens = min(options.max_new_tokens, window // 2)
    model = llama_cpp.Llama(
        str(HERE / "model.gguf"), n_ctx=window, n_threads=options.threads, n_gpu_layers=-1 if options.gpu else 0, verbose=False
    )
    fixed = len(model.tokenize((settings["system_prompt"] or "").encode())) + ROOM + answer_tokens
    message = prompt(settings, options.question, passages)
    while (tokens := len(model.tokenize(message.encode())) + fixed) > window:
        if not passages:
            sys.exit(f"the question is too long: with {answer_tokens} tokens for the answer it needs {tokens}, the model has {window}")
        passages.pop()  # the worst passage goes first
        message = prompt(settings, options.question, passages)

    for piece in stream(model, settings["system_prompt"], message, answer_tokens):
        print(piece, end="", flush=True)
    print()
    if passages:
        print("\nSources" + (f" ({found - len(passages)} more did not fit)" if found > len(passages) else ""))
    elif searched:
        print("\nNo passage of the index was given to the model: " + ("none fitted." if found else "none matches the question."))
    for number, passage in enumerate(passages, 1):
        place = dict.fromkeys((passage.get("title") or passage.get("document"), passage.get("section")))  # often the same
        page = f", page {passage['page']}" if passage.get("page") else ""
        print(f"  [{number}] {' - '.join(str(part) for part in place if part)}{page}  ({passage['score']:.3f})")
    return 0


def arguments(settings: dict[str, Any]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Ask the model in this folder.")
    parser.add_argument("question")
    parser.add_argument("--no-rag", action="store_true", help="answer without retrieved passages")
    parser.add_argument("--top-k", type=positive, default=settings["top_k"], help="passages to retrieve (default: %(default)s)")
    parser.add_argument("--max-new-tokens", type=positive, default=settings["max_new_tokens"], help="longest answer (default: %(default)s)")
    parser.add_argument("--threads", type=positive, default=os.cpu_count() or 1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--gpu", action="store_true", help="put the model on the GPU, if llama-cpp-python was built for one")
    options = parser.parse_args()
    if not options.question.strip():
        parser.error("the question is empty")
    return options


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def retrieve(folder: Path, question: str, count: int) -> list[dict[str, Any]]:
    """The passages nearest to the question, best first, each with its score."""
    description = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    settings, cosine = description["embedder"], description["metric"] == "cosine"
    if settings["kind"] != "bm25":
        load_libraries()
    chunks = [json.loads(line) for line in (folder / "chunks.jsonl").read_text(encoding="utf-8").split("\n") if line]
    if settings["kind"] == "hybrid":  # reciprocal rank fusion of two rankings
        depth = max(count, settings["depth"])
        scores: dict[int, float] = {}
        for found in (
            rank(folder, settings["dense"], cosine, question, depth),
            rank_by_words(folder / "bm25", question, depth),
        ):
            for place, (row, _) in enumerate(found, 1):
                scores[row] = scores.get(row, 0.0) + 1 / (settings["rank_constant"] + place)
        ranking = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
    elif settings["kind"] == "bm25":
        ranking = rank_by_words(folder / "bm25", question, count)
    else:
        ranking = rank(folder, settings, cosine, question, count)
    return [{**chunks[row], "score": score} for row, score in ranking[:count]]


def load_libraries() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of an optional package where it is installed
    try:
        import faiss  # noqa: F401
        import sentence_transformers  # noqa: F401
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        sys.exit(f"{error.name} is missing: pip install faiss-cpu sentence-transformers, or ask with --no-rag")
    disable_progress_bar()


def rank(folder: Path, settings: dict[str, Any], cosine: bool, question: str, count: int) -> list[tuple[int, float]]:
    """Rows of the chunks and their scores, best first, by one embedder and its vectors."""
    import faiss
    import numpy as np
    import sentence_transformers

    late = settings.get("kind") == "late-interaction"
    library = sentence_transformers.MultiVectorEncoder if late else sentence_transformers.SentenceTransformer
    saved = folder / "embedder"
    embedder = library(str(saved)) if saved.is_dir() else library(settings["model"], revision=settings.get("revision"))
    if settings.get("max_seq_length") and not late:
        embedder.max_seq_length = settings["max_seq_length"]
    query = embedder.encode_query([question], prompt=settings.get("query_prompt"), show_progress_bar=False, convert_to_numpy=True)
    by_token = late and settings["scoring"] == "max-sim"
    if late:
        query = query[0] if by_token else query[0].mean(axis=0, keepdims=True)
    query = np.array(query, dtype=np.float32, order="C")
    if cosine:
        faiss.normalize_L2(query)
    index = faiss.read_index(str(folder / "index.faiss"))
    if not by_token:
        scores, rows = index.search(query, min(count, index.ntotal))
        return [(int(row), float(score)) for score, row in zip(scores[0], rows[0], strict=True) if row >= 0 and score != 0]
    # Each token of the question takes its most similar token of the chunk; only chunks that hold a near token are looked at.
    ends = np.cumsum(np.load(folder / "tokens.npy"))
    flat = isinstance(index, faiss.IndexFlat)
    _, near = (None, np.arange(index.ntotal)) if flat else index.search(query, min(max(128, count), index.ntotal))
    if isinstance(index, faiss.IndexIVF):
        index.make_direct_map()
    found = []
    for row in np.unique(np.searchsorted(ends, near[near >= 0], side="right")):
        start = int(ends[row - 1]) if row else 0
        tokens = index.reconstruct_n(start, int(ends[row]) - start)
        found.append((int(row), float((tokens @ query.T).max(axis=0).sum())))
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:count]


def rank_by_words(folder: Path, question: str, count: int) -> list[tuple[int, float]]:
    """Rows of the chunks and their scores, best first, by BM25: the sum of the weights that the question's words have in a chunk."""
    import numpy as np

    rule = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    vocabulary = json.loads((folder / "vocab.index.json").read_text(encoding="utf-8"))
    weights, rows, starts = (np.load(folder / f"{name}.csc.index.npy") for name in ("data", "indices", "indptr"))
    found = ["".join(parts) for parts in re.findall(rule["pattern"], unicodedata.normalize("NFKC", question).lower())]
    words = [word for word in found if word not in rule["stopwords"]]
    if rule["stemmer"]:
        try:
            import Stemmer
        except ImportError:
            sys.exit("PyStemmer is missing: pip install PyStemmer, or ask with --no-rag")
        words = Stemmer.Stemmer(rule["stemmer"]).stemWords(words)
    known = [vocabulary[word] for word in words if word in vocabulary]
    scores, held = np.zeros(rows.max() + 1, dtype=np.float32), set[int]()
    for word in known:
        span = slice(starts[word], starts[word + 1])
        scores[rows[span]] += weights[span]
        held.update(rows[span].tolist())
    absent = folder / "nonoccurrence_array.index.npy"  # two variants give a word's absence a weight, the same for all chunks
    if absent.is_file():
        scores += np.load(absent)[known].sum()
    return sorted(((row, float(scores[row])) for row in held if scores[row]), key=lambda pair: (-pair[1], pair[0]))[:count]


def prompt(settings: dict[str, Any], question: str, passages: list[dict[str, Any]]) -> str:
    """The user's message, from the prompt template in inference.json."""
    from jinja2 import DictLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        def join_path(self, template: str, parent: str) -> str:
            relative = template.startswith(("./", "../"))
            return posixpath.normpath(posixpath.join(posixpath.dirname(parent), template)) if relative else template

    environment = Environment(loader=DictLoader(settings["templates"]), undefined=StrictUndefined)
    names = ("text", "score", "title", "section", "page", "document", "start", "end")
    shown = [{"chunk": entry["id"], **{name: entry.get(name) for name in names}} for entry in passages]
    return environment.get_template(settings["prompt"]).render(question=question, passages=shown)


def stream(model: Any, system_prompt: str | None, message: str, answer_tokens: int) -> Any:
    """The answer in pieces; greedy, so that the same question gets the same answer."""
    if "tokenizer.chat_template" not in model.metadata:  # not a chat model: let it go on from the message
        for part in model.create_completion(message, max_tokens=answer_tokens, temperature=0, repeat_penalty=1.0, stream=True):
            yield part["choices"][0]["text"]
        return
    messages = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    messages.append({"role": "user", "content": message})
    for part in model.create_chat_completion(messages, max_tokens=answer_tokens, temperature=0, repeat_penalty=1.0, stream=True):
        yield part["choices"][0]["delta"].get("content") or ""


if __name__ == "__main__":
    sys.exit(main())
