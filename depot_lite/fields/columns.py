"""`FileColumn`: a mapped attribute that holds files, and turns assigned values into values of its column.

It needs no session: attributes are also set on objects that are not in one.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import JSON, ClauseElement, Column, Table
from sqlalchemy.orm import ColumnProperty, LoaderCallableStatus, Mapper, class_mapper
from sqlalchemy.sql.operators import Operators

from depot_lite.errors import EditRefused, InvalidContent, ValidationError
from depot_lite.fields import adoption, list_binding
from depot_lite.fields.edits import FileEdit
from depot_lite.fields.file_type import FileType, file_columns, file_type
from depot_lite.fields.interfaces import RENAMED, DepotFileInfo
from depot_lite.fields.lists import FileList
from depot_lite.fields.meta import check_focus, check_meta, plain_meta
from depot_lite.fields.validators import Extensions, FileName
from depot_lite.fields.validators.candidate import Candidate
from depot_lite.io.content import Content, is_empty_upload

if TYPE_CHECKING:
    from sqlalchemy.orm import InstanceState


def files_in(held: object) -> Sequence[DepotFileInfo]:
    """Return the files of an attribute: of a value, of a list, or none."""
    if isinstance(held, DepotFileInfo):
        return (held,)
    return held if isinstance(held, FileList) else ()


def paths_of(held: object) -> list[str]:
    """Return the paths of all files of an attribute, with variants and thumbnails."""
    return [path for value in files_in(held) for path in value.paths]


def main_paths(*held: object) -> set[str | None]:
    """Return the paths of the files of attributes, without variants and thumbnails."""
    return {value.get("path") for each in held for value in files_in(each)}


def has_pending(held: object) -> bool:
    """Return whether an attribute holds a file that is not stored yet."""
    return any(value.pending for value in files_in(held))


#: One of SQLAlchemy's marks for "not loaded", which are instances of `LoaderCallableStatus`.
NOT_LOADED: Final = LoaderCallableStatus.NO_VALUE


@dataclass(frozen=True, slots=True)
class FileColumn:
    """One attribute that holds files: the name of its class, its key, its column and the options of that."""

    owner: str
    key: str
    column: Column[Any]
    type: FileType

    @property
    def table(self) -> Table:
        """The table of the column."""
        return self.column.table

    @property
    def has_default(self) -> bool:
        """Whether the column has a default, or an ``onupdate``, that returns files."""
        return self.column in DEFAULTS

    def __str__(self) -> str:
        """Return ``Document.content``."""
        return f"{self.owner}.{self.key}"

    def accept(self, value: Any, state: InstanceState[Any] | None, held: Any) -> Any:
        """Return the value that the attribute gets when ``value`` is assigned: one of the column's kind, or None.

        A column of many files always gets a `FileList`, an empty one for None.

        Args:
            value: bytes, a file, an upload, the token of a direct upload ..., a pending or stored value, or None to
                clear; a list of these; a `FileEdit` of ``held``.
            state: the object that the attribute belongs to; None for a row of a statement.
            held: the present value of the attribute, or SQLAlchemy's mark for "not loaded". An upload without a file
                leaves it.

        Raises:
            InvalidContent: this cannot be stored, or is a token that has expired or is not ours.
            EditRefused: an edit would replace a file that its form did not show.
        """
        if is_expression(value):
            raise InvalidContent(
                f"{self}: an attribute cannot take a file from a SQL expression, since two rows would own one file; "
                "load the value and assign it, which makes a copy, or assign None"
            )
        if isinstance(value, FileEdit):
            held = self._held(state, held)
            value = self._edited(value, held)
        if self.type.multiple:
            return self._accept_list(value, state, held)
        if value is None:
            return None
        if is_no_file(value):
            return self._held(state, held)
        return self._accept_one(value, state)

    def _accept_list(self, value: Any, state: InstanceState[Any] | None, held: Any) -> Any:
        if value is held and isinstance(value, FileList):
            return value  # the second step of `+=`
        if is_no_file(value):
            return self._held(state, held)
        if isinstance(value, _ONE_FILE) or not isinstance(value, Iterable | None) or hasattr(value, "read"):
            raise InvalidContent(f"{self}: expected a list of files, got one {type(value).__name__}")
        items = list(value or ())
        if items and all(map(is_no_file, items)):
            return self._held(state, held)
        return list_binding.bound(self, self.accept_items(items, (), state), state)

    def is_accepted(self, value: Any, state: InstanceState[Any]) -> bool:
        """Return whether a value was accepted; values can reach an attribute without its listener, by ``__dict__``."""
        if not self.type.multiple:
            return self._is_accepted_file(value, state)
        if not isinstance(value, FileList) or not list_binding.is_bound(self, value, state):
            return False
        return all(self._is_accepted_file(each, state) for each in value)

    def _is_accepted_file(self, value: Any, state: InstanceState[Any]) -> bool:
        return isinstance(value, self.type.upload_type) and value.is_free_for(state, self.key)

    def _edited(self, edit: FileEdit, held: Any) -> Any:
        try:
            return edit.several(held) if self.type.multiple else edit.one(held)
        except EditRefused as error:
            error.at(str(self), None)
            raise

    def accept_items(
        self, items: Sequence[Any], held: Sequence[DepotFileInfo], state: InstanceState[Any] | None
    ) -> list[DepotFileInfo]:
        """Return the values of a list with these items; ``held`` are those that are in the list already."""
        accepted: list[DepotFileInfo] = []
        items = [each for each in items if not is_no_file(each)]
        held_ids, paths, item_ids = {id(each) for each in held}, set(), {id(each) for each in items}
        for item in items:
            value = item if id(item) in held_ids else self._accept_one(item, state)
            if value.duplicate_of is not None and id(value.duplicate_of) not in item_ids:
                value = value.duplicate_of  # the elements were swapped, and the one at the first index was overwritten
                item_ids.add(id(value))
            if value["path"] in paths:  # a duplicate: each element has files of its own
                original = value
                value = self._prepare(value.twin(), state) if value.pending else self.copy(value, state)
                value.mark_duplicate_of(original)
            paths.add(value["path"])
            accepted.append(value)
        return accepted

    def _accept_one(self, value: Any, state: InstanceState[Any] | None) -> DepotFileInfo:
        if isinstance(value, DepotFileInfo):
            return self._accept_value(value, state)
        try:
            pending = adoption.pending_value(self.type.upload_type, value, self.type.upload_storage)
        except InvalidContent as error:
            several = isinstance(value, list | tuple) and not self.type.multiple
            hint = "; a column of several files needs multiple=True" if several else ""
            raise InvalidContent(f"{self}: {error}{hint}") from error
        return self._prepare(pending, state)

    def _held(self, state: InstanceState[Any] | None, held: Any) -> Any:
        if state is not None and isinstance(held, LoaderCallableStatus) and state.key is not None:
            return getattr(state.obj(), self.key)
        if self.type.multiple and not isinstance(held, FileList):
            return FileList.of(()) if state is None else list_binding.empty_list(self, state)
        return None if isinstance(held, LoaderCallableStatus) else held

    def _accept_value(self, value: DepotFileInfo, state: InstanceState[Any] | None) -> DepotFileInfo:
        if not value.pending:
            if not self._row_may_name(value, state):
                return self.copy(value, state)
            self._check_label(value)
            declared = self.type.variants
            # Another attribute may hold the value, and its column declares other variants.
            value = value if not declared or value.declared_variants == declared else copy(value)
            return value.declare_variants(declared)
        if value.owner is not None and not value.is_free_for(state, self.key):
            owner = value.owner[0]()
            # session.merge() assigns the value of a detached object, whose stream cannot be shared: it is handed over.
            merging = owner is not None and owner.session is None and state is not None and state.session is not None
            if owner is not None and not (merging and not value.is_rereadable):
                value = value.twin()
        return self._prepare(value.become(self.type.upload_type), state)

    def _row_may_name(self, value: DepotFileInfo, state: InstanceState[Any] | None) -> bool:
        """Return whether the row may name this stored file already. If it is not loaded, the flush decides."""
        if state is None or state.key is None:
            return False
        known = [each[self.key] for each in (state.dict, state.committed_state) if self.key in each]
        return (
            not known
            or any(isinstance(each, LoaderCallableStatus) for each in known)
            or value.get("path") in main_paths(*known)
        )

    def copy_foreign(
        self,
        held: Any,
        state: InstanceState[Any],
        in_row: Iterable[Any],
        is_own: Callable[[DepotFileInfo], bool] | None = None,
    ) -> Any:
        """Return the files of an attribute, with a pending copy of each stored file that is not the row's own.

        The row that owns a file may delete it at any time, so no other row may name it.

        Args:
            held: a value, a list, which is changed, or None.
            state: the object that the attribute belongs to.
            in_row: values and lists that the row has.
            is_own: returns whether another stored file is the row's own.
        """
        own_paths = main_paths(*in_row)
        for index, value in enumerate(files_in(held)):
            if not (value.pending or value.get("path") in own_paths or (is_own is not None and is_own(value))):
                own = self.copy(value, state)
                if not isinstance(held, FileList):
                    return own
                held.put(index, own)
        return held

    def copy(self, value: DepotFileInfo, state: InstanceState[Any] | None) -> DepotFileInfo:
        """Return a pending copy of a stored value."""
        return self._prepare(self.type.upload_type.copy_of(value, self.type.upload_storage), state)

    def _check_label(self, value: DepotFileInfo) -> None:
        """Check the metadata of a value, and the name of a stored file that was renamed.

        Raises:
            ValidationError: the column does not accept the name or the metadata.
        """
        try:
            self.check_meta(value)
            for each in self.type.validators if value.get(RENAMED) else ():
                if isinstance(each, Extensions | FileName):
                    each(Candidate(Content.of(b""), value["filename"]))
        except ValidationError as error:
            raise error.at(str(self), value["filename"]) from None

    def check_meta(self, value: DepotFileInfo) -> None:
        """Raise MetaRefused if the column does not accept the metadata of a value."""
        meta = value.get("meta")
        if meta and self.type.meta is not None:
            check_meta(self.type.meta, plain_meta(meta))
        if meta and self.type.follows_focus:
            check_focus(plain_meta(meta))

    def _prepare(self, value: DepotFileInfo, state: InstanceState[Any] | None) -> DepotFileInfo:
        """Give a pending value the depot of the column, and the attribute as its owner."""
        self._check_label(value)
        if self.type.upload_storage is not None:
            value.move_to(self.type.upload_storage)
        if state is not None:
            value.set_owner(weakref.ref(state), self.key)
        return value


def is_expression(value: object) -> bool:
    """Return whether this is SQL: ``Document.content``, ``func.now()``, ``text("NULL")``, ``JSON.NULL``."""
    return isinstance(value, ClauseElement | Operators) or value is JSON.NULL


def is_no_file(value: object) -> bool:
    """Return whether this is the value of a form field in which no file was chosen."""
    return not isinstance(value, DepotFileInfo) and is_empty_upload(value)


# Iterable types that are not lists of files.
_ONE_FILE: Final = (str, bytes, bytearray, memoryview, dict)

#: The key in the ``info`` of class managers for their file attributes. Every flush and every statement looks there,
#: also without files.
INFO: Final = "depot_lite.columns"
_MAPPERS: Final[weakref.WeakSet[Mapper[Any]]] = weakref.WeakSet()
#: The default of the user (False) and the `onupdate` (True), before they were wrapped to store their files.
DEFAULTS: Final[weakref.WeakKeyDictionary[Column[Any], dict[bool, Any]]] = weakref.WeakKeyDictionary()


def register(mapper: Mapper[Any], key: str, attribute: object) -> FileColumn | None:
    """Register an attribute of a mapped class and return it if it holds files, else None."""
    column = attribute.columns[0] if isinstance(attribute, ColumnProperty) else None
    kind = file_type(column.type) if isinstance(column, Column) else None
    if not isinstance(column, Column) or kind is None:
        return None
    found = FileColumn(mapper.class_.__name__, key, column, kind)
    mapper.class_manager.info.setdefault(INFO, {})[key] = found
    _MAPPERS.add(mapper)
    return found


def columns_of_class(class_: type) -> Mapping[str, FileColumn]:
    """Return the file attributes of a mapped class by their keys."""
    mapper: Mapper[Any] = class_mapper(class_, configure=False)
    return columns_of_mapper(mapper)


def columns_of_mapper(mapper: Mapper[Any]) -> Mapping[str, FileColumn]:
    """Return the file attributes of a mapper by their keys."""
    found: Mapping[str, FileColumn] = mapper.class_manager.info.get(INFO, {})
    return found


def mappers_with_files() -> list[Mapper[Any]]:
    """Return the mappers that have file attributes, sorted by name."""
    return sorted(_MAPPERS, key=str)


def mapped_attribute(column: object) -> tuple[Mapper[Any], str] | None:
    """Return the topmost mapper with an attribute of a column, and the key of that; None if no class maps it."""
    found = {
        mapper: key
        for mapper in mappers_with_files()
        for key, each in columns_of_mapper(mapper).items()
        if each.column is column
    }
    for mapper, key in found.items():
        if not any(above in found for above in mapper.iterate_to_root() if above is not mapper):
            return mapper, key
    return None


def columns_of_table(table: Table, mapper: Mapper[Any] | None) -> Mapping[str, FileColumn]:
    """Return the file columns that a statement on a table, through a mapper or without one, may assign to, by key.

    Of a hierarchy in one table, an UPDATE through a parent may name the columns of a child.
    """
    mapped = {} if mapper is None else columns_of_mapper(mapper)
    known = {each.column for each in mapped.values()}
    return {
        column.key: FileColumn(table.name, column.key, column, kind)
        for column in file_columns(table)
        if column not in known and column.key not in mapped and (kind := file_type(column.type)) is not None
    } | dict(mapped)
