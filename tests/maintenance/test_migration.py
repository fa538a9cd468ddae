"""migrate: rows name verified copies in another depot, while others read, replace and delete."""

from __future__ import annotations

import asyncio
import errno
import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image
from sqlalchemy import Column, Engine, ForeignKey, Integer, String, Table, create_engine, event, insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from depot_lite.errors import ConfigurationError, MaintenanceStopped, StorageFailed, StoredFileNotFound, UnknownDepot
from depot_lite.fields.columns import paths_of
from depot_lite.fields.lists import FileList
from depot_lite.fields.relocation import relocated
from depot_lite.fields.specialized.image import UploadedImage, UploadedImageWithThumb
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.images.recipes import Crop
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileInfo, FileStorage
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import Progress
from depot_lite.maintenance.ids import Part
from depot_lite.maintenance.migration import migrate
from depot_lite.maintenance.mover import TRIES
from depot_lite.maintenance.rows import rewriting
from depot_lite.maintenance.run.reports import MigrationReport
from depot_lite.manager import DepotManager
from tests.conftest import empty
from tests.proxy import Proxy

Add = Callable[..., None]
Depots = dict[str, FileStorage]


class Base(DeclarativeBase):
    """The parent of the models here."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: String(100)}


class Song(Base):
    """One file, many, images with their variants, and a reference that is kept as text."""

    __tablename__ = "moving_song"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    audio: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    takes: Mapped[FileList[UploadedFile]] = mapped_column(UploadedFileField(multiple=True))
    cover: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"small": Crop(4, 4), "large": Crop(8, 8)})
    )
    back: Mapped[UploadedImageWithThumb | None] = mapped_column(UploadedFileField(upload_type=UploadedImageWithThumb))
    lyrics: Mapped[UploadedFile | None] = mapped_column(UploadedFileField(text=True))


class Track(Base):
    """A key of two columns, one of them a string."""

    __tablename__ = "moving_track"
    album: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    audio: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Album(Base):
    """Counts the versions of its rows."""

    __tablename__ = "moving_album"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    version: Mapped[int] = mapped_column()
    cover: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads it


class Live(Album):
    """Its files are in a table of its own, the version is in the parent's."""

    __tablename__ = "moving_live"
    id: Mapped[int] = mapped_column(ForeignKey(Album.id), primary_key=True)
    poster: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


class Loose(DeclarativeBase):
    """The parent of a class with a table without a primary key beside it."""


class Note(Loose):
    """One file."""

    __tablename__ = "moving_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    scan: Mapped[UploadedFile | None] = mapped_column(UploadedFileField)


#: No class is mapped to it, and it has no primary key.
LOG = Table(
    "moving_log", Loose.metadata, Column("number", Integer), Column("attachment", UploadedFileField, nullable=True)
)


@pytest.fixture
def database(engine: Engine, depots: Depots) -> Iterator[Engine]:
    """Empty tables for the models here, on each of the three databases."""
    Base.metadata.create_all(engine)
    Loose.metadata.create_all(engine)
    yield engine
    empty(engine, Loose.metadata, Base.metadata)


@pytest.fixture
def add(database: Engine) -> Add:
    def added(*objects: Any) -> None:
        with Session(database) as session:
            session.add_all(objects)
            session.commit()

    return added


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collect the statements that are executed."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def move(bind: Any, **options: Any) -> MigrationReport:
    return migrate(bind, "default", "archive", models=[Base], **options)


def picture() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(stream, "PNG")
    return stream.getvalue()


def files_of(engine: Engine, column: Any) -> list[dict[str, bytes]]:
    """Return path and bytes of all files of each value of a column."""
    with Session(engine) as session:
        held = list(session.scalars(select(column).order_by(*column.class_.__table__.primary_key)))
    found: list[dict[str, bytes]] = []
    for value in held:
        found.append({})
        for path in paths_of(value):
            with DepotManager.get_file(path) as file:
                found[-1][path] = file.read()
    return found


def contents(engine: Engine, column: Any) -> list[tuple[str, bytes]]:
    """Return depot and bytes of the files of a column."""
    return [(path.split("/")[0], data) for each in files_of(engine, column) for path, data in each.items()]


class Hooked(MemoryFileStorage):
    """Calls back when a file has been copied here."""

    def __init__(self) -> None:
        super().__init__()
        self.copied: Callable[[int], object] = lambda number: None
        self.count = 0

    def _save(self, file_id: str, content: Any) -> FileInfo:
        info = super()._save(file_id, content)
        self.count += 1
        self.copied(self.count)
        return info


