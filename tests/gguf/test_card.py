"""The model card and the Modelfile beside a GGUF."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard

from runner.gguf.bundle import add_script
from runner.gguf.card import Origin, add_card
from runner.gguf.export import export
from runner.gguf.importance import Importance
from runner.gguf.ollama import modelfile, turns
from tests.gguf import tiny

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN = "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are Qwen.<|im_end|>\n' }}{% endif %}" + CHATML
LLAMA3 = (
    "{% for message in messages %}{% set text = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' "
    "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.first %}{% set text = bos_token + text %}{% endif %}{{ text }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n' + message['content']"
    " + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set first = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (first if loop.first else '') + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
NUMBERED = "{% for message in messages %}[{{ loop.index }}] {{ message['content'] }}\n{% endfor %}"
BOS = "<|begin|>"


def renderer(template: str) -> Callable[[Sequence[Mapping[str, str]], bool], str]:
    def refuse(message: str) -> str:
        from runner.errors import StepError

        raise StepError(message)

    def render(messages: Sequence[Mapping[str, str]], reply: bool) -> str:
        made = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        return made.render(messages=messages, add_generation_prompt=reply, bos_token=BOS, eos_token="</s>", raise_exception=refuse)

    return render


def go(template: str, messages: Sequence[Mapping[str, str]]) -> str:
    """What Go's text/template gives for the few actions that are used here, read by their rules and not by how they were written.

    As in Ollama: ``.System`` is the text of the system messages, which ``.Messages`` holds too.
    """
    parts = re.split(r"\{\{(.*?)\}\}", template, flags=re.S)
    system = "\n\n".join(turn["content"] for turn in messages if turn["role"] == "system")

    def block(at: int, turn: Mapping[str, str] | None, shown: bool) -> tuple[str, int, str]:
        """Text up to the `else` or `end` that closes this block; where that is, and what it says."""
        text = ""
        while at < len(parts):
            if at % 2 == 0:
                text += parts[at]
                at += 1
                continue
            action = parts[at].strip()
            if action == "end" or action.startswith("else"):
                return text, at, action
            if action == ".Content":
                assert turn is not None
                text += turn["content"]
                at += 1
            elif action == "range .Messages":
                bodies = [block(at + 1, each, shown) for each in messages]
                text += "".join(body for body, _, _ in bodies)
                at = bodies[0][1] + 1
            elif action.startswith("if "):
                body, at = branch(at, action, turn, shown)
                text += body
            else:
                raise AssertionError(action)
        return text, at, ""

    def branch(at: int, action: str, turn: Mapping[str, str] | None, shown: bool) -> tuple[str, int]:
        taken, text = False, ""
        while True:
            condition = action.removeprefix("else").strip()
            if condition == "if not .System":
                holds = not system
            elif condition == "":
                holds = True
            else:
                role = re.fullmatch(r'if eq \.Role "(\w+)"', condition)
                assert role, condition
                assert turn is not None
                holds = turn["role"] == role.group(1)
            body, at, action = block(at + 1, turn, shown)
            if holds and not taken:
                taken, text = True, body
            if action == "end":
                return text, at + 1

    return block(0, None, True)[0]


def field(text: str, name: str) -> str:
    found = re.search(rf'^{name} """(.*?)"""$', text, flags=re.S | re.M)
    assert found
    return found.group(1)


TALK = [
    {"role": "user", "content": "Why?\n\n  Two lines {{ .Role }}."},
    {"role": "assistant", "content": "So."},
    {"role": "user", "content": "Größe?"},
    {"role": "assistant", "content": "4 bits"},
    {"role": "user", "content": "And?"},
]


@pytest.mark.parametrize("template", [CHATML, QWEN, LLAMA3, GEMMA])
@pytest.mark.parametrize("adds_bos", [False, True])
def test_ollama_sees_what_the_chat_template_gives(template: str, adds_bos: bool) -> None:
    render = renderer(template)
    found = turns(render, BOS)
    assert found is not None
    made = modelfile(found, system_prompt=None, context_window=512, max_new_tokens=9, adds_bos=adds_bos)
    assert made is not None
    for count in (1, 3, 5):
        talks = [TALK[:count]]
        if template != GEMMA:
            talks.append([{"role": "system", "content": "Be brief."}, *TALK[:count]])
        for talk in talks:
            wanted = render(talk, True)
            seen = go(field(made, "TEMPLATE"), talk)
            assert (BOS + seen if adds_bos and wanted.startswith(BOS) else seen) == wanted


def test_a_system_prompt_goes_along() -> None:
    found = turns(renderer(QWEN), BOS)
    assert found is not None
    made = modelfile(found, system_prompt="Be brief.", context_window=512, max_new_tokens=9, adds_bos=False) or ""
    assert field(made, "SYSTEM") == "Be brief."
    empty = modelfile(found, system_prompt="", context_window=512, max_new_tokens=9, adds_bos=False) or ""
    assert "SYSTEM" not in empty
    assert go(field(empty, "TEMPLATE"), TALK[:1]) == renderer(QWEN)([{"role": "system", "content": ""}, *TALK[:1]], True)
    assert "You are Qwen" in go(field(made, "TEMPLATE"), TALK[:1])
    assert [line for line in made.splitlines() if line.startswith(("FROM", "PARAMETER"))] == [
        "FROM ./model.gguf",
        'PARAMETER stop "<|im_end|>"',
        "PARAMETER num_ctx 512",
        "PARAMETER num_predict 9",
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1.0",
    ]


@pytest.mark.parametrize("template", [LLAMA2, NUMBERED, "{{ messages[-1]['content'] }}"])
def test_a_template_that_does_more_is_not_said_wrongly(template: str) -> None:
    assert turns(renderer(template), BOS) is None


def test_what_a_modelfile_cannot_hold_is_left() -> None:
    settings: dict[str, Any] = {"context_window": 512, "max_new_tokens": 9, "adds_bos": False}
    gemma = turns(renderer(GEMMA), BOS)
    assert gemma is not None
    assert modelfile(gemma, system_prompt="Be brief.", **settings) is None
    chatml = turns(renderer(CHATML), BOS)
    assert chatml is not None
    assert modelfile(chatml, system_prompt='Say """ often.', **settings) is None


