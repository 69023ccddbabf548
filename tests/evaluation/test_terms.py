from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.evaluation.metrics import KeyTermRecall
from runner.evaluation.terms import key_terms

QASA = Path(__file__).resolve().parents[3] / "shared/data/qasa/qasa_answerable_228_from_spiqa_testB.json"


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("The LoRA adapters need 16 GB on GPUs.", {"lora", "gb", "gpu"}),
        ("We use Adam. Then we stop: Nothing else.", {"adam"}),
        ("A low-rank update in FP8, saved as model.safetensors.", {"low rank", "fp8", "model safetensor"}),
        ("“Transformers” are used with C++ and q_proj.", {"c++", "q proj"}),
        ("It has 16 layers and costs 20 dollars.", set()),
        ("", set()),
        ("DeepSeek's DeepSeek", {"deepseek"}),
    ],
)
def test_terms_are_told_by_their_shape(text: str, terms: set[str]) -> None:
    assert key_terms(text) == terms


def test_a_glossary_adds_what_the_text_uses() -> None:
    assert key_terms("Gradient checkpointing saves memory.", ["gradient checkpointing", "flash attention"]) == {"gradient checkpointing"}


@pytest.mark.parametrize(
    ("answer", "score"),
    [("low rank LORA adapters", 100), ("lora", 50), ("slow-rank exploration", 0), ("", 0), ("LoRAs of low ranks", 100)],
)
def test_recall_ignores_case_joints_and_plurals(answer: str, score: float) -> None:
    assert KeyTermRecall().compute(predictions=[answer], references=["It is a low-rank LoRA."]) == {"key_term_recall": score}


def test_a_reference_without_terms_has_no_score_and_the_best_of_several_counts() -> None:
    metric = KeyTermRecall()
    scores, _ = metric.items(predictions=["x", "GPU"], references=["nothing here", ["LoRA and GPU", "one GPU"]])
    assert scores[0] != scores[0]
    assert scores[1] == 100


@pytest.mark.shared
@pytest.mark.skipif(not QASA.is_file(), reason="needs ../shared/data/qasa")
def test_answers_about_papers_have_terms() -> None:
    answers = [row["composition"] for row in json.loads(QASA.read_text(encoding="utf-8")).values()]
    assert sum(bool(key_terms(answer)) for answer in answers) / len(answers) > 0.8
    assert KeyTermRecall().compute(predictions=answers, references=answers) == {"key_term_recall": 100}
    assert KeyTermRecall().compute(predictions=answers[1:] + answers[:1], references=answers)["key_term_recall"] < 25
