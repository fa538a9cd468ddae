"""How benchmarks measure: all contestants in one run, turn by turn, and medians.

A machine is never quiet for long. Contestants that take turns meet the same noise, so the ratio of their medians says
more than any time in seconds.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence


def seconds(work: Callable[[], object], *, collector: bool = True) -> float:
    """Return the processor time that ``work`` takes, with Python's garbage collector running or not.

    Processor time, since other programs on the machine disturb it least; the work of a database server is not in it.
    """
    gc.collect()
    if not collector:
        gc.disable()
    try:
        start = time.process_time()
        work()
        return time.process_time() - start
    finally:
        gc.enable()


def medians(contestants: Mapping[str, Callable[[], Sequence[float]]], rounds: int) -> dict[str, list[float]]:
    """Return the medians of what each contestant measures; each round begins with another one, and one warms up."""
    measured: dict[str, list[Sequence[float]]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            values = contestants[name]()
            if number:
                measured[name].append(values)
    return {name: [statistics.median(each) for each in zip(*values, strict=True)] for name, values in measured.items()}


def say(line: str = "") -> None:
    """Print a line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def table(title: str, times: Mapping[str, float], *, unit: str, scale: float, against: str) -> None:
    """Print the medians, and their ratios to those of one contestant."""
    say(f"\n{title}")
    for name, value in times.items():
        say(f"  {name:<28} {value * scale:>10.1f} {unit:<3} {value / times[against]:>7.3f} x {against}")
