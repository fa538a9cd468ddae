"""Storages made of others: the contract, the table of transactions, and what happens when one of them fails."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from depot_lite.errors import ConfigurationError, StorageFailed, StorageTimeout, StoredFileNotFound
from depot_lite.io.composite import CompositeStorage, outages
from depot_lite.io.composite.fallback import FallbackStorage
from depot_lite.io.composite.mirror import MirrorStorage
from depot_lite.io.content import Content
from depot_lite.io.fileid import new_file_id
from depot_lite.io.interfaces import FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import copy_files, find_unused
from depot_lite.manager import DepotManager
from depot_lite.serving import respond
from depot_lite.testing import BreakingFile, StorageContract, some_bytes, temporary_depots
from tests.conftest import sqlite_engine
from tests.support.models import Base, Document
from tests.support.streams import Stream
from tests.support.sweeps import sweep

#: How long anything may take, in seconds.
DEADLINE: Final = 20


class Failing(MemoryFileStorage):
    """A storage that fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: set[str] = set()

    def _asked(self, what: str) -> None:
        if what in self.refuses:
            raise StorageFailed(f"no {what} today")

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self._asked("save")
        return super()._save(file_id, content)

    def _open(self, file_id: str) -> StoredFile:
        self._asked("open")
        return super()._open(file_id)

    def _exists(self, file_id: str) -> bool:
        self._asked("open")
        return super()._exists(file_id)

    def _delete(self, file_id: str) -> None:
        self._asked("delete")
        super()._delete(file_id)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        self._asked("save")
        return super()._copy(source_id, file_id)


class TestFallbackStorage(StorageContract):
    """Two folders."""

    def make_storage(self, tmp_path: Path) -> FallbackStorage:
        name = new_file_id()
        return FallbackStorage(
            LocalFileStorage(tmp_path / name / "new", durable=False),
            LocalFileStorage(tmp_path / name / "old", durable=False),
        )


class TestMirrorStorage(StorageContract):
    """A folder and memory."""

    def make_storage(self, tmp_path: Path) -> MirrorStorage:
        return MirrorStorage(LocalFileStorage(tmp_path / new_file_id(), durable=False), MemoryFileStorage())


Make = Callable[..., CompositeStorage]
KINDS = pytest.mark.parametrize("make", [FallbackStorage, MirrorStorage])


