from __future__ import annotations

import math

import pytest

from runner.evaluation.abstaining import abstains
from runner.evaluation.metrics import Abstention, FalseAbstention


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("", True),
        ("I don't know.", True),
        ("I do not know the answer. It may be 5.", True),
        ("The passages do not say which optimizer was used.", True),
        ("The paper doesn't mention the batch size", True),
        ("This cannot be determined from the text.", True),
        ("The learning rate is not stated.", True),
        ("Unanswerable", True),
        ("There is not enough information to tell.", True),
        ("I'm not sure, but 5.", True),
        ("The model uses 5 experts.", False),
        ("The cause is unknown to the router, which drops the token.", False),
        ("We do not find a difference.", False),
        ("It uses 5 experts. The paper does not mention more.", False),
        ("The answer is no.", False),
        ("No information about the optimizer is given", True),
        ("There is no answer to this in the text.", True),
        ("The value is not specified in the paper, however.", True),
        ("There is not enough evidence in the passages.", True),
        ("We found no evidence that it compromised the therapy.", False),  # a finding, as PubMedQA's answers have it
        ("No information was lost by the quantisation.", False),
        ("Insufficient context makes models invent facts.", False),
        ("The student is not given labels but logits.", False),
    ],
)
def test_abstaining(answer: str, says: bool) -> None:
    assert abstains(answer) is says


def test_unanswerable_questions_should_be_declined_and_others_not() -> None:
    given = {
        "predictions": ["I don't know.", "5", "I don't know.", "7", "The text does not say."],
        "references": [[], [], ["7"], ["7"], ["The paper does not say."]],
    }
    scores, _ = Abstention().items(**given)
    assert [None if math.isnan(score) else score for score in scores] == [100, 0, None, None, 100]
    scores, _ = FalseAbstention().items(**given)
    assert [None if math.isnan(score) else score for score in scores] == [None, None, 100, 0, None]
    phrase = Abstention(["^weiß ich nicht"])
    assert phrase.compute(predictions=["Weiß ich nicht."], references=[[""]]) == {"abstention": 100}
    assert Abstention().compute(predictions=["Weiß ich nicht."], references=[[""]]) == {"abstention": 0}
