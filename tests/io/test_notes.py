"""The notes of maintenance: two processes that change one at once, and servers without conditional writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from depot_lite.errors import StorageFailed
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.maintenance import trash, undelete
from depot_lite.maintenance.ids import unpacked
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import World
from tests.io.backends import KINDS, Place, Servers, on, place_on
from tests.support.models import Document
from tests.support.sweeps import sweep


@pytest.fixture
def depots(place: Place) -> Iterator[dict[str, FileStorage]]:
    """Two depots in one bucket, folder or database."""
    with temporary_depots():
        yield {name: DepotManager.configure(name, place.storage(name)) for name in ("default", "archive")}


def before_the_first_writing(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    """Do something between the next reading of marks and their writing."""
    encode, done = trash._encode, list[object]()

    def encoding(marks: Any) -> bytes:
        if not done:
            done.append(None)
            do()
        return encode(marks)

    monkeypatch.setattr(trash, "_encode", encoding)


def marked(storage: FileStorage) -> set[str]:
    return {unpacked(key) for key in trash.load_marks(storage)}


@on(*KINDS, "real s3")
@pytest.mark.matrix
def test_a_sweep_and_undelete_at_once_lose_no_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is interrupted by the other between the reading and the writing of the marks."""
    storage, week = world.depots["default"], timedelta(days=7)
    if not storage.notes_are_conditional:
        pytest.skip("this storage has no conditional writes")
    with world.session() as session:
        session.add(Document(id=1, content=b"named", report=b"named"))
        session.commit()
    first = storage.create(b"first")
    assert sweep(world.engine, models=[Document], trash=week).marked == 1
    second = storage.create(b"second")
    with monkeypatch.context() as patch:
        before_the_first_writing(patch, lambda: undelete("default", [first]))
        assert sweep(world.engine, models=[Document], trash=week).marked == 1
    if not storage.notes_are_conditional:
        pytest.skip("this server has no conditional writes")
    assert marked(storage) == {second}
    with monkeypatch.context() as patch:
        before_the_first_writing(patch, lambda: sweep(world.engine, models=[Document], trash=week))
        assert undelete("default", [second]).unmarked == (second,)
    assert marked(storage) == {first}


