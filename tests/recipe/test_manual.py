"""What `recipe explain` says of step kinds and their parameters."""

from __future__ import annotations

import pytest

from runner.errors import UsageError
from runner.recipe import describe
from runner.recipe.manual import explain_text


def test_describe(toy_kinds: None) -> None:
    about = describe("tune")
    assert (about["kind"], about["summary"], about["version"]) == ("tune", "The toy kind tune.", 1)
    assert [port["name"] for port in about["ports"]] == ["model", "examples"]
    assert [describe(kind)["output"] for kind in ("tune", "read", "parts")] == [
        "model (adapter)", "documents", "depends on the parameters",
    ]  # fmt: skip
    assert "\ngives\n  model (adapter)\nwith\n" in explain_text(about)
    method = about["params"][0]
    assert method["default"] == {"kind": "lora", "target_modules": ["q_proj"]}
    assert [(row["name"], row.get("when")) for row in method["params"]] == [
        ("kind", None),
        ("r", "kind: lora"),
        ("lora_alpha", "kind: lora"),
        ("target_modules", "kind: lora"),
        ("r", "kind: qlora"),
        ("quant_type", "kind: qlora"),
    ]
    assert describe("tune.method.r")["when"] == ["kind: lora", "kind: qlora"]
    assert "others" not in describe("tune.method.r")
    assert describe("cut.size") == {
        "name": "size", "type": "a whole number, at least 1", "required": True, "description": "length of a chunk", "unit": "characters",
    }  # fmt: skip
    assert describe("tune.api_key_env")["default"] == "KEY"
    assert "size: a whole number, at least 1 [characters], required" in explain_text(describe("cut"))
    assert explain_text(describe("cut.overlap")).splitlines() == [
        "overlap: a whole number, at least 0 [characters] = 0",
        "  characters shared with the next chunk",
    ]


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("tnue", "there is no step kind `tnue`\n  did you mean `tune`?"),
        ("tune.methd", "`tune` has no parameter `methd`\n  did you mean `method`?"),
        ("tune.seed.q", "`tune.seed` has no parameter `q`\n  it is no map"),
        ("tune.method.q", "`tune.method` has no parameter `q`\n  one of kind, r, lora_alpha, target_modules, quant_type"),
    ],
)
def test_describe_nothing(topic: str, message: str, toy_kinds: None) -> None:
    with pytest.raises(UsageError) as caught:
        describe(topic)
    assert str(caught.value) == message


def test_a_parameter_that_shapes_have_in_common_but_not_alike_is_told_for_each() -> None:
    assert explain_text(describe("synthesize.teacher.path")).splitlines() == [
        "path: text or null = null",
        "  a .gguf file, or a folder with a model in Hugging Face form",
        "  (provider: local)",
        "path: text, not empty, required",
        "  recorded answers (.jsonl), as a step that asked a teacher leaves them in its `provenance/replies.jsonl`",
        "  (provider: replay)",
    ]
    seeds = describe("synthesize.teacher.max_output_tokens")
    assert seeds["when"] == ["provider: google-generativeai", "provider: gemini", "provider: openai"]
    assert [other["when"] for other in seeds["others"]] == [["provider: local"]]


def test_a_shape_is_found_by_its_name() -> None:
    lines = explain_text(describe("chunk.splitter.sentence")).splitlines()
    assert lines[0] == "sentence: a map with `kind: sentence`"
    assert [line.split(":")[0].strip() for line in lines if line.startswith("  ") and not line.startswith("   ")][1:] == [
        "markup",
        "language",
    ]
    assert describe("curate.quality.teacher.openai.seed") | {"when": 0} == describe("curate.quality.teacher.seed")["others"][0] | {
        "when": 0
    }


def test_paths_as_recipes_have_them() -> None:
    assert describe("ingest.resources.passwords.files") == describe("ingest.passwords.files")
    assert describe("chunk.with.overlap") == describe("chunk.overlap")
    assert [row["name"] for row in describe("mix.with")["params"]] == [row["name"] for row in describe("mix")["params"]]
    with pytest.raises(UsageError, match="`chunk` has no parameter `timeout`"):
        describe("chunk.with.timeout")


def test_inputs_say_what_they_are_for() -> None:
    assert "  shown: examples, a list - optional\n      what the model is shown besides" in explain_text(describe("split"))
    with pytest.raises(UsageError, match="`shown` is an input of `split`, not a parameter"):
        describe("split.shown")
