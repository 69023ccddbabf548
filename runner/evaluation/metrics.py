"""The metrics, as ``evaluate.Metric`` classes that lie in this package: ``evaluate.load`` would fetch a script from the hub.

``TokenF1().compute(predictions=[...], references=[...])`` gives one figure, as with any metric of evaluate; a reference is
a text or a list of texts, of which the best counts. ``items`` gives the scores and statistics of every item, which
intervals and comparisons are made of. All texts are scored from 0 to 100; losses are in nats a token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import datasets
import evaluate
import numpy as np

from runner.evaluation import answers
from runner.evaluation.aggregates import AGGREGATES, Array

References = Sequence[str] | Sequence[Sequence[str]]


class ItemMetric(evaluate.Metric):  # type: ignore[misc]
    """A metric that is a function of the sum of short per-item statistics, so that it can be resampled by item."""

    key: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[int] = 1  # bumped when the same answers would get another figure
    higher_is_better: ClassVar[bool] = True
    unit: ClassVar[str] = "of 100"
    normalisation: ClassVar[str]
    aggregation: ClassVar[str] = "mean"
    source: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(keep_in_memory=True)

    @property
    def name(self) -> str:
        return self.key

    def describe(self) -> dict[str, Any]:
        """What ``scores.json`` says of the metric."""
        fields = ("title", "version", "higher_is_better", "unit", "normalisation", "aggregation", "source")
        return {"name": self.key, **{field: getattr(self, field) for field in fields}}

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """The inputs of this metric, from rows of ``answers.jsonl``."""
        raise NotImplementedError

    def items(self, *_: Any, **columns: Any) -> tuple[Array, Array]:
        """Of the metric's columns: scores (n,) and statistics (n, width); NaN where an item has no score."""
        raise NotImplementedError

    def _compute(self, **columns: Any) -> dict[str, float]:
        _, statistics = self.items(**columns)
        counted = statistics[~np.isnan(statistics).any(axis=1)]
        return {self.key: float(AGGREGATES[self.aggregation](counted.sum(axis=0), len(counted)))}

    def _build_data_dir(self) -> str:
        return ""  # evaluate makes a cache folder in the user's home here; nothing is ever written to it


class TextMetric(ItemMetric):
    """A metric of an answer's text against its reference texts."""

    def _info(self) -> Any:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=f"{self.title}. {self.normalisation}",
            citation=self.source,
            inputs_description="predictions: texts; references: for each a text, or a list of texts of which the best counts",
            features=[
                datasets.Features({"predictions": text, "references": text}),
                datasets.Features({"predictions": text, "references": datasets.Sequence(text)}),
            ],
        )

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        return {"predictions": [row["answer"] for row in rows], "references": [row["reference"] for row in rows]}

    def items(self, *, predictions: Sequence[str], references: References) -> tuple[Array, Array]:
        score = self.scorer()
        pairs = zip(predictions, references, strict=True)
        values = np.array(
            [100 * score(answer, [wanted] if isinstance(wanted, str) else wanted) for answer, wanted in pairs], dtype=np.float64
        )
        return values, values[:, None]

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        """A function of an answer and its references, 0 to 1."""
        raise NotImplementedError


class _Rouge(TextMetric):
    normalisation = "lower case; letters a-z and digits only, so other scripts score 0; no stemming (rouge-score); F-measure"
    source = "Lin, 2004: ROUGE: A Package for Automatic Evaluation of Summaries; package rouge-score"


class _RougeN(_Rouge):
    rouge_type: ClassVar[str]

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer([self.rouge_type], use_stemmer=False)
        return lambda answer, references: float(scorer.score_multi(references, answer)[self.rouge_type].fmeasure)


class Rouge1(_RougeN):
    key, title, rouge_type = "rouge_1", "ROUGE-1", "rouge1"


class Rouge2(_RougeN):
    key, title, rouge_type = "rouge_2", "ROUGE-2", "rouge2"


