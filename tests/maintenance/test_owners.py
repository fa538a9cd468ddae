"""The owner mark: a depot is swept from the databases that use it, all of them, and from no copy of one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from depot_lite.errors import MaintenanceStopped
from depot_lite.io.composite.fallback import FallbackStorage
from depot_lite.io.composite.mirror import MirrorStorage
from depot_lite.io.interfaces import FileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import copy_files, delete_unused_files, find_unused, owners
from depot_lite.maintenance.owners import identity, owners_of
from depot_lite.manager import DepotManager
from tests.conftest import sqlite_engine
from tests.maintenance.conftest import NOW, Base, Film
from tests.maintenance.two_databases import ARCHIVE, Here, There
from tests.support.databases import own_database
from tests.support.sweeps import consent

Add = Callable[..., None]
Depots = dict[str, FileStorage]

claim = partial(owners.claim, models=[Base])


def sweep(engine: Engine, depot_name: str = "default") -> int | None:
    return delete_unused_files(engine, depot_name, older_than=NOW, trash=NOW, **consent(depot_name, [Base])).deleted


def identity_of(engine: Engine) -> str:
    with engine.connect() as connection:
        return identity(connection)


@pytest.fixture
def staging(database: Engine) -> Iterator[Engine]:
    """A second database on the same server, with the same tables."""
    with ExitStack() as stack:
        if database.dialect.name == "sqlite":
            path = Path(str(database.url.database))
            shutil.copyfile(path, path.with_name("staging.db"))
            made = sqlite_engine(path.with_name("staging.db"))
        else:
            made = create_engine(stack.enter_context(own_database(database.dialect.name)))
        stack.callback(made.dispose)
        Base.metadata.create_all(made)
        yield made


class TestClaims:
    @pytest.mark.matrix
    def test_a_depot_without_an_owner_is_not_swept(self, database: Engine, committed: Add, depots: Depots) -> None:
        """The message says how to claim it; a dry run says so too, and finds the files."""
        committed(Film(poster=b"poster"))
        left = depots["default"].create(b"left")
        with pytest.raises(MaintenanceStopped, match=r"no owner mark.*depot-lite claim default"):
            sweep(database)
        report = find_unused(database, "default", older_than=NOW, **consent("default", [Base]))
        assert ([each.file_id for each in report.files], len(report.objections)) == ([left], 1)
        claimed = claim(database, "default")
        assert claimed.owners == claimed.added == (identity_of(database),)
        assert claim(database, "default").added == ()
        assert sweep(database) == 1

    def test_staging_never_sweeps_what_production_owns(
        self, database: Engine, staging: Engine, committed: Add, depots: Depots
    ) -> None:
        """Also if it is a copy on the same server; with its own claim, it is a second owner, whose rows count too."""
        committed(Film(poster=b"poster"))
        depots["default"].create(b"left")
        claim(database, "default")
        with pytest.raises(MaintenanceStopped, match="is it a copy of another database"):
            sweep(staging)
        assert claim(staging, "default").owners == (identity_of(database), identity_of(staging))
        for engine in (database, staging):
            with pytest.raises(MaintenanceStopped, match="whose rows are not read here"):
                sweep(engine)
        assert len(list(depots["default"].list())) == 2
        report = claim(database, "default", replace=True)
        assert (report.removed, report.added) == ((identity_of(staging),), ())
        assert sweep(database) == 1

    def test_a_session_for_two_databases_claims_for_both(self, depots: Depots, tmp_path: Path) -> None:
        """And reads both."""
        engines = [sqlite_engine(tmp_path / name) for name in ("here.db", "there.db")]
        for engine, base in zip(engines, (Here, There), strict=True):
            base.metadata.create_all(engine)
        left = depots["default"].create(b"left")
        with Session(binds={Here: engines[0], ARCHIVE: engines[0], There: engines[1]}) as session:
            report = claim(session, "default", models=[Here, There])
            assert report.owners == tuple(sorted(map(identity_of, engines)))
            options = {**consent("default", [Here, There]), "older_than": NOW, "trash": NOW}
            assert [each.file_id for each in delete_unused_files(session, "default", **options).files] == [left]
        for engine in engines:
            engine.dispose()

    def test_a_database_that_nobody_knows_claims_nothing(self, depots: Depots, tmp_path: Path) -> None:
        """A session without a bind for one of the tables."""
        engine = sqlite_engine(tmp_path / "there.db")
        with (
            Session(binds={There: engine}) as session,
            pytest.raises(MaintenanceStopped, match=r"the database of places_photo\.image cannot be identified"),
        ):
            claim(session, "default", models=[Here, There])
        assert owners_of(depots["default"]) is None
        engine.dispose()

    @pytest.mark.parametrize("note", [b"{", b"[]", b'{"version": 2, "owners": []}', b'{"version": 1, "owners": [1]}'])
    def test_a_mark_that_cannot_be_understood_stops_it(self, database: Engine, depots: Depots, note: bytes) -> None:
        """A later version may have written it."""
        depots["default"].create(b"left")
        depots["default"].write_note("owners", note)
        for call in (sweep, claim):
            with pytest.raises(MaintenanceStopped, match="owner mark of LocalFileStorage"):
                call(database, "default")

    def test_two_claims_at_once_are_both_recorded(self, database: Engine, depots: Depots) -> None:
        """One of them is made between the reading and the writing of the other."""

        class Raced(MemoryFileStorage):
            def _swap_note(self, file_id: str, text: bytes, version: Any) -> bool:
                if version is None:
                    self.write_note("owners", b'{"version": 1, "owners": [{"database": "other"}]}')
                return super()._swap_note(file_id, text, version)

        DepotManager.configure("raced", Raced())
        report = claim(database, "raced")
        assert (report.owners, report.removed) == (("other", *report.added), ())
        assert len(report.added) == 1


class TestIdentities:
    def test_a_database_has_one_identity(self, database: Engine) -> None:
        """From each connection, and by another name of the same host."""
        known = identity_of(database)
        assert identity_of(database) == known
        if database.dialect.name != "sqlite":
            again = create_engine(database.url.set(host="localhost"))
            assert identity_of(again) == known
            again.dispose()

    def test_a_copy_has_another(self, database: Engine, staging: Engine) -> None:
        """On the same server."""
        assert identity_of(database) != identity_of(staging)

    def test_a_server_that_is_reached_elsewhere_is_another(self, database: Engine) -> None:
        """A copy of its disk has all of its facts but the address."""
        if database.dialect.name == "sqlite":
            pytest.skip("a file has no server")
        arguments, options = database.dialect.create_connect_args(database.url)
        elsewhere = create_engine(
            database.url.set(host="copy.example.com"),
            creator=lambda: database.dialect.connect(*arguments, **options),
        )
        with elsewhere.connect() as connection:
            assert "copy.example.com" in identity(connection)
        elsewhere.dispose()

    def test_a_schema_is_a_database_of_its_own(self, database: Engine) -> None:
        """As that of a tenant."""
        if database.dialect.name != "postgresql":
            pytest.skip("only PostgreSQL has schemas in a database")
        with database.connect() as connection:
            known = identity(connection)
            connection.execute(text("CREATE SCHEMA tenant"))
            connection.execute(text("SET LOCAL search_path TO tenant"))
            assert identity(connection) != known
            connection.rollback()

    def test_a_file_that_was_replaced_is_another_database(self, tmp_path: Path) -> None:
        """By its backup, for example, under the same name."""
        engine = sqlite_engine(tmp_path / "one.db")
        Base.metadata.create_all(engine)
        known = identity_of(engine)
        engine.dispose()
        shutil.copyfile(tmp_path / "one.db", tmp_path / "two.db")
        (tmp_path / "two.db").rename(tmp_path / "one.db")
        assert identity_of(engine) != known
        engine.dispose()

    def test_a_database_in_memory_is_that_of_its_process(self) -> None:
        """And has no file."""
        engine = create_engine("sqlite://")
        assert "in memory of process" in identity_of(engine)
        engine.dispose()


class TestNotes:
    def test_each_part_of_a_composite_has_its_mark(self, database: Engine, committed: Add, depots: Depots) -> None:
        """A part may be swept by itself, or belong to somebody else."""
        new, old = MemoryFileStorage(), MemoryFileStorage()
        DepotManager.configure("both", FallbackStorage(new, old))
        claim(database, "both")
        assert owners_of(new) == owners_of(old) == [identity_of(database)]
        old.write_note("owners", b"")
        DepotManager.get("both").create(b"left")
        with pytest.raises(MaintenanceStopped, match="has no owner mark"):
            sweep(database, "both")

    def test_a_composite_keeps_its_notes_and_says_nothing_of_missing_ones(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A mirror warns of files that only one of its storages has."""
        near, far = MemoryFileStorage(), MemoryFileStorage()
        for made in (MirrorStorage(near, far), FallbackStorage(near, far)):
            assert made.read_note("trash") is None
            made.write_note("trash", b"text")
            assert (made.read_note("trash"), list(made.list())) == (b"text", [])
            made.write_note("trash", b"")
            assert near.read_note("trash") is far.read_note("trash") is None
        assert caplog.text == ""

    def test_a_backup_has_no_mark(self, database: Engine, depots: Depots) -> None:
        """It is copied with the files only by somebody who copies the whole folder."""
        depots["default"].create(b"x")
        claim(database, "default")
        copy_files("default", "archive")
        assert (len(list(depots["archive"].list())), owners_of(depots["archive"])) == (1, None)
