"""Greedy answers to 64 questions from a GGUF of the shape of Qwen2.5-0.5B, beside llama-cpp-python's own loop over the questions.

    python benchmarks/answering.py [--questions 64] [--batch-size 16] [--tokens 48] [--threads 2]

The model is made on the spot (random weights, Q4_K_M with its fall-backs, 24 layers of 896, a vocabulary of 151,936). The peer is
one `Llama` object that is asked one question after the other, with as many threads, as its documentation shows; like ours it reads
what the prompts have in common only once. Prints tokens a second, the ratio, and how many answers are the same.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

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

    from runner.answering import Generation, open_answerer

    asked = questions(options.questions)
    answerer = open_answerer(model, "gguf", Path, threads=options.threads)
    prompts = [answerer.prompt(question) for question in asked]
    answerer.answer(prompts[:2], Generation(2))  # warm the file's pages
    clock, cpu = time.perf_counter(), time.process_time()
    ours = answerer.answer(prompts, Generation(options.tokens), batch_size=options.batch_size)
    our_time, our_cpu = time.perf_counter() - clock, time.process_time() - cpu
    answerer.close()

    window = 1024  # its loop finds no slot in one that just fits
    peer = llama_cpp.Llama(
        str(model / "model.gguf"), n_ctx=window, n_threads=options.threads, n_threads_batch=options.threads, verbose=False
    )
    clock, cpu = time.perf_counter(), time.process_time()
    theirs = [
        peer.create_completion(list(prompt.tokens), max_tokens=options.tokens, temperature=0, repeat_penalty=1.0) for prompt in prompts
    ]
    their_time, their_cpu = time.perf_counter() - clock, time.process_time() - cpu

    our_tokens = sum(answer.answer_tokens for answer in ours)
    their_tokens = sum(answer["usage"]["completion_tokens"] for answer in theirs)
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
    same = [ours[n].text == theirs[n]["choices"][0]["text"].strip() for n in range(len(prompts))]
    print(f"{sum(same)} of {len(same)} answers are the same to the last token")


if __name__ == "__main__":
    main()
