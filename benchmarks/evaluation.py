"""Scoring 10,000 answers by the text metrics with 1,000 bootstrap draws, beside scipy.stats.bootstrap on the same scores.

    python benchmarks/evaluation.py [--answers 10000] [--samples 1000]

Two arms of about 60 words an answer. Prints the seconds of the whole evaluation (metrics, intervals, paired differences,
p values), of its statistics alone, and of scipy's percentile bootstrap for the intervals alone; and of ROUGE-L beside
rouge-score's own.
"""

from __future__ import annotations

import argparse
import random
import time

import numpy as np
from rouge_score.rouge_scorer import RougeScorer
from scipy.stats import bootstrap

from runner.evaluation.aggregates import AGGREGATES
from runner.evaluation.arms import Arm
from runner.evaluation.bootstrap import Resampling, Table, intervals, paired
from runner.evaluation.metrics import METRICS, RougeL
from runner.evaluation.scoring import score

TEXT_METRICS = ["rouge_1", "rouge_2", "rouge_l", "bleu", "chrf", "exact_match", "token_f1", "key_term_recall", "false_abstention"]
LIMIT = 60.0


def answers(count: int, kept: float, seed: int) -> list[dict[str, str]]:
    """References of 40 to 80 words, and answers that keep a share of the words in order."""
    generator, rows = random.Random(0), []
    noise = random.Random(seed)
    for number in range(count):
        words = [f"word{generator.randint(0, 3000)}" for _ in range(generator.randint(40, 80))]
        answer = [word if noise.random() < kept else f"word{noise.randint(0, 3000)}" for word in words]
        rows.append({"id": str(number), "question": "?", "reference": " ".join(words), "answer": " ".join(answer)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=1_000)
    options = parser.parse_args()
    per_arm = options.answers // 2
    arms = [Arm({"system": "base"}, answers(per_arm, 0.5, 1)), Arm({"system": "tuned"}, answers(per_arm, 0.6, 2))]
    resampling = Resampling(samples=options.samples)

    started, worked = time.perf_counter(), time.process_time()
    scored = score(arms, TEXT_METRICS, baseline={"system": "base"}, resampling=resampling)
    whole, worked = time.perf_counter() - started, time.process_time() - worked
    print(f"{options.answers:,} answers, {len(TEXT_METRICS)} metrics, {options.samples:,} draws: {whole:.1f} s (limit {LIMIT:.0f} s)")
    print(f"  of which this process computed for {worked:.1f} s: the rest it waited for a core")

    means = [name for name in TEXT_METRICS if METRICS[name].aggregation == "mean"]
    by_metric = {
        name: np.array([row["values"][name] for row in scored.items]).reshape(len(arms), per_arm) for name in means
    }  # the arms' rows follow each other
    started = time.perf_counter()
    tables = [Table(values[:, :, None], values, AGGREGATES["mean"]) for values in by_metric.values()]
    analysed = intervals(tables, resampling)
    paired(tables, [drawn for _, drawn in analysed], 0, resampling)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    for values in by_metric.values():
        first, second = values
        for arm in (first, second, second - first):
            bootstrap((arm,), np.mean, n_resamples=options.samples, method="percentile", rng=0, batch=100)
    theirs = time.perf_counter() - started
    print(f"intervals, paired differences and p values of {len(means)} metrics: {ours:.2f} s")
    print(f"the intervals alone by scipy.stats.bootstrap:                  {theirs:.2f} s, ratio {theirs / ours:.1f}")

    rows = arms[1].rows[:1000]
    predictions, references = [row["answer"] for row in rows], [row["reference"] for row in rows]
    started = time.perf_counter()
    found, _ = RougeL().items(predictions=predictions, references=references)
    ours = time.perf_counter() - started
    scorer = RougeScorer(["rougeL"])
    started = time.perf_counter()
    wanted = [100 * scorer.score(reference, answer)["rougeL"].fmeasure for answer, reference in zip(predictions, references, strict=True)]
    theirs = time.perf_counter() - started
    assert np.allclose(found, wanted), "ROUGE-L differs from rouge-score's"
    print(f"ROUGE-L of {len(rows):,} answers: {ours:.2f} s, by rouge-score {theirs:.2f} s, ratio {theirs / ours:.1f}")
    if whole > LIMIT:
        raise SystemExit(f"slower than {LIMIT:.0f} s")


if __name__ == "__main__":
    main()
