from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.evaluation import answers
from runner.evaluation.aggregates import AGGREGATES, corpus_bleu, corpus_chrf
from runner.evaluation.metric import references
from runner.evaluation.metrics import (
    METRICS,
    Accuracy,
    Bleu,
    ChrF,
    ExactMatch,
    HeldOutLoss,
    Perplexity,
    Rouge1,
    Rouge2,
    RougeL,
    TextMetric,
    TokenF1,
    Unparsable,
)
from runner.evaluation.names import GROUPS, MetricName, expand

SQUAD = Path(__file__).resolve().parents[3] / "shared/data/squad"
#: With words that are the same but for case, for their stem, or for punctuation.
WORDS = [
    "The", "the", "model", "models", "uses", "8", "experts", "and", "a", "router", "état", "low-rank", "GPU,", "gpu", "memory.", "3.5%",
]  # fmt: skip


#: One item of every column that some metric has.
GIVEN: dict[str, list[Any]] = {
    "predictions": ["a b LoRA d"], "references": ["a b LoRA d"], "passages": [["a b c"]], "losses": [1.0], "tokens": [3.0], "ranks": [2.0],
    "scores": [4.0], "preferences": [0.5], "lengths": [3.0], "opponents": [4.0],
}  # fmt: skip


def pairs(count: int, seed: int = 0, shortest: int = 0) -> tuple[list[str], list[str]]:
    generator = random.Random(seed)
    texts = [" ".join(generator.choices(WORDS, k=generator.randint(shortest, 30))) for _ in range(2 * count)]
    return texts[:count], texts[count:]


@pytest.mark.shared
@pytest.mark.skipif(not SQUAD.is_dir(), reason="needs ../shared/data/squad")
def test_squad_predictions_get_the_official_scores() -> None:
    articles = json.loads((SQUAD / "dev-v1.1.json").read_text(encoding="utf-8"))["data"]
    found = json.loads((SQUAD / "predictions_BERT.json").read_text(encoding="utf-8"))
    questions = [question for article in articles for paragraph in article["paragraphs"] for question in paragraph["qas"]]
    predictions = [found[question["id"]] for question in questions]
    references = [[answer["text"] for answer in question["answers"]] for question in questions]
    assert len(predictions) == 10_570
    exact = ExactMatch().compute(predictions=predictions, references=references)
    f1 = TokenF1().compute(predictions=predictions, references=references)
    assert exact == {"exact_match": 86.20624408703878}
    assert f1 == {"token_f1": pytest.approx(92.1955797835112, rel=1e-14)}


@pytest.mark.parametrize(
    ("answer", "reference", "exact", "f1"),
    [
        ("The  Eiffel Tower!", "eiffel tower", 1, 1),
        ("an apple", "apple a the", 1, 1),
        ("theatre", "atre", 0, 0),  # an article is a word, not a syllable
        ("state-of-the-art", "stateoftheart", 1, 1),
        ("", "cat", 0, 0),
        ("the", "", 1, 0),  # evaluate-v1.1 has no special case for nothing at all
        ("cat cat dog", "cat dog dog", 0, 2 / 3),
    ],
)
def test_squad_normalisation(answer: str, reference: str, exact: float, f1: float) -> None:
    assert answers.exact_match(answer, [reference]) == exact
    assert answers.token_f1(answer, [reference]) == pytest.approx(f1)
    assert answers.token_f1(answer, ["zzz", reference]) == pytest.approx(f1)


