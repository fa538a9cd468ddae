"""A gallery of photographs whose variants are made on demand: the upload, the first page, and the second.

    python -m tests.benchmarks.bench_variants [--photographs N] [--folder FOLDER]

Each photograph has 6 megapixels and 1.5 megabytes. It is committed by itself, in SQLite and a local folder without
``durable``, once with three variants that are made at the flush and once with variants on demand. A page shows the
small variant of each: its URLs are taken from the rows, and eight clients request them from the middleware at a time.
The second page is the same one again.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Recipe, Thumbnail
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.benchmarks.alternating import say

#: Clients at a time.
CLIENTS = 8


def recipes(make: Literal["now", "on_demand"]) -> dict[str, Recipe]:
    """Return three variants."""
    return {
        "icon": Crop(128, 128, make=make),
        "small": Thumbnail(400, 400, make=make),
        "page": Thumbnail(1600, 1600, make=make),
    }


class Base(DeclarativeBase):
    """The parent of both galleries."""


class Now(Base):
    """A photograph whose variants are made at the flush."""

    __tablename__ = "now"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage] = mapped_column(UploadedFileField((), UploadedImage, variants=recipes("now")))


class OnDemand(Base):
    """A photograph whose variants are made when somebody asks for them."""

    __tablename__ = "on_demand"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage] = mapped_column(UploadedFileField((), UploadedImage, variants=recipes("on_demand")))


def photograph() -> bytes:
    """Return a JPEG of 6 megapixels: gradients and noise."""
    size = (3000, 2000)
    noise = Image.effect_noise(size, 24)
    wide, high = (Image.linear_gradient("L").rotate(turn).resize(size) for turn in (0, 90))
    file = io.BytesIO()
    Image.merge("RGB", [Image.blend(each, noise, 0.25) for each in (wide, high, noise)]).save(file, "JPEG", quality=85)
    return file.getvalue()


def measure(call: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds of a call, and those of the processors."""
    start, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - processor


def upload(engine: Engine, model: type[Any], path: Path, count: int) -> None:
    """Commit photographs, each by itself."""
    for _ in range(count):
        with Session(engine) as session:
            session.add(model(image=path))
            session.commit()


def show(engine: Engine, model: type[Any], middleware: Any) -> None:
    """Request the small variants of all photographs."""
    with Session(engine) as session:
        urls = [each.variants["small"].url for each in session.scalars(select(model.image))]
    with ThreadPoolExecutor(CLIENTS) as clients:
        statuses = list(clients.map(lambda url: get(middleware, url), urls))
    assert set(statuses) == {"200 OK"}


def get(middleware: Any, url: str) -> str:
    """Request a file, and return the status."""
    statuses: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": url, "QUERY_STRING": ""}
    body = middleware(environ, lambda status, headers: statuses.append(status))
    for _ in body:
        pass
    if hasattr(body, "close"):
        body.close()
    return statuses[0]


def main() -> None:
    """Print the seconds of each step."""
    parser = argparse.ArgumentParser(description="A gallery of photographs")
    parser.add_argument("--photographs", type=int, default=200)
    parser.add_argument("--folder")
    options = parser.parse_args()
    count = options.photographs
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, temporary_depots():
        DepotManager.configure("default", LocalFileStorage(Path(folder) / "media", durable=False))
        middleware = DepotManager.make_middleware(lambda environ, start_response: [])
        engine = create_engine(f"sqlite:///{folder}/gallery.db")
        Base.metadata.create_all(engine)
        path = Path(folder) / "photograph.jpg"
        path.write_bytes(photograph())
        for model in (Now, OnDemand):
            upload(engine, model, path, 1)  # all is loaded
        say(f"{count} photographs of {path.stat().st_size / 1e6:.1f} MB: seconds, and those of the processors")
        for model in (Now, OnDemand):
            steps = {
                "upload": lambda model=model: upload(engine, model, path, count),
                "first page": lambda model=model: show(engine, model, middleware),
                "second page": lambda model=model: show(engine, model, middleware),
            }
            for name, step in steps.items():
                wall, processor = measure(step)
                say(f"{model.__tablename__:10} {name:12} {wall:8.2f} {processor:8.2f}")
        engine.dispose()


if __name__ == "__main__":
    main()
