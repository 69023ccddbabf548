"""What a folder with a GGUF says about itself: a model card as Hugging Face reads it, and an Ollama Modelfile."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.gguf.llama import Model
from runner.gguf.ollama import modelfile, turns


@dataclass(frozen=True)
class Origin:
    """Where the weights are from. ``base`` is a hub id, or empty; ``adapter`` PEFT's settings of what was merged into it."""

    architecture: str
    base: str = ""
    revision: str = ""
    adapter: Mapping[str, Any] | None = None


def add_card(folder: Path, origin: Origin, *, model_name: str = "model.gguf") -> bool:
    """Write ``README.md`` and ``Modelfile`` beside ``model.gguf``, ``quantization.json`` and ``inference.json`` in ``folder``.

    Whether there is a Modelfile: False where the chat template cannot be said in Ollama's language; the card then says so.
    """
    settings = json.loads((folder / "inference.json").read_text(encoding="utf-8"))
    report = json.loads((folder / "quantization.json").read_text(encoding="utf-8"))
    with Model(folder / model_name, vocab_only=True) as model:
        messages = [] if settings["system_prompt"] is None else [{"role": "system", "content": settings["system_prompt"]}]
        example = model.render([*messages, {"role": "user", "content": "(the message)"}]) if model.has_template else None
        made = _modelfile(model, settings) if model.has_template else None
        calibrated_on = model.metadata.get("quantize.imatrix.dataset", "")
    if made is not None:
        (folder / "Modelfile").write_text(made, encoding="utf-8", newline="\n")
    text = _card(origin, settings, report, example, calibrated_on, ollama=made is not None, index=(folder / "index").is_dir())
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")
    return made is not None


def _modelfile(model: Model, settings: Mapping[str, Any]) -> str | None:
    def render(messages: Sequence[Mapping[str, str]], reply: bool) -> str:
        return model.render(messages, generation_prompt=reply)

    found = turns(render, model.special("bos"))
    if found is None:
        return None
    return modelfile(
        found,
        system_prompt=settings["system_prompt"],
        context_window=settings["context_window"],
        max_new_tokens=settings["max_new_tokens"],
        adds_bos=model.metadata.get("tokenizer.ggml.add_bos_token") == "true",
    )


def _card(
    origin: Origin,
    settings: Mapping[str, Any],
    report: Mapping[str, Any],
    example: str | None,
    calibrated_on: str,
    *,
    ollama: bool,
    index: bool,
) -> str:
    named = origin.base or "A model of this recipe's own"
    tuned = f", fine-tuned with {_adapter(origin.adapter)} that is merged into it" if origin.adapter else ""
    quantization = report["quantization"]
    sections = [
        _front_matter(origin, quantization),
        f"# {origin.base.split('/')[-1] or origin.architecture}, {quantization}",
        f"{named}{f' at revision `{origin.revision}`' if origin.revision else ''}{tuned}, in llama.cpp's format. "
        f"{report['parameters']:,} weights of {report['bits_per_weight']:.2f} bits on average, {report['file_bytes']:,} bytes.",
        "## Use",
        "```\npip install llama-cpp-python jinja2"
        + ("\npip install faiss-cpu sentence-transformers" if index else "")
        + '\npython inference.py "A question"\n```',
        "The script puts the question into the prompt that the model was made for, "
        + (f"with {settings['top_k']} passages from `index/`, and names them as sources (`--no-rag` leaves them out)." if index else
           "without retrieved passages: none were exported with it."),
    ]  # fmt: skip
    if ollama:
        sections += [
            "```\nollama create NAME -f Modelfile\nollama run NAME\n```",
            "Ollama gets your message as it is, without that prompt.",
        ]
    else:
        sections.append("There is no Modelfile: Ollama's templates cannot say this model's chat template.")
    if example is None:
        sections += ["## Chat template", "None: the model goes on from the text that it is given."]
    else:
        sections += ["## Chat template", "In `model.gguf`. A message as the model sees it:", _fenced(example)]
    sections += ["## The prompt", f"`{settings['prompt']}`:", _fenced(settings["templates"][settings["prompt"]])]
    sections += [
        "## Tensors",
        "| type | tensors | weights | bytes |\n|---|---:|---:|---:|\n"
        + "\n".join(f"| {kind} | {row['count']} | {row['parameters']:,} | {row['bytes']:,} |" for kind, row in report["tensors"].items()),
    ]
    if report["fallbacks"]:
        sections.append(
            f"{len(report['fallbacks'])} of them could not have the type that {quantization} gives; `quantization.json` lists them."
        )
    if calibration := report["calibration"]:
        sections.append(
            f"Calibrated: the rounding of {calibration['tensors']} tensors is weighed by llama.cpp's importance matrix, measured over "
            f"{calibration['texts']:,} texts of {calibration['tokens']:,} tokens in all{f' ({calibrated_on})' if calibrated_on else ''}, "
            "each a conversation with its answer, the turns before the question included, in the chat template and the prompt above. "
            "`imatrix.gguf` is the matrix."
        )
    sections.append(
        "## Evaluation\n\nNot part of this card: the report of the run that made this model has the scores, and the data it was made from."
    )
    return "\n\n".join(sections) + "\n"


def _front_matter(origin: Origin, quantization: str) -> str:
    """What Hugging Face reads of a card. A licence is not among it: that of the base model binds, and is not known here."""
    import yaml

    data: dict[str, Any] = {"pipeline_tag": "text-generation", "tags": ["gguf", "llama.cpp", origin.architecture, quantization]}
    if origin.base:
        data |= {"base_model": origin.base, "base_model_relation": "quantized"}
    if origin.adapter:
        data["tags"].append("lora")
    return f"---\n{yaml.safe_dump(data, sort_keys=True, allow_unicode=True)}---"


def _adapter(settings: Mapping[str, Any]) -> str:
    kind = "DoRA" if settings.get("use_dora") else "rsLoRA" if settings.get("use_rslora") else "LoRA"
    return f"{kind} (r {settings['r']}, lora_alpha {settings['lora_alpha']})"


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.rstrip()}\n{fence}"
