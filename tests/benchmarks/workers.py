"""Processes that measure: of this checkout or with the depot_lite of another one, so that two versions take turns.

Only the package is taken from the other checkout; the benchmark and its helpers are those of this one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parents[2]

# The package is imported first and from there: where its modules are is known from then on, whatever the path says.
_START: Final = """
import runpy, sys
here, checkout, module = sys.argv[1:4]
del sys.argv[1:4]
if checkout:
    sys.path.insert(0, checkout)
    import depot_lite
    assert depot_lite.__file__.startswith(checkout), depot_lite.__file__
    del sys.path[0]
sys.path.insert(0, here)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def command(module: str, *arguments: str, checkout: Path | None = HERE) -> list[str]:
    """Return the command that runs a module of tests/benchmarks; without a checkout it imports no depot_lite."""
    package = str(checkout.resolve()) if checkout else ""
    return [sys.executable, "-P", "-c", _START, str(HERE), package, f"tests.benchmarks.{module}", *arguments]


def run(words: Sequence[str]) -> Any:
    """Run a command and return the JSON that it prints."""
    return json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True).stdout)


def commit_of(checkout: Path) -> str:
    """Return the short hash of the commit checked out there, with a ``+`` if files of the package differ from it."""
    git = ["git", "-C", str(checkout)]
    found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, check=False, text=True)
    changed = subprocess.run(
        [*git, "status", "--porcelain", "depot_lite"], stdout=subprocess.PIPE, check=False, text=True
    )
    return f"{found.stdout.strip() or checkout.name}{'+' if changed.stdout else ''}"


class Worker:
    """A process that measures when it is asked: it answers each line on its standard input with a list in JSON."""

    def __init__(self, words: Sequence[str]) -> None:
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self) -> list[float]:
        """Return its measurements of this turn."""
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker has no pipes")
        stdin.write("go\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker ended with code {self.process.wait()}")
        measured: list[float] = json.loads(answer)
        return measured

    def close(self) -> None:
        """Let the process end."""
        self.process.communicate()
