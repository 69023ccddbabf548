"""Metrics of what an answer's text shares with its references: ROUGE, BLEU, chrF, SQuAD's two, and key-term recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from runner.evaluation import answers
from runner.evaluation.aggregates import Array
from runner.evaluation.metric import References, TextMetric, paired
from runner.evaluation.terms import key_terms, recall


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

        def row(answer: str, wanted: list[str]) -> list[float]:
            score = bleu.sentence_score(answer, wanted)
            return [score.score, score.sys_len, score.ref_len, *score.counts, *score.totals]

        return _scores_and_statistics(predictions, references, row, 10)


class ChrF(TextMetric):
    """The figure of an arm is corpus chrF; the score of an item is sentence chrF. Of several references the best counts."""

    key, title = "chrf", "chrF"
    normalisation = "case kept; white space left out; character 1- to 6-grams, beta 2 (sacreBLEU's chrF2); an arm's figure is corpus chrF"
    aggregation = "corpus chrF"
    source = "Popović, 2015: chrF: character n-gram F-score for automatic MT evaluation; package sacrebleu"

    def items(self, *, predictions: Sequence[str], references: References) -> tuple[Array, Array]:
        from sacrebleu.metrics.chrf import CHRF

        chrf = CHRF()

        def row(answer: str, wanted: list[str]) -> list[float]:
            # sacreBLEU counts anew for a score, so the score of an item is made from its counts, by its own function.
            [counts] = chrf._extract_corpus_statistics([answer], [[text] for text in wanted])
            return [chrf._compute_f_score(counts), *counts]

        return _scores_and_statistics(predictions, references, row, 18)


class ExactMatch(TextMetric):
    key, title = "exact_match", "Exact match"
    normalisation = "SQuAD v1.1: lower case, no ASCII punctuation, no articles, single spaces; the best of several references"
    source = "Rajpurkar et al., 2016: SQuAD; evaluate-v1.1"

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        return answers.exact_match


class TokenF1(TextMetric):
    key, title = "token_f1", "Token F1"
    normalisation = ExactMatch.normalisation
    source = ExactMatch.source

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        return answers.token_f1


class KeyTermRecall(TextMetric):
    """``glossary`` holds further terms, which count where a reference uses them."""

    key, title = "key_term_recall", "Key-term recall"
    normalisation = (
        "terms of the reference: words with an inner capital or in capitals (LoRA, GPU), with letters and digits (FP8), joined (low-rank, "
        "model.safetensors), capitalised within a sentence, and those of the glossary; compared without case, hyphens and plural s"
    )
    source = "share of the reference's distinct terms that stand in the answer; a reference without any has no score"
    lacks = ("reference with a key term", "give `key_terms`, or leave the metric out")

    def __init__(self, glossary: Sequence[str] = ()) -> None:
        super().__init__()
        self._glossary = tuple(glossary)

    def scorer(self) -> Callable[[str, Sequence[str]], float]:
        def score(answer: str, references: Sequence[str]) -> float:
            shares = [recall(terms, answer) for text in references if (terms := key_terms(text, self._glossary))]
            return max(shares, default=float("nan"))

        return score


def _scores_and_statistics(
    predictions: Sequence[str], references: References, row: Callable[[str, list[str]], Sequence[Any]], width: int
) -> tuple[Array, Array]:
    """``row`` gives the score of an item, then its ``width`` statistics."""
    nothing = [np.nan] * (width + 1)
    rows = [row(answer, wanted) if wanted else nothing for answer, wanted in paired(predictions, references)]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), width + 1)
    return table[:, 0], table[:, 1:]
