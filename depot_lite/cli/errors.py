"""Errors and signals that end the command early, and the one line that is printed about them."""

from __future__ import annotations

import logging
import signal
from types import FrameType
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from depot_lite.errors import DepotError


class WrongUsage(DepotError):
    """Raised when the arguments of the command line are wrong or incomplete."""


class ApplicationFailed(DepotError):
    """Raised when the application's module or its database cannot be used."""


class JobRunning(DepotError):
    """Raised when another process is running the same job."""


class OutputFailed(DepotError):
    """Raised when the report cannot be written."""


def one_line(error: BaseException) -> str:
    """Return the message of an error in one line; for an error of SQLAlchemy, the message of the driver."""
    if isinstance(error, SQLAlchemyError):
        message = getattr(error, "orig", None) or (error.args[0] if error.args else error)
        return str(message).strip().partition("\n")[0]
    if isinstance(error, SyntaxError):
        return error.msg
    return " ".join(str(error).split())


# --- signals ------------------------------------------------------------------------------------------------------

#: The signals that end the command: Ctrl-C, and the one that systemd and containers send.
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Raised in the main thread when a signal asks the command to stop; work in progress is finished first."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def watch_signals() -> None:
    """Let the first of these signals raise `Stopped`; a second one ends the process at once, as SIGKILL would."""
    for number in STOP_SIGNALS:
        # The parent process may have had it ignored, as `nohup` and `&` do.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    # SQLAlchemy closes a connection that was interrupted, and its pool would write the traceback to stderr.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    raise Stopped(number)
