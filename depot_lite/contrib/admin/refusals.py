"""What a column has against the files of a form, in words that stand beside its field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from depot_lite.errors import DepotError, InvalidContent, ValidationError
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.edits import FileEdit
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.tracking import checks
from depot_lite.fields.validators.base import Validator


def refusals(column: FileColumn, edit: FileEdit, held: Sequence[DepotFileInfo]) -> list[str]:
    """Return what is wrong with an edit, before anything is stored; uploads can be read again afterwards.

    Files that are there already were checked when they came, those of tokens when they were sent. All are checked once
    more at flush.

    Args:
        held: the files that the attribute has now.
    """
    try:
        wanted = edit.several(held) if column.type.multiple else edit.one(held[0] if held else None)
        if edit.new:
            _check(column, edit.new if column.type.multiple else edit.new[-1])
            _check_count(column, len(wanted) if column.type.multiple else 1)
    except (ValidationError, InvalidContent) as error:
        return [message for messages in by_field({column.key: column}, error).values() for message in messages]
    return []


def _check(column: FileColumn, new: object) -> None:
    values = files_in(column.accept(new, None, None))
    checks.check([(column, each) for each in values if each.pending_adoption() is None])


def _check_count(column: FileColumn, count: int) -> None:
    for rule in column.type.validators if column.type.multiple else ():
        if isinstance(rule, Validator):
            rule.check_list(count)


def by_field(columns: Mapping[str, FileColumn], error: DepotError) -> dict[str, list[str]]:
    """Return what an error says by the attribute that it is about; nothing if it is about none of these columns."""
    if isinstance(error, ValidationError):
        ours = {str(column) for column in columns.values()}  # not those of a row that is saved with this one
        found: dict[str, list[str]] = {}
        for key, messages in (item for each in error.errors if each.column in ours for item in each.by_field.items()):
            found.setdefault(key, []).extend(messages)
        return found
    said = str(error)
    return {
        key: [said.removeprefix(f"{column}: ")] for key, column in columns.items() if said.startswith(f"{column}: ")
    }
