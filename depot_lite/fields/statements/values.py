"""Values in statements: as SQLAlchemy has wrapped them, and one for each row and attribute that a statement writes."""

from __future__ import annotations

from typing import Any

from sqlalchemy.sql.elements import BindParameter

from depot_lite.errors import InvalidContent
from depot_lite.fields import internals
from depot_lite.fields.columns import FileColumn, is_expression, is_no_file
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.lists import FileList


def twin_of(column: FileColumn, held: Any) -> Any:
    """Return another pending value with the same content, or a list of them, for another row.

    Raises:
        InvalidContent: the content is a stream, which can be stored only once.
    """
    if isinstance(held, FileList):
        return FileList.of(twin_of(column, value) for value in held)
    if not held.is_rereadable:
        raise InvalidContent(
            f"{column}: {held['filename']!r} is a stream, which can be read only once, and the statement would store "
            "it several times: read it to bytes first"
        )
    return held.twin()


def literal_value(column: FileColumn, value: Any) -> Any:
    """Return the Python value that SQLAlchemy has wrapped into an expression.

    Raises:
        InvalidContent: it is an expression of SQL.
    """
    if isinstance(value, BindParameter):
        return value.effective_value
    if internals.is_null(value):
        return None
    if is_expression(value):
        raise InvalidContent(
            f"{column}: a statement cannot take a file from a SQL expression, since two rows would own one file; "
            "load the value and assign it, which makes a copy"
        )
    return value


class DistinctValues:
    """Lets each row and each attribute that a statement writes have a value of its own."""

    def __init__(self) -> None:
        self._given: dict[int, DepotFileInfo] = {}  # the values too, so that no other gets the id of one of them

    def distinct(self, column: FileColumn, given: Any) -> Any:
        """Return the value or list, with a twin in the place of each pending value that was given before.

        Raises:
            InvalidContent: the content of such a value is a stream.
        """
        if isinstance(given, list | tuple):
            return [self.distinct(column, each) for each in given]
        if not isinstance(given, DepotFileInfo) or not given.pending:
            return given
        if id(given) in self._given:
            return twin_of(column, given)
        self._given[id(given)] = given
        return given


def keeps_file(value: Any) -> bool:
    """Return whether this is the empty upload of a form: the row keeps its file."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(is_no_file, value))
    return is_no_file(value)
