"""Random histories of sessions against a model: after every end of a transaction, rows and files agree exactly.

The machine does what applications do, in any order, on rows with two file columns; the model is a dictionary of bytes for
each savepoint that is open. What a storage was told not to delete is the only thing that may lie around.

``DEPOT_TEST_EXAMPLES=2000`` plays that many random histories instead of the fixed ones.
"""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import Engine, delete, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, SessionTransaction

from depot_lite.errors import StorageFailed
from depot_lite.fields import outcomes
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileInfo
from depot_lite.io.local import LocalFileStorage
from depot_lite.ledger import Frame
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.models import Base, Document, Page

ATTRIBUTES = ("content", "report")

#: What a row holds: the bytes of each file attribute, None where there is no file.
Files = dict[str, bytes | None]
#: Primary key -> what the row holds.
Rows = dict[int, Files]

#: Every kind of step that a run must have reached, or it has shown nothing.
KINDS = (
    "commit",
    "rollback",
    "close",
    "savepoint released",
    "savepoint rolled back",
    "upload failed",
    "delete failed",
    "flush refused by the database",
    "added a second time",
    "copied",
    "swapped",
    "put back",
    "row taken over",
    "statement",
    "bulk",
)


class Fragile(LocalFileStorage):
    """A folder that fails when told so, and remembers what it therefore did not delete."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, durable=False)
        # How many saves still succeed; None: all. `after_save`: it fails with the file in place, as when the answer
        # of a remote storage is lost.
        self.saves_left: int | None = None
        self.after_save = False
        self.error: type[BaseException] = StorageFailed
        self.deletes_to_fail = 0
        self.leaked: set[str] = set()

    def _save(self, file_id: str, content: Content) -> FileInfo:
        with self._fails():
            return super()._save(file_id, content)

    def _copy(self, source_id: str, file_id: str) -> FileInfo:
        with self._fails():
            return super()._copy(source_id, file_id)

    @contextmanager
    def _fails(self) -> Iterator[None]:
        due = self.saves_left == 0
        if self.saves_left is not None:
            self.saves_left = None if due else self.saves_left - 1
        if due and not self.after_save:
            raise self.error("no space")
        yield
        if due:
            raise self.error("no answer")

    def _delete(self, file_id: str) -> None:
        if self.deletes_to_fail and self._exists(file_id):
            self.deletes_to_fail -= 1
            self.leaked.add(file_id)
            raise StorageFailed("no connection")
        super()._delete(file_id)
        self.leaked.discard(file_id)

    def sweep(self) -> int:
        """Delete what was left behind, and return how many files that were."""
        self.deletes_to_fail, leaked, self.leaked = 0, self.leaked, set()
        self.delete_many(leaked)
        return len(leaked)


@dataclass
class Lost:
    """An object that was new in a transaction that was rolled back, and may be added again."""

    document: Document
    files: Files


def is_there(value: DepotFileInfo) -> bool:
    """Return whether the bytes of a value can still be had: not of a copy whose original has gone."""
    waiting = value.waiting()
    if waiting is None:
        return DepotManager.get(value["depot_name"]).exists(value["file_id"])
    return waiting[0].original is None or is_there(waiting[0].original)


picks = st.integers(0, 7)
attributes = st.sampled_from(ATTRIBUTES)
several = st.lists(picks, min_size=1, max_size=3)


class Machine(RuleBasedStateMachine):
    """Subclassed with an engine, a folder for files and counters by `play`."""

    engine: Engine
    folder: Path
    reached: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.closing = ExitStack()
        self.closing.enter_context(temporary_depots())
        self.storages = {name: Fragile(self.folder / name) for name in ("default", "archive")}
        for name, storage in self.storages.items():
            DepotManager.configure(name, storage)
        # What rows hold at each open savepoint, as far as it was flushed: the first is what is committed.
        self.levels: list[Rows] = [{}, {}]
        # What they will hold after the next flush.
        self.now: Rows = {}
        self.savepoints: list[SessionTransaction] = []
        self.objects: dict[int, Document] = {}
        self.lost: list[Lost] = []
        self.replaced: list[tuple[int, str, DepotFileInfo, bytes]] = []
        # Objects whose values may come from rows that were rolled back since: they are not added again.
        self.reloaded: set[Document] = set()
        self.broken = False
        self.committed_paths: set[str] = set()
        self.numbers = iter(range(1, 1_000_000))
        self.session = self._new_session()

    def _new_session(self) -> Session:
        return Session(self.engine, autoflush=False)

    # --- what the rules are made of -------------------------------------------------------------------------------

    def _bytes(self) -> bytes:
        return b"bytes %d" % next(self.numbers)

    def _pick(self, number: int) -> int:
        rows = sorted(self.now)
        return rows[number % len(rows)]

    def _picked(self, numbers: Sequence[int]) -> list[int]:
        return sorted({self._pick(number) for number in numbers})

    def _object(self, row: int) -> Document:
        if row not in self.objects:
            found = self.session.get(Document, row)
            assert found is not None
            self.objects[row] = found
        return self.objects[row]

    def _remember(self, row: int, attribute: str) -> None:
        value, data = getattr(self._object(row), attribute), self.now[row][attribute]
        assert (value is None) == (data is None)
        if value is not None and data is not None:
            self.replaced.append((row, attribute, value, data))

    def _assign(self, row: int, attribute: str, value: Any, data: bytes | None) -> None:
        self._remember(row, attribute)
        setattr(self._object(row), attribute, value)
        self.now[row] = {**self.now[row], attribute: data}

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
            return True
        return False

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

    def _lose(self, document: Document, files: Files) -> None:
        """Keep what was new and is not any more, to add it again: its files are pending, with the same bytes."""
        if document in self.reloaded:
            return
        values = [document.__dict__.get(attribute) for attribute in ATTRIBUTES]
        assert [value is None for value in values] == [files[attribute] is None for attribute in ATTRIBUTES]
        assert all(value is None or value.pending for value in values)
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

    # --- objects --------------------------------------------------------------------------------------------------

    @rule(content=st.booleans(), report=st.booleans(), stream=st.booleans())
    def add(self, content: bool, report: bool, stream: bool) -> None:
        files: Files = {"content": self._bytes() if content else None, "report": self._bytes() if report else None}
        row = next(self.numbers)
        given = {key: io.BytesIO(data) if stream and data is not None else data for key, data in files.items()}
        self.objects[row] = Document(id=row, **given)
        self.session.add(self.objects[row])
        self.now[row] = files

    @precondition(lambda self: self.now)
    @rule(number=picks)
    def copy_row(self, number: int) -> None:
        row, new = self._pick(number), next(self.numbers)
        values = {attribute: getattr(self._object(row), attribute) for attribute in ATTRIBUTES}
        self.objects[new] = Document(id=new, **values)
        self.session.add(self.objects[new])
        self.now[new] = dict(self.now[row])
        self.reached["copied"] += 1

    @precondition(lambda self: self.lost)
    @rule()
    def add_a_second_time(self) -> None:
        self._add_lost()

    def _add_lost(self) -> None:
        lost, self.lost = self.lost, []
        for each in lost:
            row = each.document.id
            values = [getattr(each.document, attribute) for attribute in ATTRIBUTES]
            free = row not in self.now and row not in self.levels[-1]
            if free and all(value is None or is_there(value) for value in values):
                self.reached["added a second time"] += 1
                self.session.add(each.document)
                self.objects[row], self.now[row] = each.document, each.files

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes, unloaded=st.booleans())
    def replace(self, number: int, attribute: str, unloaded: bool) -> None:
        row = self._pick(number)
        document, data = self._object(row), self._bytes()
        if unloaded and inspect(document).persistent and self.now[row] == self.levels[-1].get(row):
            self.session.expire(document)
            self.reloaded.add(document)
            setattr(document, attribute, data)
            self.now[row] = {**self.now[row], attribute: data}
        else:
            self._assign(row, attribute, data, data)

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes)
    def clear(self, number: int, attribute: str) -> None:
        self._assign(self._pick(number), attribute, None, None)

    @precondition(lambda self: self.now)
    @rule(number=picks)
    def delete(self, number: int) -> None:
        row = self._pick(number)
        document = self._object(row)
        if inspect(document).pending:
            self.session.expunge(document)
            if row not in self.levels[-1]:
                self._lose(document, self.now[row])
        else:
            self.session.delete(document)
        del self.objects[row], self.now[row]

    @precondition(lambda self: self.now)
    @rule(source=picks, other=picks, from_=attributes, to=attributes)
    def copy(self, source: int, other: int, from_: str, to: str) -> None:
        row, data = self._pick(source), self.now[self._pick(source)][from_]
        self.reached["copied"] += data is not None
        self._assign(self._pick(other), to, getattr(self._object(row), from_), data)

    @precondition(lambda self: len(self.now) > 1)
    @rule(one=picks, other=picks, attribute=attributes, second=attributes)
    def swap(self, one: int, other: int, attribute: str, second: str) -> None:
        row, partner = self._pick(one), self._pick(other)
        mine, yours = getattr(self._object(row), attribute), getattr(self._object(partner), second)
        data, theirs = self.now[row][attribute], self.now[partner][second]
        self._assign(row, attribute, yours, theirs)
        self._assign(partner, second, mine, data)
        self.reached["swapped"] += 1

    @precondition(lambda self: self.replaced)
    @rule(number=picks)
    def put_old_value_back(self, number: int) -> None:
        row, attribute, value, data = self.replaced[-1 - number % len(self.replaced)]
        if row in self.now and is_there(value):
            self._assign(row, attribute, value, data)
            self.reached["put back"] += 1

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes)
    def merge(self, number: int, attribute: str) -> None:
        row, data = self._pick(number), self._bytes()
        document = self._object(row)
        if inspect(document).persistent:
            self._remember(row, attribute)
            assert self.session.merge(Document(id=row, **{attribute: data})) is document
            self.now[row] = {**self.now[row], attribute: data}

    @precondition(lambda self: self.now)
    @rule(number=picks, content=st.booleans())
    def delete_and_add_in_one_flush(self, number: int, content: bool) -> None:
        """SQLAlchemy makes one UPDATE of the two; what the new object does not mention, the row keeps."""
        row = self._pick(number)
        document = self._object(row)
        if self.broken or not inspect(document).persistent or self.now[row] != self.levels[-1].get(row):
            return
        self.session.delete(document)
        data = self._bytes() if content else None
        self.objects[row] = Document(id=row, content=data)
        self.session.add(self.objects[row])
        self.reloaded.add(self.objects[row])
        self.now[row] = {**self.now[row], "content": data}
        if self._flush():
            self.reached["row taken over"] += 1
            self.session.expire(self.objects[row])
        else:
            self._roll_back_innermost()

    @precondition(lambda self: self.now)
    @rule(number=picks, attribute=attributes)
    def read(self, number: int, attribute: str) -> None:
        row = self._pick(number)
        value = getattr(self._object(row), attribute)
        if value is None or value.pending:
            assert (value is None) == (self.now[row][attribute] is None)
        else:
            with value.file as stored:
                assert stored.read() == self.now[row][attribute]

    @rule()
    def expire_everything(self) -> None:
        if self._flush():
            self.reloaded.update(self.objects.values())
            self.session.expire_all()

    @rule()
    def flush(self) -> None:
        self._flush()

    @rule(once_in_a_while=st.integers(0, 2))
    def add_what_the_database_refuses(self, once_in_a_while: int) -> None:
        """A page of a folder that is not there: it fails inside the flush, with its file and all others stored."""
        if once_in_a_while:
            return
        self.session.add(Page(folder_id=-1, scan=self._bytes()))
        self.broken = True

    # --- transactions ---------------------------------------------------------------------------------------------

    @rule()
    def begin_savepoint(self) -> None:
        begun: list[SessionTransaction] = []
        if len(self.savepoints) < 4 and self._try(lambda: begun.append(self.session.begin_nested())):
            self._flushed()
            self.savepoints += begun
            self.levels.append(dict(self.now))

    @precondition(lambda self: self.savepoints)
    @rule(how=st.sampled_from(["release", "rollback", "retry"]))
    def end_savepoint(self, how: str) -> None:
        if how == "release":
            if self._try(self.savepoints[-1].commit):
                self.reached["savepoint released"] += 1
                self._flushed()
                self.savepoints.pop()
                self.levels[-2:] = [self.levels[-1]]
            return
        self.savepoints[-1].rollback()
        self._savepoint_rolled_back()
        if how == "retry":
            self._add_lost()

    @rule(how=st.sampled_from(["commit", "retry", "rollback", "close"]))
    def end_transaction(self, how: str) -> None:
        """One rule for all, so that transactions last some steps. A retry adds again what was new."""
        if how == "close":
            self._close()
        elif how == "commit":
            if self._try(self.session.commit):
                self._committed()
        else:
            self._roll_back()
            if how == "retry":
                self._add_lost()

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

    # --- statements -----------------------------------------------------------------------------------------------

    def _execute(self, step: Callable[[], object], new: Mapping[int, Files | None], kind: str = "statement") -> None:
        """Write rows behind the back of their objects; ``new``: what they hold afterwards, None if they are gone."""
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

    @precondition(lambda self: self.now)
    @rule(numbers=several, how=st.sampled_from(["auto", "fetch", False, "query"]))
    def delete_by_statement(self, numbers: list[int], how: Any) -> None:
        rows = self._picked(numbers)

        def step() -> None:
            if how == "query":
                self.session.query(Document).filter(Document.id.in_(rows)).delete()
            else:
                statement = delete(Document).where(Document.id.in_(rows))
                self.session.execute(statement, execution_options={"synchronize_session": how})

        self._execute(step, dict.fromkeys(rows))

    @precondition(lambda self: self.now)
    @rule(numbers=several, attribute=attributes, clear=st.booleans(), how=st.sampled_from(["auto", False, "query"]))
    def update_by_statement(self, numbers: list[int], attribute: str, clear: bool, how: Any) -> None:
        rows, data = self._picked(numbers), None if clear else self._bytes()

        def step() -> None:
            if how == "query":
                self.session.query(Document).filter(Document.id.in_(rows)).update({attribute: data})
            else:
                statement = update(Document).where(Document.id.in_(rows)).values({attribute: data})
                self.session.execute(statement, execution_options={"synchronize_session": how})

        self._execute(step, {row: {attribute: data} for row in rows})

    @precondition(lambda self: self.now)
    @rule(source=picks, other=picks, attribute=attributes)
    def copy_by_statement(self, source: int, other: int, attribute: str) -> None:
        row, partner = self._pick(source), self._pick(other)
        if not self._flush():
            return
        statement = update(Document).where(Document.id == partner)
        value = getattr(self._object(row), attribute)
        self._execute(
            lambda: self.session.execute(statement.values(report=value)),
            {partner: {"report": self.now[row][attribute]}},
        )

    @rule(count=st.integers(1, 3), how=st.sampled_from(["values", "many values", "mappings"]))
    def insert_by_statement(self, count: int, how: str) -> None:
        rows = self._new_rows(1 if how == "values" else count)

        def step() -> None:
            given = [{"id": row, **files} for row, files in rows.items()]
            if how == "mappings":
                self.session.execute(insert(Document), given)
            else:
                self.session.execute(insert(Document).values(given[0] if how == "values" else given))

        self._execute(step, rows)

    @rule(count=st.integers(1, 3), objects=st.booleans())
    def insert_in_bulk(self, count: int, objects: bool) -> None:
        rows = self._new_rows(count)

        def step() -> None:
            if objects:
                self.session.bulk_save_objects([Document(id=row, **files) for row, files in rows.items()])
            else:
                self.session.bulk_insert_mappings(inspect(Document), [{"id": row, **rows[row]} for row in rows])

        self._execute(step, rows, "bulk")

    @precondition(lambda self: self.now)
    @rule(numbers=several, attribute=attributes, how=st.sampled_from(["bulk", "by key"]))
    def update_in_bulk(self, numbers: list[int], attribute: str, how: str) -> None:
        new: Rows = {row: {attribute: self._bytes()} for row in self._picked(numbers)}

        def step() -> None:
            given = [{"id": row, **files} for row, files in new.items()]
            if how == "bulk":
                self.session.bulk_update_mappings(inspect(Document), given)
            else:
                self.session.execute(update(Document), given)

        self._execute(step, new, "bulk")

    def _new_rows(self, count: int) -> Rows:
        return {next(self.numbers): {"content": self._bytes(), "report": self._bytes()} for _ in range(count)}

    # --- failures of storages -------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(["default", "archive"]),
        left=st.integers(0, 2),
        after=st.booleans(),
        error=st.sampled_from([StorageFailed, PermissionError, KeyboardInterrupt]),
    )
    def let_an_upload_fail(self, name: str, left: int, after: bool, error: type[BaseException]) -> None:
        storage = self.storages[name]
        storage.saves_left, storage.after_save, storage.error = left, after, error

    @rule(name=st.sampled_from(["default", "archive"]), count=st.integers(1, 2))
    def let_deletes_fail(self, name: str, count: int) -> None:
        self.storages[name].deletes_to_fail = count

    @rule()
    def mend_the_storages(self) -> None:
        for storage in self.storages.values():
            storage.saves_left, storage.after_save = None, False
            self.reached["delete failed"] += storage.sweep()

    # --- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def committed_files_are_there(self) -> None:
        """At no moment is a file missing that a committed row names."""
        for path in self.committed_paths:
            name, _, file_id = path.partition("/")
            assert self.storages[name].exists(file_id), f"{path} is gone while a committed row names it"

    def check(self) -> None:
        """Compare rows with the model, and files with rows."""
        found = self._committed_rows()
        self.committed_paths = {
            path for files in found.values() for value in files.values() if value for path in value.paths
        }
        self.committed_files_are_there()
        assert {row: {key: read(value) for key, value in files.items()} for row, files in found.items()} == self.levels[
            0
        ]
        stored = {f"{name}/{file_id}" for name, storage in self.storages.items() for file_id in storage.list()}
        leaked = {f"{name}/{file_id}" for name, storage in self.storages.items() for file_id in storage.leaked}
        assert stored == self.committed_paths | leaked
        assert not self.committed_paths & leaked

    def _committed_rows(self) -> dict[int, dict[str, DepotFileInfo | None]]:
        with self.engine.connect() as connection:
            rows = connection.execute(select(Document.id, Document.content, Document.report)).all()
            assert connection.scalar(select(Page.id)) is None
        return {row.id: {"content": row.content, "report": row.report} for row in rows}

    def teardown(self) -> None:
        """End the last transaction too; leave no row and no file."""
        self._close()
        self.session.close()
        with self.engine.begin() as connection:
            for table in ("document", "page"):
                connection.execute(Base.metadata.tables[table].delete())
        self.reached["delete failed"] += sum(len(storage.leaked) for storage in self.storages.values())
        self.closing.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def read(value: DepotFileInfo | None) -> bytes | None:
    """Return the bytes of a stored value."""
    if value is None:
        return None
    with DepotManager.get_file(value["path"]) as stored:
        return stored.read()


def play(engine: Engine, path: Path, examples: int, *, phases: Sequence[Phase] = tuple(Phase)) -> Counter[str]:
    """Play histories and return how often they came to each kind of step."""
    wanted = os.environ.get("DEPOT_TEST_EXAMPLES")
    reached: Counter[str] = Counter()
    run_state_machine_as_test(
        type("PlayedMachine", (Machine,), {"engine": engine, "folder": path, "reached": reached}),
        settings=settings(
            max_examples=int(wanted or examples),
            stateful_step_count=50,
            derandomize=wanted is None,
            database=None,
            deadline=None,
            phases=[each for each in phases if each is not Phase.explain],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
    return reached


def test_no_history_loses_a_file_or_leaves_one_over(engine: Engine, tmp_path: Path) -> None:
    """In every random history, committed rows can read their files and nothing else is stored; and all kinds of steps
    were in it."""
    reached = play(engine, tmp_path, 120 if engine.dialect.name == "sqlite" else 40)
    print(dict(reached))
    assert not [kind for kind in KINDS if reached[kind] < 5]
