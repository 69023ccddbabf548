"""From safetensors, and a LoRA adapter where there is one, to one quantised GGUF file, a tensor at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from runner.errors import StepError
from runner.gguf.architecture import Architecture
from runner.gguf.importance import FILE, Importance
from runner.gguf.quantize import FILE_TYPES, Fallback, Importances, Plan, converted, plan, stored_bytes
from runner.gguf.vocab import Vocabulary
from runner.gguf.weights import Weights


@dataclass(frozen=True)
class Report:
    """What was written. ``bits_per_weight`` counts all tensors, as llama.cpp does; sizes are in bytes.

    ``calibration`` counts the texts and tokens of the importance matrix and the tensors that have one.
    """

    quantization: str
    pure: bool
    tensors: dict[str, dict[str, int]]  # type -> {count, bytes, parameters}
    fallbacks: tuple[Fallback, ...]
    parameters: int
    bits_per_weight: float
    file_bytes: int
    calibration: dict[str, int] | None = None

    @property
    def tensor_count(self) -> int:
        return sum(entry["count"] for entry in self.tensors.values())

    def as_data(self) -> dict[str, Any]:
        return asdict(self) | {"fallbacks": [asdict(entry) for entry in self.fallbacks]}


def export(
    weights: Path,
    target: Path,
    *,
    adapter: Path | None = None,
    tokenizer: Path | None = None,
    quantization: str = "Q4_K_M",
    pure: bool = False,
    allow_fallback: bool = False,
    name: str = "",
    importance: Importance | None = None,
    calibrated_on: str = "",
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Write the model in ``weights`` (a Hugging Face folder), with ``adapter`` (a PEFT folder) merged, to ``target``.

    ``tokenizer`` is the folder of the tokenizer where it is not that of the weights. With ``importance`` the quantisation is
    calibrated, and the matrix is written beside ``target`` as ``imatrix.gguf``, with ``calibrated_on`` as the name of its data.
    ``progress`` gets parameters done and in all. The same input gives the same bytes. StepError when tensors would fall back to
    another type and ``allow_fallback`` is false; StepError or InputError for what cannot be exported.
    """
    source = Weights(weights, adapter)
    architecture = Architecture(source.config)
    names = architecture.names(source.shapes)
    computed = architecture.computed()
    shapes = {key: values.shape for key, values in computed.items()} | {key: source.shapes[origin] for key, origin in names.items()}
    weighed = importance.of(names) if importance else {}

    types = _types(target, architecture, shapes, quantization, pure, weighed)
    if types.fallbacks and not allow_fallback:
        shown = "; ".join(map(str, types.fallbacks[:3])) + (f"; and {len(types.fallbacks) - 3} more" if len(types.fallbacks) > 3 else "")
        raise StepError(
            f"{len(types.fallbacks)} of {len(shapes)} tensors cannot have the types of {quantization}: {shown}",
            remedy="give the model widths that the divisor divides, choose Q8_0 or F16, or set allow_fallback: true",
        )

    writer = _header(target, architecture, {key: (shape, types.types[key]) for key, shape in shapes.items()})
    writer.add_type("model")
    if name:
        writer.add_name(name)
    writer.add_file_type(FILE_TYPES[quantization])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if importance:
        importance.write(target.with_name(FILE), names, calibrated_on)
        writer.add_string("quantize.imatrix.file", FILE)
        writer.add_string("quantize.imatrix.dataset", calibrated_on)
        writer.add_uint32("quantize.imatrix.entries_count", len(weighed))
        writer.add_uint32("quantize.imatrix.chunks_count", importance.texts)
    Vocabulary(tokenizer or weights, source.shapes["model.embed_tokens.weight"][0]).write(writer, source.config)

    total, done = sum(int(np.prod(shape)) for shape in shapes.values()), 0
    counts: Counter[tuple[str, str]] = Counter()
    _write_header(writer)
    for key, shape in shapes.items():
        values = computed[key] if key in computed else _values(source, architecture, names[key])
        data = converted(values, types.types[key], threads, weighed.get(key))
        writer.write_tensor_data(data)
        kind, size = types.types[key].name, int(np.prod(shape))
        counts.update({(kind, "count"): 1, (kind, "bytes"): data.nbytes, (kind, "parameters"): size})
        done += size
        if progress:
            progress(done, total)
    writer.close()

    tensors: dict[str, dict[str, int]] = {}
    for (kind, what), number in sorted(counts.items()):
        tensors.setdefault(kind, {})[what] = number
    bits = 8 * sum(entry["bytes"] for entry in tensors.values()) / total
    calibration = {"texts": importance.texts, "tokens": importance.tokens, "tensors": len(weighed)} if importance else None
    return Report(quantization, pure, tensors, types.fallbacks, total, round(bits, 4), target.stat().st_size, calibration)


def _values(source: Weights, architecture: Architecture, origin: str) -> NDArray[np.float32]:
    return architecture.laid_out(origin, source.tensor(origin).numpy())


def _types(
    target: Path, architecture: Architecture, shapes: dict[str, tuple[int, ...]], quantization: str, pure: bool, importance: Importances
) -> Plan:
    """Ask llama.cpp, with a header over a hole of the size that the data would have (no disk is used for it)."""
    header = target.with_suffix(".header")
    kind = gguf.GGMLQuantizationType.F32
    writer = _header(header, architecture, {key: (shape, kind) for key, shape in shapes.items()})
    try:
        end = _write_header(writer)
        writer.close()
        with header.open("r+b") as file:
            file.truncate(
                end + sum(gguf.GGUFWriter.ggml_pad(stored_bytes(shape, kind), writer.data_alignment) for shape in shapes.values())
            )
        found = plan(header, quantization, pure=pure, importance=importance)
    finally:
        header.unlink(missing_ok=True)
    missing = shapes.keys() - found.types.keys()
    if missing:
        raise StepError(
            f"this version of llama-cpp-python does not say which type {min(missing)} gets", remedy="install the version in constraints.txt"
        )
    return found


def _header(
    path: Path, architecture: Architecture, tensors: dict[str, tuple[tuple[int, ...], gguf.GGMLQuantizationType]]
) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture.name)
    architecture.describe(writer)
    for key, (shape, kind) in tensors.items():
        writer.add_tensor_info(key, shape, np.dtype(np.float32), stored_bytes(shape, kind), raw_dtype=kind)
    return writer


def _write_header(writer: gguf.GGUFWriter) -> int:
    """Write everything before the tensors' data; the offset at which the data begins."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    file = writer.fout[0]
    writer.write_padding(file, file.tell())
    writer.flush()
    return int(file.tell())