@pytest.fixture
def hooked(depots: Depots) -> Hooked:
    """A third depot, ``hooked``."""
    storage = Hooked()
    DepotManager.configure("hooked", storage)
    return storage


def move_hooked(engine: Any, /, **options: Any) -> MigrationReport:
    return migrate(engine, "default", "hooked", models=[Base], **options)


class TestWhatIsMoved:
    def test_rows_name_verified_copies_and_the_old_files_stay(self, database: Engine, add: Add, depots: Depots) -> None:
        """New ids, the same bytes, names and keys; a row loaded before can still be read."""
        add(*(Song(title=f"{n}", audio=UploadedFile(b"%d" % n, filename=f"{n}.txt")) for n in range(60)), Song())
        with Session(database) as session:
            before = [dict(song.audio) for song in session.scalars(select(Song).order_by(Song.id)) if song.audio]
        report = move(database)
        assert (report.rows, report.files, report.bytes) == (60, 60, 110)
        assert (report.changed, report.failed, report.dry_run) == (0, [], False)
        assert contents(database, Song.audio) == [("archive", b"%d" % n) for n in range(60)]
        with Session(database) as session:
            after = [dict(song.audio) for song in session.scalars(select(Song).order_by(Song.id)) if song.audio]
        for old, new in zip(before, after, strict=True):
            where = {"depot_name", "file_id", "path", "files"}
            assert {key: new[key] for key in new if key not in where} == {k: old[k] for k in old if k not in where}
            assert old["file_id"] != new["file_id"]
            assert DepotManager.get_file(new["path"]).filename == old["filename"]
            with DepotManager.get_file(old["path"]) as file, DepotManager.get_file(new["path"]) as copy:
                assert file.read() == copy.read()
        assert len(list(depots["archive"].list())) == 60

    def test_the_second_run_does_nothing(self, database: Engine, add: Add, depots: Depots) -> None:
        add(*(Song(audio=b"%d" % n, takes=[b"a", b"b"]) for n in range(10)))
        assert (move(database).rows, move(database).rows) == (20, 0)
        report = move(database)
        assert (report.rows, report.files, report.skipped) == (0, 0, 20)
        assert len(list(depots["archive"].list())) == 30

    def test_everything_that_belongs_to_an_image_moves(self, database: Engine, add: Add, depots: Depots) -> None:
        """Variants and thumbnails, which the row names under keys of their own."""
        add(Song(cover=picture(), back=picture()))
        assert move(database).files == 5
        with Session(database) as session:
            song = session.scalars(select(Song)).one()
            assert song.cover is not None
            assert song.back is not None
            assert {path.split("/")[0] for path in song.cover.paths + song.back.paths} == {"archive"}
            for name in ("small", "large"):
                with song.cover.variants[name].file as file:
                    assert file.read(4) == b"\x89PNG"
                assert song.cover.variants[name].path in song.cover.files
            with song.back.thumb_file as file:
                assert file.read(4) == b"\x89PNG"

    def test_of_a_list_only_the_files_of_the_source_move(self, database: Engine, add: Add, depots: Depots) -> None:
        """Those of other depots are left alone, also one with the same id: a backup keeps the ids."""
        files = [UploadedFile(b"one"), UploadedFile(b"two", "archive"), UploadedFile(b"three")]
        add(Song(takes=files))
        twin = depots["archive"].create(b"twin", file_id=files[0].file_id)
        add(Song(takes=[UploadedFile(b"other", "archive")]))
        report = move(database)
        assert (report.rows, report.files, report.skipped) == (1, 2, 1)
        found = files_of(database, Song.takes)[0]
        assert list(found.values()) == [b"one", b"two", b"three"]
        assert list(found)[1] == files[1].path
        assert {each.split("/")[0] for each in found} == {"archive"}
        assert f"archive/{twin}" not in found

    def test_a_text_column_stays_text(self, database: Engine, add: Add) -> None:
        add(Song(lyrics=UploadedFile("Größe".encode(), filename="Größe 😀.txt")))
        assert move(database).rows == 1
        with Session(database) as session:
            song = session.scalars(select(Song)).one()
            assert song.lyrics is not None
            assert (song.lyrics.depot_name, song.lyrics.filename) == ("archive", "Größe 😀.txt")
        assert contents(database, Song.lyrics) == [("archive", "Größe".encode())]

    def test_keys_of_every_kind_are_found(self, database: Engine, add: Add) -> None:
        """Composite ones, and strings with quotes and capitals."""
        tracks = [Track(album=name, number=n, audio=b"%d" % n) for name in ("a'b", "B%s", "ü") for n in range(5)]
        add(*tracks)
        assert move(database).rows == 15
        assert sorted(contents(database, Track.audio)) == sorted([("archive", b"%d" % n) for n in range(5)] * 3)

    def test_a_table_without_a_primary_key_is_told_of(self, database: Engine, add: Add) -> None:
        """Its rows cannot be rewritten one by one; they go on working."""
        with Session(database) as session:
            session.execute(insert(LOG).values(number=1, attachment=b"attachment"))
            session.commit()
        add(Note(scan=b"scan"))
        report = migrate(database, "default", "archive", models=[Loose])
        assert (report.rows, len(report.failed)) == (1, 1)
        assert report.failed[0].place == "moving_log.attachment"

    def test_the_alias_is_switched_first(self, database: Engine, add: Add, depots: Depots) -> None:
        """New uploads go to the target, rows that were written through the alias are moved."""
        DepotManager.alias("current", "default")
        add(Song(audio=UploadedFile(b"before", "current")))
        DepotManager.alias("current", "archive")
        add(Song(audio=UploadedFile(b"after", "current")))
        report = migrate(database, "default", "current", models=[Base])
        assert (report.target, report.rows, report.skipped) == ("archive", 1, 3)
        assert contents(database, Song.audio) == [("archive", b"before"), ("archive", b"after")]

    def test_public_urls_are_those_of_the_target(self, database: Engine, add: Add, depots: Depots) -> None:
        class Public(MemoryFileStorage):
            def public_url(self, file_or_id: Any) -> str:
                return f"https://cdn.example/{self._id(file_or_id)}"

        DepotManager.configure("public", Public())
        add(Song(audio=b"song", back=picture()))
        assert migrate(database, "default", "public", models=[Base]).rows == 2
        with Session(database) as session:
            song = session.scalars(select(Song)).one()
            assert song.audio is not None
            assert song.back is not None
            assert song.audio["_public_url"] == f"https://cdn.example/{song.audio.file_id}"
            assert song.back["_thumb_public_url"] == f"https://cdn.example/{song.back.thumb_id}"
        assert migrate(database, "public", "archive", models=[Base]).rows == 2
        with Session(database) as session:
            song = session.scalars(select(Song)).one()
            assert song.audio is not None
            assert song.audio["_public_url"] is None

    @pytest.mark.server
    def test_to_s3_and_back(self, database: Engine, add: Add, depots: Depots) -> None:
        from tests.io.s3_server import moto_server

        with moto_server() as server, server.bucket() as bucket:
            DepotManager.configure("s3", server.storage(bucket))
            add(*(Song(audio=b"%d" % n) for n in range(10)))
            assert migrate(database, "default", "s3", models=[Base]).rows == 10
            assert contents(database, Song.audio) == [("s3", b"%d" % n) for n in range(10)]
            assert migrate(database, "s3", "archive", models=[Base]).rows == 10
        assert contents(database, Song.audio) == [("archive", b"%d" % n) for n in range(10)]


