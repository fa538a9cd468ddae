"""A model of sessions with files: the rows expected at each savepoint, and the check that rows and files agree.

`tests.fields.test_state_machine` makes histories of it.
"""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from zlib import crc32

from hypothesis import stateful
from hypothesis.strategies import SearchStrategy
from sqlalchemy import Engine, delete, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, SessionTransaction

from depot_lite.errors import StorageFailed
from depot_lite.fields.columns import files_in, paths_of
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.lists import FileList
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileEntry, FileInfo, FileStorage, StoredFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.support.models import Document, Page

ATTRIBUTES = ("content", "report")

#: The content of an attribute: the bytes of its file, or None; those of each file of a list.
Held = bytes | tuple[bytes, ...] | None
#: The content of a row: a `Held` for each file attribute; the subclass defines the attributes.
Files = dict[str, Any]
#: Primary key -> content of the row.
Rows = dict[int, Files]


class Fragile(FileStorage):
    """A storage that fails when told so, in front of another; it remembers the files that it did not delete."""

    def __init__(self, inner: FileStorage) -> None:
        self.inner = inner
        self._concurrency = inner.concurrency
        # How many saves still succeed; None: all. `after_save`: it fails with the file in place, as when the answer
        # of a remote storage is lost.
        self.saves_left: int | None = None
        self.after_save = False
        self.error: type[BaseException] = StorageFailed
        self.deletes_to_fail = 0
        self.leaked: set[str] = set()
        # Saves go side by side: without it, how many succeed would depend on the threads.
        self._counting = threading.Lock()

    def _save(self, file_id: str, content: Content) -> FileInfo:
        with self._fails():
            return self.inner._save(file_id, content)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        with self._fails():
            return self.inner._copy(source_id, file_id)

    @contextmanager
    def _fails(self) -> Iterator[None]:
        with self._counting:
            due, error, after = self.saves_left == 0, self.error, self.after_save
            if self.saves_left is not None:
                self.saves_left = None if due else self.saves_left - 1
        if due and not after:
            raise error("no space")
        yield
        if due:
            raise error("no answer")

    def _delete(self, file_id: str) -> None:
        for error in self._delete_many([file_id]).values():
            raise error

    def _delete_many(self, file_ids: list[str]) -> dict[str, Exception]:
        refused = [each for each in dict.fromkeys(file_ids) if self._refuses(each)]
        self.leaked.update(refused)
        doomed = [each for each in file_ids if each not in refused]
        failed = self.inner._delete_many(doomed)
        self.leaked.difference_update(set(doomed).difference(failed))
        return {**dict.fromkeys(refused, StorageFailed("no connection")), **failed}

    def _refuses(self, file_id: str) -> bool:
        refuses = self.deletes_to_fail > 0 and self._exists(file_id)
        self.deletes_to_fail -= refuses
        return refuses

    def _open(self, file_id: str) -> StoredFile:
        return self.inner._open(file_id)

    def _exists(self, file_id: str) -> bool:
        return self.inner._exists(file_id)

    def _list(self) -> Iterator[FileEntry]:
        return self.inner._list()

    def sweep(self) -> int:
        """Delete the files that were left behind, and return their number."""
        self.deletes_to_fail, leaked, self.leaked = 0, self.leaked, set()
        self.delete_many(leaked)
        return len(leaked)


@dataclass
class Lost:
    """An object that was new in a transaction that was rolled back, and may be added again."""

    document: Any
    files: Files


def _each_of(held: Held) -> tuple[bytes, ...]:
    if held is None:
        return ()
    return held if isinstance(held, tuple) else (held,)


def count(held: Held) -> int:
    """Return how many files that is."""
    return len(_each_of(held))


