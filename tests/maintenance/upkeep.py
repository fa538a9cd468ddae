"""An application that never rests: it stores, replaces, moves and deletes files, while maintenance looks after them.

``--app tests.maintenance.upkeep`` configures its depots and its model; run as a program it writes until its standard
input is closed. The name of each file tells its content, so that anybody can check it later. Tasks that make variants
are files in a folder; `tests.maintenance.upkeep_worker` runs them, and requests variants on demand.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from PIL import Image
from sqlalchemy import Engine, String, create_engine, event, make_url, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.errors import StoredFileNotFound
from depot_lite.fields.lists import FileList
from depot_lite.fields.specialized.image import UploadedImageWithThumb
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.images.recipes import Crop, Recipe, Thumbnail
from depot_lite.io.content import FileIntent
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager

#: The longest pause of a transaction, and how old it may be when it commits, in seconds.
PAUSE: Final = 1.0
LONGEST: Final = 2.0

VARIANTS: Final[dict[str, Recipe]] = {
    "small": Thumbnail(20, 20),
    "large": Thumbnail(40, 40, make="later"),
    "square": Crop(10, 10, make="on_demand"),
}


class Base(DeclarativeBase):
    """The parent of the model here."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Reel(Base):
    """Files of each kind. Its version keeps two writers from undoing each other's lists."""

    __tablename__ = "upkeep_reel"
    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column()
    poster: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="films"))
    shots: Mapped[FileList[UploadedFile]] = mapped_column(UploadedFileField(upload_storage="films", multiple=True))
    cover: Mapped[UploadedImageWithThumb | None] = mapped_column(
        UploadedFileField(upload_storage="films", upload_type=UploadedImageWithThumb, variants=VARIANTS)
    )
    note: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(upload_storage="films", text=True))
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # as SQLAlchemy declares it


def configure(folder: Path) -> None:
    """Configure two depots, the name of that which takes new files, and the queue."""
    for name in ("old", "new"):
        DepotManager.configure(name, LocalFileStorage(folder / name, durable=False))
    DepotManager.alias("films", "new")
    tasks = folder / "tasks"
    tasks.mkdir(exist_ok=True)

    def send(*job: Any) -> None:
        name = uuid.uuid4().hex
        (tasks / f"{name}.new").write_text(json.dumps(job))
        (tasks / f"{name}.new").rename(tasks / name)

    DepotManager.set_process_later(send)


def engine_of(url: str) -> Engine:
    """Return an engine, for SQLite with real transactions."""
    engine = create_engine(url)
    if make_url(url).get_backend_name() == "sqlite":

        @event.listens_for(engine, "connect")
        def _no_begin_of_its_own(connection: Any, record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


# --- files whose names tell their content -----------------------------------------------------------------------------


def text_file(luck: random.Random) -> FileIntent:
    """Return bytes under a name that is their digest."""
    data = luck.randbytes(luck.randrange(1, 40_000))
    return FileIntent(data, f"{hashlib.sha256(data).hexdigest()}.bin", "application/octet-stream")


def picture(luck: random.Random) -> FileIntent:
    """Return an image that is stored as it is."""
    stream = io.BytesIO()
    Image.new("RGB", (luck.randrange(1, 60), luck.randrange(1, 60)), luck.randrange(1 << 24)).save(stream, "PNG")
    data = stream.getvalue()
    return FileIntent(data, f"{hashlib.sha256(data).hexdigest()}.png", "image/png")


def check(value: UploadedFile) -> None:
    """Read every file of a value, and hold the main one against its name."""
    for path in value.paths:
        with DepotManager.get_file(path) as stored:
            data = stored.read()
        assert data, path
        if path == value["path"]:
            assert hashlib.sha256(data).hexdigest() == value.filename.partition(".")[0], path


# --- the writer -------------------------------------------------------------------------------------------------------


def _attach(session: Session, reels: list[Reel], luck: random.Random) -> None:
    files = {
        "poster": text_file(luck),
        "shots": [text_file(luck) for _ in range(luck.randrange(3))],
        "cover": picture(luck),
        "note": text_file(luck),
    }
    session.add(Reel(**{key: files[key] for key in luck.sample(sorted(files), luck.randrange(1, 5))}))


def _replace(session: Session, reels: list[Reel], luck: random.Random) -> None:
    reel = luck.choice(reels)
    setattr(reel, luck.choice(["poster", "note"]), text_file(luck))
    if luck.random() < 0.5:
        reel.cover = picture(luck)  # type: ignore[assignment]  # what is assigned becomes one


def _append(session: Session, reels: list[Reel], luck: random.Random) -> None:
    luck.choice(reels).shots.append(text_file(luck))  # type: ignore[arg-type]  # the same


def _remove(session: Session, reels: list[Reel], luck: random.Random) -> None:
    reel = luck.choice(reels)
    if reel.shots:
        reel.shots.pop(luck.randrange(len(reel.shots)))


def _copy(session: Session, reels: list[Reel], luck: random.Random) -> None:
    luck.choice(reels).poster = luck.choice(reels).poster


def _clear(session: Session, reels: list[Reel], luck: random.Random) -> None:
    luck.choice(reels).poster = None


def _delete(session: Session, reels: list[Reel], luck: random.Random) -> None:
    if len(reels) > 8:
        session.delete(reels.pop(luck.randrange(len(reels))))


_ACTIONS: Final[list[Callable[[Session, list[Reel], random.Random], None]]] = [
    _attach,
    _replace,
    _replace,
    _append,
    _remove,
    _copy,
    _clear,
    _delete,
]


def transaction(engine: Engine, luck: random.Random) -> None:
    """Do a few things, pause before or after the flush, and commit, or roll back."""
    DepotManager.alias("films", luck.choice(["old", "new"]))
    begun = time.monotonic()
    with Session(engine) as session:
        reels = list(session.scalars(select(Reel).order_by(Reel.id)))
        for _ in range(luck.randrange(1, 5)):
            luck.choice(_ACTIONS if reels else [_attach])(session, reels, luck)
        before, after = sorted(luck.uniform(0, PAUSE * luck.choice([0, 0.01, 0.1, 1])) for _ in range(2))
        _stopping.wait(before)
        session.flush()
        _stopping.wait(after - before)
        # The rule that whoever sweeps relies on: no transaction is longer than the age limit.
        if luck.random() < 0.8 and time.monotonic() - begun < LONGEST:
            session.commit()


_stopping = threading.Event()


def main() -> None:
    """Write until standard input is closed; say how many transactions were committed, and how many failed."""
    url, seed = sys.argv[1:]
    engine, luck = engine_of(url), random.Random(seed)

    def wait_for_the_end() -> None:
        sys.stdin.read()
        _stopping.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    done = failed = 0
    while not _stopping.wait(luck.uniform(0, 0.2)):
        try:
            transaction(engine, luck)
            done += 1
        except (StaleDataError, DBAPIError, StoredFileNotFound):
            # Somebody moved a file that it had read, as any two writers may; it would begin again.
            failed += 1
    print(done, failed)  # noqa: T201  # for the test that started it
    engine.dispose()


if "UPKEEP_FOLDER" in os.environ:
    configure(Path(os.environ["UPKEEP_FOLDER"]))

if __name__ == "__main__":
    main()
elif "UPKEEP_FOLDER" in os.environ:
    # A command that is to be killed is waited for until its own work begins.
    print("configured", file=sys.stderr, flush=True)  # noqa: T201