class TestReplacedMeanwhile:
    def test_a_row_that_is_replaced_meanwhile_keeps_its_new_file(
        self, database: Engine, add: Add, hooked: Hooked
    ) -> None:
        """The copy of the old one is deleted at once; the new one is moved in the same run."""
        add(Song(id=1, audio=b"old"))

        def replace(number: int) -> None:
            if number == 1:
                with Session(database) as session:
                    session.get_one(Song, 1).audio = UploadedFile(b"new")
                    session.commit()

        hooked.copied = replace
        report = move_hooked(database)
        assert (report.rows, report.files, report.bytes, report.changed, report.failed) == (1, 1, 3, 0, [])
        assert contents(database, Song.audio) == [("hooked", b"new")]
        assert len(list(hooked.list())) == 1

    def test_a_row_that_is_deleted_meanwhile_leaves_no_copy(self, database: Engine, add: Add, hooked: Hooked) -> None:
        add(Song(id=1, audio=b"old"))

        def delete(number: int) -> None:
            with Session(database) as session:
                session.delete(session.get_one(Song, 1))
                session.commit()

        hooked.copied = delete
        report = move_hooked(database)
        assert (report.rows, report.changed, report.failed) == (0, 0, [])
        assert list(hooked.list()) == []

    @pytest.mark.matrix
    def test_a_row_that_goes_before_it_is_copied_is_no_failure(
        self, database: Engine, add: Add, hooked: Hooked
    ) -> None:
        """Its old file has gone with the row, or with the old value."""
        add(*(Song(id=n, audio=b"old") for n in (1, 2, 3)))

        def change(number: int) -> None:
            if number == 1:
                with Session(database) as session:
                    session.delete(session.get_one(Song, 2))
                    session.get_one(Song, 3).audio = UploadedFile(b"new")
                    session.commit()

        hooked.copied = change
        report = move_hooked(database, workers=1)
        assert (report.rows, report.failed) == (2, [])
        assert contents(database, Song.audio) == [("hooked", b"old"), ("hooked", b"new")]
        assert len(list(hooked.list())) == 2

    def test_a_row_that_changes_each_time_is_left_to_another_run(
        self, database: Engine, add: Add, hooked: Hooked
    ) -> None:
        add(Song(id=1, audio=b"0"))

        def replace(number: int) -> None:
            with Session(database) as session:
                session.get_one(Song, 1).audio = UploadedFile(b"%d" % number)
                session.commit()

        hooked.copied = replace
        report = move_hooked(database)
        assert (report.rows, report.changed, hooked.count) == (0, 1, TRIES)
        assert contents(database, Song.audio) == [("default", b"%d" % TRIES)]
        assert list(hooked.list()) == []

    def test_what_is_appended_to_a_list_meanwhile_is_kept(self, database: Engine, add: Add, hooked: Hooked) -> None:
        add(Song(id=1, takes=[b"one", b"two"]))

        def append(number: int) -> None:
            if number == 1:
                with Session(database) as session:
                    session.get_one(Song, 1).takes.append(UploadedFile(b"three"))
                    session.commit()

        hooked.copied = append
        assert move_hooked(database, workers=1).files == 3
        assert contents(database, Song.takes) == [("hooked", b"one"), ("hooked", b"two"), ("hooked", b"three")]
        assert len(list(hooked.list())) == 3

    def test_readers_see_a_valid_file_at_each_moment(self, database: Engine, add: Add, hooked: Hooked) -> None:
        """Whoever loads rows while they are moved reads them, at once and afterwards."""
        add(*(Song(id=n, audio=b"%d" % n) for n in range(1, 21)))
        loaded: list[UploadedFile] = []

        def read(number: int) -> None:
            with Session(database) as session:
                for song in session.scalars(select(Song)):
                    assert song.audio is not None
                    with song.audio.file as file:
                        assert file.read() == b"%d" % song.id
                    loaded.append(song.audio)

        hooked.copied = read
        assert move_hooked(database, workers=2).rows == 20
        assert len(loaded) == 400
        for value in loaded:
            with value.file as file:
                assert file.read()

    def test_two_migrations_at_once_move_each_row_once(self, database: Engine, add: Add, hooked: Hooked) -> None:
        """Whoever comes second deletes its copy."""
        add(*(Song(audio=b"%d" % n) for n in range(20)))
        both = threading.Barrier(2, timeout=20)
        hooked.copied = lambda number: both.wait() if number <= 2 else None
        with ThreadPoolExecutor(2) as threads:
            reports = list(threads.map(lambda _: move_hooked(database), range(2)))
        assert sum(report.rows for report in reports) == 20
        assert [report.failed for report in reports] == [[], []]
        assert contents(database, Song.audio) == [("hooked", b"%d" % n) for n in range(20)]
        assert len(list(hooked.list())) == 20


