"""Error messages about the files of a form, for display beside their fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from depot_lite.errors import DepotError, EditRefused, ImagesBusy, InvalidContent, ValidationError
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.edits import FileEdit
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.tracking import checks
from depot_lite.fields.validators.base import Validator

#: The message if images could not be checked in time.
BUSY: Final = "the server is busy with other images; try again in a minute"


def refusals(column: FileColumn, edit: FileEdit, held: Sequence[DepotFileInfo]) -> list[str]:
    """Check an edit before anything is stored, and return the error messages; uploads can be read again afterwards.

    Only new files are checked: existing ones were checked when they were stored, and staged ones when they were sent.
    All are checked again at flush.

    Args:
        held: the current files of the attribute.
    """
    try:
        result = edit.several(held) if column.type.multiple else edit.one(held[0] if held else None)
        if edit.new:
            _check_new(column, edit.new if column.type.multiple else edit.new[-1])
            _check_count(column, len(result) if column.type.multiple else 1)
    except ImagesBusy:
        return [BUSY]
    except EditRefused as error:
        return [error.message]
    except (ValidationError, InvalidContent) as error:
        return [message for messages in by_field({column.key: column}, error).values() for message in messages]
    return []


def _check_new(column: FileColumn, new: object) -> None:
    values = files_in(column.accept(new, None, None))
    pending = [(each, each.follow_original()) for each in values]
    checks.check([(column, each) for each, state in pending if state is None or state.adopts is None])


def _check_count(column: FileColumn, count: int) -> None:
    for rule in column.type.validators if column.type.multiple else ():
        if isinstance(rule, Validator):
            rule.check_list(count)


def by_field(columns: Mapping[str, FileColumn], error: DepotError) -> dict[str, list[str]]:
    """Return the messages of an error by attribute; empty if it is about none of these columns."""
    if isinstance(error, ValidationError):
        names = {str(column) for column in columns.values()}  # without columns of other rows saved in the same flush
        found: dict[str, list[str]] = {}
        for key, messages in (item for each in error.errors if each.column in names for item in each.by_field.items()):
            found.setdefault(key, []).extend(messages)
        return found
    message = str(error)
    return {
        key: [message.removeprefix(f"{column}: ")]
        for key, column in columns.items()
        if message.startswith(f"{column}: ")
    }
