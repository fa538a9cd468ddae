"""The cost of a list page of starlette-admin with many rows, and of the files on it.

    python -m tests.benchmarks.bench_admin

Three admins, in one process without a network: of ten movies, of ten thousand, and of ten thousand without their file
columns. Each page shows ten rows; of ten thousand, the first and the one in the middle.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette_admin.contrib.sqla import Admin, ModelView

from depot_lite.contrib.starlette_admin import DepotPlugin
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.upload import UploadedFile
from depot_lite.testing import temporary_depots
from tests.benchmarks.alternating import medians, seconds, table
from tests.conftest import sqlite_engine
from tests.contrib.admin_site import KEY, Base, Movie, configure, site
from tests.support.files import png

MANY = 10_000


class Plain(ModelView):
    """The same rows without their files."""

    fields = ("id", "title")  # type: ignore[assignment]  # names will do


def filled(folder: Path, count: int) -> Engine:
    """Return a database with so many movies, each with a poster and two more files."""
    engine = sqlite_engine(folder / f"{count}.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        shots = [UploadedFile(each, filename="shot.txt") for each in (b"1", b"2")]
        session.add(Movie(title="Alien", poster=UploadedImage(png(60, 90), filename="poster.png"), shots=shots))
        session.commit()
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        copies = "SELECT n.i, title || n.i, poster, shots, media FROM n, movie WHERE movie.id = 1"
        session.execute(text(f"INSERT INTO movie (id, title, poster, shots, media) {numbers} {copies}"))
        session.commit()
    return engine


def plain(engine: Engine) -> Starlette:
    """Return an admin that shows no files."""
    app = Starlette()
    admin = Admin(engine, secret_key=KEY, plugins=[DepotPlugin()])
    admin.add_view(Plain(Movie))
    admin.mount_to(app)
    return app


def page(app: Any, number: int, times: int) -> Callable[[], Sequence[float]]:
    """Return what measures one page, in seconds of the processor."""

    async def asked() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://admin.test") as client:
            for _ in range(times):
                answer = await client.get(f"/admin/movie/list?page_size=10&page={number}")
                answer.raise_for_status()

    return lambda: (seconds(lambda: asyncio.run(asked())) / times,)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, temporary_depots():
        configure(Path(folder) / "media")
        few, many = filled(Path(folder), 10), filled(Path(folder), MANY)
        large = site(many)[0]
        contestants = {
            "10 movies": page(site(few)[0], 1, given.times),
            f"{MANY:,} movies": page(large, 1, given.times),
            "the page in the middle": page(large, MANY // 20, given.times),
            "the same without files": page(plain(many), MANY // 20, given.times),
        }
        found = {name: times[0] for name, times in medians(contestants, given.rounds).items()}
        table("A list page with ten rows", found, unit="ms", scale=1000, against="10 movies")


if __name__ == "__main__":
    main()
