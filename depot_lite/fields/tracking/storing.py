"""Storing: the pending values of a session move into their storages, all or none, and are entered as born.

A thread cannot be stopped, and a storage that hangs may keep it for a minute. So a cancelled flush ends at once, and
its `Attempt` is *given up*: no value becomes stored any more. Each upload in progress settles in the background: when
the storage has answered, the file is deleted and the value is pending as before. Another flush of these values, or of
the same open files, waits for that: two threads that read one file would mix up its bytes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from depot_lite.concurrency.threads import ended
from depot_lite.depots import Depots, discard
from depot_lite.errors import DepotError, StoredFileNotFound, ValidationError
from depot_lite.fields.adoption import Adoption
from depot_lite.fields.analyzers import analyze
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.pending import Pending
from depot_lite.fields.tracking import checks, transfers
from depot_lite.fields.tracking.births import Birth
from depot_lite.fields.tracking.ledger import frame_of
from depot_lite.io.content import Content
from depot_lite.io.interfaces import FileStorage


@dataclass(slots=True)
class _Waiting:
    """A pending value that is about to be stored, with its column and, in a list, its index."""

    column: FileColumn
    index: int | None
    value: DepotFileInfo
    pending: Pending


def store_all(session: Session, waiting: Sequence[tuple[FileColumn, Any]]) -> None:
    """Store pending values, side by side where the storages gain by it, and enter the files as born.

    Args:
        session: whose innermost transaction they are born in.
        waiting: columns, each with the value or list of its attribute. Values that are stored already stay as they are.

    Raises:
        ValidationError: columns refuse one file of an object, or several. Nothing was stored.
        InvalidContent: a file cannot be read; or it was to be uploaded by a browser, and is not there.
        StoredFileNotFound: the file of a value that is to be copied is gone.
        DepotError: a value could not be stored, and nothing of any value is left. Of several errors, the first value's.
    """
    values = [value for _, held in waiting for value in files_in(held) if value.pending]
    if values:
        _store_values(session, waiting, Attempt(values))


def _store_values(session: Session, waiting: Sequence[tuple[FileColumn, Any]], attempt: Attempt) -> None:
    files = [
        _Waiting(column, index if isinstance(held, list) else None, value, pending)
        for column, held in waiting
        for index, value in enumerate(files_in(held))
        if (pending := value.follow_original()) is not None
    ]
    adopting = [
        Adoption(str(each.column), each.value, each.pending, each.pending.adopts)
        for each in files
        if each.pending.adopts is not None and each.pending.original is None
    ]
    try:
        if adopting:
            attempt.side_by_side([(each.storage, each.open) for each in adopting])
        if any(each.column.type.has_rules for each in files):
            # In a thread of the first file's depot: adopted files are read there.
            attempt.side_by_side([(Depots.get(files[0].value["depot_name"]), partial(checks.check, waiting))])
        _store_files(session, files, attempt)
    finally:
        attempt.end(partial(_release_all, adopting) if adopting else None)


def _release_all(adopting: Sequence[Adoption]) -> Callable[[], None]:
    return partial(_close_all, [content for each in adopting if (content := each.release()) is not None])


def _close_all(contents: Sequence[Content]) -> None:
    for each in contents:
        each.source.close()


def _store_files(session: Session, files: Sequence[_Waiting], attempt: Attempt) -> None:
    if not files:  # stored by an earlier attempt, for which this one has waited
        return
    frame, births = (
        frame_of(session),
        [Birth(each.value, each.pending, dict(each.value), each.column) for each in files],
    )
    try:
        workers = max(birth.value.workers for birth in births)
        attempt.side_by_side(_jobs(files, births, attempt), workers)
    except BaseException as error:
        attempt.give_up()
        # Also those whose storing failed: the storage may have them anyway, or get them later.
        paths = [path for birth in births for path in birth.paths]
        for birth in births:  # first, because a cancellation may end the deletion here
            birth.make_pending()
        # A cancelled task does not wait for a storage.
        transfers.delete(paths, wait=isinstance(error, Exception))
        raise
    frame.extend(births)


def _jobs(
    files: Sequence[_Waiting], births: Sequence[Birth], attempt: Attempt
) -> list[tuple[FileStorage, Callable[[], None]]]:
    """Return the jobs with their storages; values that read the same open file are one job."""
    by_source: dict[Any, tuple[FileStorage, list[Callable[[], None]]]] = {}
    for each, birth in zip(files, births, strict=True):
        source = None if birth.pending.content is None else birth.pending.content.source
        key = id(birth) if source is None or isinstance(source, bytes | Path) else id(source)
        storage = Depots.get(birth.before["depot_name"])
        by_source.setdefault(key, (storage, []))[1].append(partial(_store, each.column, each.index, birth, attempt))
    return [(storage, partial(_one_after_the_other, jobs)) for storage, jobs in by_source.values()]


def _one_after_the_other(jobs: Sequence[Callable[[], None]]) -> None:
    for job in jobs:
        job()


def _store(column: FileColumn, index: int | None, birth: Birth, attempt: Attempt) -> None:
    def announce(path: str) -> None:
        attempt.raise_if_given_up()
        birth.announce(path)

    options = column.type
    try:
        if options.analyzers:
            analyze(birth.value, options.analyzers)
        birth.value.store(options.filters, variants=options.variants, announce=announce, completing=attempt.completing)
    except BaseException as error:
        if attempt.is_given_up:  # nobody waits for this thread
            discard(birth.paths)
        if isinstance(error, ValidationError):  # found while the file was worked on: an image that breaks off, say
            error.at(str(column), birth.before.get("filename"), index)
        elif isinstance(error, StoredFileNotFound):  # of a value that is copied
            raise StoredFileNotFound(f"{column}: {birth.before.get('filename')!r} cannot be copied: {error}") from error
        elif isinstance(error, DepotError):
            error.add_note(f"while storing {birth.before.get('filename')!r} for {column}")
        raise


# --- attempts ---------------------------------------------------------------------------------------------------------


class GivenUp(Exception):
    """Raised in the threads of an attempt that was given up; it reaches no caller."""


class Attempt:
    """The work of a flush on pending values: opening, checking and storing them.

    Args:
        values: the values.

    Raises:
        asyncio.CancelledError: the task was cancelled while an earlier attempt on one of the values settled.
    """

    def __init__(self, values: Sequence[DepotFileInfo]) -> None:
        self._values = values
        self._lock = threading.Lock()
        self._given_up = False
        self._left: list[Future[None]] = []
        self._objects: list[object] = []
        self._at_end: Callable[[], Callable[[], None]] | None = None
        self._settled: Future[None] = Future()
        if _settling:
            self._wait_for_earlier()

    def _wait_for_earlier(self) -> None:
        used = set(map(id, _objects_of(self._values)))
        earlier = [each._settled for each in _settling[:] if not used.isdisjoint(map(id, each._objects))]
        if transfers.awaiting():
            await_only(ended(earlier))
        else:
            wait(earlier)

    def side_by_side(self, jobs: Sequence[tuple[FileStorage, Callable[[], None]]], workers: int = 1) -> None:
        """Do the jobs as `transfers.side_by_side` does."""
        transfers.side_by_side(jobs, workers, self._left)

    @contextmanager
    def completing(self) -> Iterator[None]:
        """Give the context in which a value becomes stored.

        Raises:
            GivenUp: no value may become stored any more.
        """
        with self._lock:
            if self._given_up:
                raise GivenUp
            yield

    @property
    def is_given_up(self) -> bool:
        """Whether no value may become stored any more."""
        return self._given_up

    def raise_if_given_up(self) -> None:
        """Raise GivenUp if no other file may be stored."""
        with self.completing():
            pass

    def give_up(self) -> None:
        """Let no value become stored from now on."""
        with self._lock:
            self._given_up = True

    def end(self, at_end: Callable[[], Callable[[], None]] | None = None) -> None:
        """End the attempt, now or when the work in progress has settled.

        Args:
            at_end: called then. It returns a function that may take long, for which a cancelled task does not wait.
        """
        self._at_end = at_end
        if not self._left:
            if at_end is not None:
                transfers.clean_up(at_end())
            return
        self.give_up()
        self._objects = list(_objects_of(self._values))
        _settling.append(self)
        for future in self._left[:]:
            future.add_done_callback(self._settle)

    def _settle(self, future: Future[None]) -> None:
        with self._lock:
            self._left.remove(future)
            if self._left:
                return
        try:
            if self._at_end is not None:
                self._at_end()()
        finally:
            _settling.remove(self)
            self._settled.set_result(None)


def _objects_of(values: Iterable[DepotFileInfo]) -> Iterator[object]:
    """Yield the values that are pending, and the open files that they are to be read from."""
    for value in values:
        yield value
        snapshot = value.snapshot()
        content = None if snapshot is None else snapshot[0].source().content
        if content is not None and not isinstance(content.source, bytes | Path):
            yield content.source


#: Attempts with work in progress that nobody waits for.
_settling: Final[list[Attempt]] = []
# The threads of the parent, which would settle them, are not in the child.
os.register_at_fork(after_in_child=_settling.clear)
