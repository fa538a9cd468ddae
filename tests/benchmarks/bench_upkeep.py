"""What maintenance costs as a site grows: keys of several columns, long transactions, and files by the billion.

    python -m tests.benchmarks.bench_upkeep keys --url mariadb+pymysql://root@127.0.0.1/test [--rows 300000]
    python -m tests.benchmarks.bench_upkeep files [--files 30000000] [--memory 512]

``keys`` writes tables whose primary key has one column, two, or an ENUM and another one, reads them as `find_unused`
does, and tells the time per million rows, the longest transaction, and the rows that were left out. The tables are
called ``bench_upkeep_...`` and dropped at the end.

``files`` simulates a sweep: `find_unused` lists a storage of generated files, and reads generated rows, which name 95
of 100 of them. It tells the processor time per million files, the memory above that of the idle process, with a limit
of ``--memory`` MiB for the ids, the disk space, and how often references are read. 30 million files with 16 MiB go to
the disk as often, and are divided as finely, as a billion with 512.

For the figures of another version, run this module with the checkout of that version in PYTHONPATH before this one.
The second benchmark needs `limited_memory`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from unittest import mock

from sqlalchemy import (
    JSON,
    Column,
    Engine,
    Enum,
    Integer,
    MetaData,
    Table,
    create_engine,
    event,
    insert,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import registry

from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.io.interfaces import FileEntry
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import Progress, find_unused, ids
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.places import Place, places
from depot_lite.manager import DepotManager
from tests.benchmarks.alternating import say

METADATA: Final = MetaData()
SIMULATED: Final = MetaData()
KINDS: Final = ("queued", "done", "active", "new")
BLOCK: Final = 10_000
WHEN: Final = datetime(2026, 1, 1, tzinfo=UTC)


def _model(name: str, *keys: Column[Any], metadata: MetaData = METADATA) -> type:
    table = Table(f"bench_upkeep_{name}", metadata, *keys, Column("scan", UploadedFileField))
    model = type(name.title(), (), {})
    registry(metadata=metadata).map_imperatively(model, table)
    return model


def _key(name: str, type_: Any = Integer) -> Column[Any]:
    return Column(name, type_, primary_key=True, autoincrement=False)


#: Kept, because mappers are forgotten with their classes.
MODELS: Final = [
    _model("one", _key("id")),
    _model("two", _key("tenant"), _key("id")),
    _model("enum", _key("kind", Enum(*KINDS, name="bench_upkeep_kind")), _key("id")),
    _model("simulated", _key("id"), metadata=SIMULATED),
]


def text_of(file_id: str) -> str:
    """Return the value of a row."""
    return (
        f'{{"depot_name": "default", "files": ["default/{file_id}"], "file_id": "{file_id}", '
        f'"path": "default/{file_id}", "filename": "minutes of the meeting.pdf", "content_type": "application/pdf", '
        f'"size": 48213, "checksum": "crc32:00000000", "uploaded_at": "2026-11-22 10:00:00", "_public_url": null}}'
    )


# --- keys -------------------------------------------------------------------------------------------------------------


def fill(engine: Engine, rows: int) -> None:
    """Write the tables."""
    METADATA.drop_all(engine)
    METADATA.create_all(engine)
    raw = postgresql.JSONB() if engine.dialect.name == "postgresql" else JSON()
    for table in METADATA.tables.values():
        keys = [Column(each.name, each.type, primary_key=True) for each in table.primary_key]
        plain = Table(table.name, MetaData(), *keys, Column("scan", raw))
        with engine.begin() as connection:
            for start in range(0, rows, BLOCK):
                numbers = range(start, min(start + BLOCK, rows))
                connection.execute(
                    insert(plain),
                    [
                        {
                            "id": number,
                            "tenant": number * 10 // rows,
                            "kind": KINDS[number % 4],
                            "scan": json.loads(text_of(str(uuid.uuid4()))),
                        }
                        for number in numbers
                    ],
                )


def read(engine: Engine, place: Place) -> tuple[float, float, int]:
    """Return the seconds, the longest transaction in seconds, and the number of rows."""
    began: list[float] = []
    lengths = [0.0]

    def begin(connection: Any) -> None:
        began.append(time.perf_counter())

    def end(connection: Any) -> None:
        if began:
            lengths.append(time.perf_counter() - began.pop())

    for name, listener in (("begin", begin), ("commit", end), ("rollback", end)):
        event.listen(engine, name, listener)
    start = time.perf_counter()
    count = sum(map(len, Database(engine).pages(place)))
    end(None)
    seconds = time.perf_counter() - start
    for name, listener in (("begin", begin), ("commit", end), ("rollback", end)):
        event.remove(engine, name, listener)
    return seconds, max(lengths), count


def measure_keys(url: str, rows: int) -> None:
    """Measure and print."""
    engine = create_engine(url)
    try:
        fill(engine, rows)
        say(f"{rows} rows, {engine.dialect.name}")
        for place in places(models=[METADATA]):
            seconds, longest, count = read(engine, place)
            say(
                f"  {place!s:<26} {seconds / rows * 1e6:>7.1f} s per million, longest transaction {longest:.2f} s, "
                f"{rows - count} rows left out"
            )
    finally:
        METADATA.drop_all(engine)
        engine.dispose()


# --- files ------------------------------------------------------------------------------------------------------------


#: The ends of the ids of a block: to make each id whole would take as long as the measured work.
ENDS: Final = [str(uuid.UUID(int=random.Random(number).getrandbits(128), version=4))[13:] for number in range(BLOCK)]


def generated(block: int) -> list[str]:
    """Return the ids of a block, always the same; 48 bits of each are random."""
    digits = random.Random(block).randbytes(6 * BLOCK).hex()
    starts = range(0, 12 * BLOCK, 12)
    return [f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}{end}" for at, end in zip(starts, ENDS, strict=True)]


class Generated(MemoryFileStorage):
    """A depot of generated files."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.listings = 0

    def list(self) -> Iterator[FileEntry]:
        """Yield the files."""
        self.listings += 1
        for block in range(self.blocks):
            for each in generated(block):
                yield FileEntry.told(each, 1000, WHEN)