@pytest.mark.shared
@pytest.mark.parametrize("family", ["qwen2.5", "llama3"])
def test_templates_of_real_models(family: str) -> None:
    from transformers import AutoTokenizer

    folder = Path(__file__).parents[3] / "shared" / "data" / "models" / "tokenizers" / family
    if not folder.exists():
        pytest.skip(f"../shared/data/models/tokenizers/{family} is missing")
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def render(messages: Sequence[Mapping[str, str]], reply: bool) -> str:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=reply))

    bos = "" if family == "qwen2.5" else tokenizer.bos_token
    found = turns(render, bos)
    assert found is not None
    made = modelfile(found, system_prompt="Be brief.", context_window=512, max_new_tokens=9, adds_bos=bool(bos)) or ""
    for talk in (TALK[:1], TALK, [{"role": "system", "content": "Be brief."}, *TALK]):
        assert bos + go(field(made, "TEMPLATE"), talk) == render(talk, True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("card")
    base = tiny.model(root / "base")
    made = root / "made"
    made.mkdir()
    report = export(base, made / "model.gguf", allow_fallback=True)
    (made / "quantization.json").write_text(json.dumps(report.as_data()))
    add_script(made, prompt="p.j2", templates={"p.j2": "```\n{{ question }}{{ passages }}"}, system_prompt="Be brief.", positions=512)
    return made


def test_the_card_says_what_the_files_hold(folder: Path) -> None:
    adapter = {"r": 16, "lora_alpha": 32, "use_rslora": False}
    assert add_card(folder, Origin("Qwen2ForCausalLM", "Qwen/Qwen2.5-3B-Instruct", "a" * 40, adapter))
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(front) == {
        "base_model": "Qwen/Qwen2.5-3B-Instruct",
        "base_model_relation": "quantized",
        "pipeline_tag": "text-generation",
        "tags": ["gguf", "llama.cpp", "Qwen2ForCausalLM", "Q4_K_M", "lora"],
    }
    card = ModelCard.load(folder / "README.md")  # as Hugging Face's own library reads it
    assert (card.data.base_model, card.data.pipeline_tag) == ("Qwen/Qwen2.5-3B-Instruct", "text-generation")
    assert card.text.strip() == text.strip()
    report = json.loads((folder / "quantization.json").read_text())
    assert f"{report['file_bytes']:,} bytes" in text
    assert "LoRA (r 16, lora_alpha 32) that is merged into it" in text
    assert "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n(the message)<|im_end|>\n<|im_start|>assistant" in text
    assert "````\n```\n{{ question }}" in text  # a fence longer than those in the prompt
    for kind, row in report["tensors"].items():
        assert f"| {kind} | {row['count']} | {row['parameters']:,} | {row['bytes']:,} |" in text
    assert field((folder / "Modelfile").read_text(), "SYSTEM") == "Be brief."
    add_card(folder, Origin("Qwen2ForCausalLM"))
    front = (folder / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    assert "base_model" not in front
    assert "lora" not in front


def test_the_card_says_on_what_it_was_calibrated(folder: Path, tmp_path: Path) -> None:
    names = (f"model.layers.{layer}.self_attn.q_proj.weight" for layer in range(2))
    importance = Importance({name: np.ones(256) for name in names}, texts=3, tokens=1200)
    report = export(folder.parent / "base", tmp_path / "model.gguf", importance=importance, calibrated_on="examples 0123")
    (tmp_path / "quantization.json").write_text(json.dumps(report.as_data()))
    shutil.copyfile(folder / "inference.json", tmp_path / "inference.json")
    add_card(tmp_path, Origin("Qwen2ForCausalLM"))
    said = "of 2 tensors is weighed by llama.cpp's importance matrix, measured over 3 texts of 1,200 tokens in all (examples 0123), each"
    assert said in (tmp_path / "README.md").read_text()
    add_card(folder, Origin("Qwen2ForCausalLM"))
    assert "alibrat" not in (folder / "README.md").read_text()


def test_the_modelfile_renders_as_the_runner_does(folder: Path) -> None:
    from runner.answering import open_answerer

    tiny.record(folder, form="gguf", architecture="qwen2", system_prompt="Be brief.")
    add_card(folder, Origin("Qwen2ForCausalLM"))
    made = (folder / "Modelfile").read_text()
    answerer = open_answerer(folder, "gguf", Path)
    system = {"role": "system", "content": field(made, "SYSTEM")}
    assert go(field(made, "TEMPLATE"), [system, *TALK[:1]]) == answerer.prompt(TALK[0]["content"]).text
    assert go(field(made, "TEMPLATE"), [system, *TALK]) == answerer.prompt(TALK[-1]["content"], TALK[:-1]).text


def test_a_template_that_ollama_cannot_have_is_said(tmp_path: Path) -> None:
    base = tiny.model(tmp_path / "base", num_hidden_layers=1)
    (base / "chat_template.jinja").write_text(NUMBERED)
    made = tmp_path / "made"
    made.mkdir()
    (made / "quantization.json").write_text(json.dumps(export(base, made / "model.gguf", allow_fallback=True).as_data()))
    add_script(made, prompt="p.j2", templates={"p.j2": "{{ question }}"})
    assert not add_card(made, Origin("Qwen2ForCausalLM"))
    assert not (made / "Modelfile").exists()
    assert "There is no Modelfile" in (made / "README.md").read_text()
