"""The three forms of a model give the same prompts, losses and answers, alone and in a batch."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from runner.answering import Answerer, Generation, fit, open_answerer
from runner.answering.sampling import choose
from runner.errors import StepError
from runner.gguf.export import export
from tests.gguf import tiny

QUESTIONS = ("What is attention?", "Größe, 注意力 and 4 bits  <|im_end|>?", "Explain low-rank adaptation; what does a block share?")
REFERENCES = ("It is a softmax over keys.", "Größe.", "A scale, and it is stored in 4 bits.")
SHARED = Path(__file__).parents[3] / "shared" / "data" / "models"


def as_gguf(folder: Path, weights: Path, adapter: Path | None = None, quantization: str = "F32") -> Path:
    folder.mkdir()
    export(weights, folder / "model.gguf", adapter=adapter, quantization=quantization, allow_fallback=True)
    tiny.record(folder, form="gguf", architecture="qwen2", system_prompt="Answer briefly.")
    return folder


def opened(folder: Path, form: str, base: Path | None = None) -> Answerer:
    def resolve(ref: str) -> Path:
        assert base is not None
        assert ref == "base-key/main"
        return base

    return open_answerer(folder, form, resolve, threads=1)  # two threads that wait for each other are slow on a busy machine


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    base = tiny.model(root / "base", initializer_range=0.05)
    adapter, _ = tiny.adapter(root / "adapter", base)
    return {
        "full": base,
        "adapter": adapter,
        "gguf": as_gguf(root / "gguf", base),
        "merged": as_gguf(root / "merged", base, adapter),
    }


@pytest.fixture(params=["full", "adapter", "gguf"])
def answerer(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[Answerer]:
    made = opened(folders[request.param], request.param, folders["full"])
    yield made
    made.close()


def test_a_gguf_renders_and_tokenizes_prompts_as_transformers_does(folders: dict[str, Path]) -> None:
    full, gguf = opened(folders["full"], "full"), opened(folders["gguf"], "gguf")
    for question in QUESTIONS:
        assert full.prompt(question) == gguf.prompt(question)
    assert full.prompt("Why?").text == (
        "<|im_start|>system\nAnswer briefly.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert full.limit == gguf.limit == 512


@pytest.mark.parametrize(("left", "right"), [("full", "gguf"), ("adapter", "merged")])
def test_losses_and_first_tokens_agree_between_forms(left: str, right: str, folders: dict[str, Path]) -> None:
    models = opened(folders[left], left, folders["full"]), opened(folders[right], "gguf")
    for question, reference in zip(QUESTIONS, REFERENCES, strict=True):
        one, two = (model.answer([model.prompt(question)], Generation(1), [reference])[0] for model in models)
        assert one.reference_tokens == two.reference_tokens
        assert one.reference_loss == pytest.approx(two.reference_loss, abs=2e-3)
        assert one.text == two.text


def test_an_adapter_changes_the_loss(folders: dict[str, Path]) -> None:
    base, adapter = opened(folders["full"], "full"), opened(folders["adapter"], "adapter", folders["full"])
    losses = [model.answer([model.prompt("Why?")], Generation(1), ["So."])[0].reference_loss or 0 for model in (base, adapter)]
    assert abs(losses[0] - losses[1]) > 0.01


def test_the_loss_is_that_of_a_plain_forward_pass(folders: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folders["full"]), AutoModelForCausalLM.from_pretrained(folders["full"])
    messages = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "Why?"}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*messages, {"role": "assistant", "content": "So."}], tokenize=False)
    ids = torch.tensor([tokenizer(whole)["input_ids"]])
    start = len(tokenizer(prompt)["input_ids"])
    labels = ids.clone()
    labels[:, :start] = -100
    found = opened(folders["full"], "full")
    answer = found.answer([found.prompt("Why?")], Generation(1), ["So."])[0]
    assert answer.reference_loss == pytest.approx(float(model(ids, labels=labels).loss.detach()), rel=1e-5)
    assert answer.reference_tokens == ids.shape[1] - start


def test_a_batch_answers_as_each_question_alone(answerer: Answerer) -> None:
    prompts = [answerer.prompt(question) for question in QUESTIONS]
    together = answerer.answer(prompts, Generation(6), REFERENCES)
    alone = [answerer.answer([prompt], Generation(6), [reference])[0] for prompt, reference in zip(prompts, REFERENCES, strict=True)]
    for one, two in zip(together, alone, strict=True):
        assert dataclasses.replace(one, reference_loss=None) == dataclasses.replace(two, reference_loss=None)
        assert one.reference_loss == pytest.approx(two.reference_loss, abs=1e-3)
    assert answerer.answer(prompts, Generation(6), REFERENCES) == together


def test_answers_are_those_of_a_loop_over_forward_passes(folders: dict[str, Path]) -> None:
    from transformers import AutoModelForCausalLM

    model, answerer = AutoModelForCausalLM.from_pretrained(folders["full"]), opened(folders["full"], "full")
    prompt = answerer.prompt(QUESTIONS[0])
    tokens = list(prompt.tokens)
    for _ in range(8):
        tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    assert answerer.answer([prompt], Generation(8))[0].text == tiny.tokenizer().decode(tokens[len(prompt.tokens) :]).strip()


@pytest.mark.parametrize("form", ["full", "gguf"])
def test_an_answer_stops_at_the_end_of_the_turn(form: str, tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "base", num_hidden_layers=1)
    from safetensors.torch import load_file, save_file

    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"] = torch.zeros_like(weights["model.norm.weight"])  # all logits equal: token 0, <|endoftext|>
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    model = opened(base if form == "full" else as_gguf(tmp_path / "gguf", base), form)
    answer = model.answer([model.prompt("Why?")], Generation(5), ["So"])[0]
    assert (answer.text, answer.answer_tokens, answer.finish) == ("", 0, "stop")
    assert answer.reference_loss == pytest.approx(math.log(len(tiny.tokenizer()) + 3), rel=1e-5)


def test_draws_depend_on_the_seed_and_on_the_temperature(answerer: Answerer) -> None:
    prompts = [answerer.prompt(question) for question in QUESTIONS]

    def texts(**options: float) -> list[str]:
        return [answer.text for answer in answerer.answer(prompts, Generation(8, **options))]  # type: ignore[arg-type]

    assert texts(temperature=1.0, seed=1) == texts(temperature=1.0, seed=1)
    assert texts(temperature=1.0, seed=1) != texts(temperature=1.0, seed=2)
    assert texts(temperature=1.0, seed=1) != texts(temperature=1.0, seed=1, top_p=0.3)
    assert texts(temperature=1.0, seed=1, top_p=1e-6) == texts()


def test_a_stream_is_the_answer_in_pieces(answerer: Answerer) -> None:
    prompt = answerer.prompt(QUESTIONS[1])
    assert "".join(answerer.stream(prompt, Generation(12))).strip() == answerer.answer([prompt], Generation(12))[0].text


def test_progress_is_told_and_may_stop_the_work(answerer: Answerer) -> None:
    class Stop(Exception):
        pass

    seen: list[float] = []

    def progress(share: float) -> None:
        seen.append(share)
        if len(seen) == 3:
            raise Stop

    with pytest.raises(Stop):
        answerer.answer([answerer.prompt("Why?")], Generation(50), None, progress)
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] < 0.2


def test_the_nucleus_of_a_large_vocabulary_is_that_of_a_full_sort() -> None:
    random = np.random.default_rng(1)
    for sharpness in (0.01, 1.0, 6.0):
        logits = (random.normal(size=5000) * sharpness).astype(np.float32)
        for top_p in (0.05, 0.9, 0.999, 1.0):
            weights = np.exp(logits.astype(np.float64) / 0.7)
            order = np.argsort(-weights, kind="stable")
            kept = order[: int(np.searchsorted(np.cumsum(weights[order] / weights.sum()), top_p)) + 1]
            drawn = {choose(logits, Generation(1, 0.7, top_p), random) for _ in range(40)}
            assert drawn <= set(kept.tolist())
            assert choose(logits, Generation(1, 0.7, 1e-9), random) == logits.argmax()


def test_the_nucleus_is_the_likeliest_tokens_that_make_up_top_p() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    random = np.random.default_rng(0)
    drawn = [choose(logits, Generation(1, 1.0, 0.75), random) for _ in range(2000)]
    assert set(drawn) == {0, 1}
    assert drawn.count(0) / 2000 == pytest.approx(0.5 / 0.8, abs=0.04)
    assert {choose(logits, Generation(1, 1.0, 1.0), random) for _ in range(500)} == {0, 1, 2, 3}
    assert choose(logits, Generation(1), random) == 0


@pytest.mark.parametrize("form", ["full", "gguf"])
def test_a_model_without_a_chat_template_says_so(form: str, tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    folder = base if form == "full" else as_gguf(tmp_path / "gguf", base)
    with pytest.raises(StepError, match="has no chat template\n  set chat_template on the model step"):
        opened(folder, form).prompt("Why?")


@pytest.mark.parametrize("form", ["full", "gguf"])
def test_a_chat_template_that_refuses_says_why(form: str, tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "base")
    (base / "chat_template.jinja").write_text("{{ raise_exception('no system messages') }}")
    folder = base if form == "full" else as_gguf(tmp_path / "gguf", base)
    with pytest.raises(StepError, match="the chat template refuses the conversation: no system messages"):
        opened(folder, form).prompt("Why?")


class Listing:
    """A prompt template."""

    def render(self, **variables: object) -> str:
        return "\n".join([*(passage["text"] for passage in variables["passages"]), str(variables["question"])])  # type: ignore[index,attr-defined]


def test_the_worst_passages_go_until_the_prompt_fits(answerer: Answerer) -> None:
    passages = [{"text": f"Passage {number}: {'4 bits ' * 20}"} for number in range(5)]
    sizes = [len(answerer.prompt(Listing().render(question="Why?", passages=passages[:kept])).tokens) for kept in range(6)]
    for kept in range(6):
        fitted = fit(answerer, Listing(), "Why?", passages, window=sizes[kept] + 10, reserve=10)
        assert (len(fitted.prompt.tokens), fitted.dropped, fitted.passages) == (sizes[kept], 5 - kept, tuple(passages[:kept]))
    assert fit(answerer, Listing(), "Why?", passages, window=sizes[3] + 9, reserve=10).dropped == 3
    with pytest.raises(StepError, match=rf"the prompt has {sizes[5]} tokens with 5 passages; with 10 for the answer that is more than"):
        fit(answerer, Listing(), "Why?", passages, window=sizes[5] + 9, reserve=10, overflow="fail")
    with pytest.raises(StepError, match=rf"the prompt has {sizes[0]} tokens with 0 passages"):
        fit(answerer, Listing(), "Why?", passages, window=sizes[0] + 9, reserve=10)


def test_many_long_prompts_fill_the_cache_and_no_more(folders: dict[str, Path]) -> None:
    answerer = opened(folders["gguf"], "gguf")
    prompts = [answerer.prompt(f"{number} " + "attention " * 60 * number) for number in range(1, 4)]
    assert max(len(prompt.tokens) for prompt in prompts) >= 400
    answers = answerer.answer(prompts, Generation(20), ["A scale."] * 3)
    alone = answerer.answer([prompts[2]], Generation(20), ["A scale."])[0]
    assert answers[2].reference_loss == pytest.approx(alone.reference_loss, abs=1e-3)


def test_finished_answers_make_room_for_the_next_questions(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine answers of very different lengths over three sequences: each is the one that the question gets alone, and no decode is of
    fewer sequences than there are answers left."""
    from runner.gguf import llama

    monkeypatch.setattr(llama.Model, "ends", lambda self, token: token % 16 == 0)  # so that answers end after few or many tokens
    answerer, generation = opened(folders["gguf"], "gguf"), Generation(40, temperature=1.0)
    prompts = [answerer.prompt(f"{number} {QUESTIONS[number % 3]}") for number in range(9)]
    alone = [answerer.answer([prompt], generation, [REFERENCES[0]], first=number)[0] for number, prompt in enumerate(prompts)]
    assert len({answer.answer_tokens for answer in alone}) > 3
    decoded: list[int] = []
    decode = llama.Session.decode

    def spy(self: llama.Session, tokens: list[tuple[int, int, int, bool]]) -> object:
        sequences = [sequence for _, _, sequence, _ in tokens]
        if len(set(sequences)) == len(tokens) and tokens[0][1] >= 30:  # a step of all, not the reading of a prompt
            assert sequences == list(range(len(tokens)))
            decoded.append(len(tokens))
        return decode(self, tokens)

    monkeypatch.setattr(llama.Session, "decode", spy)
    together = answerer.answer(prompts, generation, [REFERENCES[0]] * 9, batch_size=3)
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert [answer.finish for answer in together] == [answer.finish for answer in alone]
    assert [answer.reference_loss for answer in together] == pytest.approx([answer.reference_loss for answer in alone], abs=1e-3)
    steps = sum(answer.answer_tokens for answer in alone)
    assert steps - 9 <= sum(decoded) <= steps  # a first token comes from the prompt
    assert decoded == sorted(decoded, reverse=True)  # three at a time for as long as there are so many
    assert decoded[0] == 3
    assert answerer.answer(prompts, generation, [REFERENCES[0]] * 9, batch_size=3) == together


