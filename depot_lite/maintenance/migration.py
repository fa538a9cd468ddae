"""Migration of files from one depot to another while the application runs.

The files of a row are copied under new ids and verified; then one statement makes the row name the copies, provided
that the row still has the value that was read. At every moment the row names existing files: the old ones stay, for
sessions that loaded the row before, until a sweep finds that no row names them. A sweep that runs meanwhile spares the
copies because they are young.

There is no state to lose. After an interruption the migration is started again, and skips rows that name the target.
Copies that no row names are unused files of the target.

Columns store new files in the source as long as they upload to it: point their alias at the target first, then migrate.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, MaintenanceStopped, UnknownDepot
from depot_lite.fields.interfaces import discard
from depot_lite.fields.relocation import relocated
from depot_lite.fields.tracking.transfers import off_loop, to_the_end
from depot_lite.maintenance.copying import Patience, both_depots, copy_file, without_frames
from depot_lite.maintenance.ids import Part
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.places import Place, chosen, places
from depot_lite.maintenance.rows.references import parsed, paths_in, where
from depot_lite.maintenance.rows.rewriting import RowSwap
from depot_lite.maintenance.run.pace import WORKERS, Pace, Window
from depot_lite.maintenance.run.reports import FailedRow, Step, Watcher, partial_report

#: Rows per page; more rows would more often have changed by the time their files are copied.
_PAGE: Final = 1000

#: Attempts for a row that other transactions change each time.
TRIES: Final = 5

#: Rows per transaction. SQLite blocks other writers meanwhile.
_AT_ONCE: Final = 200
_AT_ONCE_ON_SQLITE: Final = 50

#: Seconds that rows with finished copies may wait for others.
_SOON: Final = 0.05

#: Files that are queued while rows are read and written, so that no thread idles.
_QUEUED: Final = 1000


@dataclass(slots=True)
class MigrationReport:
    """The result of a migration."""

    source: str
    target: str
    #: Rows that name copies now, or would after a dry run.
    rows: int = 0
    #: Files of these rows that were copied.
    files: int = 0
    #: The size of these.
    bytes: int = 0
    #: Rows that name no file of the source, or are in another part.
    skipped: int = 0
    #: Rows that other transactions changed at each attempt; another run moves them.
    changed: int = 0
    #: Rows whose files could not be copied, or that could not be rewritten.
    failed: list[FailedRow] = field(default_factory=list)
    #: Units of a shared migration that are not done: other processes have them, or rows in them failed.
    left: int = 0
    dry_run: bool = False
    seconds: float = 0.0


def migrate(
    bind: Session | Engine | Connection,
    source: str,
    target: str,
    *,
    workers: int = WORKERS,
    rate: int | None = None,
    dry_run: bool = False,
    models: Iterable[object] | None = None,
    columns: Iterable[str] | None = None,
    where: str | None = None,
    limit: int | None = None,
    part: Part | None = None,
    progress: Watcher | None = None,
) -> MigrationReport:
    """Move the files that rows name from one depot to another.

    If a mapper counts versions (``version_id_col``), the version advances: a session that loaded the row before gets
    `StaleDataError` instead of writing the old paths back. Columns with ``onupdate`` are set.

    Args:
        bind: an engine, or a session bound to one. Rows are committed by the hundred; no lock is waited for meanwhile.
        source: a depot or an alias.
        target: another depot or alias.
        workers: number of files copied at a time.
        rate: maximum bytes per second; without server-side copies, since the bytes pass through this process.
        dry_run: only count rows, files and bytes.
        models: the declarative bases whose columns are read; by default all.
        columns: the columns whose files are moved, such as ``"movie.poster"``; by default all.
        where: SQL for the rows whose files are moved, as it stands behind WHERE; the columns have to be of one table.
        limit: number of rows to move at most.
        part: move only rows whose first file is in this part, while other processes move the others.
        progress: called with the `Progress` of each step.

    Raises:
        ConfigurationError: a depot is not configured, both are the same, or an argument is invalid.
        MaintenanceStopped: the database cannot be read, or many files in a row failed.
        StorageFull: the target is full. Rows moved until then stay moved.
    """
    among = chosen(places(models=models), columns, where)
    return _Migration(bind, source, target, Pace(rate), among, limit, part, progress, dry_run=dry_run).run(workers)


@dataclass(slots=True, eq=False)
class _Move:
    """A row being moved."""

    place: Place
    row: Row
    #: Depot and id of all files that the row names.
    named: list[tuple[str, str]]
    #: Ids of its files in the source -> ids of their copies; None until copied.
    ids: dict[str, str | None]
    tries: int = 1
    #: Files that are not copied yet.
    left: int = 0
    bytes: int = 0
    path: str | None = None
    error: Exception | None = None

    @property
    def copies(self) -> list[str]:
        """The ids of the copies."""
        return [each for each in self.ids.values() if each is not None]

    def fail(self, error: Exception, path: str | None = None) -> None:
        if self.error is None:
            self.error, self.path = error, path


#: The row of a copied file, the file id, and the size or the error.
_Copied = tuple[_Move, str, int | Exception]


class _Migration:
    def __init__(
        self,
        bind: Any,
        source: str,
        target: str,
        pace: Pace,
        among: list[Place],
        limit: int | None,
        part: Part | None,
        progress: Watcher | None,
        *,
        dry_run: bool,
    ) -> None:
        self.report = MigrationReport(*both_depots(source, target), dry_run=dry_run)
        self.source, self.target = Depots.get(self.report.source), Depots.get(self.report.target)
        self.database = Database(bind)
        self.places = among
        self.limit = limit
        if not dry_run and not all(map(self.database.owns_transactions, self.places)):
            raise ConfigurationError(f"expected an engine, or a session bound to one, to commit each row, got {bind!r}")
        self.pace = pace
        self.part = part
        self.progress = progress
        self.patience = Patience()
        self.statements: dict[tuple[int, str], RowSwap] = {}
        # Rows whose copies no row can name yet; of these, rows to be moved again, and rows to be written.
        self.moving: set[_Move] = set()
        self.again: deque[_Move] = deque()
        self.ready: list[_Move] = []
        self.flushed = 0.0

    def run(self, workers: int) -> MigrationReport:
        began = time.monotonic()
        try:
            with partial_report(self.report), Window[_Copied](workers, queued=_QUEUED) as window:
                try:
                    self._run(window)
                finally:
                    self.pace.stop()
        finally:
            if self.moving:  # interrupted; no copy is in progress any more
                to_the_end(lambda: self._discard(self.moving))
        self.report.seconds = time.monotonic() - began
        return self.report

    def _run(self, window: Window[_Copied]) -> None:
        with Step(self.progress, "counting" if self.report.dry_run else "copying") as step:
            for move in islice(self._moves(), self.limit):
                self._begin(move, window, step)
                while self.again:
                    self._begin(self.again.popleft(), window, step)
            while window.is_busy or self.ready:
                self._take(window, step)
                while self.again:
                    self._begin(self.again.popleft(), window, step)

    # --- reading --------------------------------------------------------------------------------------------------

    def _moves(self) -> Iterator[_Move]:
        """Yield the rows that name files of the source; no connection is held between pages."""
        for place in self.places:
            if not place.key:
                self._refuse(place)
                continue
            for page in self.database.pages(place, size=_PAGE):
                yield from off_loop(partial(self._moves_in, place, page))

    def _moves_in(self, place: Place, page: list[Row]) -> list[_Move]:
        return [move for row in page if (move := self._move_of(place, row)) is not None]

    def _move_of(self, place: Place, row: Row) -> _Move | None:
        """Return the move of a row; None if it names no file of the source, or cannot be moved."""
        try:
            named = self._named(place, row)
            ids: dict[str, str | None] = {file_id: None for name, file_id in named if self._is_source(name)}
            if ids and (not row.key or None in row.key):
                raise MaintenanceStopped(f"{where(place, row)}: no primary key to rewrite it by")
        except MaintenanceStopped as error:
            self._failed(place, row, None, error)
            return None
        if not ids or (self.part is not None and next(iter(ids)) not in self.part):
            self.report.skipped += 1
            return None
        return _Move(place, row, named, ids)

    def _named(self, place: Place, row: Row) -> list[tuple[str, str]]:
        """Return depot and id of the files that a row names; none if its text contains no name of the source."""
        if "\\" not in row.text and not any(name in row.text for name in self._names()):
            return []
        return paths_in(place, row)

    def _names(self) -> list[str]:
        return [self.report.source, *Depots.aliases_of(self.report.source)]

    def _is_source(self, name: str) -> bool:
        try:
            return Depots.resolve_alias(name) == self.report.source
        except UnknownDepot:  # not an alias of the source
            return False

    def _refuse(self, place: Place) -> None:
        """Report the rows of a table without a primary key that would have to be moved."""
        for page in self.database.pages(place):
            off_loop(partial(self._moves_in, place, page))

    # --- copying --------------------------------------------------------------------------------------------------

    def _begin(self, move: _Move, window: Window[_Copied], step: Step) -> None:
        move.left = len(move.ids)
        self.moving.add(move)
        sizes = _sizes_in(parsed(move.place, move.row)) if self.report.dry_run else {}
        for file_id in move.ids:
            while not window.has_room:
                self._take(window, step)
            if file_id in sizes:
                self._note([(move, file_id, sizes[file_id])], step)
            else:
                window.submit(partial(self._copy, move, file_id))
        self._note(window.results(timeout=0), step)

    def _take(self, window: Window[_Copied], step: Step) -> None:
        """Wait for copied files; rewrite rows meanwhile if none is copied soon."""
        outcomes = window.results(timeout=_SOON if self.ready else None)
        self._note(outcomes, step)
        if not outcomes:
            self._flush()

    def _copy(self, move: _Move, file_id: str) -> _Copied:
        try:
            if move.error is not None:  # another file of this row failed
                return move, file_id, 0
            if self.report.dry_run:
                return move, file_id, self.source._info(file_id).content_length
            info = copy_file(self.source, self.target, file_id, self.pace)
            move.ids[file_id] = info.file_id
            return move, file_id, info.content_length
        except Exception as error:  # a third-party backend may raise anything
            return move, file_id, error

    def _note(self, outcomes: list[_Copied], step: Step) -> None:
        """Record copied files, and rewrite the rows whose files are complete."""
        broken: list[_Move] = []
        for move, file_id, outcome in outcomes:
            move.left -= 1
            if isinstance(outcome, Exception):
                move.fail(outcome, f"{self.report.source}/{file_id}")
                self._judge(outcome, broken)
            else:
                self.patience.worked()
                move.bytes += outcome
                step.add(1, outcome)
            if move.left == 0:
                (self.ready if move.error is None else broken).append(move)
        for move in broken:
            self._reconsider(move)
        if len(self.ready) >= _AT_ONCE or (self.ready and time.monotonic() > self.flushed + _SOON):
            self._flush()

    def _judge(self, error: Exception, broken: list[_Move]) -> None:
        """Raise an error that ends the migration, after a report of the rows that failed before it."""
        try:
            self.patience.failed(error)
        except Exception:
            for move in broken:
                self._give_up(move)
            raise

    def _flush(self) -> None:
        """Rewrite the rows whose files are complete."""
        ready, self.ready = self.ready, []
        if self.report.dry_run:
            for move in ready:
                self._moved(move)
        else:
            self._write(ready)
        self.flushed = time.monotonic()

    def _discard(self, moves: Iterable[_Move]) -> None:
        """Delete copies that no row names."""
        discard(f"{self.report.target}/{each}" for move in moves for each in move.copies)

    # --- writing --------------------------------------------------------------------------------------------------

    def _write(self, moves: list[_Move]) -> None:
        by_place: dict[int, deque[_Move]] = {}
        for move in moves:
            by_place.setdefault(id(move.place), deque()).append(move)
        for waiting in by_place.values():
            while waiting:
                try:
                    with self.database.connection(waiting[0].place) as connection:
                        self._write_through(connection, waiting)
                except _ConnectionLost:
                    continue  # with a new connection
                except SQLAlchemyError as error:
                    raise MaintenanceStopped(f"the database cannot be reached: {error}") from error

    def _write_through(self, connection: Connection, waiting: deque[_Move]) -> None:
        statements = self._statements_for(waiting[0].place, connection.dialect.name)
        several = statements.takes_several(connection)
        at_once = _AT_ONCE if several else _AT_ONCE_ON_SQLITE if connection.dialect.name == "sqlite" else 1
        if any(move.tries > 1 for move in waiting):  # rows that failed in one transaction are retried one by one
            at_once = 1
        while waiting:
            batch = [waiting.popleft() for _ in range(min(at_once, len(waiting)))]
            if several and len(batch) > 1:
                batch = self._swap_several(connection, statements, batch)
            for some in [[move] for move in batch] if several else [batch]:
                missed = self._swap(connection, statements, some)
                for move in some:
                    if move not in missed:
                        self._moved(move)
                for move in missed:
                    self._reconsider(move, connection)

    def _swap_several(self, connection: Connection, statements: RowSwap, batch: list[_Move]) -> list[_Move]:
        """Rewrite rows by one statement, and return those that have to be written one by one."""
        texts = {move: self._new_text(move) for move in batch}
        self.moving.difference_update(batch)  # as in `_swap`
        try:
            with self._until_commit(connection, batch):
                locked = statements.lock(connection, [move.row for move in batch])
                free = [move for move in batch if _as_text(locked.get(move.row.key)) == move.row.text]
                done = bool(free) and statements.swap_several(connection, [(move.row, texts[move]) for move in free])
            connection.commit() if done else connection.rollback()
        except DBAPIError as error:
            if error.connection_invalidated:
                for move in batch:
                    move.fail(error)
                    self._give_up(move)
                raise _ConnectionLost from error
            connection.rollback()
            return batch
        for move in free if done else ():
            self._moved(move)
        return [move for move in batch if not done or move not in free]

    def _swap(self, connection: Connection, statements: RowSwap, batch: list[_Move]) -> list[_Move]:
        """Rewrite rows in a transaction, and return those that were not, or may not have been, rewritten."""
        texts = [(move, self._new_text(move)) for move in batch]
        # From here on the rows may name the copies, until the database has answered: after an interruption the copies
        # are kept, and a sweep finds those that no row names.
        self.moving.difference_update(batch)
        try:
            with self._until_commit(connection, batch):
                missed = [move for move, text in texts if not statements.swap(connection, move.row, text)]
            connection.commit()
        except DBAPIError as error:
            for move in batch:
                move.fail(error)
            if error.connection_invalidated:
                for move in batch:
                    self._give_up(move)
                raise _ConnectionLost from error
            connection.rollback()
            return batch
        self.moving.update(missed)
        return missed

    @contextmanager
    def _until_commit(self, connection: Connection, batch: list[_Move]) -> Iterator[None]:
        """Roll back what an interruption leaves: no row names the copies then, and they are deleted."""
        try:
            yield
        except DBAPIError:
            raise
        except BaseException:
            with suppress(Exception):  # then the copies stay
                connection.rollback()
                self.moving.update(batch)
            raise

    def _statements_for(self, place: Place, dialect: str) -> RowSwap:
        key = id(place), dialect
        if key not in self.statements:
            self.statements[key] = RowSwap(place, dialect)
        return self.statements[key]

    def _new_text(self, move: _Move) -> str:
        data = parsed(move.place, move.row)
        if isinstance(data, list):  # its elements may be in different depots
            return json.dumps([self._relocated(move, each, self._named_by(move, each)) for each in data])
        return json.dumps(self._relocated(move, data, move.named))

    def _named_by(self, move: _Move, element: Any) -> list[tuple[str, str]]:
        try:
            return paths_in(move.place, move.row._replace(text=json.dumps(element)))
        except MaintenanceStopped:  # an empty element
            return []

    def _relocated(self, move: _Move, data: Any, named: list[tuple[str, str]]) -> Any:
        """Return one value with its files replaced by their copies."""
        moved = {f"{name}/{file_id}": f"{name}/{file_id}" for name, file_id in named}
        for name, file_id in named:
            if self._is_source(name):
                for each in (name, *self._names()):
                    moved[f"{each}/{file_id}"] = f"{self.report.target}/{move.ids[file_id]}"
        return relocated(data, moved)

    # --- outcomes -------------------------------------------------------------------------------------------------

    def _moved(self, move: _Move) -> None:
        self.moving.discard(move)
        self.report.rows += 1
        self.report.files += len(move.ids)
        self.report.bytes += move.bytes

    def _give_up(self, move: _Move) -> None:
        """Report the row as failed. Copies that were not deleted before are kept."""
        if move.error is not None:
            self._failed(move.place, move.row, move.path, move.error)

    def _failed(self, place: Place, row: Row, path: str | None, error: Exception) -> None:
        self.report.failed.append(FailedRow(str(place), row.key, path, without_frames(error)))

    def _reconsider(self, move: _Move, connection: Connection | None = None) -> None:
        """Read a row again that was not rewritten, and retry if that may help."""
        row = self._row_now(move, connection)
        if row is not None and any(each in row.text for each in move.copies):
            self._moved(move)  # written in spite of the error: a trigger or procedure that commits
            return
        self.moving.add(move)
        unchanged = row is not None and row.text == move.row.text and move.error is not None
        if unchanged and move.path is None and move.tries < TRIES:  # a lock or a conflict in the database
            move.tries, move.error = move.tries + 1, None
            self.ready.append(move)
            return
        if move.copies:
            off_loop(lambda: self._discard([move]))
        self.moving.discard(move)
        if unchanged:
            self._give_up(move)
        elif row is not None:
            self._try_again(move, row)

    def _try_again(self, move: _Move, row: Row) -> None:
        """Move the current files of the row, if they are in the source and attempts are left."""
        renewed = self._move_of(move.place, row)
        if renewed is not None and move.tries < TRIES:
            renewed.tries = move.tries + 1
            self.again.append(renewed)
        elif renewed is not None:
            self.report.changed += 1

    def _row_now(self, move: _Move, connection: Connection | None) -> Row | None:
        """Return the current row; None if it is gone or has NULL."""
        try:
            if connection is None:
                with self.database.connection(move.place) as new:
                    return self._row_now(move, new)
            text = self._statements_for(move.place, connection.dialect.name).text(connection, move.row)
            if self.database.owns_transactions(move.place):
                connection.rollback()
        except SQLAlchemyError as error:
            raise MaintenanceStopped(f"{where(move.place, move.row)} cannot be read: {error}") from error
        if text is None:
            return None
        return Row(move.row.key, _as_text(text), None)


def _as_text(held: Any) -> Any:
    return held.decode() if isinstance(held, bytes) else held


class _ConnectionLost(Exception):
    """Raised when a connection broke and has to be replaced."""


def _sizes_in(data: Any) -> dict[str, int]:
    """Return the sizes of files stored in a row: file id -> bytes."""
    found: dict[str, int] = {}
    if isinstance(data, dict):
        file_id, size = data.get("file_id"), data.get("size", data.get("content_length"))
        if isinstance(file_id, str) and isinstance(size, int):
            found[file_id] = size
    for each in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        found |= _sizes_in(each)
    return found