@pytest.mark.parametrize(("metric", "name"), [(Rouge1, "rouge1"), (Rouge2, "rouge2"), (RougeL, "rougeL")])
def test_rouge_equals_rouge_score(metric: type[TextMetric], name: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    predictions, references = pairs(300)
    scorer = RougeScorer([name], use_stemmer=False)
    wanted = [100 * scorer.score(reference, answer)[name].fmeasure for answer, reference in zip(predictions, references, strict=True)]
    scores, _ = metric().items(predictions=predictions, references=references)
    assert scores == pytest.approx(wanted, abs=1e-12)
    assert max(wanted) > 0
    both = [[reference, answer] for answer, reference in zip(predictions, references, strict=True)]
    best, _ = metric().items(predictions=predictions, references=both)
    enough = 2 if name == "rouge2" else 1  # the best of several references counts
    assert all(score == pytest.approx(100) for score, text in zip(best, predictions, strict=True) if len(text.split()) > enough + 2)


def test_common_subsequence_equals_the_table() -> None:
    def table(a: list[int], b: list[int]) -> int:
        row = [0] * (len(b) + 1)
        for x in a:
            left = 0
            for j, y in enumerate(b):
                row[j + 1], left = (left + 1 if x == y else max(row[j + 1], row[j])), row[j + 1]
        return row[-1]

    generator = random.Random(3)
    for _ in range(500):
        a, b = ([generator.randint(0, 6) for _ in range(generator.randint(0, 90))] for _ in range(2))
        assert answers.common_subsequence(a, b) == table(a, b)


def test_bleu_equals_sacrebleu_for_items_and_corpus() -> None:
    import sacrebleu

    predictions, references = pairs(200, shortest=1)
    scores, statistics = Bleu().items(predictions=predictions, references=references)
    wanted = [sacrebleu.sentence_bleu(a, [r]).score for a, r in zip(predictions, references, strict=True)]
    assert scores == pytest.approx(wanted)
    assert Bleu().compute(predictions=predictions, references=references)["bleu"] == pytest.approx(
        sacrebleu.corpus_bleu(predictions, [references]).score, rel=1e-12
    )
    for start in range(0, 200, 3):  # small corpora: orders without a match, without an n-gram, without anything
        part = slice(start, start + 3)
        want = sacrebleu.corpus_bleu(predictions[part], [references[part]]).score
        assert float(corpus_bleu(statistics[part].sum(axis=0), 3)) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(("answer", "reference"), [("", "a b c d"), ("x", "x"), ("a b c", "a b c"), ("p q r s t", "a b c d e"), ("", "")])
def test_bleu_of_odd_texts_equals_sacrebleu(answer: str, reference: str) -> None:
    import sacrebleu

    found = Bleu().compute(predictions=[answer], references=[reference])["bleu"]
    assert found == pytest.approx(sacrebleu.corpus_bleu([answer], [[reference]]).score)


def test_bleu_of_several_references_equals_sacrebleu() -> None:
    """Matches with any of them, and the length of the nearest; not as many references for every answer."""
    import sacrebleu

    predictions, references = pairs(100, shortest=1)
    others = [text if n % 3 else None for n, text in enumerate(references[1:] + references[:1])]
    both = [[one] if other is None else [one, other] for one, other in zip(references, others, strict=True)]
    scores, _ = Bleu().items(predictions=predictions, references=both)
    assert scores == pytest.approx([sacrebleu.sentence_bleu(a, texts).score for a, texts in zip(predictions, both, strict=True)])
    found = Bleu().compute(predictions=predictions, references=both)["bleu"]
    assert found == pytest.approx(sacrebleu.corpus_bleu(predictions, [references, others]).score, rel=1e-12)


def test_chrf_equals_sacrebleu_for_items_and_corpus() -> None:
    import sacrebleu

    predictions, references = pairs(120)
    others = references[1:] + references[:1]
    both = [list(pair) for pair in zip(references, others, strict=True)]
    scores, statistics = ChrF().items(predictions=predictions, references=both)
    wanted = [sacrebleu.sentence_chrf(answer, texts).score for answer, texts in zip(predictions, both, strict=True)]
    assert scores == pytest.approx(wanted, rel=1e-12)
    assert ChrF().compute(predictions=predictions, references=both)["chrf"] == pytest.approx(
        sacrebleu.corpus_chrf(predictions, [references, others]).score, rel=1e-12
    )
    scores, statistics = ChrF().items(predictions=predictions, references=references)
    for start in range(0, 120, 2):  # small corpora, some without a character
        part = slice(start, start + 2)
        want = sacrebleu.corpus_chrf(predictions[part], [references[part]]).score
        assert float(corpus_chrf(statistics[part].sum(axis=0), 2)) == pytest.approx(want, rel=1e-12)
    stacked = corpus_chrf(statistics.reshape(2, 60, 18), 1)  # any leading shape
    assert stacked.reshape(120) == pytest.approx(scores, rel=1e-12)


def test_all_right_answers_count_and_questions_without_one_have_no_score() -> None:
    assert references({"reference": "a", "answers": ["a", "b"]}) == ["a", "b"]
    assert (references({"reference": "a"}), references({"reference": ""})) == (["a"], [])
    rows = [{"answer": "b", "reference": "a", "answers": ["a", "b"]}, {"answer": "b", "reference": ""}]
    for metric in (ExactMatch(), TokenF1(), Rouge1(), RougeL(), Bleu(), ChrF()):
        scores, statistics = metric.items(**metric.columns(rows))
        assert scores[0] == pytest.approx(100), metric.key
        assert math.isnan(scores[1]), metric.key
        assert math.isnan(statistics[1].sum()), metric.key


def test_perplexity_is_the_exponential_of_the_loss_of_the_corpus() -> None:
    losses, tokens = [1.0, 2.0, math.nan], [1, 3, 4]
    loss = HeldOutLoss().compute(losses=losses, tokens=tokens)["held_out_loss"]
    assert Perplexity().compute(losses=losses, tokens=tokens) == {"perplexity": pytest.approx(math.exp(loss))}
    scores, _ = Perplexity().items(losses=losses, tokens=tokens)
    assert scores[:2] == pytest.approx([math.e, math.e**2])
    json.dumps(Perplexity().compute(losses=[9999.0], tokens=[1]), allow_nan=False)


def test_held_out_loss_weighs_items_by_their_tokens() -> None:
    metric = HeldOutLoss()
    assert metric.compute(losses=[1.0, 2.0, math.nan, 9.0], tokens=[1, 3, 4, 0]) == {"held_out_loss": 1.75}
    columns = metric.columns([{"reference_loss": 1.5, "reference_tokens": 2}, {"reference_loss": None}, {}])
    scores, _ = metric.items(**columns)
    assert scores[0] == 1.5
    assert [math.isnan(score) for score in scores] == [False, True, True]


def test_metrics_are_those_of_evaluate_and_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import evaluate

    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(tmp_path))
    for name, metric in METRICS.items():
        made = metric()
        assert isinstance(made, evaluate.Metric)
        assert made.name == name
        assert list(made.compute(**{column: GIVEN[column] for column in made._feature_names()})) == [name]
    for prediction, reference in [("a cat", "a cat"), ("dog", "cat")]:
        combined = TokenF1()
        combined.add(prediction=prediction, reference=reference)
    assert list(tmp_path.iterdir()) == []


