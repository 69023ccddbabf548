"""Greedy answers to 64 questions from a GGUF of the shape of Qwen2.5-0.5B, beside llama-cpp-python's own loop over the questions.

    python benchmarks/answering.py [--questions 64] [--batch-size 16] [--tokens 48] [--threads 2]

The model is made on the spot (random weights, Q4_K_M with its fall-backs, 24 layers of 896, a vocabulary of 151,936). The peer is
one `Llama` object that is asked one question after the other, with as many threads, as its documentation shows; like ours it reads
what the prompts have in common only once. Prints tokens a second and the ratio.

That a batch changes nothing but last bits is shown after every prefix of our answers: the logits that the batch had are compared
with those of the same tokens in one sequence, decoded one by one as the peer does. The measure is the noise of llama.cpp itself:
how far that one sequence is from itself when the same tokens are decoded in one call. Both are rows times the same matrices, in kernels for
one row and for many, whose activations are rounded to 8 bits before every product. Asserts that the batch is no farther
away, and that where another token is chosen, to the peer's answer or to one sequence's, the two tokens were closer than that noise.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = {
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
SYSTEM = "You answer questions about research papers, briefly and from the text alone."
_SAMPLED = 512  # tokens of the vocabulary whose logits are compared
CORPUS = Path(__file__).parents[1] / "recipes" / "corpus"


def make(folder: Path) -> Path:
    """A model artifact of the form gguf."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from runner.gguf.export import export
    from runner.training.tokenizer import train_tokenizer

    tokenizer = train_tokenizer([file.read_text(encoding="utf-8") for file in sorted(CORPUS.rglob("*.md"))], 4000, context=2048)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, **ends, initializer_range=0.05))
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    del model
    made = folder / "gguf"
    made.mkdir()
    export(folder / "base", made / "model.gguf", allow_fallback=True)
    (made / "model.json").write_text(json.dumps({"form": "gguf", "architecture": "qwen2", "system_prompt": SYSTEM}), encoding="utf-8")
    return made