class TestVersions:
    @pytest.mark.parametrize(("model", "key"), [(Album, "cover"), (Live, "poster"), (Live, "cover")])
    def test_who_loaded_a_row_before_cannot_write_the_old_paths_back(
        self, database: Engine, add: Add, model: Any, key: str
    ) -> None:
        """The version advances with the file, even if it is in the parent's table."""
        add(model(id=1, **{key: b"file"}))
        with Session(database, expire_on_commit=False) as session:
            album = session.get_one(model, 1)
            version = album.version
            session.commit()
            assert move(database).rows == 1
            album.title = "changed"
            with pytest.raises(StaleDataError):
                session.flush()
        with Session(database) as session:
            assert session.get_one(model, 1).version == version + 1
        assert contents(database, getattr(model, key)) == [("archive", b"file")]

    def test_a_row_that_was_not_rewritten_keeps_its_version(self, database: Engine, add: Add, hooked: Hooked) -> None:
        """Where a statement put another file there, which counts no version."""
        add(Live(id=1, poster=b"old"))

        def clear(number: int) -> None:
            with Session(database) as session:
                session.execute(Live.__table__.update().values(poster=None))  # type: ignore[attr-defined]
                session.commit()

        hooked.copied = clear
        assert move_hooked(database).rows == 0
        with Session(database) as session:
            assert session.get_one(Live, 1).version == 1


