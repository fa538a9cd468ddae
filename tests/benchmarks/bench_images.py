"""The cost of attaching a photograph: beside Pillow alone, beside filedepot, and in memory.

    python -m tests.benchmarks.bench_images [--rounds N] [--folder FOLDER]

The photograph has 24 megapixels: gradients and noise, about ten megabytes as JPEG. Contestants take turns, each in a
process of its own, since filedepot listens to all sessions of the process that imports it; medians. Limits are for wall
times; the processor's say more if other programs are busy. "Pillow, twenty in threads" is the limit of the machine.

**One with a thumbnail**: from a path to the committed row, in SQLite and a local folder without ``durable``. "Pillow"
opens the same file, lets JPEG scale down while it decodes (``draft``, ``thumbnail(reducing_gap=2)``), and saves the
thumbnail; it neither stores the original nor writes a row.

**Twenty in one flush**: the time for each, and the peak memory of the process over what it had before, with one
image done already so that all is loaded.

**Five variants** beside the largest of them alone, and how often an image is decoded (counted in Pillow's decoder).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from tests.benchmarks.alternating import medians, say

_WORKER = """
import json, re, sys, time
from pathlib import Path
folder, decodings = sys.argv[1], []

def peak():
    # Not ru_maxrss, which a process takes over from the one that started it.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

{setup}

for line in sys.stdin:
    count, _, path = line.strip().partition(" ")
    photograph = Path(path)
    start, processor = time.perf_counter(), time.process_time()
    work(int(count))
    measured = [(time.perf_counter() - start) / int(count), (time.process_time() - processor) / int(count)]

    clean()
    print(json.dumps([*measured, peak(), len(decodings)]), flush=True)
"""

_PILLOW = """
import os
from concurrent.futures import ThreadPoolExecutor
from PIL import Image

threads = ThreadPoolExecutor(os.cpu_count())

def one(number):
    with Image.open(photograph) as image:
        image.draft("RGB", (256, 256))
        image.thumbnail((128, 128), reducing_gap=2)
        image.save(f"{folder}/{number}.jpg")

def work(count):
    list({map}(one, range(count)))

def clean():
    pass
"""

_DATABASE = """
from sqlalchemy import Integer, create_engine, delete, event
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

engine = create_engine(f"sqlite:///{folder}/rows.db")
# Python's work is measured, not the disk's.
event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA synchronous = OFF"))

class Base(DeclarativeBase):
    pass

class Person(Base):
    __tablename__ = "person"
    id = mapped_column(Integer, primary_key=True)
    photo = mapped_column(FIELD)

Base.metadata.create_all(engine)

def clean():
    with Session(engine) as session:
        for person in session.query(Person):
            session.delete(person)
        session.commit()
"""

_OURS = (
    """
from depot_lite import DepotManager, UploadedFileField
from depot_lite.fields.specialized.image import UploadedImage, UploadedImageWithThumb
from depot_lite.io.local import LocalFileStorage
from depot_lite.images.recipes import Crop, Thumbnail

DepotManager.configure("default", LocalFileStorage(f"{folder}/files", durable=False))
FIELD = UploadedFileField({field})
"""
    + _DATABASE
    + """
def work(count):
    with Session(engine) as session:
        session.add_all(Person(photo=photograph) for number in range(count))
        session.commit()
"""
)

_FILEDEPOT = (
    """
from depot.fields.filters.thumbnails import WithThumbnailFilter
from depot.fields.sqlalchemy import UploadedFileField
from depot.manager import DepotManager

DepotManager.configure("default", {"depot.storage_path": f"{folder}/files"})
DepotManager.make_middleware(lambda environ, start_response: [])
FIELD = UploadedFileField(filters=[WithThumbnailFilter()])
"""
    + _DATABASE
    + """
def work(count):
    with Session(engine) as session:
        for number in range(count):
            with photograph.open("rb") as file:
                session.add(Person(photo=file))
        session.commit()
"""
)

_SQLALCHEMY_FILE = (
    """
import os
from libcloud.storage.drivers.local import LocalStorageDriver
from sqlalchemy_file import ImageField
from sqlalchemy_file.storage import StorageManager

os.makedirs(folder + "/files/photos")
StorageManager.add_storage("default", LocalStorageDriver(folder + "/files").get_container("photos"))
FIELD = ImageField(thumbnail_size=(128, 128))
"""
    + _DATABASE
    + """
def work(count):
    with Session(engine) as session:
        for number in range(count):
            session.add(Person(photo=photograph.open("rb")))
        session.commit()
"""
)

_COUNTED = """
from PIL import Image
pillows = Image.core.jpeg_decoder

def decoder(mode, *arguments):
    decodings.append(mode)
    return pillows(mode, *arguments)

Image.register_decoder("jpeg", decoder)
"""

_ONE = 'upload_type=UploadedImage, variants={"small": Thumbnail(128, 128)}'
_LARGE = 'upload_type=UploadedImage, variants={"large": Thumbnail(1600, 1600)}'
_FIVE = """upload_type=UploadedImage, variants={
    "small": Thumbnail(128, 128), "square": Crop(256, 256), "medium": Thumbnail(480, 480), "page": Thumbnail(800, 800),
    "large": Thumbnail(1600, 1600),
}"""
_THUMBED = "upload_type=UploadedImageWithThumb"


def photograph(width: int = 6000, height: int = 4000) -> bytes:
    """Return a JPEG with gradients for the sky and noise for the leaves."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    leaves = Image.effect_noise((width, height), 40)
    red, green = Image.blend(across, leaves, 0.3), Image.blend(down, leaves, 0.3)
    blue = Image.blend(Image.radial_gradient("L").resize((width, height)), leaves, 0.3)
    output = io.BytesIO()
    Image.merge("RGB", (red, green, blue)).save(output, "JPEG", quality=90)
    return output.getvalue()


