"""What recognising content types costs: processor time for files of random bytes, and of every signature.

    python -m tests.benchmarks.bench_types
    python -m tests.benchmarks.bench_types --files 10000 --size 1024

Printed are microseconds for each file: for the look-up of its signatures, for the whole recognition, and for storing it
in memory, with the number of times that its bytes were recognised and that its first bytes were read.

To reach: 20 for the look-up.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from unittest import mock

from depot_lite.io.content import Content
from depot_lite.io.media_types.detection import HEAD_SIZE, Finding, Sample, matching, recognise
from depot_lite.io.media_types.signatures import SIGNATURES
from depot_lite.io.memory import MemoryFileStorage


def _microseconds(work: Callable[[bytes], object], heads: Sequence[bytes]) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for head in heads:
            work(head)
        best = min(best, time.process_time() - started)
    return best * 1_000_000 / len(heads)


def _signed() -> list[bytes]:
    """Return a head for each signature, of the size of a head."""
    heads = []
    for _, *parts in SIGNATURES:
        head = bytearray(os.urandom(HEAD_SIZE))
        for offset, part in zip(parts[::2], parts[1::2], strict=True):
            head[offset : offset + len(part)] = part
        heads.append(bytes(head))
    return heads


class _CountingFile(io.BytesIO):
    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        _CountingFile.reads += bool(data)
        return data


def _counted(heads: Sequence[bytes]) -> tuple[float, float]:
    """Return how often a file is recognised, and read, when a value is made of it and a storage stores it."""
    count = 0

    def recognise_and_count(sample: Sample) -> Finding:
        nonlocal count
        count += 1
        return recognise(sample)

    storage = MemoryFileStorage()
    with mock.patch("depot_lite.io.content.sources.recognise", recognise_and_count):
        for head in heads:
            content = Content.of(_CountingFile(head), "file.bin")
            storage.create(content, content.filename, content.content_type)
    return count / len(heads), _CountingFile.reads / len(heads)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1024)
    options = parser.parse_args()
    heads = [os.urandom(options.size) for _ in range(options.files)]
    text = [b"a line of text, as in a log or a table; 1,2,3\n" * (options.size // 46 + 1)] * min(options.files, 2000)
    storage = MemoryFileStorage()
    for label, each in (("random bytes", heads), ("text", text), ("every signature", _signed())):
        looked_up = _microseconds(matching, each)
        recognised = _microseconds(lambda head: recognise(Sample(head)), each)
        stored = _microseconds(lambda head: storage.create(head, "file.bin"), each)
        figures = f"look-up {looked_up:6.1f}   recognition {recognised:6.1f}   stored in memory {stored:7.1f}"
        sys.stdout.write(f"{label:16} {figures}\n")
    times, reads = _counted(heads[:1000])
    sys.stdout.write(f"recognised {times:.2f} times, read {reads:.2f} times per file\n")


if __name__ == "__main__":
    main()