class TestFailures:
    def test_a_missing_file_is_told_of_and_the_others_are_moved(
        self, database: Engine, add: Add, depots: Depots
    ) -> None:
        """Nothing of the row moves, not even its other files."""
        add(*(Song(id=n, takes=[b"one", b"two"]) for n in (1, 2, 3)))
        with Session(database) as session:
            missing = session.get_one(Song, 2).takes[1]
        depots["default"].delete(missing.file_id)
        report = move(database)
        assert (report.rows, report.files) == (2, 4)
        assert [(each.place, each.key, each.path) for each in report.failed] == [
            ("moving_song.takes", (2,), missing.path)
        ]
        assert isinstance(report.failed[0].error, StoredFileNotFound)
        assert len(list(depots["archive"].list())) == 4

    def test_a_damaged_file_does_not_move(self, database: Engine, add: Add, depots: Depots) -> None:
        """Its bytes are not those that were stored; the copy does not stay."""
        add(Song(id=1, audio=b"whole"))
        with Session(database) as session:
            audio = session.get_one(Song, 1).audio
            assert audio is not None
            path = audio.file.local_path
        assert path is not None
        path.write_bytes(b"WHOLE")
        report = move(database)
        assert (report.rows, len(report.failed)) == (0, 1)
        assert isinstance(report.failed[0].error, StorageFailed)
        assert list(depots["archive"].list()) == []
        assert path.read_bytes() == b"WHOLE"
        with Session(database) as session:
            audio = session.get_one(Song, 1).audio
            assert audio is not None
            assert audio.depot_name == "default"

    def test_a_full_target_stops_it(self, database: Engine, add: Add, hooked: Hooked) -> None:
        """With the error; moved rows stay moved, and nothing is left of the row in work."""
        add(*(Song(id=n, takes=[b"one", b"two"]) for n in range(1, 11)))

        def full(number: int) -> None:
            if number > 5:
                with hooked._lock:
                    hooked._files.popitem()
                raise StorageFailed(errno.ENOSPC, "cannot store: no space left on device")

        hooked.copied = full
        with pytest.raises(StorageFailed, match="no space left"):
            move_hooked(database, workers=1)
        held = contents(database, Song.takes)
        assert len(held) == 20
        assert len(list(hooked.list())) == sum(depot == "hooked" for depot, _ in held)
        hooked.copied = lambda number: None
        assert move_hooked(database).failed == []
        assert {depot for depot, _ in contents(database, Song.takes)} == {"hooked"}
        assert len(list(hooked.list())) == 20

    def test_an_interruption_leaves_no_copy_that_no_row_names(self, database: Engine, add: Add, hooked: Hooked) -> None:
        """Ctrl-C while files are on their way; the next run goes on."""
        add(*(Song(audio=b"%d" % n) for n in range(50)))

        def interrupt(progress: Progress) -> None:
            if progress.done >= 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            move_hooked(database, progress=interrupt)
        held = contents(database, Song.audio)
        assert len(list(hooked.list())) == sum(depot == "hooked" for depot, _ in held)
        move_hooked(database)
        assert contents(database, Song.audio) == [("hooked", b"%d" % n) for n in range(50)]

    @pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True)
    @pytest.mark.parametrize("arrives", [True, False])
    def test_a_commit_whose_outcome_is_unknown_keeps_both_files(
        self, database: Engine, add: Add, depots: Depots, arrives: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The row can read its file whatever became of it; the next row is moved through another connection."""
        monkeypatch.setattr("depot_lite.maintenance.mover._AT_ONCE", 1)
        add(Song(id=1, audio=b"one"), Song(id=2, audio=b"two"))
        with Proxy.before(database.url) as (proxy, url):
            through = create_engine(url)
            with through.connect():
                pass
            proxy.cut(asking=None if arrives else b"COMMIT", answering=b"COMMIT" if arrives else None)
            report = move(through, workers=1)
            through.dispose()
            assert proxy.cut_at is not None
        assert (report.rows, len(report.failed)) == (1, 1)
        assert isinstance(report.failed[0].error, DBAPIError)
        assert sorted(data for _, data in contents(database, Song.audio)) == [b"one", b"two"]
        assert len(list(depots["archive"].list())) == 2
        assert sum(depot == "archive" for depot, _ in contents(database, Song.audio)) == (2 if arrives else 1)
        assert move(database).rows == (0 if arrives else 1)

    def test_a_row_that_the_database_refuses_does_not_keep_the_others(
        self, database: Engine, add: Add, depots: Depots
    ) -> None:
        """A lock that is not given, or a trigger; it is tried again, and its copies are deleted in the end."""
        add(*(Song(id=n, audio=b"%d" % n) for n in range(1, 6)))

        def refuse(
            connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
        ) -> tuple[str, Any]:
            key = list(parameters.values() if isinstance(parameters, dict) else parameters)
            return ("UPDATE nonsense", ()) if statement.startswith("UPDATE") and 3 in key else (statement, parameters)

        event.listen(database, "before_cursor_execute", refuse, retval=True)
        try:
            report = move(database)
        finally:
            event.remove(database, "before_cursor_execute", refuse)
        assert (report.rows, [each.key for each in report.failed]) == (4, [(3,)])
        assert isinstance(report.failed[0].error, DBAPIError)
        assert len(list(depots["archive"].list())) == 4
        assert move(database).rows == 1

    def test_a_database_that_commits_each_statement_loses_nothing(
        self, database: Engine, add: Add, depots: Depots
    ) -> None:
        """A refused COMMIT undoes nothing there, so rows are looked at before copies are deleted."""
        add(*(Song(audio=b"%d" % n) for n in range(5)))
        committing = database.execution_options(isolation_level="AUTOCOMMIT")
        assert move(committing).rows == 5
        assert contents(database, Song.audio) == [("archive", b"%d" % n) for n in range(5)]

    def test_what_cannot_be_is_refused_before_anything_is_done(self, database: Engine, add: Add) -> None:
        add(Song(audio=b"song"))
        DepotManager.alias("current", "default")
        with pytest.raises(UnknownDepot):
            migrate(database, "default", "nowhere", models=[Base])
        with pytest.raises(ConfigurationError, match="both lead to"):
            migrate(database, "default", "current", models=[Base])
        with pytest.raises(ConfigurationError, match="workers="):
            move(database, workers=0)
        with pytest.raises(ConfigurationError, match="rate="):
            move(database, rate=0)
        with database.connect() as connection, pytest.raises(ConfigurationError, match="expected an engine"):
            move(connection)
        assert contents(database, Song.audio) == [("default", b"song")]

    def test_a_table_that_is_not_there_stops_it(self, tmp_path: Path, depots: Depots) -> None:
        engine = create_engine(f"sqlite:///{tmp_path}/empty.db")
        with pytest.raises(MaintenanceStopped, match="no such table"):
            move(engine)
        engine.dispose()


class TestRowsThatAreWrittenTogether:
    """By one statement, on databases that can leave out the rows that others have locked."""

    @pytest.fixture(autouse=True)
    def all_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Rows wait until all copies are made; SQLite, which knows no locks of rows, does as the others."""
        monkeypatch.setattr("depot_lite.maintenance.mover._SOON", 10**9)
        monkeypatch.setitem(rewriting._SKIPS_LOCKED, "sqlite", (3,))

    def test_a_batch_is_one_statement_and_one_commit(self, database: Engine, add: Add) -> None:
        """Whatever the key; rows of a table whose versions are in another one are written one by one."""
        add(*(Song(audio=b"%d" % n, lyrics=b"text") for n in range(30)))
        add(*(Track(album=f"{n % 4}'%s", number=n, audio=b"%d" % n) for n in range(30)))
        add(*(Album(title="x", cover=b"%d" % n) for n in range(30)), Live(title="y", poster=b"p", cover=b"c"))
        with statements(database) as sent:
            assert move(database).rows == 30 + 30 + 30 + 31 + 1
        updates = [each for each in sent if each.startswith("UPDATE")]
        assert sum("CASE" in each for each in updates) == 4
        assert len(updates) == 6
        for column, depot_name in ((Song.audio, "archive"), (Song.lyrics, "archive"), (Track.audio, "archive")):
            assert {name for name, _ in contents(database, column)} == {depot_name}
        assert [data for _, data in contents(database, Track.audio)] == [
            b"%d" % n for n in sorted(range(30), key=lambda n: (n % 4, n))
        ]
        with Session(database) as session:
            assert set(session.scalars(select(Album.version).where(Album.title == "x"))) == {2}

    @pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True)
    def test_a_row_that_is_locked_keeps_no_other_waiting(self, database: Engine, add: Add) -> None:
        """The others are committed before its lock is waited for, so that nothing can deadlock."""
        add(*(Song(id=n, audio=b"%d" % n) for n in range(1, 21)))

        def depots_of(column: Any) -> list[str]:
            return [depot for depot, _ in contents(database, column)]

        with database.connect() as other, ThreadPoolExecutor(1) as thread:
            for number in (3, 9):
                other.execute(select(Song.id).where(Song.id == number).with_for_update())
            moving = thread.submit(move, database)
            try:
                until = time.monotonic() + 30
                while depots_of(Song.audio).count("archive") < 18:
                    assert time.monotonic() < until
            finally:
                other.rollback()
            assert (moving.result().rows, moving.result().failed) == (20, [])
        assert set(depots_of(Song.audio)) == {"archive"}

    def test_a_row_that_changes_meanwhile_is_not_overwritten(self, database: Engine, add: Add, hooked: Hooked) -> None:
        """It is moved with its new file, the others of its batch with theirs."""
        add(*(Song(id=n, audio=b"%d" % n) for n in range(1, 6)))

        def replace(number: int) -> None:
            if number == 5:
                with Session(database) as session:
                    found = session.get(Song, 2)
                    assert found is not None
                    found.audio = b"new"  # type: ignore[assignment]
                    session.delete(session.get(Song, 4))
                    session.commit()

        hooked.copied = replace
        report = move_hooked(database)
        assert (report.rows, report.changed, report.failed) == (4, 0, [])
        assert contents(database, Song.audio) == [("hooked", each) for each in (b"1", b"new", b"3", b"5")]
        assert len(list(hooked.list())) == 4

    @pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)
    def test_a_trigger_that_refuses_a_row_refuses_no_other(self, database: Engine, add: Add, depots: Depots) -> None:
        """The statement then writes fewer rows than it was given, is undone, and each row is written by its own."""
        add(*(Song(id=n, audio=b"%d" % n) for n in range(1, 6)))
        begin, end = {
            "sqlite": (
                ["CREATE TRIGGER keep BEFORE UPDATE ON moving_song WHEN new.id = 3 BEGIN SELECT RAISE(IGNORE); END"],
                "DROP TRIGGER keep",
            ),
            "postgresql": (
                [
                    "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
                    "'BEGIN IF new.id = 3 THEN RETURN NULL; END IF; RETURN new; END'",
                    "CREATE TRIGGER keep BEFORE UPDATE ON moving_song FOR EACH ROW EXECUTE FUNCTION keep()",
                ],
                "DROP FUNCTION keep CASCADE",
            ),
        }[database.dialect.name]
        with database.begin() as connection:
            for statement in begin:
                connection.exec_driver_sql(statement)
        try:
            report = move(database)
        finally:
            with database.begin() as connection:
                connection.exec_driver_sql(end)
        assert (report.rows, report.changed, report.failed) == (4, 1, [])
        assert len(list(depots["archive"].list())) == 4

    @pytest.mark.parametrize("engine", ["postgresql", "mariadb"], indirect=True)
    def test_a_batch_whose_commit_is_lost_keeps_all_files(self, database: Engine, add: Add, depots: Depots) -> None:
        """Old ones and copies, since the database may have committed; another run goes on."""
        add(*(Song(id=n, audio=b"%d" % n) for n in range(1, 6)))
        with Proxy.before(database.url) as (proxy, url):
            through = create_engine(url)
            with through.connect():
                pass
            proxy.cut(asking=None, answering=b"COMMIT")
            report = move(through)
            through.dispose()
        assert (report.rows, len(report.failed)) == (0, 5)
        assert sorted(data for _, data in contents(database, Song.audio)) == [b"1", b"2", b"3", b"4", b"5"]
        assert (len(list(depots["default"].list())), len(list(depots["archive"].list()))) == (5, 5)
        assert move(database).failed == []