@KINDS
class TestBoth:
    """The behaviour that both share."""

    @pytest.mark.parametrize("storages", [(), (MemoryFileStorage(),), (MemoryFileStorage(), "memory")])
    def test_two_storages_are_wanted(self, make: Make, storages: tuple[Any, ...]) -> None:
        with pytest.raises(
            ConfigurationError, match=rf"^{make.__name__}: .*(two storages, got [01]|FileStorage, .*got str)"
        ):
            make(*storages)

    def test_none_is_there_twice(self, make: Make, tmp_path: Path) -> None:
        """Nor one folder under two names: a file deleted from one is gone from the other."""
        (tmp_path / "media").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "media")
        with pytest.raises(ConfigurationError, match="is given twice"):
            make(LocalFileStorage(tmp_path / "media"), MemoryFileStorage(), LocalFileStorage(tmp_path / "link"))

    @pytest.mark.matrix
    def test_a_file_of_several_storages_is_listed_once(self, make: Make) -> None:
        one, two, three = MemoryFileStorage(), MemoryFileStorage(), MemoryFileStorage()
        ids = [new_file_id() for _ in range(2500)]
        for storage, some in ((one, ids[:1500]), (two, ids[1000:2200]), (three, ids[100:2500:3])):
            for each in some:
                storage.create(b"x", file_id=each)
        listed = list(make(one, two, three).list())
        assert len(listed) == len(set(listed))
        assert set(listed) == {*ids[:2200], *ids[100:2500:3]}
        assert all(each.known for each in listed)

    def test_a_listing_that_leaves_something_out_is_told(self, make: Make) -> None:
        lagging = MemoryFileStorage()
        lagging.list_is_complete = False
        assert make(MemoryFileStorage(), MemoryFileStorage()).list_is_complete
        assert not make(MemoryFileStorage(), lagging).list_is_complete

    def test_an_entry_knows_a_file_of_any(self, make: Make) -> None:
        one, two = MemoryFileStorage(), MemoryFileStorage()
        storage, file_id = make(one, two), two.create(b"12345")
        assert storage.entry(file_id).size == 5
        with pytest.raises(StoredFileNotFound):
            _ = storage.entry(new_file_id()).size

    @pytest.mark.matrix
    def test_a_part_under_a_name_of_its_own_is_swept_with_the_whole(
        self, make: Make, database: Engine, tmp_path: Path
    ) -> None:
        """Rows name one, the other, or both: none of their files is unused."""
        with temporary_depots():
            part = DepotManager.configure("part", LocalFileStorage(tmp_path / "part", durable=False))
            again = LocalFileStorage(tmp_path / "part", durable=False)
            DepotManager.configure("default", make(LocalFileStorage(tmp_path / "other", durable=False), again))
            with Session(database) as session:
                session.add(Document(content=b"of the whole"))
                session.commit()
                young = part.create(b"named by nobody")
                for name in ("part", "default"):
                    found = find_unused(session, name, older_than=timedelta(), models=[Base])
                    assert [each.file_id for each in found.files] == [young]
                for name in ("part", "default"):
                    sweep(session, name, settle=timedelta(), models=[Base])
                assert session.query(Document).one().content.file.read() == b"of the whole"  # type: ignore[union-attr]

    def test_it_is_served(self, make: Make) -> None:
        with temporary_depots():
            one, two = MemoryFileStorage(), MemoryFileStorage()
            DepotManager.configure("default", make(one, two))
            response = respond("GET", {}, "default", two.create(b"hello", "a.txt"))
            assert response.body is not None
            assert (response.status, b"".join(response.body)) == (200, b"hello")
            response.close()


@pytest.fixture
def database() -> Iterator[Engine]:
    """One of its own."""
    made = sqlite_engine(":memory:")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


class TestAMoveWithFallback:
    """From an old storage to a new one."""

    def test_a_file_is_read_from_where_it_is_and_written_to_the_new_one(self) -> None:
        new, old = MemoryFileStorage(), MemoryFileStorage()
        storage = FallbackStorage(new, old)
        before = old.create(b"before", "a.txt")
        after = storage.create(b"after")
        assert (storage.get(before).read(), storage.get(after).read()) == (b"before", b"after")
        assert (list(new.list()), list(old.list())) == ([after], [before])

    def test_a_copy_is_made_in_the_new_one(self) -> None:
        new, old = MemoryFileStorage(), MemoryFileStorage()
        storage = FallbackStorage(new, old)
        copied = storage.copy(old.create(b"before", "a.txt"))
        assert (new.get(copied).read(), new.get(copied).filename) == (b"before", "a.txt")

    def test_a_file_that_is_replaced_shadows_the_old_one_until_both_go(self) -> None:
        new, old = MemoryFileStorage(), MemoryFileStorage()
        storage, file_id = FallbackStorage(new, old), old.create(b"before")
        storage.replace(file_id, b"after")
        assert storage.get(file_id).read() == b"after"
        storage.delete(file_id)
        assert not storage.exists(file_id)

    def test_a_storage_that_fails_is_not_passed_over(self) -> None:
        """The bytes of the old one may be outdated."""
        new, old = Failing(), MemoryFileStorage()
        storage, file_id = FallbackStorage(new, old), old.create(b"before")
        new.refuses.add("open")
        with pytest.raises(StorageFailed, match="no open today"):
            storage.get(file_id)

    @pytest.mark.parametrize("many", [False, True])
    def test_a_file_that_cannot_go_from_the_old_one_stays_in_the_new_one(self, many: bool) -> None:
        """Else the old bytes would come to light again."""
        new, old = MemoryFileStorage(), Failing()
        storage, file_id = FallbackStorage(new, old), old.create(b"before")
        storage.replace(file_id, b"after")
        old.refuses.add("delete")
        if many:
            assert list(storage.delete_many([file_id])) == [file_id]
        else:
            with pytest.raises(StorageFailed):
                storage.delete(file_id)
        assert storage.get(file_id).read() == b"after"

    def test_a_move_while_the_application_runs(self, database: Engine, tmp_path: Path) -> None:
        """Rows stay as they are; at the end the new storage is configured alone."""
        old, new = (LocalFileStorage(tmp_path / name, durable=False) for name in ("old", "new"))
        with temporary_depots():
            DepotManager.configure("default", old)
            with Session(database) as session:
                session.add_all([Document(id=100 + number, content=f"{number}".encode()) for number in range(5)])
                session.commit()
        with temporary_depots():
            for name, storage in (("default", FallbackStorage(new, old)), ("old", old), ("new", new)):
                DepotManager.configure(name, storage)
            with Session(database) as session:
                session.get_one(Document, 100).content = b"new"  # type: ignore[assignment]  # as whatever can be stored
                session.delete(session.get_one(Document, 101))
                session.commit()
            assert copy_files("old", "new").files == 3
            assert copy_files("old", "new").files == 0
        with temporary_depots(), Session(database) as session:
            DepotManager.configure("default", new)
            rows = session.query(Document).where(Document.id >= 100)
            assert sorted(each.content.file.read() for each in rows) == [b"2", b"3", b"4", b"new"]  # type: ignore[union-attr]
            assert len(list(new.list())) == 4

    def test_files_from_browsers_go_to_the_new_one(self) -> None:
        class Forms(MemoryFileStorage):
            """Takes them itself."""

            def _upload_form(self, *args: Any) -> tuple[str, dict[str, str]]:
                return "https://new.test", {}

        form = FallbackStorage(Forms(), MemoryFileStorage()).upload_form(new_file_id(), max_size=1)
        assert form == ("https://new.test", {})