class Simulation:
    """A sweep of generated files, whose cost is measured at each progress."""

    def __init__(self, blocks: int) -> None:
        self.storage = Generated(blocks)
        self.readings = 0
        self.steps: list[tuple[str, float]] = []
        self.disk = 0
        self.files = 0

    def pages(self, place: Place, **options: Any) -> Iterator[list[Row]]:
        """Yield the generated rows; 19 of 20 files are named."""
        self.readings += 1
        for block in range(self.storage.blocks):
            yield [Row((), text_of(each), True) for number, each in enumerate(generated(block)) if number % 20]

    def watch(self, told: Progress) -> None:
        """Note the processor time of a step, and the open files without a name."""
        if told.finished:
            self.steps.append((told.step, time.process_time()))
        sizes = []
        for each in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # that of the folder itself
                if (found := os.fstat(int(each))).st_nlink == 0 and stat.S_ISREG(found.st_mode):
                    sizes.append(found.st_blocks * 512)
        self.disk, self.files = max(self.disk, sum(sizes)), max(self.files, len(sizes))


def _resident() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024


def measure_files(files: int, memory: int) -> None:
    """Simulate a sweep and print."""
    blocks = files // BLOCK
    simulation, engine = Simulation(blocks), create_engine("sqlite://")
    DepotManager.configure("default", simulation.storage)
    SIMULATED.create_all(engine)
    generated(0)
    idle, before = _resident(), time.process_time()
    with ids.limited_memory(memory << 20), mock.patch.object(Database, "pages", simulation.pages):
        report = find_unused(engine, "default", models=[SIMULATED], progress=simulation.watch)
    if len(report.files) != blocks * BLOCK // 20:
        raise SystemExit(f"{len(report.files)} unused files were found, not {blocks * BLOCK // 20}")
    above = (_resident() - idle) / (1 << 20)
    say(f"{blocks * BLOCK} files, limit of {memory} MiB: {above:.0f} MiB above the idle process")
    say(f"  {simulation.storage.listings} listing, {simulation.readings} reading of the references")
    say(f"  {simulation.disk / 1e9:.2f} GB on disk, in {simulation.files} files")
    for name, at in simulation.steps:
        say(f"  {name:<45} {(at - before) / files * 1e6:>6.2f} s of processor time per million")
        before = at


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["keys", "files"])
    parser.add_argument("--url", default="sqlite:///bench_upkeep.db")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--files", type=int, default=30_000_000)
    parser.add_argument("--memory", type=int, default=512, metavar="MIB")
    given = parser.parse_args()
    if given.what == "keys":
        measure_keys(given.url, given.rows)
    else:
        measure_files(given.files, given.memory)


if __name__ == "__main__":
    main()