class TestHowItRuns:
    def test_a_dry_run_counts_and_changes_nothing(self, database: Engine, add: Add, depots: Depots) -> None:
        """Sizes come from the rows, and from the storage where they do not tell."""
        add(Song(audio=b"12345", takes=[b"1", b"22"]), Song(back=picture()))
        report = move(database, dry_run=True)
        sizes = sum(each.size for each in depots["default"].list())
        assert (report.rows, report.files, report.bytes, report.dry_run) == (3, 5, sizes, True)
        assert list(depots["archive"].list()) == []
        assert move(database).bytes == sizes

    @pytest.mark.matrix
    def test_several_processes_share_a_job(self, database: Engine, add: Add, depots: Depots) -> None:
        """Each moves the rows of its part, at once with the others, and no file is copied twice."""
        add(*(Song(audio=b"%d" % n) for n in range(60)))
        with ThreadPoolExecutor(3) as threads:
            parts = [Part(number, 3) for number in (1, 2, 3)]
            reports = list(threads.map(lambda part: move(database, part=part), parts))
        assert sum(report.rows for report in reports) == 60 == len(list(depots["archive"].list()))
        assert min(report.rows for report in reports) > 5
        assert contents(database, Song.audio) == [("archive", b"%d" % n) for n in range(60)]

    def test_a_session_lends_its_engine(self, database: Engine, add: Add) -> None:
        add(Song(audio=b"song"))
        with Session(database) as session:
            assert move(session).rows == 1
        assert contents(database, Song.audio) == [("archive", b"song")]

    def test_a_pool_of_one_connection_is_enough(self, database: Engine, add: Add) -> None:
        add(*(Song(audio=b"song") for _ in range(5)))
        small = create_engine(database.url, pool_size=1, max_overflow=0, pool_timeout=5)
        assert move(small).rows == 5
        small.dispose()

    def test_a_slow_file_does_not_hold_up_the_others(
        self, database: Engine, add: Add, hooked: Hooked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not even those of other pages: the first copy ends when all others are made, and their rows rewritten."""
        monkeypatch.setattr("depot_lite.maintenance.mover._PAGE", 10)
        monkeypatch.setattr("depot_lite.maintenance.mover._QUEUED", 2)
        monkeypatch.setattr("depot_lite.maintenance.mover._SOON", 0)
        add(*(Song(audio=b"song") for _ in range(40)))
        last = threading.Event()
        rewritten: list[int] = []

        def wait(number: int) -> None:
            if number == 1:
                assert last.wait(20)
            elif number == 40:
                rewritten.append([depot for depot, _ in contents(database, Song.audio)].count("hooked"))
                last.set()

        hooked.copied = wait
        assert move_hooked(database, workers=2).rows == 40
        assert rewritten[0] >= 30

    def test_progress_tells_files_and_bytes(self, database: Engine, add: Add) -> None:
        add(*(Song(audio=b"12345") for _ in range(5)))
        told: list[Progress] = []
        move(database, progress=told.append)
        assert told[-1] == Progress("copying", 5, None, "files", 25, finished=True)

    def test_an_event_loop_goes_on_meanwhile(self, tmp_path: Path, depots: Depots, hooked: Hooked) -> None:
        """Under AsyncSession; a cancellation leaves no copy that no row names."""
        url = f"{tmp_path}/async.db"
        sync = create_engine(f"sqlite:///{url}")
        Base.metadata.create_all(sync)
        with Session(sync) as session:
            session.add_all(Song(audio=b"%d" % n) for n in range(40))
            session.commit()
        reached = threading.Event()
        go_on = threading.Event()

        def wait(number: int) -> None:
            reached.set()
            go_on.wait(20)

        async def run() -> MigrationReport:
            engine = create_async_engine(f"sqlite+aiosqlite:///{url}")
            async with AsyncSession(engine) as session:
                work = asyncio.create_task(session.run_sync(move_hooked))
                await asyncio.to_thread(reached.wait, 20)
                work.cancel()
                await asyncio.sleep(0)
                go_on.set()
                with pytest.raises(asyncio.CancelledError):
                    await work
            held = contents(sync, Song.audio)
            assert len(list(hooked.list())) == sum(depot == "hooked" for depot, _ in held) < 40
            async with AsyncSession(engine) as session:
                report = await session.run_sync(move_hooked)
            await engine.dispose()
            return report

        hooked.copied = wait
        asyncio.run(run())
        assert contents(sync, Song.audio) == [("hooked", b"%d" % n) for n in range(40)]
        assert len(list(hooked.list())) == 40
        sync.dispose()


class TestRelocated:
    def test_every_string_that_names_the_file_names_its_copy(self) -> None:
        """As a path, as an id and within a URL; another depot's file of the same id stays, however it is called."""
        old, new = new_file_id(), new_file_id()
        data = {"path": f"a/{old}", "deep": [{"id": old, "url": f"/media/a/{old}?x"}], "twin": f"xa/{old}", "size": 3}
        moved = {f"a/{old}": f"b/{new}", f"xa/{old}": f"xa/{old}"}
        assert relocated(data, moved) == {
            "path": f"b/{new}",
            "deep": [{"id": new, "url": f"/media/b/{new}?x"}],
            "twin": f"xa/{old}",
            "size": 3,
        }

    def test_without_a_file_that_moved_nothing_changes(self) -> None:
        data = {"depot_name": "a", "file_id": new_file_id(), "_public_url": "https://a.example/1"}
        assert relocated(data, {f"a/{data['file_id']}": f"a/{data['file_id']}"}) == data
        assert relocated(data, {}) == data


def test_the_copy_in_the_local_storage_is_a_file_of_its_own(
    database: Engine, add: Add, depots: Depots, tmp_path: Path
) -> None:
    """What happens to the old file afterwards does not matter to the row."""
    add(Song(audio=b"song"))
    move(database)
    assert isinstance(depots["default"], LocalFileStorage)
    assert depots["default"].delete_many(list(depots["default"].list())) == {}
    assert contents(database, Song.audio) == [("archive", b"song")]