def questions(count: int) -> list[str]:
    words = sorted({word for file in CORPUS.rglob("*.md") for word in file.read_text(encoding="utf-8").split() if len(word) > 6})
    step = max(1, len(words) // (2 * count))
    return [f"What does the text say about {words[2 * n * step]} and {words[(2 * n + 1) * step]}?" for n in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=48, help="tokens of an answer (random weights end none before)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", type=Path, help="a folder with the GGUF made before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(options.model or make(Path(folder)), options)


def compare(model: Path, options: argparse.Namespace) -> None:
    import llama_cpp

    from runner.answering import Generation, gguf

    asked = questions(options.questions)
    answerer = gguf.GgufAnswerer(model, threads=options.threads)
    prompts = [answerer.prompt(question) for question in asked]
    answerer.answer(prompts[:2], Generation(2))  # warm the file's pages
    records = Records()
    gguf.choose, choose = records.choose, gguf.choose  # type: ignore[assignment]
    clock, cpu = time.perf_counter(), time.process_time()
    ours = answerer.answer(prompts, Generation(options.tokens), batch_size=options.batch_size)
    our_time, our_cpu = time.perf_counter() - clock, time.process_time() - cpu
    gguf.choose = choose

    window = 1024  # its loop finds no slot in one that just fits
    peer = llama_cpp.Llama(
        str(model / "model.gguf"), n_ctx=window, n_threads=options.threads, n_threads_batch=options.threads, verbose=False
    )
    their_tokens, their_read = 0, []
    clock, cpu = time.perf_counter(), time.process_time()
    for prompt in prompts:
        answer = peer.create_completion(list(prompt.tokens), max_tokens=options.tokens, temperature=0, repeat_penalty=1.0)
        their_tokens += answer["usage"]["completion_tokens"]
        their_read.append(peer.input_ids[len(prompt.tokens) : peer.n_tokens].tolist())
    their_time, their_cpu = time.perf_counter() - clock, time.process_time() - cpu
    peer.close()

    our_tokens = sum(answer.answer_tokens for answer in ours)
    read = sum(len(prompt.tokens) for prompt in prompts)
    print(f"{len(prompts)} prompts of {read / len(prompts):.0f} tokens on average, {options.threads} threads")
    for name, tokens, seconds, busy in (
        (f"ours, {options.batch_size} at a time", our_tokens, our_time, our_cpu),
        ("llama-cpp-python", their_tokens, their_time, their_cpu),
    ):
        print(f"{name}: {tokens} tokens in {seconds:.1f} s ({busy:.1f} s of CPU), {tokens / seconds:.1f} a second")
    # Tokens a second are compared, for the peer goes on past the limit until a broken character is whole.
    wall, busy = our_tokens / our_time * their_time / their_tokens, our_tokens / our_cpu * their_cpu / their_tokens
    print(f"ratio {wall:.2f} (of CPU time {busy:.2f})")
    ties(answerer, prompts, list(records.answers.values()), their_read)


class Records:
    """What the batch had before each token: the logits of some tokens, and which was chosen."""

    def __init__(self) -> None:
        self.answers: dict[int, tuple[Any, list[int], list[Any]]] = {}

    def choose(self, logits: Any, generation: Any, random: Any) -> int:
        _, tokens, rows = self.answers.setdefault(id(random), (random, [], []))  # holds the generator: ids of the dead are given again
        tokens.append(int(logits.argmax()))
        rows.append(logits[sampled(len(logits))])
        return tokens[-1]


def sampled(vocabulary: int) -> Any:
    return np.linspace(0, vocabulary - 1, _SAMPLED).astype(int)


def ties(answerer: Any, prompts: list[Any], made: list[Any], theirs: list[list[int]]) -> None:
    """Whether one sequence would have chosen other tokens than the batch by more than its own noise."""
    batch_noise, own_noise, margin_noise, gaps, peer_gaps = [], [], [], [], []
    for prompt, (_, tokens, rows), answer in zip(prompts, made, theirs, strict=True):
        begin, columns = len(prompt.tokens), sampled(answerer._model.vocab_size)
        entries = [(token, place, 0, place >= begin - 1) for place, token in enumerate([*prompt.tokens, *tokens[:-1]])]
        with answerer._model.session(len(entries), threads=answerer._threads) as session:
            single = np.concatenate([session.decode(entries[:begin]), *(session.decode([entry]) for entry in entries[begin:])])
            session.forget(0)
            whole = session.decode(entries)
        batch_noise.append(np.stack(rows) - single[:, columns])
        own_noise.append((whole - single)[:, columns])
        steps, best = np.arange(len(single)), np.argsort(-single, axis=1)[:, :2]
        margins = [logits[steps, best[:, 0]] - logits[steps, best[:, 1]] for logits in (single, whole)]
        margin_noise.append(margins[1] - margins[0])
        gaps += [single[step].max() - single[step, token] for step, token in enumerate(tokens) if token != best[step, 0]]
        differ = next((step for step, (one, other) in enumerate(zip(tokens, answer, strict=False)) if one != other), None)
        if differ is not None:
            peer_gaps.append(abs(single[differ, answer[differ]] - single[differ, tokens[differ]]))
    batch, own = (float(np.sqrt((np.concatenate(noise).astype(np.float64) ** 2).mean())) for noise in (batch_noise, own_noise))
    margin = np.abs(np.concatenate(margin_noise))
    print(f"noise of a logit (root mean square): batch to one sequence {batch:.4f}, one sequence to itself {own:.4f}")
    print(f"noise of the gap between the two likeliest tokens: mean {margin.mean():.4f}, largest {margin.max():.4f}")
    print(
        f"after our prefixes one sequence chooses another token {len(gaps)} of {len(margin)} times; largest gap {max(gaps, default=0):.4f}"
    )
    print(
        f"{len(prompts) - len(peer_gaps)} of {len(prompts)} answers are the peer's to the last token; at the first other token of the rest "
        f"the gap is {np.mean(peer_gaps or 0):.4f} on average and at most {max(peer_gaps, default=0):.4f}"
    )
    assert batch <= 1.1 * own, "a batch is farther from one sequence than noise goes"
    assert max([*gaps, *peer_gaps], default=0) <= margin.max(), "another token was chosen, and it was no tie"
    print("every difference is a tie within that noise")


if __name__ == "__main__":
    main()
