"""Quantisation by llama.cpp: which type each tensor gets, and the conversion of one tensor.

llama.cpp itself decides the types (a dry run over a file that has a header and no data) and converts the values
(``ggml_quantize_chunk``). So a file written tensor by tensor holds the same bytes as ``llama_model_quantize`` would write,
without a 16-bit file in between.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from numpy.typing import NDArray

from runner.errors import StepError
from runner.gguf.llama import listening, thread_count

#: Tensor name -> float32 of shape (columns,): the mean square of what each column is multiplied with.
Importances = Mapping[str, NDArray[np.float32]]

#: Name -> llama.cpp's file type.
FILE_TYPES: Mapping[str, int] = {
    "Q4_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
    "Q4_K_S": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_S,
    "Q4_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    "Q5_K_S": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_S,
    "Q5_K_M": llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    "Q6_K": llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K,
    "Q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    "F16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
    "BF16": llama_cpp.LLAMA_FTYPE_MOSTLY_BF16,
    "F32": llama_cpp.LLAMA_FTYPE_ALL_F32,
}
_TENSOR = re.compile(r"^\[ *\d+/ *\d+\] +(\S+) +- \[.*?size = +[\d.]+ MiB(?: -> +[\d.]+ MiB \((\w+)\))?", re.M)
_FALLBACK = re.compile(
    r"(\S+) +- ncols +(\d+) not divisible by (\d+) \(required for type +(\w+)\).*?falling back to +(\w+)",
    re.S,
)
_BLOCK = 1 << 22  # values that one thread converts at a time


@dataclass(frozen=True)
class Fallback:
    """A tensor that could not have the type that its file type gives it."""

    tensor: str
    wanted: str
    given: str
    columns: int
    divisor: int

    def __str__(self) -> str:
        return f"{self.tensor}: {self.columns} columns are not divisible by {self.divisor}, {self.given} instead of {self.wanted}"


@dataclass(frozen=True)
class Plan:
    """The type of each tensor, and the tensors that llama.cpp gave another type than the file type's."""

    types: Mapping[str, gguf.GGMLQuantizationType]
    fallbacks: tuple[Fallback, ...]


def plan(header: Path, file_type: str, *, pure: bool = False, importance: Importances | None = None) -> Plan:
    """What llama.cpp would do with the model whose header lies in ``header`` (hyper-parameters and tensor shapes, F32).

    ``importance`` takes part: llama.cpp gives some tensors other types where there is a matrix.
    """
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.pure, params.dry_run, params.nthread = FILE_TYPES[file_type], pure, True, 1
    if importance:
        params.imatrix = imatrix(importance)
    unused = os.fsencode(header.with_suffix(".none"))
    with listening() as log:
        failed = llama_cpp.llama_model_quantize(os.fsencode(header), unused, ctypes.byref(params))
    if failed:
        raise StepError(f"llama.cpp refuses to quantise to {file_type}: {log.reason()}")
    types = {name: gguf.GGMLQuantizationType[(kind or "f32").upper()] for name, kind in _TENSOR.findall(log.text)}
    fallbacks = tuple(
        Fallback(name, wanted.upper(), given.upper(), int(columns), int(divisor))
        for name, columns, divisor, wanted, given in _FALLBACK.findall(log.text)
    )
    return Plan(types, fallbacks)


def imatrix(importance: Importances) -> Any:
    """The importances as ``llama_model_quantize_params`` wants them: an array that an entry without a name ends."""
    entries = [llama_cpp.llama_model_imatrix_data(name.encode(), _floats(values), values.size) for name, values in importance.items()]
    return (llama_cpp.llama_model_imatrix_data * (len(entries) + 1))(*entries)


def _floats(values: NDArray[np.float32]) -> Any:
    return values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


def stored_bytes(shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> int:
    """Bytes of a tensor of that shape in that type."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // block * size


def converted(
    values: NDArray[np.float32], kind: gguf.GGMLQuantizationType, threads: int = 0, importance: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """The values (rows, columns) in the type ``kind``, as bytes, ``importance`` (columns,) saying how much each column's error counts.

    Rows are converted by ``threads`` threads (0: all cores); the result is the same.
    """
    values = np.ascontiguousarray(values, np.float32)
    if kind is gguf.GGMLQuantizationType.F32:
        return values.reshape(-1).view(np.uint8)
    columns = values.shape[-1]
    rows = values.size // columns
    result = np.empty(stored_bytes(values.shape, kind), np.uint8)
    source, target = _floats(values), result.ctypes.data_as(ctypes.c_void_p)
    weights = None if importance is None else _floats(importance)
    step = max(1, _BLOCK // columns)

    def convert(row: int) -> None:
        _library().ggml_quantize_chunk(int(kind), source, target, row * columns, min(step, rows - row), columns, weights)

    with ThreadPoolExecutor(thread_count(threads)) as pool:
        list(pool.map(convert, range(0, rows, step)))
    return result


@cache
def _library() -> Any:
    from llama_cpp._ctypes_extensions import load_shared_library

    library = load_shared_library("ggml-base", Path(llama_cpp.__file__).parent / "lib")
    function = library.ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    pointer = ctypes.POINTER(ctypes.c_float)
    function.argtypes = [ctypes.c_int, pointer, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, pointer]
    return library
