"""The mover of a migration: copies the files of rows, and lets the rows name the copies."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from depot_lite.depots import Depots, discard
from depot_lite.errors import ConfigurationError, MaintenanceStopped
from depot_lite.fields.tracking.transfers import off_loop, to_the_end
from depot_lite.maintenance.copying import FailureCounter, both_depots, copy_file, without_frames
from depot_lite.maintenance.ids import Part
from depot_lite.maintenance.moves import Move, Relocation
from depot_lite.maintenance.rows.database import Database, Row
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.rows.references import where
from depot_lite.maintenance.rows.rewriting import KeyNotFound, Rewriter, RowSwap, as_decoded
from depot_lite.maintenance.rows.slices import Slice
from depot_lite.maintenance.run.pace import BEAT, Pace, Window
from depot_lite.maintenance.run.reports import FailedRow, MigrationReport, Step, Watcher, partial_report

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


#: The row of a copied file, the file id, and the size or the error.
_Copied = tuple[Move, str, int | Exception]


class Mover:
    """The mover of files from one depot to another; its report has all runs together.

    Raises:
        ConfigurationError: a depot is not configured, or both are the same.
    """

    def __init__(
        self, bind: Any, source: str, target: str, pace: Pace, progress: Watcher | None, *, dry_run: bool = False
    ) -> None:
        self.report = MigrationReport(*both_depots(source, target), dry_run=dry_run)
        self.relocation = Relocation(self.report.source, self.report.target)
        self.source, self.target = Depots.get(self.report.source), Depots.get(self.report.target)
        self.bind = bind
        self.database = Database(bind)
        self.pace = pace
        self.part: Part | None = None
        self.progress = progress
        self.failures = FailureCounter()
        self.rewriter = Rewriter(self.database)
        # Rows whose copies no row can name yet; of these, rows to be moved again, and rows to be written.
        self.moving: set[Move] = set()
        self.again: deque[Move] = deque()
        self.ready: list[Move] = []
        self.flushed = 0.0

    def run(
        self,
        workers: int,
        among: list[Place],
        *,
        limit: int | None = None,
        part: Part | None = None,
        within: Slice | None = None,
        step: Step | None = None,
    ) -> MigrationReport:
        """Move the files of rows, and return the report.

        Args:
            among: the columns.
            within: the rows; only for a single column.
            step: the step in which files are counted, if there are several runs in it.

        Raises:
            ConfigurationError: transactions are not ours to commit.
        """
        if not self.report.dry_run and not all(map(self.database.owns_transactions, among)):
            raise ConfigurationError(
                f"expected an engine, or a session bound to one, to commit each row, got {self.bind!r}"
            )
        self.part, began = part, time.monotonic()
        try:
            with partial_report(self.report), Window[_Copied](workers, queued=_QUEUED) as window:
                try:
                    name = "counting" if self.report.dry_run else "copying"
                    with Step(self.progress, name) if step is None else nullcontext(step) as counted:
                        self._run(window, islice(self._moves(among, within), limit), counted)
                except BaseException:
                    self.pace.stop()
                    raise
        finally:
            if self.moving:  # interrupted; no copy is in progress any more
                to_the_end(lambda: self._discard(self.moving))
        self.report.seconds += time.monotonic() - began
        return self.report

    def _run(self, window: Window[_Copied], moves: Iterable[Move], step: Step) -> None:
        for move in moves:
            self._begin(move, window, step)
            while self.again:
                self._begin(self.again.popleft(), window, step)
        while window.is_busy or self.ready:
            self._take(window, step)
            while self.again:
                self._begin(self.again.popleft(), window, step)

    # --- reading --------------------------------------------------------------------------------------------------

    def _moves(self, among: list[Place], within: Slice | None) -> Iterator[Move]:
        """Yield the rows that name files of the source; no connection is held between pages."""
        for place in among:
            if not place.key:
                self._refuse(place)
                continue
            for page in self.database.pages(place, size=_PAGE, within=within, exact=True):
                yield from off_loop(partial(self._moves_in, place, page))

    def _moves_in(self, place: Place, page: list[Row]) -> list[Move]:
        return [move for row in page if (move := self._move_of(place, row)) is not None]

    def _move_of(self, place: Place, row: Row) -> Move | None:
        """Return the move of a row; None if it names no file of the source, or cannot be moved."""
        try:
            named = self.relocation.named(place, row)
            ids: dict[str, str | None] = {file_id: None for name, file_id in named if self.relocation.is_source(name)}
            if ids and (not row.key or None in row.key):
                raise MaintenanceStopped(f"{where(place, row)}: no primary key to rewrite it by")
        except MaintenanceStopped as error:
            self._failed(place, row, None, error)
            return None
        if not ids or (self.part is not None and next(iter(ids)) not in self.part):
            self.report.skipped += 1
            return None
        return Move(place, row, named, ids)

    def _refuse(self, place: Place) -> None:
        """Report the rows of a table without a primary key that would have to be moved."""
        for page in self.database.pages(place):
            off_loop(partial(self._moves_in, place, page))

    # --- copying --------------------------------------------------------------------------------------------------

    def _begin(self, move: Move, window: Window[_Copied], step: Step) -> None:
        move.left = len(move.ids)
        self.moving.add(move)
        sizes = move.sizes() if self.report.dry_run else {}
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
        outcomes = window.results(timeout=_SOON if self.ready else BEAT)
        step.add(0)
        self._note(outcomes, step)
        if not outcomes:
            self._flush()

    def _copy(self, move: Move, file_id: str) -> _Copied:
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
        broken: list[Move] = []
        for move, file_id, outcome in outcomes:
            move.left -= 1
            if isinstance(outcome, Exception):
                move.fail(outcome, f"{self.report.source}/{file_id}")
                self._judge(outcome, broken)
            else:
                self.failures.worked()
                move.bytes += outcome
                step.add(1, outcome)
            if move.left == 0:
                (self.ready if move.error is None else broken).append(move)
        for move in broken:
            self._reconsider(move)
        if len(self.ready) >= _AT_ONCE or (self.ready and time.monotonic() > self.flushed + _SOON):
            self._flush()

    def _judge(self, error: Exception, broken: list[Move]) -> None:
        """Raise an error that ends the migration, after a report of the rows that failed before it."""
        try:
            self.failures.failed(error)
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

    def _discard(self, moves: Iterable[Move]) -> None:
        """Delete copies that no row names."""
        discard(f"{self.report.target}/{each}" for move in moves for each in move.copies)

    # --- writing --------------------------------------------------------------------------------------------------

    def _write(self, moves: list[Move]) -> None:
        by_place: dict[int, deque[Move]] = {}
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

    def _write_through(self, connection: Connection, waiting: deque[Move]) -> None:
        statements = self.rewriter.statements(waiting[0].place, connection.dialect.name)
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

    def _swap_several(self, connection: Connection, statements: RowSwap, batch: list[Move]) -> list[Move]:
        """Rewrite rows by one statement, and return those that have to be written one by one."""
        texts = {move: self.relocation.new_text(move) for move in batch}
        self.moving.difference_update(batch)  # as in `_swap`
        try:
            with self._until_commit(connection, batch):
                locked = statements.lock(connection, [move.row for move in batch])
                free = [move for move in batch if as_decoded(locked.get(repr(move.row.key))) == move.row.text]
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

    def _swap(self, connection: Connection, statements: RowSwap, batch: list[Move]) -> list[Move]:
        """Rewrite rows in a transaction, and return those that were not, or may not have been, rewritten."""
        texts = [(move, self.relocation.new_text(move)) for move in batch]
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
    def _until_commit(self, connection: Connection, batch: list[Move]) -> Iterator[None]:
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

    # --- outcomes -------------------------------------------------------------------------------------------------

    def _moved(self, move: Move) -> None:
        self.moving.discard(move)
        self.report.rows += 1
        self.report.files += len(move.ids)
        self.report.bytes += move.bytes

    def _give_up(self, move: Move) -> None:
        """Report the row as failed. Copies that were not deleted before are kept."""
        if move.error is not None:
            self._failed(move.place, move.row, move.path, move.error)

    def _failed(self, place: Place, row: Row, path: str | None, error: Exception) -> None:
        self.report.failed.append(FailedRow(str(place), row.key, path, without_frames(error)))

    def _reconsider(self, move: Move, connection: Connection | None = None) -> None:
        """Read a row again that was not rewritten, and retry if that may help."""
        try:
            row = self.rewriter.row_now(move.place, move.row, connection)
        except KeyNotFound as error:
            move.fail(error)
            move.tries, row = TRIES, move.row
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

    def _try_again(self, move: Move, row: Row) -> None:
        """Move the current files of the row, if they are in the source and attempts are left."""
        renewed = self._move_of(move.place, row)
        if renewed is not None and move.tries < TRIES:
            renewed.tries = move.tries + 1
            self.again.append(renewed)
        elif renewed is not None:
            self.report.changed += 1


class _ConnectionLost(Exception):
    """Raised when a connection broke and has to be replaced."""
