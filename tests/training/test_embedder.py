from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from runner.errors import InputError
from runner.training.checkpoints import last_complete
from runner.training.embedder import HeldOut, TunedEmbedder, hit_rates, tune_embedder
from runner.training.listener import Nobody
from tests.retrieval import tiny_embedder

ARGUMENTS = {"per_device_train_batch_size": 8, "learning_rate": 5e-3, "num_train_epochs": 2, "logging_steps": 1, "seed": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_embedder.save(tmp_path_factory.mktemp("embedder") / "tiny")


def opened(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})


def pairs(count: int = 48) -> list[tuple[str, str]]:
    generator = random.Random(0)
    words = [generator.choices(tiny_embedder.WORDS, k=4) for _ in range(count)]
    return [(" ".join(four[:2]) + f" {number}", " ".join(four)) for number, four in enumerate(words)]


def weights(model: Any) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    import torch

    return all(torch.equal(one[name], other[name]) for name in one)


def tune(folder: Path, journal: Path, **options: Any) -> tuple[Any, TunedEmbedder]:
    model = opened(folder)
    return model, tune_embedder(model, pairs(), arguments=ARGUMENTS, journal=journal, **options)


def test_hit_rates_are_those_of_a_plain_count(folder: Path) -> None:
    from sentence_transformers.util import cos_sim

    model, texts = opened(folder), pairs(30)
    held = HeldOut(
        {str(n): question for n, (question, _) in enumerate(texts)},
        {f"p{n}": passage for n, (_, passage) in enumerate(texts)},
        {str(n): frozenset({f"p{n}", f"p{(n + 1) % 30}"}) for n in range(30)},
    )
    similarity = cos_sim(model.encode_query([q for q, _ in texts]), model.encode_document([p for _, p in texts]))
    ranks = []
    for number, row in enumerate(similarity):
        order = row.argsort(descending=True).tolist()
        ranks.append(1 + min(order.index(number), order.index((number + 1) % 30)))
    expected = {f"hit_at_{k}": sum(rank <= k for rank in ranks) / 30 for k in (1, 3, 5, 10)}
    expected["mrr_at_10"] = sum(1 / rank for rank in ranks if rank <= 10) / 30
    assert hit_rates(model, held) == pytest.approx(expected, abs=1e-6)


def test_the_model_learns_and_the_same_seed_gives_the_same_weights(folder: Path, tmp_path: Path) -> None:
    first, tuned = tune(folder, tmp_path / "a")
    again, _ = tune(folder, tmp_path / "b")
    assert tuned.steps == len(tuned.curve) == 12
    assert tuned.curve[-1]["loss"] < tuned.curve[0]["loss"]
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(opened(folder)))


def test_a_killed_tuning_goes_on_as_if_nothing_had_happened(folder: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Killer(Nobody):
        steps = 0

        def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
            if unit == "steps" and done == 7:
                raise Killed

    whole, expected = tune(folder, tmp_path / "whole", save_steps=3)
    with pytest.raises(Killed):
        tune(folder, tmp_path / "killed", save_steps=3, listener=Killer())
    assert last_complete(tmp_path / "killed") is not None
    resumed, tuned = tune(folder, tmp_path / "killed", save_steps=3)
    assert tuned.resumed_at == 6
    assert tuned.curve == expected.curve
    assert same(weights(resumed), weights(whole))


def test_before_is_measured_once_though_the_tuning_was_killed(folder: Path, tmp_path: Path) -> None:
    texts = pairs(20)
    held = HeldOut({"q": texts[0][0]}, {str(n): passage for n, (_, passage) in enumerate(texts)}, {"q": frozenset({"0"})})
    _, tuned = tune(folder, tmp_path, held_out=held)
    _, again = tune(folder, tmp_path, held_out=held)
    assert again.before == tuned.before == hit_rates(opened(folder), held)
    assert again.after == tuned.after


def test_a_gradient_cache_gives_the_loss_of_the_whole_batch(folder: Path, tmp_path: Path) -> None:
    losses = []
    for name, size in (("whole", None), ("pieces", 3)):
        model = opened(folder)
        for module in model.modules():
            if module.__class__.__name__ == "Dropout":
                module.p = 0.0
        tuned = tune_embedder(model, pairs(), arguments=ARGUMENTS, journal=tmp_path / name, mini_batch_size=size)
        losses.append([row["loss"] for row in tuned.curve])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.parametrize("texts", [[], [("a", "b")], [("a", "b"), ("c", "b")]])
def test_pairs_that_teach_nothing(folder: Path, tmp_path: Path, texts: list[tuple[str, str]]) -> None:
    with pytest.raises(InputError, match="a passage is told from those of other questions, and there are none"):
        tune_embedder(opened(folder), texts, arguments=ARGUMENTS, journal=tmp_path)
