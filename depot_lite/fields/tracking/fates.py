"""Fates: which files of a transaction that has ended are deleted, and which stay because of a doubt.

Plain data, which needs no connection. At the *end* of a transaction the database gives its *answer* about the
candidates (`depot_lite.fields.tracking.proof`): a file that a row names stays, and so does one about which the answer
leaves a doubt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Table

from depot_lite.fields.tracking.births import Candidates, Row, Schemas


@dataclass
class Answer:
    """The answer of the database.

    ``named`` are the files that rows name, ``found`` the files of each row. ``absent`` are asked files without any row.
    ``hidden`` says that there may be rows which the database did not show (row-level security). ``ambiguous`` are files
    whose table several schemas of PostgreSQL have: the transaction's ``search_path`` may have led to another one.
    ``dirty`` says that changes of others, which they have not committed, may have been read, ``elsewhere`` that another
    connection was asked.
    """

    named: set[str] = field(default_factory=set)
    found: dict[tuple[Table, Schemas, tuple[Any, ...]], set[str]] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    ambiguous: set[str] = field(default_factory=set)
    hidden: bool = False
    dirty: bool = False
    elsewhere: bool = False

    def files_of(self, row: Row) -> set[str] | None:
        """Return the files that were found in a row; None if it was not found, or has no known key."""
        return None if row.key is None else self.found.get((row.table, row.schemas, row.key))


@dataclass(eq=False)
class End:
    """The end of one transaction.

    ``committed`` is true if COMMIT succeeded. ``over`` is true if the transaction has surely ended: after a COMMIT that
    was sent and not answered it is false, since that may still take effect. ``prepared`` is true if the transaction was
    prepared and then neither committed nor rolled back: somebody else will do that.
    """

    candidates: Candidates
    committed: bool
    over: bool
    prepared: bool = False
    #: The files that the database has to be asked about, with their rows.
    asked: Mapping[str, set[Row]] = field(init=False)

    def __post_init__(self) -> None:
        """Choose the files to ask about."""
        self.asked = to_ask(self.candidates, committed=self.committed)


def to_ask(files: Candidates, *, committed: bool) -> dict[str, set[Row]]:
    """Return the files that have to be asked about, with their rows.

    After COMMIT these are the condemned ones, and the born ones that the database may have left out or put back;
    otherwise all. A born file that was never bound is named nowhere.
    """
    asked = {path: rows for path, rows in files.rows.items() if path not in files.births or files.births[path].bound}
    if committed and not files.in_doubt:
        uncertain = files.condemned | files.doubtful | files.updated
        asked = {path: rows for path, rows in asked.items() if path in uncertain or path not in files.births}
    if files.moved:
        asked = {path: rows | _anywhere(rows, files.moved) for path, rows in asked.items()}
    return asked


def _anywhere(rows: Iterable[Row], tables: set[Table]) -> set[Row]:
    return {Row(row.table, None, row.schemas) for row in rows if row.table in tables}


@dataclass(frozen=True, slots=True)
class Fate:
    """The fate of a file that no row was found to name.

    ``doubt`` is the reason to keep it, None if it is deleted. ``replaced`` is true if committed rows named it until
    now.
    """

    path: str
    doubt: str | None
    replaced: bool = False


_PREPARED = "its transaction is prepared, and was neither committed nor rolled back here"
_TABLE_RENAMED = "SQL as text has given the name of its table to another one meanwhile"
_NOT_FOUND = "its row was not found again, or names another file"
_NOT_THERE = "its row is not there after a rollback, and nothing tells of a COMMIT before"
#: Doubts that are also explained by a later transaction of another program, which then deletes the file itself.
EXPLAINED_BY_OTHERS: Final = (_NOT_FOUND, _NOT_THERE)
_AMBIGUOUS = "several schemas have its table, and the search_path may have been another one"
_HIDDEN = "row-level security, or a view, may hide its row"


def fates(end: End, answer: Answer, dialect: str) -> list[Fate]:
    """Return the fate of each file that no row was found to name.

    Args:
        end: the end of the transaction.
        answer: the database's answer about the files that it was asked about; of the others it is known without.
        dialect: the name of its dialect.
    """
    files, found = end.candidates, list[Fate]()
    for path in files.rows:
        if path in answer.named:
            continue
        birth = files.births.get(path)
        if path not in end.asked:
            if not (end.committed and birth is not None and birth.bound):  # otherwise an inserted row names it
                found.append(Fate(path, None))
            continue
        is_new = birth is not None or path in files.lost
        doubt = _doubt_about_new(path, end, answer) if is_new else _doubt_about_old(path, end, answer, dialect)
        doubt = _PREPARED if end.prepared else _TABLE_RENAMED if files.renamed else doubt
        if path in files.focused:
            doubt = None
        found.append(Fate(path, doubt, replaced=end.committed and path not in files.lost))
    return found


def _doubt_about_new(path: str, end: End, answer: Answer) -> str | None:
    """Return the reason to keep a file that the transaction has stored."""
    files = end.candidates
    if not end.over:
        return "the connection broke while COMMIT was awaited, which may still take effect"
    if path in answer.ambiguous and (end.committed or files.ended_early):
        return _AMBIGUOUS
    if not end.committed:
        return None
    if files.in_doubt or path in files.lost or path in files.condemned or path in files.doubtful:
        return None
    if not files.deleted.isdisjoint(files.rows[path]):
        return _HIDDEN if answer.hidden else None
    # The row was updated, and COMMIT succeeded. If it names its old file, a trigger has put that back. If it names
    # another file that this transaction has given to it, that one came later. If it is not found, or names unknown
    # files, its key was changed behind our back, and another row has that key now.
    return None if any(files.explains(row, answer.files_of(row)) for row in files.rows[path]) else _NOT_FOUND


def _doubt_about_old(path: str, end: End, answer: Answer, dialect: str) -> str | None:
    """Return the reason to keep a file that a row named before the transaction."""
    files = end.candidates
    if path in answer.absent and answer.hidden:
        return _HIDDEN
    if end.committed:
        return _AMBIGUOUS if path in answer.ambiguous and files.in_doubt else None
    if files.ended_early or not files.births.keys().isdisjoint(answer.named):
        return None  # something was committed before the rollback
    if path in answer.ambiguous:
        return _AMBIGUOUS
    # A new connection of MariaDB may use another database than the broken one did.
    if (dialect == "postgresql" and path in answer.absent) or (dialect in {"mysql", "mariadb"} and answer.elsewhere):
        return _NOT_THERE
    return None
