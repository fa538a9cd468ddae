"""Signals that ask the command to stop, which it does once what is under way has ended."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Final

#: What ends the command: Ctrl-C, and what systemd and containers send.
STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Raised in the main thread when a signal asks to stop; what is under way comes to its end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def watch_signals() -> None:
    """Let each of these signals raise `Stopped` once; a second one ends the process at once, as SIGKILL would."""
    for number in STOPPING:
        # Who started us may have it ignored, as `nohup` and `&` do.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise Stopped(number)
