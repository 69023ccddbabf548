"""Near-duplicates among 100,000 question-answer pairs, beside datasketch's MinHash and LSH on the same texts.

    python benchmarks/near_duplicates.py [--pairs 100000] [--sample 3000]

Pairs of ten question templates filled with two-word terms, one in eight an edited copy of an earlier one (case, a letter lost, a
lead-in, a word of the answer changed). Prints CPU seconds, for questions alone and for questions with answers; datasketch's loop
(one MinHash of 128 functions a text, query, insert) for the same number of questions; and recall on a sample against comparing
all its pairs. Needs the package datasketch (extra ``dev``).
"""

from __future__ import annotations

import argparse
import random
import resource
import time

from datasketch import MinHash, MinHashLSH

from runner.datasets import NearDuplicates, fold

LIMIT = 60.0
NEAR = 0.8
QUESTIONS = [
    "What is the role of {} in {}?", "How does {} differ from {}, and why does it matter?", "Describe the relationship between {} and {}.",
    "Explain how {} improves the efficiency of {}.", "Why did the authors choose {} instead of {}?", "What are the limits of {} for {}?",
    "What would happen if {} were replaced by {} during training?", "Which experiments show that {} outperforms {}?",
    "According to the paper, what does {} contribute to {}?", "In what way does {} address the problem of {} described in the text?",
]  # fmt: skip
ANSWERS = [
    "The text says that {} reduces {}, because {} is followed by {} whenever the {} explains the {}.",
    "{} replaces the {} of {}; the authors report that {} extends {} in all settings with {} that they tried.",
    "It weakens {} by {}, which controls {}. In turn {} becomes {}, as the second experiment with {} shows.",
]


def pairs(count: int) -> list[tuple[str, str]]:
    draw = random.Random(0)
    syllables = [a + b for a in "bcdfghlmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "on")]
    words = ["".join(draw.choices(syllables, k=draw.randint(2, 4))) for _ in range(1000)]

    def terms(number: int) -> list[str]:
        return [f"{draw.choice(words[:400])} {draw.choice(words[400:])}" for _ in range(number)]

    made: list[tuple[str, str]] = []
    while len(made) < count:
        question = draw.choice(QUESTIONS).format(*terms(2))
        answer = f"{draw.choice(ANSWERS).format(*terms(6))} {draw.choice(ANSWERS).format(*terms(6))}"
        if made and draw.random() < 0.125:
            question, answer = draw.choice(made)
            lost = draw.randrange(len(question))
            edits = [
                (question.upper(), answer), (question[:lost] + question[lost + 1 :], answer), (f"Please tell me: {question}", answer),
                (question, answer.replace(draw.choice(answer.split()), draw.choice(words))),
            ]  # fmt: skip
            question, answer = draw.choice(edits)
        made.append((question, answer))
    return made


def ours(texts: list[str]) -> tuple[float, dict[int, int]]:
    started = time.process_time()
    found = NearDuplicates(texts, NEAR).repeats()
    return time.process_time() - started, found


def theirs(texts: list[str]) -> tuple[float, int]:
    started, found = time.process_time(), 0
    index = MinHashLSH(threshold=NEAR, num_perm=128)
    for number, text in enumerate(texts):
        folded = fold(text).encode()
        sketch = MinHash(num_perm=128)
        sketch.update_batch([folded[start : start + 5] for start in range(max(1, len(folded) - 4))])
        if index.query(sketch):
            found += 1
        else:
            index.insert(number, sketch)
    return time.process_time() - started, found


def recall(texts: list[str]) -> tuple[int, int]:
    """Of the texts with an earlier one at least as alike as the threshold: how many are found, and how many there are."""
    grams = [{text[start : start + 5] for start in range(max(1, len(text) - 4))} for text in (fold(raw).encode() for raw in texts)]
    alike = {
        later
        for later in range(len(texts))
        if any(len(grams[later] & grams[first]) >= NEAR * len(grams[later] | grams[first]) for first in range(later))
    }
    search = NearDuplicates(texts, NEAR)
    return sum(bool(search.twins([later], range(later))) for later in alike), len(alike)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--sample", type=int, default=3_000)
    options = parser.parse_args()
    made = pairs(options.pairs)
    questions = [question for question, _ in made]
    whole, found = ours([f"{question}\n{answer}" for question, answer in made])
    print(f"{len(made):,} pairs, questions with answers: {whole:.1f} s (limit {LIMIT:.0f} s), {len(found):,} near-duplicates")
    alone, found = ours(questions)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"questions alone: {alone:.1f} s, {len(found):,} near-duplicates; peak memory {peak} MB")
    seconds, number = theirs(questions)
    print(f"questions alone by datasketch: {seconds:.1f} s, ratio {seconds / alone:.1f}; {number:,} candidates, not verified")
    hits, alike = recall(questions[: options.sample])
    print(f"of {alike:,} near-duplicates in a sample of {options.sample:,}, by comparing all: {hits:,} found")
    if whole > LIMIT:
        raise SystemExit(f"slower than {LIMIT:.0f} s")


if __name__ == "__main__":
    main()