@pytest.mark.parametrize("quantization", ["F32", "Q8_0"])
def test_what_was_answered_before_a_kill_is_kept_and_the_rest_comes_out_the_same(
    quantization: str, folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of nine answers over three sequences: every logit of the others is what it was, to the last bit."""
    from runner.answering import gguf
    from runner.gguf import llama

    seen: set[bytes] = set()

    def spy(logits: np.ndarray, *rest: object) -> int:
        seen.add(logits.tobytes())
        return choose(logits, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(gguf, "choose", spy)
    monkeypatch.setattr(llama.Model, "ends", lambda self, token: token % 16 == 0)  # so that answers end after few or many tokens
    answerer = opened(as_gguf(tmp_path / "gguf", folders["full"], quantization=quantization), "gguf")
    generation = Generation(40, temperature=1.0)
    # One prompt is so long that the cache is read farther with it than without.
    prompts = [answerer.prompt(f"{number} {QUESTIONS[number % 3]}" + " attention" * 250 * (number == 1)) for number in range(9)]
    order: list[int] = []
    whole = answerer.answer(prompts, generation, ["A scale."] * 9, batch_size=3, done=lambda number, answer: order.append(number))
    assert sorted(order) == list(range(9)) != order
    first, work = set(seen), []
    for done in range(10):
        seen.clear()
        again: list[int] = []
        kept = {number: whole[number] for number in order[:done]}
        assert answerer.answer(
            prompts, generation, ["A scale."] * 9, batch_size=3, kept=kept, done=lambda number, answer, to=again: to.append(number)
        ) == whole  # fmt: skip
        assert again == order[done:]
        assert seen <= first
        work.append(len(seen))
    assert work == sorted(work, reverse=True)
    assert work[-1] == 0


def test_prompts_that_have_nothing_in_common_follow_each_other_in_a_sequence(tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "base", initializer_range=0.05)
    (base / "chat_template.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    folder = as_gguf(tmp_path / "gguf", base)
    tiny.record(folder, form="gguf", architecture="qwen2")
    answerer = opened(folder, "gguf")
    prompts = [answerer.prompt(text) for text in ("attention", "Größe of weights", "low-rank", "4 bits in a block", "values")]
    assert len({prompt.tokens[0] for prompt in prompts}) == 5
    together = answerer.answer(prompts, Generation(8), batch_size=2)
    assert together == [answerer.answer([prompt], Generation(8))[0] for prompt in prompts]


def test_the_batches_that_are_kept_are_not_made_again(folders: dict[str, Path]) -> None:
    answerer = opened(folders["full"], "full")
    prompts = [answerer.prompt(question) for question in QUESTIONS]
    whole = answerer.answer(prompts, Generation(4), batch_size=2)
    assert all(answer.seconds > 0 for answer in whole)
    again: list[int] = []
    kept = {0: whole[0], 1: whole[1]}
    assert answerer.answer(prompts, Generation(4), batch_size=2, kept=kept, done=lambda number, answer: again.append(number)) == whole
    assert again == [2]
    del kept[1]  # a batch that a kill cut short
    assert answerer.answer(prompts, Generation(4), batch_size=2, kept=kept, done=lambda number, answer: again.append(number)) == whole
    assert again == [2, 0, 1, 2]


def test_a_draw_depends_on_its_number_and_on_nothing_else(answerer: Answerer) -> None:
    prompts, generation = [answerer.prompt(question) for question in QUESTIONS * 2], Generation(6, temperature=0.8, top_p=0.9, seed=4)
    drawn = [answer.text for answer in answerer.answer(prompts, generation, batch_size=4)]
    assert len(set(drawn)) == 6  # the same question again is another draw
    assert [answer.text for answer in answerer.answer(prompts, generation, batch_size=2)] == drawn
    assert answerer.answer([prompts[4]], generation, first=4)[0].text == drawn[4]


def test_layers_go_to_the_gpu_as_asked(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.gguf import llama

    seen: list[int] = []
    load = llama.native.llama_model_load_from_file
    monkeypatch.setattr(
        llama.native, "llama_model_load_from_file", lambda path, params: seen.append(params.n_gpu_layers) or load(path, params)
    )
    for device, layers in (("cpu", None), ("cpu", 5), ("auto", None), ("auto", 0), ("auto", 5)):
        open_answerer(folders["gguf"], "gguf", Path, device=device, gpu_layers=layers).close()
    assert seen == [0, 0, -1, 0, 5]


ROPES = {
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 128,
    },
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    "yarn": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 128},
    "theta": {"rope_type": "default", "rope_theta": 500000.0},
}


@pytest.mark.parametrize("rope", ROPES)
def test_positions_far_away_are_rotated_alike(rope: str, tmp_path: Path) -> None:
    """Llama's layout with each way of stretching positions: the loss of a long reference, against Transformers."""
    base = tiny.model(tmp_path / "base", "llama", rope_parameters=ROPES[rope], num_key_value_heads=4, initializer_range=0.1)
    models = opened(base, "full"), opened(as_gguf(tmp_path / "gguf", base), "gguf")
    reference = " ".join(tiny.TEXTS)
    losses = [model.answer([model.prompt(reference)], Generation(1), [reference])[0] for model in models]
    assert losses[0].reference_tokens == losses[1].reference_tokens
    assert (losses[0].reference_tokens or 0) > 100
    assert losses[0].reference_loss == pytest.approx(losses[1].reference_loss, abs=3e-3)
    plain = json.loads((base / "config.json").read_text())
    plain["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0}
    (base / "config.json").write_text(json.dumps(plain))
    other = opened(base, "full")
    unlike = other.answer([other.prompt(reference)], Generation(1), [reference])[0]
    assert abs((unlike.reference_loss or 0) - (losses[0].reference_loss or 0)) > 0.01  # the difference would be seen


THINGS = ("big dog", "red ball", "toy car")


@pytest.mark.shared
def test_a_real_model_answers_alike_in_both_forms(tmp_path: Path) -> None:
    source = SHARED / "stories260K-hf"
    if not source.exists():
        pytest.skip("../shared/data/models/stories260K-hf is missing")
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_text("<s>{% for message in messages %}{{ message['content'] }}{% endfor %}")
    tiny.record(tmp_path, form="full", architecture="llama")
    tiny.record(as_gguf(tmp_path / "gguf", tmp_path), form="gguf", architecture="llama")
    models = opened(tmp_path, "full"), opened(tmp_path / "gguf", "gguf")
    starts = ("Once upon a time", "The dog was big and", "Lily had a red")
    answers = [model.answer([model.prompt(text) for text in starts], Generation(60)) for model in models]
    assert [answer.text for answer in answers[0]] == [answer.text for answer in answers[1]]
    assert all(len(answer.text) > 100 for answer in answers[0])
    for text in starts:  # <s> stands in the template, and llama.cpp is to put none before it
        assert models[0].prompt(text).tokens == models[1].prompt(text).tokens
        assert models[1].prompt(text).tokens.count(1) == 1
    # Five at a time, and as llama-cpp-python itself answers them one by one. A trained model has few ties.
    import llama_cpp

    peer = llama_cpp.Llama(str(tmp_path / "gguf" / "model.gguf"), n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False)
    prompts = [
        models[1].prompt(text) for text in (*starts, *(f"{name} had a {thing}" for name in ("Tom", "Anna", "Ben") for thing in THINGS))
    ]
    made = models[1].answer(prompts, Generation(48), batch_size=5)
    theirs = [peer.create_completion(list(prompt.tokens), max_tokens=48, temperature=0, repeat_penalty=1.0) for prompt in prompts]
    assert [answer.text for answer in made] == [answer["choices"][0]["text"].strip() for answer in theirs]


@pytest.mark.parametrize("form", ["full", "gguf"])
def test_a_reference_beyond_the_model_is_scored_as_far_as_it_goes(form: str, folders: dict[str, Path]) -> None:
    answerer = opened(folders[form], form)
    prompt = answerer.prompt("Why?")
    answers = answerer.answer([prompt, prompt], Generation(2), ["attention " * 400, None])
    assert answers[0].reference_tokens == 512 - len(prompt.tokens)
    assert answers[1].reference_loss is None
    assert answers[1].reference_tokens is None


def test_a_gpu_that_llama_cpp_was_not_built_for_is_refused(folders: dict[str, Path]) -> None:
    from runner.gguf.llama import offloads

    if offloads():
        pytest.skip("llama-cpp-python was built for a GPU")
    with pytest.raises(StepError, match=r"resources\.device is cuda, but llama-cpp-python was built without it"):
        open_answerer(folders["gguf"], "gguf", Path, device="cuda")


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("form", ["full", "adapter"])
def test_the_models_own_generation_settings_change_nothing(form: str, temperature: float, tmp_path: Path) -> None:
    """Qwen2.5 comes with a repetition penalty, top_k and more, which Transformers would apply to whatever a call leaves open."""
    base = tiny.model(tmp_path / "base", num_hidden_layers=1)
    folder = base if form == "full" else tiny.adapter(tmp_path / "adapter", base)[0]
    generation = Generation(12, temperature=temperature, top_p=0.9 if temperature else 1.0, seed=3)

    def answers() -> list[str]:
        model = opened(folder, form, base)
        return [answer.text for answer in model.answer([model.prompt(question) for question in QUESTIONS], generation)]

    plain = answers()
    own = {"repetition_penalty": 5.0, "top_k": 1, "min_p": 0.5, "no_repeat_ngram_size": 1, "do_sample": True, "temperature": 0.1}
    file = base / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    assert answers() == plain


def test_a_model_that_computes_no_numbers_is_said(tmp_path: Path) -> None:
    """As float16 does where activations overflow: the answers would be "!!!!", and merely look bad."""
    from safetensors.torch import load_file, save_file

    base = tiny.model(tmp_path / "base", num_hidden_layers=1)
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    model = opened(base, "full")
    for generation in (Generation(2), Generation(2, temperature=1.0)):
        with pytest.raises(StepError, match="values that are not numbers") as caught:
            model.answer([model.prompt("Why?")], generation)
        assert "dtype" in caught.value.remedy
