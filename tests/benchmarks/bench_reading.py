"""The cost of verifying a file of a LocalFileStorage while it is read.

    python -m tests.benchmarks.bench_reading [--size MIB] [--rounds N]

The same files are read from start to end with and without verification, in turns, out of the page cache. The table
gives medians of the processor time and their ratio; a disk or a network takes the same time for both.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial

from depot_lite.io.local import LocalFileStorage
from depot_lite.testing import some_bytes
from tests.benchmarks.alternating import medians, say, seconds, table

_SMALL = 10 * 1024


def _read(storage: LocalFileStorage, file_id: str, times: int, verified: bool) -> None:
    for _ in range(times):
        with storage.get(file_id) as file:
            for _chunk in file if verified else file.unverified():
                pass


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64, help="of the large file, in MiB")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    for algorithm in ("crc32", "sha256"):
        with tempfile.TemporaryDirectory() as folder:
            storage = LocalFileStorage(folder, durable=False, checksum=algorithm)
            for size, times in ((_SMALL, 1000), (options.size * 1024 * 1024, 1)):
                file_id = storage.create(some_bytes(size))
                calls: dict[str, Callable[[], list[float]]] = {
                    name: partial(_measured, storage, file_id, times, verified)
                    for name, verified in (("unverified", False), ("verified", True))
                }
                found = {name: each[0] / times for name, each in medians(calls, options.rounds).items()}
                title = f"{algorithm}, {size / 1024:,.0f} KiB"
                table(title, found, unit="us", scale=1e6, against="unverified")
                if times == 1:
                    say(f"  {options.size / (found['verified'] - found['unverified']):,.0f} MiB/s are verified")


def _measured(storage: LocalFileStorage, file_id: str, times: int, verified: bool) -> list[float]:
    return [seconds(partial(_read, storage, file_id, times, verified))]


if __name__ == "__main__":
    main()
