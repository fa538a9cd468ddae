"""SQL as text that changes a transaction, or the meaning of a table's name, without SQLAlchemy's knowledge."""

from __future__ import annotations

import re
from typing import Final

from depot_lite.fields.tracking.births import Candidates


def _begins(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:{words})\b(?!\s+prepared\b)", re.IGNORECASE | re.DOTALL)


_ROLLBACK: Final = _begins("rollback|abort")
_COMMIT: Final = _begins("commit|end")
_USE: Final = _begins("use")
_TEMPORARY: Final = _begins(r"create\s+(?:or\s+replace\s+)?(?:temp|temporary)\s+(?:table|view)")
_RENAME: Final = _begins(r"alter\s+table\b.*\brename|rename\s+table")


def notice(files: Candidates, statement: str, dialect: str) -> None:
    """Enter the effect of a statement on the transaction of these candidates.

    Args:
        files: whose rows were written, or read for writing, before.
        statement: SQL as text, or DDL, that was executed.
        dialect: the name of the database's dialect. PostgreSQL tells of several tables with one name when it is asked.
    """
    if _ROLLBACK.match(statement):
        files.in_doubt = True
    elif _COMMIT.match(statement):
        files.ended_early = True
    elif _USE.match(statement):
        files.renamed = True
    elif _RENAME.match(statement) or (dialect != "postgresql" and _TEMPORARY.match(statement)):
        files.renamed = files.renamed or _names_a_table_of(files, statement)


def _names_a_table_of(files: Candidates, statement: str) -> bool:
    names = {row.table.name for rows in files.rows.values() for row in rows}
    return any(re.search(rf"\b{re.escape(name)}\b", statement, re.IGNORECASE) for name in names)