@on("local", "memory", "fallback", "mirror", "gcs")
@pytest.mark.matrix
def test_many_threads_change_a_note(place: Place) -> None:
    """All changes are in it, in each part of a mirror."""
    storage, barrier = place.storage("notes"), threading.Barrier(4, timeout=60)

    def change(name: bytes) -> None:
        barrier.wait()
        for _ in range(5):
            storage.update_note("trash", lambda note: note + name)

    threads = [threading.Thread(target=change, args=(name,)) for name in (b"a", b"b", b"c", b"d")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    texts = {text for part in storage.parts if (text := part.read_note("trash")) is not None}
    assert [sorted(text.decode()) for text in texts] == [sorted("abcd" * 5)]


def test_a_note_that_changes_each_time_is_an_error() -> None:
    """It says that others changed it."""
    storage = MemoryFileStorage()

    def change(note: bytes) -> bytes:
        storage.write_note("trash", note + b"x")
        return b"ours"

    with pytest.raises(StorageFailed, match=r"a note of MemoryFileStorage\(\) was changed by others at each of 50"):
        storage.update_note("trash", change)


def test_an_emptied_note_hides_that_of_the_old_half(tmp_path: Path) -> None:
    """A note of a FallbackStorage is changed in the new half, from the text in the old one."""
    with place_on("fallback", tmp_path, None) as place:  # type: ignore[arg-type]  # it needs no server
        storage = place.storage("notes")
    storage.parts[1].write_note("trash", b"old ")
    storage.update_note("trash", lambda note: note + b"new")
    assert [part.read_note("trash") for part in storage.parts] == [b"old new", b"old "]
    storage.update_note("trash", lambda _: b"")
    assert (storage.read_note("trash"), storage.parts[1].read_note("trash")) == (None, b"old ")
    storage.write_note("trash", b"")
    assert storage.parts[1].read_note("trash") is None


@on("local", "memory", "s3", "gridfs")
def test_a_subclass_may_store_other_bytes(place: Place) -> None:
    """Encrypted ones, for example: notes go the way of files."""
    storage = place.storage("notes")
    save, load = type(storage)._save, type(storage)._open

    def save_reversed(self: Any, file_id: str, content: Content) -> FileInfo:
        with content.open() as source:
            return save(self, file_id, Content.of(source.read()[::-1], content.filename, content.content_type))

    def open_reversed(self: Any, file_id: str) -> StoredFile:
        memory = MemoryFileStorage()
        with load(self, file_id) as file:
            return memory.get(memory.create(file.read()[::-1]))

    kind = type("Reversed", (type(storage),), {"_save": save_reversed, "_open": open_reversed})
    reversing: Any = object.__new__(kind)
    reversing.__dict__.update(storage.__dict__)
    for _ in range(2):
        reversing.update_note("trash", lambda note: note + b"text ")
    assert reversing.read_note("trash") == b"text text "
    assert storage.read_note("trash") == b"text text "[::-1]


def ignore(storage: Any) -> None:
    """Let no condition arrive."""
    for name in ("IfMatch", "IfNoneMatch"):
        storage._client.meta.events.register(
            "provide-client-params.s3.PutObject", lambda params, name=name, **_: params.pop(name, None) and None
        )


def refuse(storage: Any) -> None:
    """Let the server answer that it has no conditions."""

    def answer(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
        if http_response.status_code == 412:
            http_response.status_code, parsed["Error"] = 501, {"Code": "NotImplemented"}

    storage._client.meta.events.register("after-call.s3.PutObject", answer)


def never_hold(storage: Any) -> None:
    """Let each condition be false."""

    def change(params: dict[str, Any], **_: object) -> None:
        if "IfMatch" in params:
            params["IfMatch"] = "another"

    storage._client.meta.events.register("provide-client-params.s3.PutObject", change)


def collide(storage: Any) -> None:
    """Let three conditional requests meet others, so that S3 does not compare the versions."""
    met: list[None] = []

    def change(params: dict[str, Any], **_: object) -> None:
        if "IfMatch" in params and len(met) < 3:
            params["IfMatch"] = "another"

    def answer(http_response: Any, parsed: dict[str, Any], **_: object) -> None:
        if http_response.status_code == 412 and len(met) < 3:
            met.append(None)
            http_response.status_code, parsed["Error"] = 409, {"Code": "ConditionalRequestConflict"}

    storage._client.meta.events.register("provide-client-params.s3.PutObject", change)
    storage._client.meta.events.register("after-call.s3.PutObject", answer)


@pytest.mark.server
def test_conditional_requests_that_meet_others_are_no_lack_of_conditions(tmp_path: Path, servers: Servers) -> None:
    """S3 refuses to compare them, and they are sent again."""
    with place_on("s3", tmp_path, servers) as place:
        storage = place.storage("notes")
        storage.update_note("trash", lambda note: note + b"some ")
        storage.update_note("trash", lambda note: note + b"more ")  # the server is known to have conditions
        collide(storage)
        storage.update_note("trash", lambda note: note + b"more ")
        assert storage.read_note("trash") == b"some more more "
        assert storage.notes_are_conditional


@pytest.mark.server
@pytest.mark.parametrize("without_conditions", [ignore, refuse, never_hold])
def test_a_server_without_conditional_writes_is_found_out(
    tmp_path: Path, servers: Servers, without_conditions: Callable[[Any], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The note is changed all the same, and the log says once that changes at the same moment may be lost."""
    with place_on("s3", tmp_path, servers) as place:
        storage = place.storage("notes")
        storage.write_note("trash", b"some ")
        without_conditions(storage)
        for _ in range(2):
            storage.update_note("trash", lambda note: note + b"more ")
        assert storage.read_note("trash") == b"some more more "
        assert not storage.notes_are_conditional
    (said,) = (each.getMessage() for each in caplog.records if each.name == "depot_lite")
    assert said.endswith("has no conditional writes: of two changes of a note at once, one may be lost")
