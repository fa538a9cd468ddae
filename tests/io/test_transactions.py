"""Rows with their files in each kind of storage: the promises of transactions, and their costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import delete, select

from depot_lite.errors import StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.composite import CompositeStorage
from depot_lite.io.composite.mirror import MirrorStorage
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.conftest import World
from tests.fields.actions import BEFORE, Action, begin, every_action
from tests.fields.ends import End, some_ends
from tests.io.backends import KINDS, REMOTE, Counts, Place, on
from tests.support.models import Base, Document
from tests.support.sweeps import sweep


@pytest.fixture
def depots(place: Place) -> Iterator[dict[str, FileStorage]]:
    """Two depots in one bucket, folder or database."""
    with temporary_depots():
        yield {name: DepotManager.configure(name, place.storage(name)) for name in ("default", "archive")}


@pytest.fixture(autouse=True)
def _parts_agree(depots: dict[str, FileStorage]) -> Iterator[None]:
    """Whatever a test does: both halves of a mirror hold the same files, and the old half of a fallback gets none."""
    yield
    for depot in depots.values():
        if isinstance(depot, CompositeStorage):
            first, second = (set(part.list()) for part in depot.parts)
            assert second == (first if isinstance(depot, MirrorStorage) else set())


@pytest.mark.matrix
@every_action
@some_ends("commit", "rollback", "roll back a savepoint and commit")
@on(*KINDS)
def test_the_table_of_transaction_cases_holds(world: World, action: Action, end: End) -> None:
    """Every action, committed and rolled back; the other ends differ in nothing that a storage sees."""
    begin(world)
    with world.session() as session:
        end.run(session, action)
    world.check(*action.leaves if end.commits else BEFORE)


@on(*KINDS)
def test_files_live_and_die_with_their_rows(world: World) -> None:
    """Large ones too, which are sent in parts."""
    large = some_bytes(9_000_000)
    with world.session() as session:
        session.add_all([Document(id=1, content=b"1", report=b"r"), Document(id=2, content=large)])
        session.commit()
        world.check(b"1", b"r", large)
        session.get_one(Document, 1).content = UploadedFile(b"new")
        session.commit()
        world.check(b"new", b"r", large)
        session.execute(delete(Document).where(Document.id == 2))
        session.commit()
        world.check(b"new", b"r")


@on(*KINDS)
def test_a_rollback_leaves_what_was(world: World) -> None:
    with world.session() as session:
        session.add(Document(id=1, content=b"kept"))
        session.commit()
        session.get_one(Document, 1).content = UploadedFile(b"new")
        session.add(Document(id=2, content=b"second"))
        session.flush()
        with session.begin_nested() as savepoint:
            session.add(Document(id=3, content=b"third"))
            session.flush()
            savepoint.rollback()
        session.rollback()
    world.check(b"kept")


@on(*KINDS)
@pytest.mark.matrix
def test_a_sweep_finds_what_no_row_names(world: World) -> None:
    """A depot does not take the files of another in the same place for its own."""
    with world.session() as session:
        session.add(Document(id=1, content=b"kept", report=b"kept too"))
        session.commit()
    unused = world.depots["default"].create(b"unused")
    report = sweep(world.engine, models=[Base])
    assert (report.failed, len(report.files)) == ({}, 1)
    assert not world.depots["default"].exists(unused)
    world.check(b"kept", b"kept too")


@on(*REMOTE)
def test_an_upload_that_fails_stops_the_flush(world: World, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the storage's error; the files that were stored before it go."""
    assert place.refuse is not None
    place.refuse(world.depots["default"], monkeypatch)
    with world.session() as session:
        session.add_all([Document(id=number, content=b"x") for number in range(5)])
        with pytest.raises(StorageFailed, match=r"access is denied|connection broke"):
            session.commit()
    world.check()


@on(*REMOTE)
def test_each_attachment_costs_the_requests_it_must(world: World, place: Place) -> None:
    """Each file is stored and read by itself, all are deleted together; to load a row and show a URL costs nothing."""
    costs, storage = place.costs, world.depots["default"]
    assert costs is not None
    assert place.counting is not None
    taken = place.counting(storage)
    with world.session() as session:
        session.add_all([Document(id=number, content=f"{number}".encode()) for number in range(10)])
        session.commit()
        assert taken() == _ten(costs.store)
    with world.session() as session:
        documents = session.scalars(select(Document).order_by(Document.id)).all()
        values = [each.content for each in documents if each.content is not None]
        for value in values:
            assert value.filename == "unnamed"
            assert not storage.has_urls or value.url == storage.url(value.file_id)
        assert taken() == {}
        for number, value in enumerate(values):
            with value.file as file:
                assert file.read() == f"{number}".encode()
        assert taken() == _ten(costs.read)
        for document in documents:
            document.content = UploadedFile(b"new")
        session.commit()
        assert taken() == Counter(_ten(costs.store)) + Counter(costs.delete)
        for document in documents:
            session.delete(document)
        session.commit()
        assert taken() == costs.delete


def _ten(costs: Counts) -> Counts:
    return {name: 10 * count for name, count in costs.items()}
