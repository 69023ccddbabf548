"""For every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Programs that tests start must hear signals also when pytest runs under nohup or in the background.

    An ignored signal stays ignored in a child; one with a handler is back at its default there.
    """
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
