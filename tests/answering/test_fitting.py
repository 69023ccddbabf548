"""What does not fit into the context: passages left out, cut, or summarised by the model itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.answering import Answerer, Generated, Generation, Prompt, Summaries, answer_all, fit, fit_all, open_answerer, passages_of
from runner.answering.answerer import NONE, Done
from runner.answering.batch import Share, Sums
from runner.answering.cutting import beginning, pieces
from runner.answering.summaries import Spent
from runner.errors import StepError
from runner.gguf.export import export
from runner.prompts import load
from tests.gguf import tiny

PROSE = "Low-rank adaptation trains two matrices (Hu et al., 2021). The rank is 8, i.e. small. Weights stay frozen. "


class Template:
    """Best passage first; the question last."""

    def render(self, **variables: Any) -> str:
        return "\n".join([*(f"{passage['title']}: {passage['text']}" for passage in variables["passages"]), variables["question"]])


class Ask:
    def render(self, **variables: Any) -> str:
        return f"Sum up: {variables['passage']['text']}\n{variables['question']}"


class Killed(BaseException):
    pass


class Words:
    """A model with a token for every word, that sums up a text as its first words. It dies before the answer of a number."""

    limit = 1000

    def __init__(self, summary: Callable[[str], str] = lambda text: " ".join(text.split()[:3]), dies_at: int = 99) -> None:
        self.summary, self.calls, self.dies_at, self.made = summary, list[list[str]](), dies_at, 0

    def prompt(self, message: str, earlier: Sequence[dict[str, str]] = ()) -> Prompt:
        texts = [*(turn["content"] for turn in earlier), message]
        return Prompt(message, f"<{'|'.join(texts)}>", tuple(range(len(" ".join(texts).split()))))

    def answer(
        self,
        prompts: Sequence[Prompt],
        generation: Generation,
        references: Sequence[str | None] | None = None,
        progress: Callable[[float], None] | None = None,
        *,
        batch_size: int = 16,
        first: int = 0,
        kept: Mapping[int, Generated] = NONE,
        done: Done | None = None,
    ) -> list[Generated]:
        assert (generation.temperature, references) == (0, None)
        assert progress is not None
        self.calls.append([prompt.message for prompt in prompts])
        for share in (0.0, 0.5, 1.0):
            progress(share)
        answers = dict(kept)
        for number, prompt in enumerate(prompts):
            if number not in kept:
                if self.made == self.dies_at:
                    raise Killed
                self.made += 1
                text = self.summary(prompt.message.removeprefix("Sum up: ").rpartition("\n")[0])
                assert len(text.split()) <= generation.max_new_tokens
                answers[number] = Generated(text, len(prompt.tokens), len(text.split()), "stop", seconds=2.0)
                if done:
                    done(number, answers[number])
        return [answers[number] for number in range(len(prompts))]

    def stream(self, prompt: Prompt, generation: Generation) -> Iterator[str]:
        yield ""

    def close(self) -> None: ...


def passage(name: str, text: str, start: int = 0) -> dict[str, Any]:
    return {"title": name, "text": text, "chunk": name, "document": "d", "start": start, "end": start + len(text), "score": 1.0}


def words(count: int, name: str = "w") -> str:
    return " ".join(f"{name}{number}" for number in range(count))


def test_a_beginning_ends_with_a_sentence_a_line_or_a_word() -> None:
    def tokens(text: str) -> int:
        return len(text.split())

    assert beginning(PROSE, tokens, 17) == "Low-rank adaptation trains two matrices (Hu et al., 2021). The rank is 8, i.e. small."
    assert beginning(PROSE, tokens, 14) == "Low-rank adaptation trains two matrices (Hu et al., 2021)."
    assert beginning(PROSE, tokens, 5) == "Low-rank adaptation trains two matrices"
    assert beginning("alpha 1\nbeta 2 gamma", tokens, 3) == "alpha 1"
    assert beginning(PROSE, tokens, 0) == ""
    assert beginning("  \n ", tokens, 9) == ""
    assert beginning("", tokens, 9) == ""


def test_no_word_is_torn_by_a_beginning_but_a_text_without_spaces_can_be_cut() -> None:
    assert beginning("x" * 500, len, 100) == ""
    assert beginning("one " + "x" * 500, len, 100) == "one"
    assert beginning("低秩适配冻结模型的权重。它训练两个小矩阵，秩很小", len, 15) == "低秩适配冻结模型的权重。"
    assert beginning("低秩适配冻结模型的权重并训练两个小矩阵", len, 7) == "低秩适配冻结模"


def test_pieces_are_the_whole_text_in_order_and_each_fits() -> None:
    text = PROSE * 6 + "y" * 300 + " end."
    found = pieces(text, len, 120)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(0 < len(piece) <= 120 for piece in found)
    assert found[0].endswith(".")
    assert len(found) < 12
    assert pieces("🏳️‍🌈 flags", lambda text: len(text.encode()), 3) == []  # a sign of fourteen bytes


def test_a_cut_is_found_with_few_looks_at_the_prompt() -> None:
    looks: list[int] = []

    def tokens(text: str) -> int:
        looks.append(len(text))
        return len(text.split())

    text = PROSE * 2000  # 200,000 characters
    assert len(beginning(text, tokens, 400).split()) > 380
    assert len(looks) < 40
    assert max(looks) < 8000


@pytest.mark.parametrize("room", range(-1, 40))
def test_truncating_keeps_of_the_last_passage_what_there_is_room_for(room: int) -> None:
    """``room`` is how many words of the second passage fit; it has 36, in sentences of 9, 6, 3, 9, 6 and 3."""
    found = [passage("a", words(20)), passage("b", (PROSE * 2).strip(), start=100), passage("c", words(20))]
    fitted = fit(Words(), Template(), "Why?", found, window=21 + 1 + 1 + room + 10, reserve=10, overflow="truncate")
    whole = max(end for end in (0, 9, 15, 18, 27, 33, 36) if end <= max(room, 0))
    expected = " ".join(found[1]["text"].split()[: whole or max(room, 0)])
    if room < 1:
        assert (fitted.passages, fitted.dropped, fitted.truncated) == ((found[0],), 2, 0)
    elif room < 36:
        cut = found[1] | {"text": expected, "end": 100 + len(expected)}
        assert (fitted.passages, fitted.dropped, fitted.truncated) == ((found[0], cut), 1, 1)
    else:  # of the third two words at most
        text = " ".join(found[2]["text"].split()[: room - 37])
        last = [found[2] | {"text": text, "end": len(text)}] if room > 37 else []
        assert (fitted.passages, fitted.dropped, fitted.truncated) == ((*found[:2], *last), 1 - len(last), len(last))
    assert fitted.prompt.message == Template().render(question="Why?", passages=fitted.passages)
    assert len(fitted.prompt.tokens) <= 21 + 1 + 1 + room


def test_what_fits_is_not_touched() -> None:
    found = [passage("a", words(20)), passage("b", PROSE)]
    for rule in ("truncate", "drop-passages", "fail", Summaries(Ask(), 5)):
        fitted = fit(Words(), Template(), "Why?", found, window=60, reserve=10, overflow=rule)
        assert (fitted.passages, fitted.dropped, fitted.truncated, fitted.summarised) == (tuple(found), 0, 0, 0)


def test_a_word_that_does_not_fit_is_not_cut() -> None:
    class Characters(Words):
        def prompt(self, message: str, earlier: Sequence[dict[str, str]] = ()) -> Prompt:
            return Prompt(message, message, tuple(range(len(message))))

    fitted = fit(Characters(), Template(), "Why?", [passage("a", "x" * 500)], window=100, reserve=10, overflow="truncate")
    assert (fitted.dropped, fitted.truncated, fitted.passages) == (1, 0, ())


def test_the_worst_passages_are_summarised_and_no_more_than_must_be() -> None:
    answerer, found = Words(), [passage(name, words(20, name)) for name in "abc"]
    rule = Summaries(Ask(), 5)
    whole = fit(answerer, Template(), "Why?", found, window=100, reserve=10, overflow=rule)
    assert (whole.summarised, whole.passages, answerer.calls) == (0, tuple(found), [])
    fitted = fit(answerer, Template(), "Why?", found, window=60, reserve=10, overflow=rule)
    assert answerer.calls == [[f"Sum up: {found[2]['text']}\nWhy?"]]
    assert fitted.passages == (found[0], found[1], found[2] | {"summary": "c0 c1 c2"})
    assert (fitted.summarised, fitted.dropped, fitted.truncated) == (1, 0, 0)
    assert fitted.spent == Spent(calls=1, prompt_tokens=23, answer_tokens=3)
    assert fitted.prompt.message == f"a: {found[0]['text']}\nb: {found[1]['text']}\nc: c0 c1 c2\nWhy?"
    small = fit(answerer, Template(), "Why?", found, window=40, reserve=10, overflow=rule)
    assert [kept.get("summary") for kept in small.passages] == [None, "b0 b1 b2", "c0 c1 c2"]
    assert "summary" not in found[2]  # what was given stays as it is


def test_a_long_passage_is_summarised_piece_by_piece_and_again() -> None:
    answerer = Words()
    fitted = fit(answerer, Template(), "Why?", [passage("a", words(100))], window=30, reserve=15, overflow=Summaries(Ask(), 5))
    first, second = answerer.calls
    assert all(len(message.split()) + 5 <= 30 for message in first + second)
    assert [message.split()[2] for message in first] == ["w0", "w22", "w44", "w66", "w88"]
    assert len(second) == 1  # fifteen words are still too many
    assert fitted.passages[0]["summary"] == "w0 w1 w2"
    assert fitted.spent.calls == 6
    assert fitted.spent.answer_tokens == 6 * 3
    assert fitted.spent.prompt_tokens == sum(len(message.split()) for message in first + second)


def test_all_questions_are_summarised_together() -> None:
    answerer = Words()
    asked = [(f"q{number}", [passage("a", words(20)), passage("b", words(30 * (number % 2)))]) for number in range(4)]
    seen: list[float] = []
    fitted = fit_all(answerer, Template(), asked, window=40, reserve=10, overflow=Summaries(Ask(), 5), batch_size=2, progress=seen.append)
    assert [[message[-2:] for message in call] for call in answerer.calls] == [["q1", "q3"]]
    assert [one.summarised for one in fitted] == [0, 1, 0, 1]
    assert [one.seconds for one in fitted] == [0, 2, 0, 2]
    alone = [fit(Words(), Template(), *one, window=40, reserve=10, overflow=Summaries(Ask(), 5)) for one in asked]
    assert fitted == alone
    assert seen == [0, 0.25, 0.5]


def test_progress_rises_and_may_stop_the_work() -> None:
    seen: list[float] = []
    rule, asked = Summaries(Ask(), 5), [("Why?", [passage("a", words(100)), passage("b", words(100))])]
    fit_all(Words(), Template(), asked, window=30, reserve=15, overflow=rule, progress=seen.append)
    assert seen == sorted(seen)
    assert (len(seen), seen[0]) == (12, 0)
    assert 0.9 < seen[-1] < 1

    class Stop(Exception):
        pass

    def stop(share: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        fit_all(Words(), Template(), asked, window=30, reserve=15, overflow=rule, progress=stop)


def test_a_summary_that_is_no_shorter_is_not_used() -> None:
    answerer = Words(lambda text: "a word too many here" if "b" in text else "brief")
    found = [passage("a", words(6, "a")), passage("b", words(7, "b"))]
    fitted = fit(answerer, Template(), "Why?", found, window=14, reserve=3, overflow=Summaries(Ask(), 5))
    assert [len(call) for call in answerer.calls] == [2, 1]  # the second passage in two pieces: ten words for seven
    assert fitted.passages == (found[0] | {"summary": "brief"}, found[1])
    assert (fitted.dropped, fitted.spent.calls) == (0, 3)


def test_summaries_that_are_too_long_in_the_end_make_way() -> None:
    answerer = Words(lambda text: " ".join(text.split()[:5]))
    fitted = fit(answerer, Template(), "Why?", [passage("a", words(9))], window=19, reserve=13, overflow=Summaries(Ask(), 5))
    assert (fitted.passages, fitted.dropped, fitted.summarised) == ((), 1, 0)
    assert fitted.spent.calls == 1  # five words are no longer than a summary may be


def test_an_empty_summary_leaves_the_passage_out() -> None:
    found = [passage("a", words(20)), passage("b", words(20))]
    fitted = fit(Words(lambda text: ""), Template(), "Why?", found, window=40, reserve=10, overflow=Summaries(Ask(), 5))
    assert (fitted.passages, fitted.dropped, fitted.summarised, fitted.spent.calls) == ((found[0],), 1, 0, 1)


@pytest.mark.parametrize("rule", ["drop-passages", "truncate", Summaries(Ask(), 5)])
def test_a_question_that_does_not_fit_alone_is_named_before_anything_is_summarised(rule: Any) -> None:
    answerer = Words()
    with pytest.raises(StepError, match="the prompt has 30 tokens with 0 passages; with 10 for the answer that is more than 39") as caught:
        fit_all(
            answerer, Template(), [("Why?", [passage("a", words(50))]), (words(30), [passage("b", "short")])],
            window=39, reserve=10, overflow=rule,
        )  # fmt: skip
    assert caught.value.where.startswith("w0 w1 w2")
    assert "overflow" not in caught.value.remedy
    assert answerer.calls == []


def test_a_prompt_of_summaries_that_leaves_no_room_is_an_error() -> None:
    class Long(Ask):
        def render(self, **variables: Any) -> str:
            return words(20) + " " + super().render(**variables)

    with pytest.raises(StepError, match="of 32 tokens the prompt of a summary takes 22 and the summary up to 5") as caught:
        fit(Words(), Template(), "Why?", [passage("a", words(50))], window=32, reserve=10, overflow=Summaries(Long(), 5))
    assert "shorten overflow.prompt" in caught.value.remedy
    assert fit(Words(), Template(), "Why?", [passage("a", words(50))], window=34, reserve=10, overflow=Summaries(Long(), 5)).summarised


def test_a_question_with_which_nothing_can_be_summarised_loses_its_passages() -> None:
    answerer, question = Words(), words(18)
    fitted = fit(answerer, Template(), question, [passage("a", words(50))], window=30, reserve=5, overflow=Summaries(Ask(), 5))
    assert (fitted.passages, fitted.dropped, answerer.calls) == ((), 1, [])


def test_the_prompt_for_summaries_that_comes_with_the_project() -> None:
    root = Path(__file__).parents[2]
    answer, summary = (load(root, f"prompts/{name}.j2") for name in ("answer", "summarise"))
    hits = [SimpleNamespace(chunk={"id": name, "text": words(90, name), "title": name.upper()}, score=0.5) for name in "ab"]
    answerer = Words(lambda text: "short")
    fitted = fit(answerer, answer, "Why so?", passages_of(hits), window=200, reserve=20, overflow=Summaries(summary, 30))
    ((message,),) = answerer.calls
    assert f"Passage from B:\n{words(90, 'b')}\n" in message
    assert "Question: Why so?" in message
    assert "[1] A\na0 a1" in fitted.prompt.message
    assert "[2] B\nshort\n" in fitted.prompt.message


def test_earlier_turns_count_and_are_not_summarised() -> None:
    answerer = Words()
    earlier = [{"role": "user", "content": words(10)}, {"role": "assistant", "content": words(10)}]
    fitted = fit(
        answerer, Template(), "Why?", [passage("a", words(20))], window=40, reserve=10, overflow=Summaries(Ask(), 5), earlier=earlier
    )
    assert (fitted.summarised, fitted.forgotten) == (0, 1)
    assert answerer.calls == []
    fitted = fit(
        answerer, Template(), "Why?", [passage("a", words(40))], window=40, reserve=10, overflow=Summaries(Ask(), 5), earlier=earlier
    )
    assert (fitted.summarised, fitted.forgotten) == (1, 1)
    assert len(answerer.calls) == 1
    assert all(message.startswith("Sum up: w") for message in answerer.calls[0])


@pytest.mark.parametrize("dies_at", range(17))
def test_a_killed_run_makes_no_summary_twice(dies_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = [{"id": f"q{number}", "question": f"q{number}?"} for number in range(5)]
    found = [[passage("a", words(20)), passage("b", words(50 * (number % 2) + 20))] for number in range(5)]
    monkeypatch.setattr("runner.answering.batch._TOGETHER", 1)  # groups of three and two

    def run(answerer: Words, folder: str) -> Any:
        (tmp_path / folder).mkdir(exist_ok=True)
        rows, sums, _ = answer_all(
            answerer, questions, found, Template(), Generation(10), batch_size=3, window=40, overflow=Summaries(Ask(), 5),
            reference_loss=False, journal=tmp_path / folder / "journal", progress=lambda done: None,
        )  # fmt: skip
        return list(rows), sums

    first = Words(dies_at=dies_at)
    whole = run(Words(), "whole")
    if dies_at < 16:
        with pytest.raises(Killed):
            run(first, "killed")
    again = Words()
    assert run(again, "killed") == whole
    assert first.made + again.made == 16
    rows, sums = whole
    assert sums == Sums(summarised=Share(5, 5), summaries=Spent(11, 251, 33))
    assert [row["summarised"] for row in rows] == [1] * 5
    assert [row["summaries"]["calls"] for row in rows] == [1, 4, 1, 4, 1]
    assert [row["seconds"] for row in rows] == [2 * (1 + row["summaries"]["calls"]) for row in rows]
    assert rows[1]["retrieved"][1]["summary"] in rows[1]["prompt"]
    assert rows[1]["retrieved"][1]["text"] == found[1][1]["text"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    base = tiny.model(root / "full", num_hidden_layers=1, initializer_range=0.05)
    tiny.adapter(root / "adapter", base)
    (root / "gguf").mkdir()
    export(base, root / "gguf" / "model.gguf", quantization="Q8_0", allow_fallback=True)
    tiny.record(root / "gguf", form="gguf", architecture="qwen2", system_prompt="Answer briefly.")
    return {form: root / form for form in ("full", "adapter", "gguf")}


@pytest.mark.parametrize("form", ["full", "adapter", "gguf"])
def test_every_form_of_a_model_sums_up_and_cuts_by_its_own_tokens(form: str, folders: dict[str, Path]) -> None:
    answerer: Answerer = open_answerer(folders[form], form, lambda ref: folders["full"], threads=1)
    found = [passage("a", tiny.TEXTS[0]), passage("b", PROSE * 3), passage("c", PROSE * 6)]
    asked = [("What is the rank?", found), ("Why?", found[:1]), ("What stays frozen?", found)]
    settings: dict[str, Any] = {"window": 200, "reserve": 20}
    rule = Summaries(Ask(), 24)
    fitted = fit_all(answerer, Template(), asked, **settings, overflow=rule, batch_size=4)
    assert [one.summarised > 0 for one in fitted] == [True, False, True]
    assert fit_all(answerer, Template(), asked, **settings, overflow=rule, batch_size=4)[2].prompt == fitted[2].prompt
    for question, one in zip(asked, fitted, strict=True):
        assert len(one.prompt.tokens) + 20 <= 200
        for kept in one.passages:
            assert kept.get("summary", kept["text"]) in one.prompt.message
            assert kept["text"] in (given["text"] for given in question[1])
    summed = next(kept for kept in fitted[0].passages if "summary" in kept)
    assert fitted[0].spent.answer_tokens <= 24 * fitted[0].spent.calls
    if fitted[0].spent.calls == 1:  # then the summary is what the model says to that prompt
        prompt = answerer.prompt(Ask().render(question=asked[0][0], passage=summed))
        assert answerer.answer([prompt], Generation(24))[0].text == summed["summary"]
    cut = fit(answerer, Template(), *asked[0], **settings, overflow="truncate")
    assert (cut.truncated, cut.dropped) == (1, 1)
    assert 0 <= 200 - 20 - len(cut.prompt.tokens) < 80
    assert math.isfinite(fitted[0].seconds)
    answerer.close()
