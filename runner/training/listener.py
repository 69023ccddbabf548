"""Who hears of a training while it runs. The Context of a step is one; so is :class:`Nobody`, for use from Python."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    def progress(self, done: float, total: float | None = None, unit: str = "items") -> None: ...

    def metrics(self, step: int, **values: float) -> None: ...

    def log(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...

    def check_cancelled(self) -> None:
        """Raise to stop; called between steps."""
        ...


class Nobody:
    """Hears nothing and never interrupts."""

    def progress(self, done: float, total: float | None = None, unit: str = "items") -> None:
        return None

    def metrics(self, step: int, **values: float) -> None:
        return None

    def log(self, message: str) -> None:
        return None

    def warn(self, message: str) -> None:
        return None

    def check_cancelled(self) -> None:
        return None
