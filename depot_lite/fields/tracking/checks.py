"""Checks: whether files comply with their columns, before any byte of them is stored.

The refusals of all files of one object are raised together, so that a form can show them at once. As long as
anything is refused, nothing has changed: the values are pending, under the names that they came with, and may be
checked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from depot_lite.errors import DepotError, MetaRefused, SeveralRefused, ValidationError
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.validators.base import Validator
from depot_lite.fields.validators.candidate import Candidate
from depot_lite.fields.validators.refusals import candidate_of, errors_of, refusals_of


@dataclass(slots=True)
class _File:
    """One pending value, and the view of it that its validators get."""

    column: FileColumn
    index: int | None
    value: DepotFileInfo
    candidate: Candidate
    #: The name that it came with.
    filename: str

    def refusals(self) -> list[ValidationError]:
        """Return the rules that the file breaks, each once."""
        found = refusals_of(self.candidate, self.column.type.validators, self._placed)
        try:
            self.column.check_meta(self.value)  # again: a pending value can be changed after it was assigned
        except MetaRefused as error:
            found.append(self._placed(error))
        return found

    def _placed(self, error: ValidationError) -> ValidationError:
        return error.at(str(self.column), self.filename, self.index)

    def take_over(self) -> None:
        """Give the value the name that its validators have corrected."""
        if self.candidate.filename != self.filename:
            self.value["filename"] = self.candidate.filename


@dataclass(slots=True)
class _ObjectFiles:
    """The files of one object that are to be stored, and how many each of its lists has."""

    files: list[_File] = field(default_factory=list)
    lists: list[tuple[FileColumn, int]] = field(default_factory=list)

    def refusals(self) -> list[ValidationError]:
        """Return every rule that any of them breaks."""
        found: list[ValidationError] = []
        for column, count in self.lists:
            found.extend(_refusals_of_count(column, count))
        for file in self.files:
            try:
                found.extend(file.refusals())
            except DepotError as error:  # it cannot be read
                error.add_note(f"while checking {file.filename!r} for {file.column}")
                raise
        return found


def check(waiting: Sequence[tuple[FileColumn, Any]]) -> None:
    """Raise the refusals of the first object whose files break rules of their columns.

    Args:
        waiting: columns, each with the value or list of its attribute. Values that are stored
            already are not looked at.

    Raises:
        ValidationError: one rule is broken; `SeveralRefused` if more are.
        InvalidContent: a file cannot be read.
    """
    ruled = [(column, held) for column, held in waiting if column.type.has_rules]
    if not ruled:
        return
    objects = list(_by_object(ruled))
    try:
        for each in objects:
            _raise(each.refusals())
    except BaseException:
        for file in _files_of(objects):
            file.candidate.limit(None, None)
        raise
    finally:
        for file in _files_of(objects):
            file.candidate.close()
    for file in _files_of(objects):
        file.take_over()


def check_count(column: FileColumn, count: int) -> None:
    """Refuse a list with too many files.

    Raises:
        ValidationError: there are too many; `SeveralRefused` if several rules say so.
    """
    _raise(_refusals_of_count(column, count))


def _refusals_of_count(column: FileColumn, count: int) -> list[ValidationError]:
    found: list[ValidationError] = []
    for each in column.type.validators:
        if isinstance(each, Validator):
            errors = errors_of(each, partial(each.check_list, count))
            found.extend(error.at(str(column), None) for error in errors)
    return found


def _raise(errors: list[ValidationError]) -> None:
    if errors:
        raise errors[0] if len(errors) == 1 else SeveralRefused(errors)


def _by_object(waiting: Sequence[tuple[FileColumn, Any]]) -> Iterator[_ObjectFiles]:
    """Yield the objects with their files, in the order of their first files."""
    found: dict[int, _ObjectFiles] = {}
    states: list[Any] = []  # kept, so that no other gets the id of one of them
    for number, (column, held) in enumerate(waiting):
        values = files_in(held)
        pending = [(index, value) for index, value in enumerate(values) if value.pending]
        if pending:
            owner = pending[0][1].owner
            state = None if owner is None else owner[0]()
            states.append(state)
            each = found.setdefault(-1 - number if state is None else id(state), _ObjectFiles())
            if column.type.multiple:
                each.lists.append((column, len(values)))
            each.files.extend(
                _pending_file(column, index if column.type.multiple else None, value) for index, value in pending
            )
    yield from found.values()


def _files_of(objects: Sequence[_ObjectFiles]) -> Iterator[_File]:
    for each in objects:
        yield from each.files


def _pending_file(column: FileColumn, index: int | None, value: DepotFileInfo) -> _File:
    candidate = candidate_of(value)
    return _File(column, index, value, candidate, candidate.filename)
