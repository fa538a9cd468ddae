"""Verdicts: which files are deleted at the end of a transaction, given the database's answer, and which stay.

A file that a row names stays, and so does a file about which the answer leaves a doubt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from depot_lite.fields.tracking import proof
from depot_lite.fields.tracking.births import Candidates, Row
from depot_lite.fields.tracking.proof import Answer


@dataclass(eq=False)
class End:
    """The end of one transaction.

    ``committed`` is true if COMMIT succeeded. ``over`` is true if the transaction has surely ended: after a COMMIT that
    was sent and not answered it is false, since that may still take effect.
    """

    candidates: Candidates
    committed: bool
    over: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The fate of a file that no row was found to name.

    ``doubt`` is the reason to keep it, None if it is deleted. ``replaced`` is true if committed rows named it until
    now.
    """

    path: str
    doubt: str | None
    replaced: bool = False


_AMBIGUOUS = "several schemas have its table, and the search_path may have been another one"
_HIDDEN = "row-level security, or a view, may hide its row"


def ask(connection: Connection, end: End, asked: Mapping[str, Iterable[Row]]) -> Answer:
    """Ask which of the files rows name: by primary key, and by path where the key may be another one by now.

    Raises:
        SQLAlchemyError, RuntimeError: as `proof.ask`.
    """
    answer = proof.ask(connection, asked)
    files = end.candidates
    if files.ended_early:
        # Rows that were committed before the rollback are there, under whatever key they may have got since.
        answer.named |= _named_anywhere(connection, asked, asked.keys() - answer.named)
    elif not end.committed or files.in_doubt:
        # After a rollback a row names its old file again. If the row is not found, it was deleted by a COMMIT that
        # nobody told of, or has another key: its file is looked for everywhere before it is given up.
        unwritten = {
            path
            for path in files.births
            if not (end.committed and any(row.written for row in files.rows.get(path, ())))
        }
        answer.named |= _named_anywhere(connection, asked, answer.absent - files.lost - unwritten)
    return answer


def _named_anywhere(connection: Connection, asked: Mapping[str, Iterable[Row]], paths: Iterable[str]) -> set[str]:
    anywhere = {path: [Row(row.table, None, row.schemas) for row in asked[path]] for path in paths}
    return proof.ask(connection, anywhere).named


def verdicts(end: End, asked: Mapping[str, object], answer: Answer, dialect: str) -> Iterator[Verdict]:
    """Yield a verdict on each file that no row was found to name.

    Args:
        end: the end of the transaction.
        asked: the files that the database was asked about; of the others it is known without.
        answer: the database's answer.
        dialect: the name of its dialect.
    """
    files = end.candidates
    for path in files.rows:
        if path in answer.named:
            continue
        birth = files.births.get(path)
        if path not in asked:
            if not (end.committed and birth is not None and birth.bound):  # otherwise an inserted row names it
                yield Verdict(path, None)
            continue
        is_new = birth is not None or path in files.lost
        doubt = _doubt_about_new(path, end, answer) if is_new else _doubt_about_old(path, end, answer, dialect)
        yield Verdict(path, doubt, replaced=end.committed and path not in files.lost)


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
    known = files.condemned | files.births.keys()
    for row in files.rows[path]:
        found = None if row.key is None else answer.found.get((row.table, row.schemas, row.key))
        if found and (found == row.before or any(row in files.rows.get(each, ()) for each in found & known)):
            return None
    return "its row was not found again, or names another file"


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
    if dialect == "postgresql" and path in answer.absent:
        return "its row is not there after a rollback, and nothing tells of a COMMIT before"
    return None
