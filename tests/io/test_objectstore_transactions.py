"""Rows with their files in Azure Blob Storage: what transactions promise, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, delete, select

from depot_lite.errors import StorageFailed
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import some_bytes, temporary_depots
from tests.conftest import World, sqlite_engine
from tests.fields.actions import BEFORE, Action, begin, some_actions
from tests.fields.ends import End, some_ends
from tests.io.azurite import ACCOUNT, Azurite, azurite
from tests.io.s3_proxy import Fault, S3Proxy
from tests.models import Base, Document
from tests.support.sweeps import sweep


@pytest.fixture(scope="module")
def azure() -> Iterator[Azurite]:
    with azurite() as made:
        yield made


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite alone: that the databases differ is tested with local files."""
    made = sqlite_engine(tmp_path_factory.mktemp("azure") / "test.db")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def proxy(azure: Azurite) -> Iterator[S3Proxy]:
    """A proxy before azurite, which counts requests and lets them fail."""
    with S3Proxy(azure.endpoint) as made:
        yield made


@pytest.fixture
def depots(azure: Azurite, proxy: S3Proxy) -> Iterator[dict[str, FileStorage]]:
    """One container, with a prefix for each depot."""
    with azure.container() as container, temporary_depots():
        config = azure.options(container, endpoint=f"{proxy.url}/{ACCOUNT}")["config"]
        yield {
            name: DepotManager.configure(name, azure.storage(container, prefix=name, config=config))
            for name in ("default", "archive")
        }


#: Those whose files are stored, replaced, deleted and copied in ways of their own.
chosen_actions = some_actions(
    "add_two_files",
    "replace_in_three_flushes",
    "put_the_old_value_back_after_a_flush",
    "delete_all",
    "delete_and_add_both_rows",
    "copy_to_a_new_row",
    "copy_and_delete_the_original",
    "swap_rows",
)


@chosen_actions
@some_ends("commit", "rollback", "roll back a savepoint and commit")
def test_the_table_of_transaction_cases_holds_with_azure_below(world: World, action: Action, end: End) -> None:
    begin(world)
    with world.session() as session:
        end.run(session, action)
    world.check(*action.leaves if end.commits else BEFORE)


def test_files_live_and_die_with_their_rows(world: World) -> None:
    with world.session() as session:
        session.add_all([Document(id=1, content=b"1", report=b"r"), Document(id=2, content=some_bytes(9_000_000))])
        session.commit()
        world.check(b"1", b"r", some_bytes(9_000_000))
        session.get_one(Document, 1).content = UploadedFile(b"new")
        session.commit()
        world.check(b"new", b"r", some_bytes(9_000_000))
        session.execute(delete(Document).where(Document.id == 2))
        session.commit()
        world.check(b"new", b"r")


def test_an_upload_that_fails_stops_the_flush(world: World, proxy: S3Proxy) -> None:
    """With the storage's error; the files that were stored beside it go."""
    proxy.fail(Fault.DENIED, "PUT")
    with world.session() as session:
        session.add_all([Document(id=number, content=b"x") for number in range(5)])
        with pytest.raises(StorageFailed, match="denied"):
            session.commit()
    world.check()


def test_each_attachment_costs_the_requests_it_must(world: World, proxy: S3Proxy) -> None:
    """One to store, one to read, a share of one to delete, and none to load a row and show its file's name and URL."""
    with world.session() as session:
        session.add_all([Document(id=number, content=f"{number}".encode()) for number in range(10)])
        session.commit()
        assert proxy.taken() == ["PUT"] * 10
    with world.session() as session:
        documents = session.scalars(select(Document).order_by(Document.id)).all()
        for document in documents:
            assert document.content is not None
            assert document.content.filename == "unnamed"
            assert "sig=" in document.content.url
        assert proxy.taken() == []
        for document in documents:
            document.content = UploadedFile(b"new")
        session.commit()
        assert proxy.taken() == ["PUT"] * 10 + ["POST"]


def test_a_sweep_finds_what_no_row_names(world: World) -> None:
    """In one container, where a depot does not take the files of another for its own."""
    with world.session() as session:
        session.add(Document(id=1, content=b"kept", report=b"kept too"))
        session.commit()
    unused = world.depots["default"].create(b"unused")
    report = sweep(world.engine, models=[Base])
    assert (report.failed, len(report.files)) == ({}, 1)
    assert not world.depots["default"].exists(unused)
    world.check(b"kept", b"kept too")