class Worker:
    """A process that attaches as many photographs as it is told, and answers with the seconds for each and its peak."""

    def __init__(self, setup: str, source: Path, folder: Path, closing: ExitStack) -> None:
        folder.mkdir()
        self.source = source
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER.replace("{setup}", setup), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        closing.callback(self.process.communicate)

    def measure(self, count: int = 1, source: Path | None = None) -> list[float]:
        """Return the measurements.

        Seconds and processor seconds for each photograph; of the process so far the peak memory in MB, and how many
        decodings were counted.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker has no pipes")
        stdin.write(f"{count} {source or self.source}\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker ended with code {self.process.wait()}")
        measured: list[float] = json.loads(answer)
        return measured


class Bench:
    """A photograph in a temporary folder, and workers that attach it."""

    def __init__(self, folder: Path, rounds: int, closing: ExitStack) -> None:
        self.folder = folder
        self.rounds = rounds
        self.closing = closing
        self.source = folder / "photograph.jpg"
        self.source.write_bytes(photograph())
        self._made = 0

    def worker(self, setup: str) -> Worker:
        """Start a process with a folder of its own."""
        self._made += 1
        return Worker(setup, self.source, self.folder / str(self._made), self.closing)

    def ours(self, field: str, before: str = "") -> Worker:
        """Start a process with this column of ours."""
        return self.worker(before + _OURS.replace("{field}", field))

    def compare(
        self, title: str, contestants: Mapping[str, Callable[[], Sequence[float]]], limits: Mapping[str, float]
    ) -> None:
        """Print the medians of all contestants, and their ratios to the first."""
        say(f"\n{title}\n{'':32}{'ms':>8}{'ratio':>8}{'processor ms':>14}{'ratio':>8}{'limit':>8}")
        times = medians(contestants, self.rounds)
        first = next(iter(times.values()))
        for name, (seconds, processor, *_) in times.items():
            limit, ratio = limits.get(name), seconds / first[0]
            shown = "" if limit is None else f"{limit:>8.1f} {'ok' if ratio <= limit else 'MISSED'}"
            say(
                f"  {name:<30}{1000 * seconds:>8.1f}{ratio:>8.2f}"
                f"{1000 * processor:>14.1f}{processor / first[1]:>8.2f}{shown}"
            )


def report(bench: Bench) -> None:
    """Measure and print everything."""
    say(f"{bench.source.stat().st_size / 1e6:.1f} MB, {os.cpu_count()} processors, {bench.rounds} rounds")
    attached(bench)
    variants(bench)
    memory(bench)
    decodings(bench)


def attached(bench: Bench) -> None:
    """Compare one photograph with a thumbnail, and twenty, with Pillow and the peers."""
    ours, threads = bench.ours(_ONE), bench.worker(_PILLOW.replace("{map}", "threads.map"))
    contestants = {
        "Pillow": bench.worker(_PILLOW.replace("{map}", "map")).measure,
        "Pillow, twenty in threads": lambda: threads.measure(20),
        "depot_lite": ours.measure,
        "depot_lite, twenty in a flush": lambda: ours.measure(20),
    }
    for name, setup, module in (
        ("filedepot", _FILEDEPOT, "depot"),
        ("sqlalchemy-file", _SQLALCHEMY_FILE, "sqlalchemy_file"),
    ):
        if find_spec(module) is not None:
            contestants[name] = bench.worker(setup).measure
    title = "a photograph attached with a thumbnail, beside Pillow's decoding and the thumbnail alone"
    bench.compare(title, contestants, {"depot_lite": 1.1, "depot_lite, twenty in a flush": 0.7})


def variants(bench: Bench) -> None:
    """Compare one variant with five."""
    contestants = {"one variant (1600)": bench.ours(_LARGE).measure, "five variants": bench.ours(_FIVE).measure}
    bench.compare("five variants beside the largest of them alone", contestants, {"five variants": 2.0})


def memory(bench: Bench) -> None:
    """Measure the peak of twenty in one flush over that after a tiny image, when everything is loaded."""
    say("\ntwenty in one flush: peak memory over that of a tiny image")
    tiny = bench.folder / "tiny.jpg"
    tiny.write_bytes(photograph(60, 40))
    for name, field, limit in (("one thumbnail", _ONE, 60.0), ("five variants", _FIVE, None)):
        worker = bench.ours(field)
        idle = worker.measure(1, tiny)[2]
        peak = worker.measure(20)[2] - idle
        shown = "" if limit is None else f"  (limit {limit:.0f}) {'ok' if peak <= limit else 'MISSED'}"
        say(f"  {name:<36} {peak:>8.1f} MB{shown}")


def decodings(bench: Bench) -> None:
    """Count how often the photograph is decoded."""
    say("\nhow often a photograph is decoded")
    for name, field in (("five variants", _FIVE), ("filedepot's class: max_size and thumbnail", _THUMBED)):
        say(f"  {name:<44} {bench.ours(field, _COUNTED).measure()[3]:.0f}")


def main() -> None:
    """Read the options and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", help="where to make the files; the default is that of temporary files")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench_images-", dir=options.folder) as folder, ExitStack() as closing:
        report(Bench(Path(folder), options.rounds, closing))


if __name__ == "__main__":
    main()
