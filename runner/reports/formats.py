"""Figures as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any


def number(value: float, digits: int = 3) -> str:
    """``value`` with about ``digits`` significant digits and no exponent where that reads well: 0.412, 12.3, 1,234."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    size = abs(value)
    if size < 1e-3 or size >= 1e15:
        return f"{value:.{digits - 1}e}"
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{value:,.{places}f}"


def places_for(values: list[float], unit: str = "") -> int:
    """Decimal places for a whole column of ``values``.

    On the scale of 100: 1, and 2 where none reaches 1, as 0.0 would hide them all. Else 3 for shares and losses, 0 for large counts.
    """
    size = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if unit == "of 100":
        return 2 if 0 < size < 1 else 1
    return 3 if size < 10 else 1 if size < 1000 else 0


def fixed(value: float | None, places: int) -> str:
    """``value`` with ``places`` decimals and a real minus sign; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:,.{places}f}"
    return "−" + text[1:] if text.startswith("-") and float(text.replace(",", "")) != 0 else text.lstrip("-")


def signed(value: float | None, places: int) -> str:
    """As :func:`fixed`, with a plus sign."""
    text = fixed(value, places)
    return text if text.startswith(("−", "–")) or not value or float(text.replace(",", "")) == 0 else f"+{text}"


def p_value(p: float) -> str:
    """``p < 0.001``, three decimals where they tell something, else two."""
    return "p < 0.001" if p < 0.0005 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def interval(low: float | None, high: float | None, places: int) -> str:
    """``1.2 to 3.4``; nothing where there is no interval, or one that is a point."""
    return "" if low is None or high is None or low == high else f"{fixed(low, places)} to {fixed(high, places)}"


def size(count: float) -> str:
    """Bytes in decimal units: 12.3 MB."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= factor:
            return f"{number(count / factor)} {unit}"
    return f"{int(count)} bytes"


def moment(seconds: float) -> str:
    """As :func:`duration`, but below a second in milliseconds."""
    return duration(seconds) if seconds >= 1 else f"{number(round(1000 * seconds, 1))} ms"


def duration(seconds: float | None) -> str:
    """Seconds in words: 0.4 s, 12 s, 3 min 05 s, 2 h 07 min."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def quantity(value: Any, unit: str = "") -> str:
    """A fact with its unit; bytes and seconds in words, whatever is no number as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(value)
    if unit == "bytes":
        return size(value)
    if unit in ("seconds", "s"):
        return duration(value)
    if unit in ("%", "percent"):
        return f"{number(value)} %"
    return f"{number(value)} {unit}".rstrip()


def plain(value: Any) -> str:
    """A setting, or any JSON value, in one line: numbers as they are, lists with commas, maps as ``name: value``."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {plain(part)}" for name, part in value.items()) or "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(part) for part in value) or "–"
    return str(value)


def assigned(values: Mapping[str, Any]) -> str:
    """Settings in one line: ``size = 1200; overlap = 150``."""
    return "; ".join(f"{name} = {'null' if value is None else plain(value)}" for name, value in values.items())


def counted(number: int, one: str, several: str = "") -> str:
    """``1 item``, ``1,200 items``."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def arms_together(text: str) -> str:
    """``on answers[a=1], answers[a=2]`` as ``on answers (2 arms)``."""
    return re.sub(r"([\w-]+)\[[^\]]*\](?:, \1\[[^\]]*\])+", lambda found: f"{found[1]} ({found[0].count('[')} arms)", text)


def spaced(name: str) -> str:
    """``peak_memory`` as a label: Peak memory."""
    text = name.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]
