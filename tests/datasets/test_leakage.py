from __future__ import annotations

from typing import Any

from runner.datasets import Leaks


def example(n: int, *documents: str, question: str = "", answer: str = "a", **more: Any) -> dict[str, Any]:
    return {"id": f"e{n}", "question": question or f"question {n * 7919}", "answer": answer, "documents": list(documents), **more}


def test_leakage_by_document_question_and_near_question() -> None:
    rows = [
        example(0, "a"),
        example(1, question="What is the rank of LoRA?"),
        example(2, question="How large is the key-value cache of a model with 36 layers and 8 heads?"),
        example(3, question="Something that stands alone entirely."),
        example(10, "b", "a"),
        example(11, question="what is the rank of lora"),
        example(12, question="How large is the key-value cache of a model with 48 layers and 8 heads?"),
    ]
    here, there = range(4), range(4, 7)
    leaks = Leaks(rows, 0.7)
    found = leaks.leakage(here, there)
    assert (found.document, found.question, found.near_question, found.any, found.shown) == (0.25, 0.25, 0.5, 0.75, 0)
    assert found.pairs == [("e0", "e10", "document"), ("e1", "e11", "question"), ("e2", "e12", "near_question")]
    assert Leaks(rows, 0.99).leakage(here, there).near_question == 0.25
    assert leaks.leakage(here, []).any == 0
    assert leaks.leakage([], there).any == 0


def test_one_question_about_many_contexts_is_no_leak_and_one_context_is() -> None:
    rows = [
        example(n, question="Is the review positive?", context=context)
        for n, context in enumerate(
            ["A dull film about nothing at all.", "What a delight, from first to last!", "a dull film about nothing at all"]
        )
    ]
    assert Leaks(rows).leakage([1], [0]).any == 0
    found = Leaks(rows).leakage([2], [0])
    assert (found.question, found.context, found.any) == (1, 1, 1)
    asked = [
        example(0, question="Who wrote it?", context="C" * 9),
        example(1, question="Which colour has the cover of the book?", context="c" * 9),
    ]
    assert Leaks(asked).leakage([1], [0]).row() | {"pairs": []} == {
        "document": 0, "context": 1, "question": 0, "near_question": 0, "shown": 0, "any": 1, "answer": 0, "pairs": [],
    }  # fmt: skip


def test_long_equal_answers_are_told_and_do_not_count() -> None:
    answer = "The adapter is merged into the weights before they are quantised."
    rows = [example(0, question="When is it merged?", answer=answer), example(1, question="What happens first?", answer=answer.upper())]
    found = Leaks(rows).leakage([0], [1])
    assert (found.answer, found.any, found.pairs) == (1, 0, [])
    assert Leaks([example(0, answer="yes"), example(1, answer="yes")]).leakage([0], [1]).answer == 0


def test_what_is_shown_besides_counts_for_every_part() -> None:
    rows = [
        example(0, question="What is the rank of LoRA?"),
        example(1, question="How many heads has the base model?"),
        example(2, question="Which optimiser was used for the adapters, and why?"),
        example(3, question="Why?"),
        example(4, question="Which corpus was it trained on?"),
    ]
    prompt = (
        "Answer as in these examples.\n\nQ: what is the\nrank of LORA? A: 16\nWhich optimizer was used for the adapters, and why?\nWhy not."
    )
    leaks = Leaks(
        rows, 0.7, shown=[("few_shot/1", example(9, question="How many heads has the base model"))], files={"prompts/answer.j2": prompt}
    )
    assert [found.get("shown") for found in leaks.counterparts(range(5), [])] == [
        "prompts/answer.j2", "few_shot/1", "prompts/answer.j2:5", None, None,
    ]  # fmt: skip
    found = leaks.leakage(range(5), [])
    assert (found.shown, found.any) == (0.6, 0.6)
    assert found.pairs[1] == ("e1", "few_shot/1", "shown")


def test_repeats_within_a_part() -> None:
    rows = [example(0, question="What is LoRA?"), example(1, question="Something else"), example(2, question="what is lora")]
    assert Leaks(rows).repeats([0, 1, 2]) == {2: 0}
    assert Leaks(rows).repeats([1, 2]) == {}
