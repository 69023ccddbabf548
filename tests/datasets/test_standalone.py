from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from runner.datasets.standalone import dangling

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


@pytest.mark.parametrize(
    "question",
    [
        "What is DualPipe?",
        "How does the text encoder of CLIP work?",
        "What is the chunk size of 3FS?",
        "How does the paper machine of Fourdrinier dry its web?",
        "Why does it help LoRA to scale by alpha?",
        "Is it true that GRPO needs no critic?",
        "What does the FDB table store in 3FS?",
        "How does LoRA train adapters, and why is this method cheap?",
        "Who said that he had built YOLO?",
        "Which rights do those who live in Berlin have?",
        "What did Protestant nobles form the following year after the Peace of Augsburg?",
        "Who are the authors of BERT?",
        "Should we use ultrasound in constipated children?",
        "How many GPUs does the US national laboratory at Oak Ridge own?",
        "什么是注意力？",
        "Что такое внимание?",
        "What is C++?",
        "What was the 10% rule?",
        "Classify the following text as offensive or not: you acted really crazy last night.",
        "The given text must be classified as offensive.\n\nYou acted really crazy last night.",
        "In her first term, Governor Sandoval gave 12 addresses, twice as many as Hawkins; how many did both give?",
        "In its second version, what did YOLO change?",
        "This week, the fishmonger sold 50 kg of salmon; how much a day?",
        "Can we find a formula that generates all prime numbers?",
    ],
)
def test_a_question_that_names_its_subject_stands_alone(question: str) -> None:
    assert dangling(question) is None


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("What does the paper propose?", 'points at the text: "the paper"'),
        ("According to the passage, what is LoRA?", 'points at the text: "the passage"'),
        ("In this study, what was measured?", 'points at the text: "this study"'),
        ("What does the above figure show?", 'points at the text: "the above figure"'),
        ("What is mentioned above about LoRA?", 'points at another place: "mentioned above"'),
        ("Which of the following trains faster, LoRA or QLoRA?", 'points at another place: "the following"'),
        ("Which model is best in Table 2?", 'points at a numbered part: "Table 2"'),
        ("What does Eq. (4) of DeepSeek state?", 'points at a numbered part: "Eq. (4"'),
        ("How does LoRA compare with [12, 13]?", 'points at a reference: "[12, 13]"'),
        ("Why did the authors choose Adam?", 'points at who wrote the text: "the authors"'),
        ("What do our results show for LoRA?", 'speaks as the authors do: "our results"'),
        ("How did we train DeepSeek?", 'speaks as the authors do: "we train"'),
        ("What does the proposed method cost?", 'names its subject only as what is proposed: "the proposed method"'),
        ("In its second version, what did it change?", 'refers to what it does not name: "its second"'),
        ("What is said in the passage about LoRA?\n", 'points at the text: "the passage"'),
        ("How does it work?", 'refers to what it does not name: "it work"'),
        ("How is this method trained?", 'refers to what it does not name: "this method"'),
        ("Why was he unable to enrol at the university?", 'refers to what it does not name: "he unable"'),
        ("What is the main contribution?", "names nothing that could be looked up"),
        ("???", "names nothing that could be looked up"),
    ],
)
def test_a_question_that_leans_on_its_text_is_found_out(question: str, why: str) -> None:
    assert dangling(question) == why


def test_patterns_of_ones_own() -> None:
    assert dangling("Was ist laut Text LoRA?", [re.compile("laut text", re.I)]) == "matches 'laut text': \"laut Text\""


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is missing")
def test_real_questions_written_to_stand_alone_do() -> None:
    """PubMedQA's questions are titles of articles. SQuAD's were written beside their paragraph: few of them lean on it."""
    titles = [row["QUESTION"] for row in json.loads((SHARED / "pubmedqa/ori_pqal.json").read_text()).values()]
    assert [title for title in titles if dangling(title)] == ["It's Fournier's gangrene still dangerous?", "Is it Crohn's disease?"]
    squad = json.loads((SHARED / "squad/dev-v1.1.json").read_text())["data"]
    questions = [asked["question"] for article in squad for paragraph in article["paragraphs"] for asked in paragraph["qas"]]
    assert sum(dangling(question) is not None for question in questions) < 0.015 * len(questions)
