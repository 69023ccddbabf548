"""The answer step: every parameter matters, the formats hold, and a killed attempt goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.answering.transformers import TransformersAnswerer
from runner.contract import MAIN, Artifact, Fault, Output, Upstream
from runner.errors import InputError, StepError
from runner.gguf.export import export
from runner.steps import answer
from tests.gguf import tiny
from tests.steps import test_answer_selection
from tests.steps.local_context import LocalContext, artifact

PROMPT = "{% for passage in passages %}[{{ loop.index }}] {{ passage.title }}: {{ passage.text }}\n{% endfor %}{{ question }}"
ROWS = [
    {"id": "a", "question": "What is attention over keys?", "answer": "A softmax.", "documents": ["attention"], "type": "factual"},
    {"id": "b", "question": "What does quantisation store?", "answer": "Weights in 4 bits.", "documents": ["bits"]},
    {"id": "c", "question": "Which matrices are trained in low-rank adaptation?", "answer": "Two small ones.", "documents": []},
]


class World:
    """A project with a model in three forms, an index and questions."""

    def __init__(self, root: Path) -> None:
        from runner.retrieval import Flat, Lexical
        from runner.retrieval.build import build_index

        self.root = root
        (root / "prompts").mkdir()
        (root / "prompts" / "answer.j2").write_text(PROMPT)
        (root / "prompts" / "other.j2").write_text("Please: {{ question }}{% if passages %}{{ passages | length }}{% endif %}")
        (root / "prompts" / "summarise.j2").write_text("Sum up: {{ passage.text }}\n{{ question }}")
        (root / "prompts" / "summary.j2").write_text("In short: {{ passage.text }}")
        (root / "questions").mkdir()
        (root / "questions" / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        base = tiny.model(root / "full", initializer_range=0.05)
        tiny.adapter(root / "adapter", base)
        (root / "gguf").mkdir()
        export(base, root / "gguf" / "model.gguf", quantization="Q8_0")
        tiny.record(root / "gguf", form="gguf", architecture="qwen2", system_prompt="Answer briefly.")
        chunks = [{"id": f"d#{n}", "document": f"d{n}", "title": "T", "page": n, "text": text} for n, text in enumerate(tiny.TEXTS)]
        (root / "chunks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chunks))
        build_index(root / "chunks.jsonl", root / "index", embedder=Lexical(), structure=Flat())

    def inputs(self, form: str = "full", *, index: bool = True, questions: str = "questions") -> dict[str, Any]:
        inputs = {
            "questions": artifact(self.root / questions, Output("examples")),
            "model": artifact(self.root / form, Output("model", form), step="base"),
        }
        return inputs | ({"index": artifact(self.root / "index", Output("index"))} if index else {})

    def context(self, folder: Path, **resources: Any) -> LocalContext:
        base = artifact(self.root / "full", Output("model", "full"))
        return LocalContext(
            folder, self.root, answer.Resources(**({"device": "cpu", "threads": 1} | resources)), artifacts={"base-key/main": base}
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def params(**changes: Any) -> answer.Params:
    return msgspec.convert({"prompt": "prompts/answer.j2", "max_new_tokens": 6} | changes, answer.Params)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "main" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("form", ["full", "adapter", "gguf"])
def test_every_form_gives_the_documented_files(form: str, world: World, tmp_path: Path) -> None:
    context = world.context(tmp_path)
    answer.run(params(top_k=2, batch_size=2), world.inputs(form), tmp_path / "out", context)
    found = rows(tmp_path / "out")
    assert [row["id"] for row in found] == ["a", "b", "c"]
    first = found[0]
    assert (first["question"], first["reference"], first["documents"], first["type"]) == (
        "What is attention over keys?",
        "A softmax.",
        ["attention"],
        "factual",
    )
    assert first["retrieved"][0]["chunk"] == "d#1"
    assert first["retrieved"][0].keys() == {"chunk", "document", "page", "start", "end", "score", "text"}
    assert first["prompt"].startswith("<|im_start|>system\nAnswer briefly.<|im_end|>\n<|im_start|>user\n[1] T: The attention")
    assert first["prompt"].endswith("What is attention over keys?<|im_end|>\n<|im_start|>assistant\n")
    assert first["reference_loss"] > 0
    assert first["reference_tokens"] > 3
    assert first["finish"] in ("stop", "length")
    assert "seconds" not in first
    summary = json.loads((tmp_path / "out" / "main" / "answers.json").read_text())
    assert (summary["model_step"], summary["form"], summary["prompt_file"]) == ("base", form, "prompts/answer.j2")
    assert summary["dropped"] == {"passages": 0, "questions": 0}
    assert summary["generation"]["max_new_tokens"] == 6
    latency = [json.loads(line) for line in (tmp_path / "out" / "provenance" / "latency.jsonl").read_text().splitlines()]
    assert [(row["id"], row["batch"]) for row in latency] == [("a", 0), ("b", 0), ("c", 1)]
    assert all(row["seconds"] > 0 for row in latency)
    assert context.last_progress == (3, 3, "questions")
    assert context.facts["tokens_per_second"] > 0
    assert context.warnings == []


def test_a_preview_answers_the_first_questions(world: World, tmp_path: Path) -> None:
    context = world.context(tmp_path)
    context.preview = 2
    answer.run(params(top_k=2), world.inputs(), tmp_path / "out", context)
    assert [row["id"] for row in rows(tmp_path / "out")] == ["a", "b"]


def test_without_an_index_nothing_is_retrieved(world: World, tmp_path: Path) -> None:
    answer.run(params(), world.inputs(index=False), tmp_path / "out", world.context(tmp_path))
    assert all(row["retrieved"] == [] for row in rows(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "main" / "answers.json").read_text())["top_k"] == 0


@pytest.mark.parametrize("form", ["full", "gguf"])
def test_the_same_twice_and_after_a_kill(form: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = params(batch_size=1, temperature=0.8, top_p=0.9)
    for name in ("one", "two"):
        answer.run(chosen, world.inputs(form), tmp_path / name / "out", world.context(tmp_path / name))
    context = world.context(tmp_path / "three")

    class Killed(BaseException):
        pass

    def stop_in_the_second(done: float, total: float | None = None, unit: str = "items") -> None:
        if done > 1.3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(context, "progress", stop_in_the_second)
        with pytest.raises(Killed):
            answer.run(chosen, world.inputs(form), tmp_path / "three" / "out", context)
    assert not (tmp_path / "three" / "out").exists()
    with (context.journal / "answers.jsonl").open("a") as journal:
        journal.write('[{"id": "b", "answ')
    answer.run(chosen, world.inputs(form), tmp_path / "three" / "out", context)
    for file in ("answers.jsonl", "answers.json"):
        texts = {(tmp_path / name / "out" / "main" / file).read_bytes() for name in ("one", "two", "three")}
        assert len(texts) == 1


def test_what_does_not_fit_is_counted_and_said(world: World, tmp_path: Path) -> None:
    context = world.context(tmp_path)
    answer.run(params(context_window=130), world.inputs(), tmp_path / "out", context)
    dropped = json.loads((tmp_path / "out" / "main" / "answers.json").read_text())["dropped"]
    assert dropped["passages"] >= dropped["questions"] > 0
    assert dropped == {"passages": 2, "questions": 1}
    assert context.warnings == ["2 passages left out of 1 prompt that did not fit into the context"]
    assert sum(row["dropped"] for row in rows(tmp_path / "out")) == dropped["passages"]


@pytest.mark.parametrize("form", ["full", "adapter", "gguf"])
def test_every_form_sums_up_what_does_not_fit(form: str, world: World, tmp_path: Path) -> None:
    context = world.context(tmp_path)
    rule = SUMMARISING["overflow"] | {"max_new_tokens": 6}  # what random weights say may have more tokens when it is read again
    answer.run(params(context_window=130, overflow=rule, top_k=4), world.inputs(form), tmp_path / "out", context)
    found, summary = rows(tmp_path / "out"), json.loads((tmp_path / "out" / "main" / "answers.json").read_text())
    assert summary["overflow"] == "summarise"
    for name in ("dropped", "truncated", "summarised"):
        counts = [row.get(name, 0) for row in found]
        assert summary[name] == {"passages": sum(counts), "questions": sum(count > 0 for count in counts)}
    assert summary["summaries"]["calls"] == sum(row["summaries"]["calls"] for row in found if "summaries" in row) > 0
    assert summary["summarised"]["passages"] == sum("summary" in passage for row in found for passage in row["retrieved"]) > 0
    for row in found:
        assert row["prompt_tokens"] + 6 <= 130
        for passage in row["retrieved"]:
            assert passage["text"] in tiny.TEXTS
            assert passage.get("summary", passage["text"]) in row["prompt"]
    questions = summary["summarised"]["questions"]
    assert f"put in summary into {questions} prompt" in context.warnings[-1]
    latency = [json.loads(line) for line in (tmp_path / "out" / "provenance" / "latency.jsonl").read_text().splitlines()]
    assert all(row["seconds"] > 0 for row in latency)


def test_a_cut_passage_says_so(world: World, tmp_path: Path) -> None:
    context = world.context(tmp_path)
    answer.run(params(context_window=130, overflow={"kind": "truncate"}), world.inputs(), tmp_path / "out", context)
    truncated = json.loads((tmp_path / "out" / "main" / "answers.json").read_text())["truncated"]
    found = rows(tmp_path / "out")
    cut = [passage["text"] for row in found for passage in row["retrieved"] if passage["text"] not in tiny.TEXTS]
    assert (len(cut), sum(row.get("truncated", 0) for row in found)) == (truncated["passages"], truncated["passages"])
    assert all(any(text.startswith(part) and part for text in tiny.TEXTS) for part in cut)
    assert f"cut in {truncated['questions']} prompt" in context.warnings[-1]
    assert cut


def test_a_prompt_of_summaries_that_leaves_no_room_is_said(world: World, tmp_path: Path) -> None:
    (world.root / "prompts" / "long.j2").write_text("{{ question }} {{ passage.text }} " + "at length " * 60)
    chosen = params(context_window=130, overflow={"kind": "summarise", "prompt": "prompts/long.j2", "max_new_tokens": 20})
    with pytest.raises(StepError, match=r"of 130 tokens the prompt of a summary takes .* and the summary up to 20"):
        answer.run(chosen, world.inputs(), tmp_path / "out", world.context(tmp_path))


def test_a_window_beyond_the_model_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="context_window is 1000 tokens, the model of base has 512 positions"):
        answer.run(params(context_window=1000), world.inputs(), tmp_path / "out", world.context(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are no questions"),
        ('{"id": "a", "question": \n', "row 1 is not valid JSON"),
        ('{"id": "a"}\n', "row 1 has no question"),
    ],
)
def test_questions_that_are_none_are_refused(text: str, message: str, world: World, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "examples.jsonl").write_text(text)
    inputs = world.inputs() | {"questions": artifact(tmp_path / "bad", Output("examples"))}
    with pytest.raises(InputError, match=message):
        answer.run(params(), inputs, tmp_path / "out", world.context(tmp_path))


def test_cross_field_rules() -> None:
    assert list(answer.check(params(), {})) == []
    assert list(answer.check(params(top_p=0.5), {})) == [
        Fault("top_p", "it has no effect at temperature 0", "1, or a temperature above 0"),
    ]
    assert [fault.path for fault in answer.check(params(context_window=6), {})] == ["context_window"]
    summarising = {"kind": "summarise", "prompt": "prompts/summarise.j2", "max_new_tokens": 64}
    assert [fault.path for fault in answer.check(params(context_window=128, overflow=summarising), {})] == ["overflow.max_new_tokens"]
    assert list(answer.check(params(context_window=129, overflow=summarising), {})) == []


def test_what_a_model_is_calibrated_on_is_not_asked() -> None:
    def examples(step: str, name: str = MAIN, *reads: Upstream) -> Upstream:
        return Upstream(step, "any", None, Output("examples"), {}, {"examples": reads}, name)

    pairs = examples("pairs")
    test, validation = (examples("splits", name, pairs) for name in ("test", "validation"))
    others, few, mixed = examples("others"), examples("few", MAIN, test), examples("mixed", MAIN, validation, examples("others"))

    def refused(sample: Upstream, asked: Upstream) -> bool:
        model = Upstream("gguf", "export", None, Output("model", "gguf"), {}, {"calibration": [sample]})
        faults = list(answer.check(params(), {"model": [model], "questions": [asked]}))
        assert all(fault.found == "the questions are among what `gguf` is calibrated on" for fault in faults)
        return bool(faults)

    for sample, asked in ((test, test), (pairs, test), (few, test), (test, few), (mixed, others)):
        assert refused(sample, asked), (sample.step, asked.step)
    for sample, asked in ((validation, test), (others, test), (mixed, test), (validation, few)):
        assert not refused(sample, asked), (sample.step, asked.step)


def test_the_prompt_is_declared() -> None:
    (use,) = answer.prompts(params())
    assert (use.field, use.file, use.variables) == ("prompt", "prompts/answer.j2", {"question", "passages"})
    _, summary = answer.prompts(params(overflow={"kind": "summarise", "prompt": "prompts/summarise.j2"}))
    assert (summary.field, summary.file, summary.variables) == ("overflow.prompt", "prompts/summarise.j2", {"question", "passage"})


SUMMARISING: dict[str, Any] = {
    "context_window": 130,
    "overflow": {"kind": "summarise", "prompt": "prompts/summarise.j2", "max_new_tokens": 20},
}

#: Field -> values around which it is changed, and the other value.
CASES: dict[str, tuple[Mapping[str, Any], Any]] = {
    "prompt": ({}, "prompts/other.j2"),
    "top_k": ({}, 1),
    "max_new_tokens": ({}, 9),
    "temperature": ({}, 1.5),
    "top_p": ({"temperature": 1.5}, 0.01),
    "seed": ({"temperature": 1.5}, 1),
    "batch_size": ({}, 2),
    "context_window": ({}, 130),
    "overflow.prompt": (SUMMARISING, {"kind": "summarise", "prompt": "prompts/summary.j2", "max_new_tokens": 20}),
    "overflow.max_new_tokens": (SUMMARISING, {"kind": "summarise", "prompt": "prompts/summarise.j2", "max_new_tokens": 8}),
    "reference_loss": ({}, False),
    "dtype": ({}, "bfloat16"),
}
PROVED: set[str] = set(CASES) | test_answer_selection.PROVED


@pytest.fixture(scope="module")
def observed(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Run with the given values once; what came out, and in which batches the model was asked."""
    known: dict[str, tuple[str, list[int]]] = {}
    patch = pytest.MonkeyPatch()
    sizes: list[int] = []
    original = TransformersAnswerer._batch

    def spy(self: TransformersAnswerer, prompts: Any, *rest: Any, **named: Any) -> Any:
        sizes.append(len(prompts))
        return original(self, prompts, *rest, **named)

    patch.setattr(TransformersAnswerer, "_batch", spy)

    def run(**changes: Any) -> tuple[str, list[int]]:
        name = json.dumps(changes, sort_keys=True)
        if name not in known:
            folder = tmp_path_factory.mktemp("observed")
            sizes.clear()
            try:
                answer.run(params(**changes), world.inputs(), folder / "out", world.context(folder))
                known[name] = ((folder / "out" / "main" / "answers.jsonl").read_text(encoding="utf-8"), list(sizes))
            except StepError as error:
                known[name] = (str(error), list(sizes))
        return known[name]

    yield run
    patch.undo()


