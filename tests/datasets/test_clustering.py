from __future__ import annotations

import pytest

from runner.datasets import groups, topics
from runner.datasets.clustering import words
from runner.errors import StepError

ABOUT = {
    "attention": "attention heads query key value softmax scores",
    "quantization": "quantization bits weights blocks scale rounding",
    "retrieval": "retrieval index passages vectors nearest chunks",
}


def examples(each: int = 4) -> list[dict[str, object]]:
    return [
        {"id": f"{name}-{n}", "question": f"What about {text.split()[n % 6]} number {n}?", "answer": text, "documents": [f"{name}{n // 2}"]}
        for n in range(each)
        for name, text in ABOUT.items()
    ]


def test_topics_hold_whole_documents_and_name_themselves() -> None:
    rows = examples()
    found = topics(rows, groups(rows), 3, seed=1)
    assert sorted(place for topic in found for place in topic.places) == list(range(len(rows)))
    for topic in found:
        (name,) = {str(rows[place]["id"]).split("-")[0] for place in topic.places}
        assert set(topic.terms[:3]) <= set(ABOUT[name].split())
    assert topics(rows, groups(rows), 3, seed=1) == found


def test_how_is_asked_makes_no_topic() -> None:
    asks = ("What does the {} do and why is it so that it does?", "When may we find out how many of these are there with the {}?")
    rows = [
        {"id": f"{thing}{n}", "question": asks[n % 2].format(thing), "answer": thing, "documents": [f"{thing}{n}"]}
        for thing in ("kettle", "violin")
        for n in range(4)
    ]
    found = topics(rows, groups(rows), 2)
    assert sorted((len(topic.places), topic.terms[:1]) for topic in found) == [(4, ["kettle"]), (4, ["violin"])]


def test_too_few_groups_and_no_words() -> None:
    rows = examples()
    with pytest.raises(StepError, match="6 groups of examples that share no document cannot make 7 topics"):
        topics(rows, groups(rows), 7)
    mute = [{"id": str(n), "question": "?", "answer": "!", "documents": []} for n in range(3)]
    with pytest.raises(StepError, match="hold no words"):
        topics(mute, groups(mute), 2)


def test_equal_texts_make_fewer_topics() -> None:
    rows = [{"id": str(n), "question": "same words", "answer": "again", "documents": []} for n in range(5)]
    assert [len(topic.places) for topic in topics(rows, groups(rows), 3)] == [5]


def test_words_of_scripts_without_spaces_are_pairs_of_characters() -> None:
    assert words("What is 注意力机制?") == ["what", "is", "注意", "意力", "力机", "机制"]
