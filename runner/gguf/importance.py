"""The importance matrix: how much each input column of a matrix matters, measured on calibration texts.

Quantisation rounds some weights more than others. Weighed by the mean square of what a column is multiplied with, the rounding
error of the product is made small instead of that of the weights (llama.cpp's imatrix; the same diagonal of the Hessian that
GPTQ and AWQ build on).
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import gguf
import numpy as np
from numpy.typing import NDArray

from runner.errors import StepError

FILE = "imatrix.gguf"

#: As llama.cpp's tool does by default: the matrices of the blocks, neither the embedding nor the output layer.
_MEASURED = "model.layers."

_KEPT = 4096  # tokens between two writings of the journal


@dataclass(frozen=True)
class Importance:
    """Sums of squares over ``tokens`` tokens of ``texts`` texts: name of a weight in the checkpoint -> float64 of shape (columns,)."""

    sums: Mapping[str, NDArray[np.float64]]
    texts: int
    tokens: int

    def of(self, names: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
        """Tensor name in the file -> mean square per column, float32 of shape (columns,), for ``names`` (file -> checkpoint)."""
        return {name: (self.sums[origin] / self.tokens).astype(np.float32) for name, origin in names.items() if origin in self.sums}

    def write(self, path: Path, names: Mapping[str, str], dataset: str) -> None:
        """Write the file that llama.cpp's own tools read: sums (``.in_sum2``) and numbers of tokens (``.counts``)."""
        writer = gguf.GGUFWriter(path, "")
        writer.kv_data[0].clear()  # an imatrix has a type and no architecture
        writer.add_type(gguf.GGUFType.IMATRIX)
        writer.add_array(gguf.Keys.IMatrix.DATASETS, [dataset])
        writer.add_uint32(gguf.Keys.IMatrix.CHUNK_COUNT, self.texts)
        writer.add_uint32(gguf.Keys.IMatrix.CHUNK_SIZE, max(1, round(self.tokens / self.texts)))
        for name, origin in names.items():
            if origin in self.sums:
                writer.add_tensor(f"{name}.in_sum2", self.sums[origin].astype(np.float32)[None])
                writer.add_tensor(f"{name}.counts", np.full((1, 1), self.tokens, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def measure(
    model: Any, texts: Sequence[Sequence[int]], *, journal: Path | None = None, progress: Callable[[int, int], None] | None = None
) -> Importance:
    """Run ``model`` (a Transformers causal LM in evaluation mode, adapters merged) over ``texts`` (token ids) and sum up the squares
    of what its linear layers are given, over all tokens.

    One text at a time, so that no padding is counted. ``progress`` gets tokens done and in all. With ``journal`` (a file) a measuring
    that was broken off goes on, to the same sums. StepError when there is no text or when an activation is not finite.
    """
    import torch

    lengths = [len(text) for text in texts]
    total = sum(lengths)
    if not total:
        raise StepError("there is no calibration text", remedy="bind a part that holds examples")
    with _Sums(model) as sums, torch.inference_mode():
        done = sums.read(journal, lengths) if journal else 0
        kept = tokens = sum(lengths[:done])
        for index in range(done, len(texts)):
            # The backbone alone: logits of a large vocabulary would cost more than all else, and are not looked at.
            model.base_model(input_ids=torch.tensor([list(texts[index])], device=model.device), use_cache=False)
            tokens += lengths[index]
            if journal and tokens - kept > _KEPT:
                sums.write(journal, index + 1, lengths)
                kept = tokens
            if progress:
                progress(tokens, total)
        found = sums.arrays()
    wrong = next((name for name, values in found.items() if not np.isfinite(values).all()), None)
    if wrong:
        raise StepError(f"what {wrong} is multiplied with is not finite", remedy="calibrate in float32 or bfloat16")
    return Importance(found, len(texts), tokens)


class _Sums:
    """Running sums of squares, fed by hooks on the linear layers of the blocks."""

    def __init__(self, model: Any) -> None:
        import torch

        self._layers = {
            f"{name}.weight": layer
            for name, layer in model.named_modules()
            if isinstance(layer, torch.nn.Linear) and name.startswith(_MEASURED)
        }
        if not self._layers:
            raise StepError(f"{type(model).__name__} has no linear layers under {_MEASURED}")
        self._sums: dict[str, Any] = {
            name: torch.zeros(layer.in_features, dtype=torch.float64, device=layer.weight.device) for name, layer in self._layers.items()
        }
        self._hooks: list[Any] = []

    def __enter__(self) -> Self:
        for name, layer in self._layers.items():
            self._hooks.append(layer.register_forward_pre_hook(self._adder(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _adder(self, name: str) -> Callable[[Any, tuple[Any, ...]], None]:
        def add(_: Any, given: tuple[Any, ...]) -> None:
            values = given[0].reshape(-1, given[0].shape[-1])
            self._sums[name] += values.float().square().sum(0).double()

        return add

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        return {name: values.cpu().numpy() for name, values in self._sums.items()}

    def write(self, journal: Path, done: int, lengths: Sequence[int]) -> None:
        journal.parent.mkdir(parents=True, exist_ok=True)
        part = journal.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, _done=np.array(done), _lengths=np.array(lengths), **self.arrays())  # type: ignore[arg-type]  # names are data
            file.flush()
            os.fsync(file.fileno())
        part.replace(journal)

    def read(self, journal: Path, lengths: Sequence[int]) -> int:
        """Texts that the journal's sums are of; 0 when there is none of these texts and this model."""
        import torch

        try:
            with np.load(journal) as stored:
                if stored["_lengths"].tolist() != list(lengths):
                    return 0
                found = {name: torch.from_numpy(stored[name]).to(values.device) for name, values in self._sums.items()}
                done = int(stored["_done"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return 0
        self._sums.update(found)
        return done
