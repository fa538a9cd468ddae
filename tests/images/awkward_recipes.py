"""Recipes that harm a worker process as a bug of a decoder may."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

from depot_lite.images.recipes import Region, Thumbnail


@dataclass(frozen=True)
class Greedy(Thumbnail):
    """Takes 4 GB of memory."""

    def region(self, width: int, height: int) -> Region:
        return super().region(width, len(bytearray(4 * 1024**3)) and height)


@dataclass(frozen=True)
class Endless(Thumbnail):
    """Never ends, and is busy."""

    def region(self, width: int, height: int) -> Region:
        while True:
            pass


@dataclass(frozen=True)
class Crashing(Thumbnail):
    """Ends the process by a signal, and adds a line to a file before."""

    attempts: str = os.devnull

    def region(self, width: int, height: int) -> Region:
        with open(self.attempts, "a") as file:
            file.write("one\n")
        os.kill(os.getpid(), signal.SIGSEGV)
        return super().region(width, height)


@dataclass(frozen=True)
class Waiting(Thumbnail):
    """Says that it runs, and waits until it may go on: through two named pipes in the folder ``background``."""

    folder: str = ""

    def region(self, width: int, height: int) -> Region:
        with open(f"{self.folder}/runs", "w"), open(f"{self.folder}/goes_on"):
            return super().region(width, height)
