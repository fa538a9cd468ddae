"""How long LocalFileStorage takes for a large file beside ``cp``, and how much memory.

    python tests/benchmarks/bench_local.py [--size MIB] [--rounds N] [--folder FOLDER]

In each round every candidate stores the same file once, one after the other, so that all meet the same state of the
disk, and in another order each time, so that periodic work of the kernel does not always meet the same one. The
table gives medians and their ratio to ``cp``. As ``cp`` syncs nothing, it is compared with
``durable=False``; the durable ones stand beside ``cp`` and ``sync`` of the copy. Each storage runs in a fresh process,
whose peak memory is told over that of the process before it stored.

Right before each measurement the file is copied once more and that copy removed. A virtual machine gives free memory
back to its host after some seconds, and getting it again costs more than the copy itself: it would hit whoever comes
next.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STORE = """
import json, resource, sys, time
from pathlib import Path
from depot_lite.io.local import LocalFileStorage

source, root, options = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
storage = LocalFileStorage(root, **options)
storage.delete(storage.create(b"so that all is imported"))
idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
file_id = storage.create(source)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert storage.get(file_id).content_length == source.stat().st_size
storage.delete(file_id)
print(json.dumps([seconds, (peak - idle) / 1024]))
"""

LIMITS = {"no checksum": 1.1, "checksum (crc32)": 1.5}


def stored(source: Path, folder: Path, **options: Any) -> tuple[float, float]:
    command = [sys.executable, "-c", STORE, str(source), str(folder / "files"), json.dumps(options)]
    checkout = str(Path(__file__).resolve().parents[2])
    told = subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": checkout})
    seconds, memory = json.loads(told.stdout)
    return seconds, memory


def copied(source: Path, folder: Path, *, sync: bool = False) -> tuple[float, float]:
    target = folder / "copy"
    start = time.perf_counter()
    subprocess.run(["cp", source, target], check=True)
    if sync:
        subprocess.run(["sync", target], check=True)
    seconds = time.perf_counter() - start
    target.unlink()
    return seconds, 0.0


Candidate = Callable[[Path, Path], tuple[float, float]]

#: The operations that are measured, and those that they are compared with.
CANDIDATES: dict[str, tuple[str, Candidate]] = {
    "cp": ("cp", copied),
    "no checksum": ("cp", lambda *where: stored(*where, durable=False, checksum=False)),
    "checksum (crc32)": ("cp", lambda *where: stored(*where, durable=False)),
    "checksum sha256": ("cp", lambda *where: stored(*where, durable=False, checksum="sha256")),
    "cp and sync": ("cp and sync", lambda *where: copied(*where, sync=True)),
    "durable, no checksum": ("cp and sync", lambda *where: stored(*where, checksum=False)),
    "durable, checksum (crc32)": ("cp and sync", lambda *where: stored(*where)),
}


def measured(source: Path, folder: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return the seconds and MB of each candidate in each round; the first round, which warms up, is left out."""
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in CANDIDATES}
    for number in range(rounds + 1):
        for name in random.sample(list(CANDIDATES), len(CANDIDATES)):
            copied(source, folder)
            result = CANDIDATES[name][1](source, folder)
            if number:
                results[name].append(result)
    return results


def table(results: dict[str, list[tuple[float, float]]]) -> list[str]:
    """Return the lines to print."""
    medians = {name: statistics.median(seconds for seconds, _ in each) for name, each in results.items()}
    lines = [f"{'':28}{'seconds':>9}{'fastest':>9}{'ratio':>8}{'limit':>8}{'MB over idle':>14}"]
    for name, (beside, _) in CANDIDATES.items():
        ratio, limit = medians[name] / medians[beside], LIMITS.get(name)
        memory = "" if name == beside else f"{max(memory for _, memory in results[name]):.1f}"
        fastest = min(seconds for seconds, _ in results[name])
        shown = "" if limit is None else f"{limit:.2f}"
        lines.append(f"{name:28}{medians[name]:9.3f}{fastest:9.3f}{ratio:8.2f}{shown:>8}{memory:>14}")
    return lines


def write_random(path: Path, mebibytes: int) -> None:
    with path.open("wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(2**20))
        os.fsync(file.fileno())


def main() -> None:
    arguments = argparse.ArgumentParser(description="LocalFileStorage beside cp")
    arguments.add_argument("--size", type=int, default=1024, help="MiB of the file")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--folder", help="where to make the files; the default is that of temporary files")
    given = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench_local-", dir=given.folder))
    try:
        write_random(folder / "source", given.size)
        lines = table(measured(folder / "source", folder, given.rounds))
        about = f"{given.size} MiB, {given.rounds} rounds, Python {sys.version.split()[0]}, in {folder.parent}\n"
        sys.stdout.write("\n".join([about, *lines, ""]))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