class TestWhenAMirrorFails:
    """What happens to rows and files then."""

    @pytest.fixture
    def near(self) -> Failing:
        return Failing()

    @pytest.fixture
    def far(self) -> Failing:
        return Failing()

    @pytest.fixture
    def storage(self, near: Failing, far: Failing) -> MirrorStorage:
        return MirrorStorage(near, far)

    @pytest.mark.parametrize("content", [b"x" * 1000, "stream", "file"])
    def test_each_file_is_in_both(self, storage: MirrorStorage, near: Failing, far: Failing, content: Any) -> None:
        data = some_bytes(3_000_000)
        given = {"stream": Stream(data), "file": io.BytesIO(data)}.get(content, content)
        file_id = storage.create(given, "a.bin")
        expected = content if isinstance(content, bytes) else data
        for each in (near, far):
            with each.get(file_id) as file:
                assert (file.read(), file.filename) == (expected, "a.bin")

    @pytest.mark.parametrize("which", ["near", "far"])
    def test_what_cannot_be_stored_in_one_is_in_none(
        self, storage: MirrorStorage, near: Failing, far: Failing, which: str
    ) -> None:
        failing = near if which == "near" else far
        failing.refuses.add("save")
        source = MemoryFileStorage()
        for store in (
            lambda: storage.create(b"x"),
            lambda: storage.save_from(source, source.create(b"x")),
        ):
            with pytest.raises(StorageFailed, match="no save today") as failed:
                store()
            assert repr(failing) in failed.value.__notes__[0]
        assert (list(near.list()), list(far.list())) == ([], [])

    def test_nor_a_copy(self, storage: MirrorStorage, near: Failing, far: Failing) -> None:
        file_id = storage.create(b"x")
        far.refuses.add("save")
        with pytest.raises(StorageFailed):
            storage.copy(file_id)
        assert (list(near.list()), list(far.list())) == ([file_id], [file_id])

    def test_content_that_breaks_off_is_in_none(self, storage: MirrorStorage, near: Failing, far: Failing) -> None:
        with pytest.raises(Exception, match="gone"):
            storage.create(BreakingFile(5_000_000))
        assert (list(near.list()), list(far.list())) == ([], [])

    def test_what_cannot_be_replaced_in_one_is_as_it_was_in_both(
        self, storage: MirrorStorage, near: Failing, far: Failing
    ) -> None:
        file_id = storage.create(b"before")
        far.refuses.add("save")
        with pytest.raises(StorageFailed):
            storage.replace(file_id, b"after")
        assert (near.get(file_id).read(), far.get(file_id).read()) == (b"before", b"before")

    def test_nothing_is_deleted_where_nobody_knows_what_there_was(
        self, storage: MirrorStorage, near: Failing, far: Failing, caplog: pytest.LogCaptureFixture
    ) -> None:
        far.refuses |= {"save", "open"}
        with pytest.raises(StorageFailed):
            storage.create(b"x", file_id=new_file_id())
        (left,) = near.list()
        assert f"{left} is in" in caplog.text

    def test_a_flush_that_fails_leaves_nothing(self, near: Failing, far: Failing, database: Engine) -> None:
        """Also if the mirror does not answer at all: the rollback deletes the born files."""
        far.refuses |= {"save", "open"}
        with temporary_depots(), Session(database) as session:
            DepotManager.configure("default", MirrorStorage(near, far))
            session.add(Document(content=b"x"))
            with pytest.raises(StorageFailed):
                session.commit()
            session.rollback()
        assert list(near.list()) == []

    def test_the_next_one_answers(
        self, storage: MirrorStorage, near: Failing, far: Failing, caplog: pytest.LogCaptureFixture
    ) -> None:
        file_id = storage.create(b"x", "a.txt")
        near.refuses.add("open")
        with caplog.at_level(logging.WARNING, "depot_lite"), storage.get(file_id) as file:
            assert (file.read(), file.filename) == (b"x", "a.txt")
        assert f"{file_id} cannot be read from" in caplog.text
        assert storage.exists(file_id)
        near.refuses.clear()
        near.delete(file_id)
        assert storage.get(file_id).read() == b"x"
        assert storage.copy(file_id) in set(near.list())

    def test_a_failure_is_not_taken_for_a_file_that_is_missing(
        self, storage: MirrorStorage, near: Failing, far: Failing
    ) -> None:
        near.refuses.add("open")
        with pytest.raises(StorageFailed, match="no open today"):
            storage.get(new_file_id())
        with pytest.raises(StorageFailed, match="no open today"):
            storage.exists(new_file_id())

    def test_what_one_does_not_delete_goes_from_the_other(
        self, storage: MirrorStorage, near: Failing, far: Failing
    ) -> None:
        one, two = storage.create(b"1"), storage.create(b"2")
        near.refuses.add("delete")
        with pytest.raises(StorageFailed):
            storage.delete(one)
        assert set(storage.delete_many([one, two])) == {one, two}
        assert list(far.list()) == []
        near.refuses.clear()
        assert storage.delete_many(list(storage.list())) == {}
        assert list(near.list()) == []

    def test_urls_are_those_of_the_first_that_has_any(self) -> None:
        class Public(MemoryFileStorage):
            """Has URLs."""

            def public_url(self, file_or_id: StoredFile | str) -> str:
                return f"https://far.test/{file_or_id}"

            def url(self, file_or_id: StoredFile | str, **options: Any) -> str:
                return f"https://far.test/{file_or_id}?{options['filename']}"

        storage, file_id = MirrorStorage(MemoryFileStorage(), Public()), new_file_id()
        assert storage.has_urls
        assert not MirrorStorage(MemoryFileStorage(), MemoryFileStorage()).has_urls
        assert storage.public_url(file_id) == f"https://far.test/{file_id}"
        assert storage.url(file_id, filename="a.txt") == f"https://far.test/{file_id}?a.txt"
        assert MirrorStorage(MemoryFileStorage(), MemoryFileStorage()).url(file_id) is None

    def test_files_of_browsers_come_through_the_application(self, storage: MirrorStorage) -> None:
        assert storage.upload_form(new_file_id(), max_size=1) is None


