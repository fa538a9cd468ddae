"""The commands of the command line: the functions that do the work, and their needs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from depot_lite.cli import check, completion, files, jobs
from depot_lite.cli.reports.report import Report
from depot_lite.maintenance.run.reports import Watcher


def never(options: argparse.Namespace) -> bool:
    """Return False: the command only reads."""
    return False


def unless_dry_run(options: argparse.Namespace) -> bool:
    """Return whether the command changes anything: it does without ``--dry-run``."""
    return not options.dry_run


def unless_shared(options: argparse.Namespace) -> bool:
    """Return whether the command changes anything, and no other process has a part in it."""
    return not (options.dry_run or options.share)


class Command(NamedTuple):
    """A command, and its needs."""

    execute: Callable[[argparse.Namespace, Any, Watcher | None], Report]
    #: ``needed``, ``useful`` or ``none``; ``no application`` for a command that needs no depots either.
    database: str
    #: The state in which a signal leaves the work, and how to continue.
    after_stop: str
    #: Whether a second run at the same time is refused.
    is_exclusive: Callable[[argparse.Namespace], bool] = never


_CONTINUES: Final = "nothing is half done, and the same command goes on with what is left"
_RESTARTS: Final = "nothing was changed, and the same command begins anew"
_WHOLE: Final = "each file is whole or not there"

#: The commands by name.
COMMANDS: Final = {
    "ls": Command(files.ls, "none", _RESTARTS),
    "info": Command(files.info, "useful", _RESTARTS),
    "cat": Command(files.cat, "none", "a part of the files was written"),
    "get": Command(files.get, "none", _WHOLE),
    "put": Command(files.put, "none", _WHOLE),
    "check": Command(check.check, "needed", _RESTARTS),
    "unused": Command(jobs.unused, "needed", _CONTINUES, lambda options: options.delete),
    "claim": Command(jobs.claim, "needed", _RESTARTS),
    "undelete": Command(jobs.undelete, "none", _CONTINUES),
    "missing": Command(jobs.missing, "needed", _RESTARTS),
    "verify": Command(jobs.verify, "useful", f"{_RESTARTS}, or goes on where --state FILE says"),
    "stats": Command(jobs.stats, "needed", _RESTARTS),
    "migrate": Command(jobs.migrate, "needed", _CONTINUES, unless_shared),
    "copy": Command(jobs.copy, "none", _CONTINUES, unless_shared),
    "create-units": Command(jobs.create_units, "needed", _RESTARTS),
    "may-go": Command(jobs.may_go, "needed", _RESTARTS),
    "restore": Command(jobs.restore, "useful", _CONTINUES, unless_dry_run),
    "regenerate": Command(jobs.regenerate, "needed", _CONTINUES, unless_dry_run),
    "variants": Command(jobs.variants, "needed", _CONTINUES, unless_dry_run),
    "facts": Command(jobs.facts, "needed", _CONTINUES, unless_dry_run),
    "completion": Command(completion.completion, "no application", _RESTARTS),
}
