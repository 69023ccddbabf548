"""Tuning of an embedder by sentence-transformers' trainer, and its hit rate on questions that were held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import InputError, StepError
from runner.training import memory
from runner.training.listener import Listener, Nobody

#: Depths of the hit rate, and the depth that the reciprocal rank is cut at.
HIT_AT, MRR_AT = (1, 3, 5, 10), 10
_TOGETHER = 128  # passages embedded between two reports


@dataclass(frozen=True)
class HeldOut:
    """What an embedder is measured on: texts by id, and for each question the ids of the passages that answer it."""

    questions: Mapping[str, str]
    passages: Mapping[str, str]
    answered_by: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class TunedEmbedder:
    """``before`` and ``after``: ``hit_at_1`` ..., ``mrr_at_10`` from 0 to 1, None without held-out questions.

    ``curve`` has rows ``{step, epoch, loss, ...}``; ``seconds`` are those of this execution's optimiser steps.
    """

    curve: list[dict[str, float]]
    steps: int
    resumed_at: int
    seconds: float
    peak_memory: int
    peak_memory_of: str
    before: dict[str, float] | None
    after: dict[str, float] | None


def tune_embedder(
    model: Any,
    pairs: Sequence[tuple[str, str]],
    held_out: HeldOut | None = None,
    *,
    arguments: Mapping[str, Any],
    scale: float = 20.0,
    mini_batch_size: int | None = None,
    journal: Path,
    save_steps: int = 500,
    device: str = "cpu",
    listener: Listener | None = None,
) -> TunedEmbedder:
    """Tune ``model`` (a SentenceTransformer, changed in place) on ``pairs`` of a question and a passage that answers it.

    MultipleNegativesRankingLoss (Henderson et al., 2017): within a batch, the passages of the other questions are the wrong answers;
    ``scale`` multiplies the cosines (an inverse temperature). No text stands twice in a batch, for it would be a right
    answer counted as a wrong one. With ``mini_batch_size`` the same loss is computed in pieces by a gradient cache (Gao et al.,
    2021), so that the batch may be larger than memory. ``arguments`` are sentence-transformers' own training arguments by
    name; the model's prompts ``query`` and ``document`` are put before every question and passage. Checkpoints go to
    ``journal``; a killed tuning goes on from the last complete one. InputError when a batch cannot be made, StepError when
    memory runs out or the loss is no number.
    """
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MultipleNegativesRankingLoss

    from runner.training import session
    from runner.training.checkpoints import last_complete

    _check(pairs)
    listener = listener or Nobody()
    memory.reset_peak(device)
    checkpoint = last_complete(journal)
    before = None
    if held_out is not None:
        before = _once(journal / "before.json", lambda: hit_rates(model, held_out, listener))
    loss = (
        MultipleNegativesRankingLoss(model, scale=scale)
        if mini_batch_size is None
        else CachedMultipleNegativesRankingLoss(model, scale=scale, mini_batch_size=mini_batch_size)
    )
    documents = next((model.prompts[name] for name in ("document", "passage", "corpus") if name in model.prompts), None)
    prompts = {"question": model.prompts.get("query"), "passage": documents}  # as encode_query and encode_document choose them
    settings = session.arguments(
        journal,
        device,
        save_steps=save_steps,
        **{
            **arguments,
            "include_num_input_tokens_seen": "no",  # it looks for one text a row; here there are two
            "batch_sampler": "no_duplicates",
            "prompts": {name: prompt for name, prompt in prompts.items() if prompt} or None,
        },
    )
    model.model_card_data.widget = [{"text": ""}]  # else it looks for examples, with a progress bar, for a card that is not written
    try:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(**settings),
            train_dataset=Dataset.from_dict({"question": [pair[0] for pair in pairs], "passage": [pair[1] for pair in pairs]}),
            loss=loss,
        )
        outcome = session.run(trainer, journal, listener, checkpoint)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error):
            raise
        lower = "set mini_batch_size, to 8 say" if mini_batch_size is None else f"lower mini_batch_size from {mini_batch_size}"
        raise StepError("memory ran out while tuning the embedder", remedy=f"{lower}, or lower max_seq_length") from error
    model.eval()
    after = None if held_out is None else hit_rates(model, held_out, listener)
    peak, peak_of = memory.peak(device)
    return TunedEmbedder(outcome.curve, outcome.steps, outcome.resumed_at, outcome.seconds, peak, peak_of, before, after)


def hit_rates(model: Any, held_out: HeldOut, listener: Listener | None = None) -> dict[str, float]:
    """``hit_at_k``: share of questions with a passage that answers them among the ``k`` nearest of all passages (cosine);
    ``mrr_at_10``: mean of 1 / rank of the first such passage, 0 beyond rank 10. By sentence-transformers'
    InformationRetrievalEvaluator, which calls the first accuracy@k."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    evaluator = InformationRetrievalEvaluator(
        dict(held_out.questions),
        dict(held_out.passages),
        {id: set(right) for id, right in held_out.answered_by.items()},
        accuracy_at_k=list(HIT_AT),
        mrr_at_k=[MRR_AT],
        ndcg_at_k=[MRR_AT],
        precision_recall_at_k=[1],
        map_at_k=[MRR_AT],
        score_functions={"cosine": cos_sim},
        write_csv=False,
    )
    values = evaluator(model, corpus_embeddings=_embedded(model, list(held_out.passages.values()), listener or Nobody()))
    rates = {f"hit_at_{k}": values[f"cosine_accuracy@{k}"] for k in HIT_AT} | {f"mrr_at_{MRR_AT}": values[f"cosine_mrr@{MRR_AT}"]}
    return {name: round(float(value), 6) for name, value in rates.items()}


def _embedded(model: Any, passages: Sequence[str], listener: Listener) -> Any:
    import torch

    blocks = []
    for start in range(0, len(passages), _TOGETHER):
        listener.progress(start, len(passages), "passages embedded")
        listener.check_cancelled()
        blocks.append(model.encode_document(list(passages[start : start + _TOGETHER]), convert_to_tensor=True, show_progress_bar=False))
    return torch.cat(blocks)


def _check(pairs: Sequence[tuple[str, str]]) -> None:
    questions, passages = ({pair[side] for pair in pairs} for side in (0, 1))
    if min(len(questions), len(passages)) < 2:
        raise InputError(
            f"{len(pairs)} pairs of {len(questions)} questions and {len(passages)} passages: a passage is told from those of other "
            "questions, and there are none",
            remedy="give examples of at least two passages",
        )


def _once(file: Path, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What ``measure`` gave at the first attempt: after a resume the model is no longer the one to measure."""
    import json

    if file.is_file():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    values = measure()
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps(values), encoding="utf-8")
    partial.replace(file)
    return values