def test_every_metric_says_what_it_is() -> None:
    for metric in METRICS.values():
        described = metric().describe()
        assert all(described[field] not in (None, "") for field in ("title", "version", "normalisation", "aggregation", "source", "unit"))
    lower = {metric.key for metric in [*METRICS.values(), Unparsable, Accuracy] if not metric.higher_is_better}
    assert lower == {"held_out_loss", "perplexity", "false_abstention", "unparsable"}


#: Rows with something for every metric, and each metric's version and figure of them. A figure that moves wants a new version.
TOLD: list[dict[str, Any]] = [
    {
        "answer": "The router sends 8 tokens to the LoRA experts.", "reference": "A router sends 2 tokens to low-rank LoRA experts.",
        "retrieved": [{"chunk": "c1", "text": "Experts get tokens."}, {"chunk": "c2", "text": "The router sends."}], "chunks": ["c2"],
        "reference_loss": 1.5, "reference_tokens": 12, "judge_score": 4, "preference": 1.0, "opponent_length": 30,
    },
    {
        "answer": "The text does not say. Perhaps 16 GPUs.", "reference": "It was trained on 64 GPUs, in FP8.",
        "retrieved": [{"chunk": "c3", "text": "It was trained on GPUs."}], "chunks": ["c1"],
        "reference_loss": 2.5, "reference_tokens": 9, "judge_score": 2, "preference": 0.0, "opponent_length": 80,
    },
    {
        "answer": "I do not know.", "reference": "", "retrieved": [], "judge_score": 5, "preference": 0.5, "opponent_length": 14,
    },
]  # fmt: skip
PINNED: dict[str, tuple[int, float]] = {
    "rouge_1": (1, 37.8289), "rouge_2": (1, 17.6471), "rouge_l": (1, 37.8289), "bleu": (1, 12.2231), "chrf": (1, 42.6678),
    "exact_match": (1, 0.0), "token_f1": (1, 46.6667), "key_term_recall": (1, 50.0), "held_out_loss": (1, 1.9286),
    "perplexity": (1, 6.8797),
    "mrr": (1, 25.0), "groundedness": (1, 35.7143), "abstention": (1, 100.0), "false_abstention": (1, 50.0), "judge": (1, 3.6667),
    "win_rate": (1, 50.0), "length_adjusted_win_rate": (1, 57.8944),
}  # fmt: skip


def test_a_figure_that_moves_has_a_new_version() -> None:
    assert set(PINNED) == set(METRICS)
    for name, metric in METRICS.items():
        _, statistics = metric().items(**metric().columns(TOLD))
        kept = statistics[~np.isnan(statistics).any(axis=1)]
        figure = float(AGGREGATES[metric.aggregation](kept.sum(axis=0), len(kept)))
        assert (metric.version, figure) == (PINNED[name][0], pytest.approx(PINNED[name][1], abs=1e-3)), name


def test_names_are_the_metrics() -> None:
    assert expand(["rouge_l", "rouge", "bleu", "bleu"]) == ["rouge_l", "rouge_1", "rouge_2", "bleu"]
    made = {"accuracy", "unparsable", "embedding_similarity", "hit_at_2"}  # those that must be told something
    assert set(expand(MetricName.__args__, [2])) == set(METRICS) | made  # type: ignore[attr-defined]
    assert set(GROUPS) <= set(MetricName.__args__)  # type: ignore[attr-defined]
