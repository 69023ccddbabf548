from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.datasets.support import Support, support

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


@pytest.mark.parametrize(
    ("answer", "text", "found"),
    [
        ("It stores chunks.", "The storing of a chunk", Support(1.0)),
        ("Adam with momentum", "SGD without momentum", Support(0.5)),
        ("1,000 steps at 2e-4", "1000 steps, a rate of 0.0002", Support(1.0)),
        ("after three runs: 3", "three runs after that", Support(1.0)),
        ("It has 16 layers.", "It has 12 layers.", Support(1.0, ("16",))),
        ("4-bit and 0.5B", "a 4-bit model of 0.5B", Support(1.0)),
        ("0.50", "half: 0.5", Support(1.0)),
        ("15", "1.5", Support(1.0, ("15",))),
        ("注意力机制", "注意力", Support(0.6)),
        ("LoRA微调", "用LoRA微调模型", Support(1.0)),
        ("yes", "anything", Support(1.0)),
        ("Japan", "Japanese imports", Support(1.0)),
        ("western Europe", "textiles of Western  European origin", Support(1.0)),
        ("1. It is cheap; 2. it is exact. 3) It has 4 parts", "cheap, exact, parts", Support(1.0, ("4",))),
        ("3D volumes", "volumes", Support(1.0)),
        ("30 volumes", "volumes", Support(1.0, ("30",))),
        ("", "", Support(1.0)),
    ],
)
def test_words_and_numbers(answer: str, text: str, found: Support) -> None:
    assert support(answer, text) == found


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is missing")
def test_squads_answers_are_held_by_their_own_paragraphs_and_by_few_others() -> None:
    squad = json.loads((SHARED / "squad/dev-v1.1.json").read_text())["data"]
    pairs = [
        (qa["answers"][0]["text"], paragraph["context"])
        for article in squad
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    ][::5]
    own = [support(answer, context) for answer, context in pairs]
    assert sum(found.share < 1 or bool(found.numbers) for found in own) <= 0.003 * len(pairs)  # pieces of words: "drummes", "2,70"
    other = [support(answer, pairs[(place + 1000) % len(pairs)][1]) for place, (answer, _) in enumerate(pairs)]
    assert sum(found.share < 0.6 or bool(found.numbers) for found in other) > 0.7 * len(pairs)