def test_a_composite_shows_its_storages_and_lists_thousands_of_files_once() -> None:
    first, second = MemoryFileStorage(), MemoryFileStorage()
    shared = [first.create(b"x") for _ in range(1001)][:10]
    for each in shared:
        second.create(b"x", file_id=each)
    other = second.create(b"y")
    storage = FallbackStorage(first, second)
    assert sorted(storage.list()) == sorted([*first.list(), other])
    assert repr(storage) == f"FallbackStorage({first!r}, {second!r})"


class Down(MemoryFileStorage):
    """Does not answer while it is down, and takes its time to open and to store files if it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        #: How many calls there were.
        self.count = 0
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def _asked(self) -> None:
        self.count += 1
        if self.is_down:
            raise StorageTimeout("no answer")

    def _asked_slowly(self) -> None:
        self.begun.set()
        assert self.go_on.wait(DEADLINE)
        self._asked()

    def _open(self, file_id: str) -> StoredFile:
        self._asked_slowly()
        return super()._open(file_id)

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self._asked_slowly()
        return super()._save(file_id, content)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        self._asked()
        return super()._copy(source_id, file_id)

    def _delete(self, file_id: str) -> None:
        self._asked()
        super()._delete(file_id)

    def _exists(self, file_id: str) -> bool:
        self._asked()
        return super()._exists(file_id)

    def _list(self) -> Iterator[FileEntry]:
        self._asked()
        return super()._list()

    def _now(self) -> datetime:
        self._asked()
        return super()._now()

    def _undelete(self, file_id: str, *, dry_run: bool) -> bool:
        self._asked()
        return super()._undelete(file_id, dry_run=dry_run)


class Unreadable(io.BytesIO):
    """A file of a storage that does not answer."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise StorageTimeout("the source does not answer")