def is_there(value: DepotFileInfo) -> bool:
    """Return whether the bytes of a value can still be had: not of a copy whose original has gone, or is about to."""
    waiting = value.snapshot()
    if waiting is None:
        storage, file_id = DepotManager.get(value["depot_name"]), value["file_id"]
        assert isinstance(storage, Fragile)
        return storage.exists(file_id) and file_id not in storage.leaked
    return waiting[0].original is None or is_there(waiting[0].original)


def read(value: Any) -> Held:
    """Return the bytes of a stored value, or of a list of them."""
    if value is None:
        return None
    if isinstance(value, FileList):
        return tuple(map(_read_one, value))
    return _read_one(value)


def _read_one(value: DepotFileInfo) -> bytes:
    with DepotManager.get_file(value["path"]) as stored:
        return stored.read()


def _done_by_machine(step: Callable[..., None]) -> Callable[..., None]:
    @wraps(step)
    def done(self: History, *args: Any, **drawn: Any) -> None:
        self._do(lambda: step(self, *args, **drawn))

    return done


def rule(**drawn: SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis's ``rule``, whose work is done by `History._do`."""
    hypothesis: Callable[..., Callable[[Callable[..., None]], Callable[..., None]]] = stateful.rule
    return lambda step: hypothesis(**drawn)(_done_by_machine(step))


def initialize() -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Hypothesis's ``initialize``, whose work is done by `History._do`."""
    return lambda step: stateful.initialize()(_done_by_machine(step))


class History(stateful.RuleBasedStateMachine):
    """One session after the other, the model of their work, and the check that both agree.

    It has no rules: those are the subclass's. An engine, a folder for files and counters are set by a subclass too.
    """

    model: Any = Document
    attributes: tuple[str, ...] = ATTRIBUTES

    engine: Engine
    folder: Path
    reached: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.closing = ExitStack()
        self.closing.enter_context(temporary_depots())
        self.storages = {name: Fragile(self._new_storage(name)) for name in ("default", "archive")}
        for name, storage in self.storages.items():
            DepotManager.configure(name, storage)
        # The rows at each open savepoint, as far as they were flushed; the first element: the committed ones.
        self.levels: list[Rows] = [{}, {}]
        # The rows after the next flush.
        self.now: Rows = {}
        self.savepoints: list[SessionTransaction] = []
        self.objects: dict[int, Any] = {}
        self.lost: list[Lost] = []
        self.replaced: list[tuple[int, str, DepotFileInfo, Held]] = []
        # Objects whose values may come from rows that were rolled back since: they are not added again.
        self.reloaded: set[Any] = set()
        self.broken = False
        self.committed_paths: set[str] = set()
        self.numbers = iter(range(1, 1_000_000))
        self.session = self._new_session()

    def _new_session(self) -> Session:
        return Session(self.engine, autoflush=False)

    def _new_storage(self, name: str) -> FileStorage:
        return LocalFileStorage(self.folder / name, durable=False)

    def _do(self, step: Callable[[], None]) -> None:
        """Do the work of a rule, which may call others."""
        step()

    # --- rows and values ------------------------------------------------------------------------------------------

    def _bytes(self) -> bytes:
        return b"bytes %d" % next(self.numbers)

    def _pick(self, number: int) -> int:
        rows = sorted(self.now)
        return rows[number % len(rows)]

    def _picked(self, numbers: Sequence[int]) -> list[int]:
        return sorted({self._pick(number) for number in numbers})

    def _object(self, row: int) -> Any:
        if row not in self.objects:
            found = self.session.get(self.model, row)
            assert found is not None
            self.objects[row] = found
        return self.objects[row]

    def _remember(self, row: int, attribute: str) -> None:
        value, data = getattr(self._object(row), attribute), self.now[row][attribute]
        assert (value is None) == (data is None)
        if value is not None and data is not None:
            self.replaced.append((row, attribute, value, data))

    def _assign(self, row: int, attribute: str, value: Any, data: Held) -> None:
        self._remember(row, attribute)
        setattr(self._object(row), attribute, value)
        self.now[row] = {**self.now[row], attribute: data}

    # --- flushes and failures -----------------------------------------------------------------------------------------

    def _flushed(self) -> None:
        self.levels[-1] = dict(self.now)

    def _try(self, step: Callable[[], object]) -> bool:
        """Do what flushes; return False where it failed as it should: with the model as it was, or rolled back."""
        armed = [each for each in self.storages.values() if each.saves_left is not None]
        try:
            step()
        except IntegrityError:
            assert self.broken
            self.reached["flush refused by the database"] += 1
            self._roll_back_innermost()
            return False
        except (StorageFailed, PermissionError, KeyboardInterrupt):
            assert any(each.saves_left is None for each in armed)
            self.reached["upload failed"] += 1
            return False
        assert not self.broken
        return True

    def _flush(self) -> bool:
        if self._try(self.session.flush):
            self._flushed()
            self._compare_objects()
            return True
        return False

    def _compare_objects(self) -> None:
        """Compare what objects show with the model, without looking into files."""
        for row, document in self.objects.items():
            for attribute, data in self.now[row].items():
                if attribute in document.__dict__:
                    shown = [value.get("checksum") for value in files_in(document.__dict__[attribute])]
                    assert shown == [f"crc32:{crc32(each):08x}" for each in _each_of(data)]

    def _execute(self, step: Callable[[], object], new: Mapping[int, Files | None], kind: str = "statement") -> None:
        """Write rows behind the back of their objects; ``new``: their content afterwards, None if they are gone."""
        if not self._flush() or not self._try(step):
            return
        self.reached[kind] += 1
        for row, files in new.items():
            if files is None:
                del self.now[row]
            else:
                self.now[row] = {**self.now.get(row, {}), **files}
        self._flushed()
        for row in set(self.objects).intersection(new):
            self._look_again(row)

    def _look_again(self, row: int) -> None:
        document = self.objects[row]
        self.reloaded.add(document)
        if row in self.now:
            self.session.expire(document)
        else:
            del self.objects[row]
            if document in self.session:
                self.session.expunge(document)

    # --- how transactions end -----------------------------------------------------------------------------------------

    def _roll_back_innermost(self) -> None:
        if self.savepoints:
            self.savepoints[-1].rollback()
            self._savepoint_rolled_back()
        else:
            self.session.rollback()
            self._rolled_back()

    def _savepoint_rolled_back(self) -> None:
        self.reached["savepoint rolled back"] += 1
        self.savepoints.pop()
        self.levels.pop()
        self._back_to(self.levels[-1])
        self.reloaded.update(self.objects.values())
        # SQLAlchemy expires attributes that objects changed, not those of rows that statements changed.
        self.session.expire_all()

    def _rolled_back(self) -> None:
        self.reached["rollback"] += 1
        self.savepoints.clear()
        self.levels = [self.levels[0], self.levels[0]]
        self._back_to(self.levels[0])
        self._transaction_ended()

    def _back_to(self, rows: Rows) -> None:
        self.broken = False
        for row, document in list(self.objects.items()):
            if inspect(document).transient:
                del self.objects[row]
                self._lose(document, self.now[row])
            elif row not in rows:  # loaded from a row that a statement had inserted
                self.session.expunge(self.objects.pop(row))
        self.now = dict(rows)

    def _lose(self, document: Any, files: Files) -> None:
        """Keep an object that is new no longer, to add it again: its files are pending, with the same bytes."""
        if document in self.reloaded:
            return
        held = [files_in(document.__dict__.get(attribute)) for attribute in self.attributes]
        assert [len(values) for values in held] == [count(files[attribute]) for attribute in self.attributes]
        assert all(value.pending for values in held for value in values)
        self.lost.append(Lost(document, dict(files)))

    def _committed(self) -> None:
        self.reached["commit"] += 1
        self.savepoints.clear()
        self.levels = [dict(self.now), dict(self.now)]
        self._transaction_ended()

    def _transaction_ended(self) -> None:
        self.replaced.clear()
        self.reloaded.clear()
        self.check()

    def _add_lost(self) -> None:
        lost, self.lost = self.lost, []
        for each in lost:
            row = each.document.id
            values = [value for attribute in self.attributes for value in files_in(getattr(each.document, attribute))]
            free = row not in self.now and row not in self.levels[-1]
            if free and all(map(is_there, values)):
                self.reached["added a second time"] += 1
                self.session.add(each.document)
                self.objects[row], self.now[row] = each.document, each.files

    def _begin_savepoint(self) -> None:
        begun: list[SessionTransaction] = []
        if self._try(lambda: begun.append(self.session.begin_nested())):
            self._flushed()
            self.savepoints += begun
            self.levels.append(dict(self.now))

    def _release_savepoint(self) -> None:
        if self._try(self.savepoints[-1].commit):
            self.reached["savepoint released"] += 1
            self._flushed()
            self.savepoints.pop()
            self.levels[-2:] = [self.levels[-1]]

    def _roll_back(self) -> None:
        if self.savepoints:  # each of them is rolled back on the way, which expires what changed in it
            self.reloaded.update(self.objects.values())
        self.session.rollback()
        self._rolled_back()

    def _close(self) -> None:
        self.session.close()
        self.reached["close"] += 1
        self.savepoints.clear()
        self.objects.clear()
        self.broken = False
        self.now = dict(self.levels[0])
        self.levels = [self.levels[0], self.levels[0]]
        self.session = self._new_session()
        self._transaction_ended()

    # --- what must hold -------------------------------------------------------------------------------------------

    @stateful.invariant()
    def committed_files_are_there(self) -> None:
        """At no moment is a file missing that a committed row names."""
        self.reached["step"] += 1
        gone = self.committed_paths - self._stored() if self.committed_paths else ()
        assert not gone, f"gone while a committed row names them: {gone}"

    def _stored(self) -> set[str]:
        return {f"{name}/{file_id}" for name, storage in self.storages.items() for file_id in storage.list()}

    def check(self) -> None:
        """Compare rows with the model, and files with rows."""
        found = self._committed_rows()
        named = [path for files in found.values() for value in files.values() for path in paths_of(value)]
        self.committed_paths = set(named)
        assert len(named) == len(self.committed_paths), f"two rows share a file: {named}"
        self.committed_files_are_there()
        assert {row: {key: read(value) for key, value in files.items()} for row, files in found.items()} == self.levels[
            0
        ]
        leaked, beside = self._leaked(), self._beside()
        assert self._stored() - beside == (self.committed_paths | leaked) - beside
        assert not self.committed_paths & leaked

    def _leaked(self) -> set[str]:
        """Return the paths of the files that a storage was told to keep when they were deleted."""
        return {f"{name}/{file_id}" for name, storage in self.storages.items() for file_id in storage.leaked}

    def _beside(self) -> set[str]:
        """Return the paths of files that may be there although no row names them."""
        return set()

    def _committed_rows(self) -> dict[int, dict[str, Any]]:
        wanted = [getattr(self.model, attribute) for attribute in self.attributes]
        with self.engine.connect() as connection:
            rows = connection.execute(select(self.model.id, *wanted)).all()
            assert connection.scalar(select(Page.id)) is None
        return {row.id: dict(zip(self.attributes, row[1:], strict=True)) for row in rows}

    def teardown(self) -> None:
        """End the last transaction too; leave no row and no file."""
        try:
            self._do(self._close)
        finally:
            self._do(self.session.close)
            with self.engine.begin() as connection:
                for model in (self.model, Page):
                    connection.execute(delete(model))
            self.reached["delete failed"] += sum(len(storage.leaked) for storage in self.storages.values())
            self.closing.close()
            shutil.rmtree(self.folder, ignore_errors=True)
