"""The phases of a job, in their order, so that its bar says which of how many the step under way belongs to."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from depot_lite.depots import Depots

#: Names of steps. A name that ends with a space stands for all steps with this prefix, such as one for each depot.
Phases = tuple[str, ...]


class Position:
    """The phase that a job is in."""

    def __init__(self, phases: Sequence[str]) -> None:
        self._phases = phases
        self._at = 0

    def label(self, step: str) -> str:
        """Return the name of a step behind the number of its phase: ``2/3 listing photos``.

        A step that belongs to no later phase, such as a second look at few rows, is in the one under way.
        """
        later = range(self._at, len(self._phases))
        exact = (each for each in later if self._phases[each] == step)
        alike = (each for each in later if self._phases[each].endswith(" ") and step.startswith(self._phases[each]))
        self._at = next(exact, next(alike, self._at))
        return step if len(self._phases) < 2 else f"{self._at + 1}/{len(self._phases)} {step}"


def phases_of(options: argparse.Namespace) -> Phases:
    """Return the phases of a command; none for a command that is done at once."""
    found = _PHASES.get(options.command)
    return () if found is None else found(options)


def _rows(options: argparse.Namespace) -> Phases:
    return ("reading ",) if options.url or options.engine else ()


_UNUSED: Final = ("listing", "reading ", "looking at files that no row names")


def _unused(options: argparse.Namespace) -> Phases:
    return (*_UNUSED, *(("waiting for transactions to end", "reading ", "deleting") if options.delete else ()))


def _verify(options: argparse.Namespace) -> Phases:
    return (*_rows(options), "listing", "reading files")


def _check(options: argparse.Namespace) -> Phases:
    each = (*_UNUSED, *(_verify(options) if options.sample else ()))
    return ("reading ", "listing ", *each * (1 if options.depot else len(Depots.depot_names())))


def _copy(options: argparse.Namespace) -> Phases:
    rows = _rows(options) if options.prune else ()
    return ("listing ", "copying", *rows, *(("deleting",) if options.prune and not options.dry_run else ()))


def _restore(options: argparse.Namespace) -> Phases:
    return ("restoring",) if options.all else ("reading ", "listing ", "restoring")


_PHASES: Final[dict[str, Callable[[argparse.Namespace], Phases]]] = {
    "check": _check,
    "copy": _copy,
    "may-go": lambda options: ("reading ", "reading files"),
    "missing": lambda options: ("reading ", "listing "),
    "restore": _restore,
    "stats": lambda options: ("listing ", "reading ", "counting "),
    "unused": _unused,
    "verify": _verify,
}