class Clock:
    """The clock of outages, which a test winds on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outages, "monotonic", clock)
    return clock


class Stalling(MemoryFileStorage):
    """Opens files, and does not answer when they are read."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def _open(self, file_id: str) -> StoredFile:
        self.count += 1
        return StoredFile(super()._open(file_id).info, Unreadable)

    _copy = FileStorage._copy


@pytest.mark.parametrize("kind", [FallbackStorage, MirrorStorage])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("call", ["get", "copy"])
def test_a_part_that_stops_in_the_middle_of_a_file_is_down(
    kind: type[CompositeStorage], number: int, call: str
) -> None:
    parts: list[Any] = [MemoryFileStorage(), MemoryFileStorage()]
    parts[number] = stalling = Stalling()
    file_id = stalling.create(b"x")
    storage = kind(*parts, retry_after=60)
    for _ in range(3):
        with pytest.raises(StorageTimeout):
            CALLS[call](storage, file_id)
    assert stalling.count == 1


def test_one_caller_tries_a_part_again(clock: Clock) -> None:
    """The others go on failing at once until it knows; when the part is back, all use it."""
    part = Down()
    fallback = FallbackStorage(part, MemoryFileStorage(), retry_after=2)
    file_id, part.is_down = fallback.create(b"x"), True
    asked = part.count

    def fail() -> None:
        with pytest.raises(StorageTimeout):
            fallback.get(file_id)

    fail()
    clock.now += 1.9
    fail()
    assert part.count == asked + 1
    clock.now += 0.1
    part.begun.clear()
    part.go_on.clear()
    with ThreadPoolExecutor(1) as threads:
        trying = threads.submit(fail)
        assert part.begun.wait(DEADLINE)
        for _ in range(20):
            fail()
        part.go_on.set()
        trying.result()
    assert part.count == asked + 2
    part.is_down = False
    clock.now += 1.9
    fail()
    clock.now += 0.1
    assert fallback.get(file_id).read() == b"x"
    assert fallback.get(file_id).read() == b"x"