@pytest.mark.parametrize("field", CASES)
def test_every_parameter_changes_the_outcome(field: str, observed: Any) -> None:
    around, value = CASES[field]
    assert observed(**around) != observed(**{**around, field.split(".")[0]: value})


def test_every_rule_for_what_does_not_fit_is_another(observed: Any) -> None:
    rules: list[dict[str, Any]] = [{"kind": kind} for kind in ("drop-passages", "truncate", "fail")] + [SUMMARISING["overflow"]]
    outcomes = [observed(context_window=130, overflow=rule) for rule in rules]
    assert all(one != other for number, one in enumerate(outcomes) for other in outcomes[:number])
    assert observed(context_window=130) == outcomes[0]
    assert len({observed(overflow=rule)[0] for rule in rules}) == 1  # where all fits, there is no difference


def test_layers_on_the_gpu_are_a_resource(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import runner.answering

    asked: list[Any] = []
    original = runner.answering.open_answerer
    monkeypatch.setattr(runner.answering, "open_answerer", lambda *a, **named: asked.append(named["gpu_layers"]) or original(*a, **named))
    for folder, layers in (("one", None), ("two", 7)):
        answer.run(params(), world.inputs("gguf"), tmp_path / folder / "out", world.context(tmp_path / folder, gpu_layers=layers))
    assert asked == [None, 7]


def test_artifacts_of_a_run_stay_as_they_were(world: World, tmp_path: Path) -> None:
    inputs: dict[str, Artifact] = world.inputs("gguf")
    before = {path: path.read_bytes() for port in inputs.values() for path in port.path.rglob("*") if path.is_file()}
    answer.run(params(), inputs, tmp_path / "out", world.context(tmp_path))
    assert before == {path: path.read_bytes() for path in before}
