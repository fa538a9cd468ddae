"""A command of the command line: the function that does the work, and its needs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

from depot_lite.cli.reports import Report
from depot_lite.maintenance.run.reports import Watcher


def never(options: argparse.Namespace) -> bool:
    """Return False: the command only reads."""
    return False


def unless_dry_run(options: argparse.Namespace) -> bool:
    """Return whether the command changes anything: it does without ``--dry-run``."""
    return not options.dry_run


class Command(NamedTuple):
    """A command, and its needs."""

    execute: Callable[[argparse.Namespace, Any, Watcher | None], Report]
    #: ``needed``, ``useful`` or ``none``; ``no application`` for a command that needs no depots either.
    database: str
    #: The state in which a signal leaves the work, and how to continue.
    after_stop: str
    #: Whether a second run at the same time is refused.
    is_exclusive: Callable[[argparse.Namespace], bool] = never