CALLS: Final[dict[str, Callable[[CompositeStorage, str], object]]] = {
    "create": lambda storage, _: storage.create(b"y"),
    "delete": lambda storage, file_id: storage.delete(file_id),
    "get": lambda storage, file_id: storage.get(file_id).read(),
    "copy": lambda storage, file_id: storage.copy(file_id),
    "exists": lambda storage, _: storage.exists(new_file_id()),
    "list": lambda storage, _: list(storage.list()),
    "now": lambda storage, _: storage.now(),
    "notes": lambda storage, _: storage.read_note("owners"),
    "save_from": lambda storage, _: storage.save_from(source := MemoryFileStorage(), source.create(b"z")),
    "undelete": lambda storage, file_id: storage.undelete(file_id),
}


@pytest.mark.parametrize("kind", [FallbackStorage, MirrorStorage])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("call", CALLS)
def test_no_call_asks_a_part_that_is_down_twice(kind: type[CompositeStorage], number: int, call: str) -> None:
    parts = Down(), Down()
    storage = kind(*parts, retry_after=60)
    # One that only the part has that is down.
    file_id = storage._storages[number].create(b"x")
    parts[number].is_down, asked = True, parts[number].count
    for _ in range(3):
        with suppress(StorageTimeout):
            CALLS[call](storage, file_id)
    assert parts[number].count <= asked + 1


def test_a_new_file_that_one_part_of_a_mirror_lacks_is_in_none(caplog: pytest.LogCaptureFixture) -> None:
    """Although that part does not answer: no row can name an older file with a new id."""
    near, far = MemoryFileStorage(), Down()
    mirror, far.is_down = MirrorStorage(near, far), True
    with pytest.raises(StorageTimeout):
        mirror.create(b"x")
    assert (list(near.list()), caplog.messages) == ([], [])


def test_a_part_that_has_not_the_file_has_answered(clock: Clock) -> None:
    """So the outage is over, and two calls may ask it at once."""
    new, old = Down(), MemoryFileStorage()
    fallback = FallbackStorage(new, old, retry_after=2)
    file_id, new.is_down = old.create(b"x"), True
    with pytest.raises(StorageTimeout):
        fallback.get(file_id)
    new.is_down = False
    clock.now += 2
    assert fallback.get(file_id).read() == b"x"
    new.begun.clear()
    new.go_on.clear()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(fallback.get, file_id)
        assert new.begun.wait(DEADLINE)
        new.begun.clear()
        second = threads.submit(fallback.get, file_id)
        assert new.begun.wait(DEADLINE)
        new.go_on.set()
    assert first.result().read() == second.result().read() == b"x"


def test_a_try_that_takes_long_keeps_the_others_waiting_no_longer_than_an_outage(clock: Clock) -> None:
    new = Down()
    fallback = FallbackStorage(new, MemoryFileStorage(), retry_after=2)
    file_id, new.is_down = fallback.create(b"x"), True
    with pytest.raises(StorageTimeout):
        fallback.get(file_id)
    new.is_down = False
    new.begun.clear()
    new.go_on.clear()
    clock.now += 2
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(fallback.create, b"slow")
        assert new.begun.wait(DEADLINE)
        try:
            with pytest.raises(StorageTimeout):
                fallback.exists(file_id)
            clock.now += 2
            assert fallback.exists(file_id)
        finally:
            new.go_on.set()
    assert fallback.get(slow.result()).read() == b"slow"


@pytest.mark.parametrize("kind", [FallbackStorage, MirrorStorage])
def test_a_source_that_does_not_answer_is_no_outage_of_its_target(kind: type[CompositeStorage]) -> None:
    storage = kind(MemoryFileStorage(), MemoryFileStorage(), retry_after=60)
    with pytest.raises(StorageTimeout):
        storage.create(Unreadable(b"x"), "x.txt", "text/plain")
    assert storage.get(storage.create(b"y")).read() == b"y"


@pytest.mark.parametrize("kind", [FallbackStorage, MirrorStorage])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_composites_can_be_copied(kind: type[CompositeStorage], copied: Callable[[Any], Any], tmp_path: Path) -> None:
    storage = kind(*(LocalFileStorage(tmp_path / each) for each in ("a", "b")), retry_after=60)
    file_id = storage.create(b"x")
    other = copied(storage)
    assert other.get(file_id).read() == b"x"
    assert storage.get(other.create(b"y")).read() == b"y"
