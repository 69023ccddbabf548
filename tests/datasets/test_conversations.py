"""Conversations in their public forms as examples; what is no conversation, by row and turn; and what a history changes elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from runner.datasets import Conversations, Leaks, Record, Turns, examples, mix, told
from runner.datasets.curation import UNCHECKED, curate, duplicates, near_duplicates, standalone
from runner.errors import InputError

Made = list[dict[str, Any]]


def made(*rows: dict[str, Any], fields: dict[str, Any] | None = None, turns: Conversations | None = None, **options: Any) -> Made:
    records = (Record("f.jsonl", f"line {n}", row) for n, row in enumerate(rows, 1))
    return list(examples(records, fields or {"conversation": "messages"}, conversations=turns, **options))


def said(*texts: str, roles: tuple[str, str] = ("user", "assistant"), keys: tuple[str, str] = ("role", "content")) -> list[dict[str, str]]:
    return [{keys[0]: roles[n % 2], keys[1]: text} for n, text in enumerate(texts)]


SHAREGPT = Turns(role="from", content="value", roles={"human": "user", "gpt": "assistant"})


def test_the_last_exchange_is_asked_and_the_turns_before_it_are_its_history() -> None:
    (example,) = made({"messages": said("Hello?", " Hi.\r\n", "Why?", "So."), "question": "other", "answer": "other"})
    assert example["history"] == said("Hello?", "Hi.")
    assert (example["question"], example["answer"]) == ("Why?", "So.")
    (example,) = made({"messages": said("Why?", "So.")})
    assert "history" not in example


def test_other_forms_are_said_by_their_names() -> None:
    sharegpt = {"conversations": said("Hello?", "Hi.", "Why?", "So.", roles=("human", "gpt"), keys=("from", "value"))}
    parts = {"talk": {"turns": [{"by": {"who": "user"}, "content": [{"type": "text", "text": text}]} for text in ("Why?",)]}}
    parts["talk"]["turns"].append({"by": {"who": "model"}, "content": [{"type": "text", "text": "So."}]})
    (one,) = made(sharegpt, fields={"conversation": "conversations"}, turns=Conversations(SHAREGPT))
    assert (one["history"], one["question"], one["answer"]) == (said("Hello?", "Hi."), "Why?", "So.")
    nested = Conversations(Turns(role="by.who", content="content.0.text", roles={"model": "assistant"}))
    (two,) = made(parts, fields={"conversation": "talk.turns"}, turns=nested)
    assert (two["question"], two["answer"]) == ("Why?", "So.")


def test_turns_before_a_question_of_its_own_column() -> None:
    fields = {"history": "before"}
    rows = [{"question": "Why?", "answer": "So.", "before": before} for before in (said("Hello?", "Hi."), [], None)]
    assert [example.get("history") for example in made(*rows, fields=fields)] == [said("Hello?", "Hi."), None, None]
    with pytest.raises(InputError, match="line 1: `before` ends with the user's turn, and the question comes after it"):
        made({**rows[0], "before": said("Hello?")}, fields=fields)


def test_a_system_turn_is_refused_or_left_out_and_counted() -> None:
    row = {"messages": [{"role": "system", "content": "Be brief."}, *said("Why?", "So.")]}
    with pytest.raises(InputError) as caught:
        made(row)
    assert "turn 1 of `messages` is a system's, and the system prompt is the model's; `turns: {drop_system: true}` leaves it" in str(
        caught.value
    )
    turns = Conversations(Turns(drop_system=True))
    assert [example["question"] for example in made(row, {"messages": said("And?", "Then.")}, turns=turns)] == ["Why?", "And?"]
    assert turns.system_turns == 1
    developer = {"messages": [{"role": "developer", "content": None}, *said("Why?", "So.")]}
    assert made(developer, turns=Conversations(Turns(drop_system=True, roles={"developer": "system"})))[0]["question"] == "Why?"


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (said("Why?"), "`messages` ends with the user's turn: there is no answer"),
        ([], "`messages` holds no turn"),
        (None, "`messages` is null where a list of turns should be"),
        ("Why?", "`messages` is a text where a list of turns should be"),
        (["Why?", "So."], "turn 1 of `messages` is a text where a map should be"),
        (said("Hi.", "Why?", roles=("assistant", "user")),
         "turn 1 of `messages` is the assistant's, the first: user and assistant speak in turn, the user first"),
        ([*said("Why?"), *said("Why?")],
         "turn 2 of `messages` is the user's, and so is the one before: user and assistant speak in turn, the user first"),
        ([*said("Why?", "So."), {"role": "assistant", "content": "So!"}],
         "turn 3 of `messages` is the assistant's, and so is the one before: user and assistant speak in turn, the user first"),
        (said("Why?", " "), "turn 2 of `messages` is empty"),
        ([*said("Why?"), {"role": "assistant", "content": None}], "`content` of turn 2 of `messages` is null"),
        ([*said("Why?"), {"role": "assistant", "content": [1]}], "`content` of turn 2 of `messages` is a list"),
        ([{"role": "user", "text": "x"}], "turn 1 of `messages` has no `content`; it has `role`, `text`"),
        ([{"from": "human", "value": "x"}], "turn 1 of `messages` has no `role`; it has `from`, `value`"),
        ([*said("Why?"), {"role": "tool", "content": "x"}],
         "turn 2 of `messages` is of `tool`, which is none of `user`, `assistant`, `system`; say by `turns.roles` what it means"),
        ([{"role": "user", "content": "\ud800"}], "`content` of turn 1 of `messages` is half of a character (a lone surrogate)"),
    ],
)  # fmt: skip
def test_what_is_no_conversation_names_row_and_turn(messages: Any, message: str) -> None:
    good, bad = {"messages": said("Why?", "So.")}, list[Any]()
    with pytest.raises(InputError) as caught:
        made(good, {"messages": messages})
    assert str(caught.value).split("\n")[1] == f"  line 2: {message}"
    assert len(made(good, {"messages": messages}, good, bad=bad)) == 2
    assert [(row.place, row.reason) for row in bad] == [("line 2", message)]


def test_a_system_alone_is_no_conversation() -> None:
    with pytest.raises(InputError, match="`messages` holds no turn but a system's"):
        made({"messages": [{"role": "system", "content": "x"}]}, turns=Conversations(Turns(drop_system=True)))


def test_an_open_question_may_have_its_answer_elsewhere_or_none() -> None:
    row = {"messages": said("Hello?", "Hi.", "Why?"), "best": "So.", "all": ["So.", "Thus."]}
    fields = {"conversation": "messages"}
    assert made(row, fields=fields, reference="optional")[0]["answer"] == ""
    assert made(row, fields={**fields, "answer": "best"})[0]["answer"] == "So."
    assert made(row, fields={**fields, "answers": "all"})[0]["answers"] == ["So.", "Thus."]
    with pytest.raises(InputError, match="`messages` ends with the assistant's turn, and the answer is to come from elsewhere"):
        made({**row, "messages": said("Why?", "So.")}, fields={**fields, "answer": "best"})


def test_values_are_translated_and_ids_tell_histories_apart() -> None:
    rows = [{"messages": said(hello, "Hi.", "Why?", "1")} for hello in ("Hello?", "Hey?")]
    found = made(*rows, values={"answer": {"1": "yes"}})
    assert [example["answer"] for example in found] == ["yes", "yes"]
    assert len({example["id"] for example in found}) == 2
    plain = made({"question": "Why?", "answer": "yes"}, fields={"question": "question"})
    assert plain[0]["id"] == made({"messages": said("Why?", "yes")})[0]["id"]  # without a history nothing is another


def talk(*texts: str, id: str = "a", document: str = "") -> dict[str, Any]:
    example = {"id": id, "question": texts[-2], "answer": texts[-1], "documents": [document] if document else []}
    return example | ({"history": said(*texts[:-2])} if texts[2:] else {})


FOLLOW_UP = "And which one of them is the larger one?"


def test_the_same_question_after_other_turns_is_no_duplicate() -> None:
    pairs = [talk("Two or three?", "Three.", FOLLOW_UP, "It."), talk("Rank or alpha?", "Rank.", FOLLOW_UP, "It.", id="b")]
    again = [talk("two OR three?", "three", FOLLOW_UP, "it!", id="c")]
    for rule in ("exact", "normalised", "question", "near", "near_question"):
        kept = [example["id"] for example in mix({"x": pairs, "y": again}, duplicates=rule).examples]  # type: ignore[arg-type]
        assert kept == (["a", "b", "c"] if rule == "exact" else ["a", "b"]), rule
    for name, make in {"duplicates": lambda left: duplicates(), "near": near_duplicates}.items():
        kept, _ = curate([*pairs, *again], {name: make})
        assert [example["id"] for example in kept] == ["a", "b"]  # type: ignore[index]


def test_a_question_in_a_conversation_need_not_stand_alone() -> None:
    rule = standalone()
    assert rule(talk("How does it compare?", "Well.")) is not None
    assert rule(talk("What is LoRA?", "A method.", "How does it compare?", "Well.")) == UNCHECKED


def test_a_leak_is_found_in_the_earlier_exchanges_of_what_is_trained_on() -> None:
    answer = "It multiplies the update by alpha over the rank, and by the root."
    train = talk("What does the scale of LoRA do to the update?", answer, "Why?", "So.", id="train")
    same, near = "what does the scale of LoRA do to the update", "What does the scale of LoRA do to the updates?"
    tests = [talk(same, answer, id="0"), talk(near, "x", id="1"), talk("Why?", "So.", id="2"), talk("Hm?", "x", "Why?", "So.", id="3")]
    leaks = Leaks([train, *tests])
    found = leaks.counterparts([1, 2, 3, 4], [0])
    assert found[0] == {"question": "train", "near_question": "train", "answer": "train"}
    assert found[1] == {"near_question": "train"}
    assert found[2] == found[3] == {}  # the same words after other turns are another question
    assert leaks.counterparts([0], [1]) == [{}]  # what only the test asks, and does not score, gives nothing away
    assert leaks.leakage([1, 2, 3, 4], [0]).any == 0.5
    shown = Leaks(tests, shown=[("few/1", train)]).counterparts([0, 1, 2], [])
    assert shown == [{"shown": "few/1"}, {"shown": "few/1"}, {}]


def test_a_conversation_that_is_nearly_one_of_training_leaks() -> None:
    before = ("Which layers of the model get an adapter in this paper?", "All linear layers, that is attention and the MLP.")
    train, test = talk(*before, "Why?", "So.", id="train"), talk(*before, "Why not?", "No.", id="test")
    assert Leaks([train, test]).counterparts([1], [0]) == [{"near_question": "train"}]
    other = talk("Say something else entirely, please.", "A rose is a rose.", "Why?", "So.", id="other")
    assert Leaks([train, other]).counterparts([1], [0]) == [{}]


def test_a_judge_is_told_the_whole_conversation() -> None:
    assert told(talk("Why?", "So.")) == "Why?"
    assert told(talk("Hello?", "Hi.", "Why?", "So.")) == "User: Hello?\nAssistant: Hi.\nUser: Why?"
