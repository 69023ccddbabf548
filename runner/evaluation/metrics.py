"""The metrics, as ``evaluate.Metric`` classes that lie in this package: ``evaluate.load`` would fetch a script from the hub.

``TokenF1().compute(predictions=[...], references=[...])`` gives one figure, as with any metric of evaluate; a reference is
a text or a list of texts, of which the best counts. ``items`` gives the scores and statistics of every item, which
intervals and comparisons are made of. Texts are scored from 0 to 100; losses are in nats a token.
"""

from __future__ import annotations

from runner.evaluation.abstaining import Abstention, FalseAbstention
from runner.evaluation.judged import JudgeScore, LengthAdjustedWinRate, WinRate
from runner.evaluation.labels import Accuracy, Unparsable
from runner.evaluation.likelihood import HeldOutLoss, Perplexity
from runner.evaluation.metric import ItemMetric, TextMetric
from runner.evaluation.overlap import Bleu, ChrF, ExactMatch, KeyTermRecall, Rouge1, Rouge2, RougeL, TokenF1
from runner.evaluation.retrieved import Groundedness, HitAtK, ReciprocalRank
from runner.evaluation.similarity import EmbeddingSimilarity

#: Those that need nothing but the answers, by name. Others are made with what they need.
METRICS: dict[str, type[ItemMetric]] = {
    metric.key: metric
    for metric in (
        Rouge1,
        Rouge2,
        RougeL,
        Bleu,
        ChrF,
        ExactMatch,
        TokenF1,
        KeyTermRecall,
        HeldOutLoss,
        Perplexity,
        ReciprocalRank,
        Groundedness,
        Abstention,
        FalseAbstention,
        JudgeScore,
        WinRate,
        LengthAdjustedWinRate,
    )
}

__all__ = [
    "METRICS",
    "Abstention",
    "Accuracy",
    "Bleu",
    "ChrF",
    "EmbeddingSimilarity",
    "ExactMatch",
    "FalseAbstention",
    "Groundedness",
    "HeldOutLoss",
    "HitAtK",
    "ItemMetric",
    "JudgeScore",
    "KeyTermRecall",
    "LengthAdjustedWinRate",
    "Perplexity",
    "ReciprocalRank",
    "Rouge1",
    "Rouge2",
    "RougeL",
    "TextMetric",
    "TokenF1",
    "Unparsable",
    "WinRate",
]