class RougeL(_Rouge):
    """rouge-score's tokens and F-measure around a faster longest common subsequence; a test holds it to rouge-score's."""

    key, title = "rouge_l", "ROUGE-L"

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        from rouge_score.scoring import fmeasure
        from rouge_score.tokenizers import DefaultTokenizer

        tokenize = DefaultTokenizer(use_stemmer=False).tokenize

        def score(answer: str, references: Sequence[str]) -> float:
            found = tokenize(answer)
            best = 0.0
            for wanted in map(tokenize, references):
                if shared := answers.common_subsequence(found, wanted):
                    best = max(best, float(fmeasure(shared / len(found), shared / len(wanted))))
            return best

        return score


class Bleu(TextMetric):
    """The figure of an arm is corpus BLEU; the score of an item is sentence BLEU, over the n-gram orders that it has."""

    key, title = "bleu", "BLEU"
    normalisation = "case kept; tokenizer 13a; smoothing exp (sacreBLEU); an arm's figure is corpus BLEU, an item's is sentence BLEU"
    aggregation = "corpus BLEU"
    source = "Papineni et al., 2002: BLEU; Post, 2018: A Call for Clarity in Reporting BLEU Scores; package sacrebleu"

    def items(self, *, predictions: Sequence[str], references: References) -> tuple[Array, Array]:
        from sacrebleu.metrics.bleu import BLEU

        bleu = BLEU(effective_order=True)
        pairs = zip(predictions, references, strict=True)
        scores = [bleu.sentence_score(answer, [wanted] if isinstance(wanted, str) else list(wanted)) for answer, wanted in pairs]
        statistics = [(score.sys_len, score.ref_len, *score.counts, *score.totals) for score in scores]
        return np.array([score.score for score in scores]), np.array(statistics, dtype=np.float64).reshape(len(scores), 10)


class ExactMatch(TextMetric):
    key, title = "exact_match", "Exact match"
    normalisation = "SQuAD v1.1: lower case, no ASCII punctuation, no articles, single spaces"
    source = "Rajpurkar et al., 2016: SQuAD; evaluate-v1.1"

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        return answers.exact_match


class TokenF1(TextMetric):
    key, title = "token_f1", "Token F1"
    normalisation = ExactMatch.normalisation
    source = ExactMatch.source

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        return answers.token_f1


class HeldOutLoss(ItemMetric):
    """How improbable a model finds the references: an arm's figure weighs items by their tokens."""

    key, title, higher_is_better, unit = "held_out_loss", "Held-out loss", False, "nats a token"
    normalisation = "mean negative log-likelihood of the reference's tokens under the model; comparable between models of one tokenizer"
    aggregation = "weighted mean"
    source = "cross-entropy of the reference answers, weighted by their tokens"

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description=f"{self.title}. {self.normalisation}",
            citation=self.source,
            inputs_description="losses: nats a token, NaN where there is none; tokens: the number of tokens of each reference",
            features=datasets.Features({"losses": datasets.Value("float64"), "tokens": datasets.Value("int64")}),
        )

    def columns(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        losses = [row.get("reference_loss") for row in rows]
        return {
            "losses": [float("nan") if loss is None else float(loss) for loss in losses],
            "tokens": [int(row.get("reference_tokens") or 0) for row in rows],
        }

    def items(self, *, losses: Sequence[float], tokens: Sequence[int]) -> tuple[Array, Array]:
        weights = np.array(tokens, dtype=np.float64)
        values = np.where(weights > 0, np.array(losses, dtype=np.float64), np.nan)
        return values, np.column_stack([values * weights, np.where(np.isnan(values), np.nan, weights)])


METRICS: dict[str, type[ItemMetric]] = {metric.key: metric for metric in (Rouge1, Rouge2, RougeL, Bleu, ExactMatch, TokenF1, HeldOutLoss)}
