from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.evaluation.bootstrap import Resampling
from runner.evaluation.cost import latency, tokens


def written(folder: Path, seconds: list[float], batch_size: int = 1) -> Path:
    file = folder / "latency.jsonl"
    rows = [{"id": f"q{n}", "batch": n // batch_size, "seconds": took} for n, took in enumerate(seconds)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def items(count: int) -> list[str]:
    return [f"q{n}" for n in range(count)]


def test_seconds_of_an_answer(tmp_path: Path) -> None:
    file = written(tmp_path, [n / 10 for n in range(41)])
    found = latency(file, items(40))  # the last was not compared
    assert {name: found[name] for name in ("mean", "p50", "p95", "n")} == {"mean": 1.95, "p50": 1.9, "p95": 3.7, "n": 40}
    sd = (sum((n / 10 - 1.95) ** 2 for n in range(40)) / 40 / 40) ** 0.5
    assert (found["low"], found["high"]) == pytest.approx((1.95 - 1.96 * sd, 1.95 + 1.96 * sd), abs=0.05)
    narrow = latency(file, items(40), Resampling(confidence=0.5))
    assert found["low"] < narrow["low"] < narrow["high"] < found["high"]


def test_answers_of_one_batch_are_drawn_together(tmp_path: Path) -> None:
    """Eight batches of sixteen say no more than eight answers."""
    batches = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    alone = latency(written(tmp_path, batches), items(8))
    together = latency(written(tmp_path, [took for took in batches for _ in range(16)], 16), items(128))
    assert {name: value for name, value in together.items() if name != "n"} == {name: value for name, value in alone.items() if name != "n"}
    assert (alone["n"], together["n"]) == (8, 128)
    uneven = latency(written(tmp_path, [*(1 + n / 100 for n in range(10) for _ in range(30)), 50.0], 30), items(301))
    assert uneven["mean"] == pytest.approx((313.5 + 50) / 301)
    assert 1.0 < uneven["low"] < 1.1 < 1.4 < uneven["high"] < 3  # a batch weighs as much as it has answers: one slow answer is one
    assert latency(written(tmp_path, [0.5, 0.6, 0.7], 3), items(3)) == {"mean": 0.6, "p50": 0.6, "p95": 0.7, "n": 3}


def test_the_interval_holds_where_answers_of_a_batch_differ(tmp_path: Path) -> None:
    """Answers of a GGUF, and those with summaries, have times of their own, and the load of the machine in common."""
    import numpy as np

    random, held, runs = np.random.default_rng(1), 0, 200
    for _ in range(runs):
        seconds = 1 + 0.1 * np.repeat(random.standard_normal(30), 8) + 0.1 * random.standard_normal(240)
        found = latency(written(tmp_path, seconds.tolist(), 8), items(240), Resampling(samples=400))
        held += found["low"] < 1 < found["high"]
    assert held >= 0.9 * runs  # drawn one by one: 60 %


@pytest.mark.parametrize("text", ["", "{", '{"id": "q0", "batch": 0}', '{"id": "other", "batch": 0, "seconds": 1}'])
def test_what_is_not_known_is_missing(tmp_path: Path, text: str) -> None:
    (tmp_path / "latency.jsonl").write_text(text)
    assert latency(tmp_path / "latency.jsonl", items(3)) == latency(tmp_path / "nowhere", items(3)) == {}


def test_tokens_are_means_of_what_is_counted() -> None:
    rows = [{"prompt_tokens": 10, "answer_tokens": 1}, {"prompt_tokens": 20, "answer_tokens": None}, {}]
    assert tokens(rows) == {"prompt_tokens": 15, "answer_tokens": 1}
    assert tokens([{}]) == {}


def test_tokens_of_summaries_count_where_there_were_any() -> None:
    rows = [{"prompt_tokens": 10, "answer_tokens": 1}, {"prompt_tokens": 20, "answer_tokens": 2}]
    rows[1]["summaries"] = {"calls": 3, "prompt_tokens": 600, "answer_tokens": 60}  # type: ignore[assignment]
    assert tokens(rows) == {"prompt_tokens": 315, "answer_tokens": 31.5}
