"""An application whose images get variants from a task queue, in workers that die at any moment.

Run as a program it writes until its standard input is closed. The workers of Celery, Dramatiq and Taskiq import it.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Final

from PIL import Image
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.local import LocalFileStorage
from depot_lite.maintenance import aio, make_variants
from depot_lite.manager import DepotManager

VARIANTS: Final = {
    "small": Crop(16, 16),
    "large": Thumbnail(300, 300, format="WEBP", make="later"),
    "tall": Thumbnail(200, 400, make="later"),
}


class Base(DeclarativeBase):
    """The parent of the model here."""


class Photo(Base):
    """An image, and some more."""

    __tablename__ = "later_program_photo"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(UploadedFileField(upload_type=UploadedImage, variants=VARIANTS))
    more: Mapped[FileList[UploadedImage]] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants=VARIANTS, multiple=True)
    )


class Mortal:
    """The life of a worker, which ends at a random moment after its first task has begun.

    It keeps a record of its deaths, and one of the tasks that have made variants.
    """

    def __init__(self, folder: Path) -> None:
        self.deaths, self.made = folder / "deaths", folder / "made"
        self.timer: threading.Timer | None = None

    def begin(self) -> None:
        """Begin a task."""
        if self.timer is None:
            self.timer = threading.Timer(random.uniform(0.05, 1.5), self.die)
            self.timer.daemon = True
            self.timer.start()

    def end(self, names: list[str]) -> None:
        """End a task that has made variants with these names."""
        if names:
            with self.made.open("a") as file:
                file.write("x")

    def die(self) -> None:
        """Die at once, with the processes that would start another worker."""
        with self.deaths.open("a") as file:
            file.write("x")
        os.killpg(0, signal.SIGKILL)


def picture(seed: int) -> bytes:
    """Return a JPEG."""
    file = io.BytesIO()
    Image.effect_noise((400 + seed % 50, 300), 40).save(file, "JPEG")
    return file.getvalue()


def write(engine: Engine, actions: random.Random) -> None:
    """Attach, replace, edit and delete images until the standard input is closed."""
    done = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    while not done.wait(0.1):
        try:
            with Session(engine) as session:
                _act(session, actions)
                session.commit()
        except OperationalError:  # SQLite's database is locked
            assert engine.dialect.name in {"sqlite", "mariadb"}


def _act(session: Session, actions: random.Random) -> None:
    photos = session.scalars(select(Photo)).all()
    photo = actions.choice(photos) if photos else None
    action = "attach" if photo is None or len(photos) < 3 else actions.choice(("attach", "replace", "edit", "delete"))
    if photo is None or action == "attach":
        session.add(Photo(image=picture(actions.randrange(50)), more=[picture(1), picture(2)]))
    elif action == "replace":
        photo.image = UploadedImage(picture(actions.randrange(50)))
        photo.more[actions.randrange(len(photo.more))] = UploadedImage(picture(3))
    elif action == "edit" and photo.image is not None:
        photo.image = photo.image.with_(meta={"alt": str(actions.random())})
        photo.more.reverse()
    else:
        session.delete(photo)


if folder := os.environ.get("LATER_FOLDER"):
    DepotManager.configure("default", LocalFileStorage(Path(folder, "media"), durable=False))
    engine = create_engine(os.environ["LATER_DATABASE"])
    mortal = Mortal(Path(folder))
    queue, url = os.environ["LATER_QUEUE"], os.environ["LATER_BROKER"]
    if queue == "celery":
        from celery import Celery

        app = Celery("later", broker=url)
        app.conf.update(worker_enable_remote_control=False, broker_transport_options={"visibility_timeout": 2})

        @app.task(acks_late=True, reject_on_worker_lost=True, name="make")  # type: ignore[untyped-decorator]  # untyped in Celery
        def make(*job: Any) -> None:
            """Make the variants of an image."""
            mortal.begin()
            mortal.end(make_variants(engine, *job))

        DepotManager.set_process_later(make.delay)
    elif queue == "dramatiq":
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker

        dramatiq.set_broker(RedisBroker(url=url))  # type: ignore[no-untyped-call]  # untyped in Dramatiq

        @dramatiq.actor(actor_name="make")
        def make_in_dramatiq(*job: Any) -> None:
            """Make the variants of an image."""
            mortal.begin()
            mortal.end(make_variants(engine, *job))

        DepotManager.set_process_later(make_in_dramatiq.send)
    else:
        from taskiq_redis import RedisStreamBroker

        broker = RedisStreamBroker(url)
        drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mariadb": "mariadb+aiomysql"}
        async_engine = create_async_engine(engine.url.set(drivername=drivers[engine.dialect.name]))
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()

        @broker.task(task_name="make")
        async def make_in_taskiq(job: list[Any]) -> None:
            """Make the variants of an image."""
            mortal.begin()
            mortal.end(await aio.make_variants(async_engine, *job))

        def send(*job: Any) -> None:
            """Send a task from any thread."""
            asyncio.run_coroutine_threadsafe(make_in_taskiq.kiq(list(job)), loop).result(20)

        DepotManager.set_process_later(send)
    if __name__ == "__main__":
        if queue == "taskiq":
            asyncio.run_coroutine_threadsafe(broker.startup(), loop).result(20)
        write(engine, random.Random(1))
