"""The command ``completion``: the script by which a shell completes commands and options, written by ``shtab``."""

from __future__ import annotations

import argparse
from typing import Any

from depot_lite.cli.arguments import PROGRAM, make_parser
from depot_lite.cli.errors import ApplicationFailed
from depot_lite.cli.reports.report import Report
from depot_lite.maintenance.run.reports import Watcher


def completion(options: argparse.Namespace, bind: Any, watcher: Watcher | None) -> Report:
    """Return the script for a shell.

    Raises:
        ApplicationFailed: `shtab` is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise ApplicationFailed("completion needs shtab: pip install 'depot_lite[cli]'") from error
    script: str = shtab.complete(make_parser(), shell=options.shell, root_prefix=PROGRAM.replace("-", "_"))
    data = {"command": "completion", "shell": options.shell, "script": script}
    return Report(script.rstrip("\n").splitlines(), data, found=False)
