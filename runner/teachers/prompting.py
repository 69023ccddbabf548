"""What every prompt to a teacher has: a template, and a mark around the texts in it."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol


class Prompt(Protocol):
    """A template: :class:`runner.contract.Template` is one."""

    def render(self, **variables: Any) -> str: ...


def mark(*texts: str) -> str:
    """A word that tells where texts begin and end inside a prompt, made of all of them so that none can hold it but by chance."""
    return hashlib.sha256("\n".join(texts).encode(errors="surrogatepass")).hexdigest()[:12]
