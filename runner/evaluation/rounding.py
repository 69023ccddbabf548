"""Figures as they are written."""

from __future__ import annotations

from collections.abc import Mapping


def rounded(value: float) -> float:
    """12 digits: the last bits of a matrix product depend on the number of threads, and payloads are bit-equal."""
    return float(f"{value:.12g}")


def numbers(values: Mapping[str, float | int]) -> dict[str, float | int]:
    """Every float of a record, rounded."""
    return {name: value if isinstance(value, int) else rounded(value) for name, value in values.items()}
