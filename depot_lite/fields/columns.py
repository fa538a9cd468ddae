"""Which attributes hold files, and what becomes of a value that is assigned to one.

`FileType` is the part of a column type that says how its files are to be treated; `FileColumn` is one attribute of one
mapped class. Both are known without a session, so that an attribute can be set before its object is added to one.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import JSON, Column, ColumnDefault, Table, Text
from sqlalchemy.orm import ColumnProperty, LoaderCallableStatus, Mapper, attributes, class_mapper
from sqlalchemy.types import TypeDecorator

from depot_lite.depots import Depots
from depot_lite.errors import EditRefused, InvalidContent
from depot_lite.fields import adoption
from depot_lite.fields.edits import FileEdit
from depot_lite.fields.interfaces import DepotFileInfo, FileFilter
from depot_lite.fields.lists import FileList
from depot_lite.fields.options import checked_filters, checked_type, checked_validators
from depot_lite.io.content import is_empty_upload

if TYPE_CHECKING:
    from sqlalchemy.orm import InstanceState


def files_in(held: object) -> Sequence[DepotFileInfo]:
    """Return the values in what an attribute holds: one, all of a list, or none."""
    if isinstance(held, DepotFileInfo):
        return (held,)
    return held if isinstance(held, FileList) else ()


def paths_of(held: object) -> list[str]:
    """Return the paths of all files of what an attribute holds."""
    return [path for value in files_in(held) for path in value.paths]


def has_pending(held: object) -> bool:
    """Return whether something of what an attribute holds is not stored yet."""
    return any(value.pending for value in files_in(held))


def twin_of(held: Any) -> Any:
    """Return pending values with the same content for another row, of a value or of a list."""
    return FileList.of(value.twin() for value in held) if isinstance(held, FileList) else held.twin()


#: SQLAlchemy's mark for "not loaded".
NOT_LOADED: Final = LoaderCallableStatus.NO_VALUE


def unknown(value: object) -> bool:
    """Return whether this is SQLAlchemy's mark for "not loaded": an old value that nobody has looked at."""
    return isinstance(value, LoaderCallableStatus)


class FileType(TypeDecorator[Any]):
    """A column type whose values are files.

    SQLAlchemy builds its cache key from attributes that are named as the arguments, so these are, but for filters,
    validators and variants: they change neither the SQL nor what comes back, and some cannot be hashed.
    """

    impl = JSON
    cache_ok = True

    def __init__(
        self,
        filters: Any = (),
        upload_type: type[DepotFileInfo] | None = None,
        upload_storage: str | None = None,
        *,
        text: bool = False,
        validators: Any = (),
        variants: Mapping[str, Any] | None = None,
        multiple: bool = False,
    ) -> None:
        super().__init__(none_as_null=True)
        if text:
            # As a variant, or inside of another TypeDecorator, a type is not asked for the implementation of a dialect.
            self.impl = Text()  # type: ignore[assignment]  # an instance, as TypeDecorator itself sets it
        self._filters = checked_filters(filters)
        self.upload_type = checked_type(upload_type)
        self.upload_storage = upload_storage
        self.text = text
        self.multiple = multiple
        self._validators = checked_validators(validators, self.upload_type, multiple=multiple)
        self._variants = dict(variants or {})
        self._text_on: dict[str, bool] = {}
        self.upload_type.check_variants(self._variants)

    def with_variant(self, type_: Any, *dialect_names: str) -> Any:
        """Return a type that keeps references in another form on some databases: as text, or as JSON.

        A file type differs in nothing else from one database to the next. SQLAlchemy would take the variant as it is,
        and not ask it how it is implemented there.
        """
        variant = type_() if isinstance(type_, type) else type_
        if not isinstance(variant, FileType):
            return super().with_variant(variant, *dialect_names)
        changed = self.copy()
        changed._text_on = {**self._text_on, **dict.fromkeys(dialect_names, variant.text)}
        return changed

    def is_text_on(self, dialect_name: str) -> bool:
        """Return whether a database keeps the reference as text."""
        return self._text_on.get(dialect_name, self.text)

    @property
    def filters(self) -> tuple[FileFilter, ...]:
        """What is done with each file once it is stored."""
        return self._filters

    @property
    def validators(self) -> tuple[Any, ...]:
        """What a file must comply with before anything of it is stored."""
        return self._validators

    @property
    def variants(self) -> Mapping[str, Any]:
        """What is made of each image, by name."""
        return self._variants


def file_type(kind: object) -> FileType | None:
    """Return how a column type treats its files: the type itself, or the one inside of a user's TypeDecorator."""
    if isinstance(kind, FileType):
        return kind
    return file_type(kind.impl) if isinstance(kind, TypeDecorator) else None


@dataclass(frozen=True, slots=True)
class _UpdateContext:
    """What an ``onupdate`` with a context may ask, of an UPDATE that has not been compiled yet."""

    current_parameters: Mapping[str, Any]

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> Mapping[str, Any]:
        """Return what the statement assigns."""
        return self.current_parameters


@dataclass(frozen=True, slots=True)
class FileColumn:
    """One attribute that holds a file: of which class, under which key, in which column."""

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
        """Whether the column has a default, or an ``onupdate``, that gives files."""
        return self.column in _DEFAULTS

    def computed_for_update(self, parameters: Mapping[str, Any]) -> Any:
        """Return what the column's ``onupdate`` gives to a row that a statement updates with these parameters."""
        default = _DEFAULTS[self.column][True]
        return own_of(default.arg(_UpdateContext(parameters)) if default.is_callable else default.arg)

    def __str__(self) -> str:
        """Return ``Document.content``."""
        return f"{self.owner}.{self.key}"

    def accept(self, value: Any, state: InstanceState[Any] | None, held: Any) -> Any:
        """Return what the attribute is to hold when ``value`` is assigned to it: a value of the column's kind, or None.

        A column of many files holds a `FileList`, an empty one for None.

        Args:
            value: bytes, a file, an upload, the token of a direct upload ..., a pending or stored value, or None to
                clear; a list of such; a `FileEdit` of what is held.
            state: the object that the attribute belongs to; None for a row that a statement names.
            held: what the attribute holds now, if anybody looked; an upload without a file leaves it.

        Raises:
            InvalidContent: this is nothing that can be stored, or a token that has expired or is not ours.
            EditRefused: an edit would replace a file that its form did not show.
        """
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
            return value  # what `+=` leads to
        if is_no_file(value):
            return self._held(state, held)
        if isinstance(value, _ONE_FILE) or not isinstance(value, Iterable | None) or hasattr(value, "read"):
            raise InvalidContent(f"{self}: expected a list of files, got one {type(value).__name__}")
        items = list(value or ())
        if items and all(map(is_no_file, items)):
            return self._held(state, held)
        return self._listed(self.accept_items(items, (), state), state)

    def is_accepted(self, value: Any, state: InstanceState[Any]) -> bool:
        """Return whether what an attribute holds has been accepted: it may have come past the attribute's listener."""
        if not self.type.multiple:
            return self._is_mine(value, state)
        place = AttributePlace(self, state.obj())
        return isinstance(value, FileList) and value.is_at(place) and all(self._is_mine(each, state) for each in value)

    def _is_mine(self, value: Any, state: InstanceState[Any]) -> bool:
        if not isinstance(value, self.type.upload_type):
            return False
        return not value.pending or (value.owner is not None and _same_owner(value.owner, state, self.key))

    def _edited(self, edit: FileEdit, held: Any) -> Any:
        if self.type.multiple:
            return edit.several(held)
        try:
            return edit.one(held)
        except EditRefused as error:
            error.at(str(self), None)
            raise

    def accept_items(
        self, items: Sequence[Any], held: Sequence[DepotFileInfo], state: InstanceState[Any] | None
    ) -> list[DepotFileInfo]:
        """Return the values of a list of these items, of which ``held`` are in the attribute's list already."""
        accepted: list[DepotFileInfo] = []
        items = [each for each in items if not is_no_file(each)]
        known, paths, there = {id(each) for each in held}, set(), {id(each) for each in items}
        for item in items:
            value = item if id(item) in known else self._accept_one(item, state)
            if value.duplicate_of is not None and id(value.duplicate_of) not in there:
                value = value.duplicate_of  # two elements have changed places, and the first of the two has gone
                there.add(id(value))
            if value["path"] in paths:  # a second time: each element owns its file
                original = value
                value = self._own(value.twin(), state) if value.pending else self.copy(value, state)
                value.mark_duplicate_of(original)
            paths.add(value["path"])
            accepted.append(value)
        return accepted

    def _listed(self, values: Sequence[DepotFileInfo], state: InstanceState[Any] | None) -> FileList[Any]:
        return FileList.of(values, None if state is None else AttributePlace(self, state.obj()))

    def bind(self, state: InstanceState[Any]) -> None:
        """Tie the list that an object has been given, from its row or by a default, to this attribute."""
        held = state.dict.get(self.key)
        early = state.info.get(_EMPTY, {}).pop(self.key, None)
        if early is not None and isinstance(held, list) and not held:
            state.dict[self.key] = early  # somebody may have it in hand
        elif isinstance(held, FileList):
            state.dict[self.key] = self.tie(held, state)
        elif isinstance(held, list):
            state.dict[self.key] = self._listed(held, state)

    def tie(self, files: FileList[Any], state: InstanceState[Any]) -> FileList[Any]:
        """Return the list, or another one with its values if it is another object's, tied to this attribute."""
        return files.bound_to(AttributePlace(self, state.obj()))

    def empty(self, state: InstanceState[Any]) -> FileList[Any]:
        """Return the list of an object that has none yet. It becomes the attribute's when it is changed.

        Not when it is read: a merge would take an attribute that has a value for one that was assigned.
        """
        waiting: dict[str, FileList[Any]] = state.info.setdefault(_EMPTY, {})
        files = waiting.get(self.key)
        # Once the object was pickled, its list is tied to nothing.
        waiting[self.key] = files = self._listed((), state) if files is None else self.tie(files, state)
        return files

    def _accept_one(self, value: Any, state: InstanceState[Any] | None) -> DepotFileInfo:
        if isinstance(value, DepotFileInfo):
            return self._accept_value(value, state)
        if isinstance(value, dict):
            # A dictionary that came with a request could name any file of anybody.
            raise InvalidContent(f"{self}: a dictionary is not a file; {_WANTED}")
        token = adoption.token_in(value)
        try:
            pending: DepotFileInfo = (
                self.type.upload_type(value, self.type.upload_storage)
                if token is None
                else adoption.adopting(self.type.upload_type, *token, self.type.upload_storage)
            )
        except InvalidContent as error:
            raise InvalidContent(f"{self}: {error}") from error
        return self._own(pending, state)

    def _held(self, state: InstanceState[Any] | None, held: Any) -> Any:
        if state is not None and unknown(held) and state.key is not None:
            return getattr(state.obj(), self.key)
        if self.type.multiple and not isinstance(held, FileList):
            return self._listed((), None) if state is None else self.empty(state)
        return None if unknown(held) else held

    def _accept_value(self, value: DepotFileInfo, state: InstanceState[Any] | None) -> DepotFileInfo:
        if not value.pending:
            return value if self._may_be_own(value, state) else self.copy(value, state)
        if value.owner is not None and not _same_owner(value.owner, state, self.key):
            owner = value.owner[0]()
            # What only a detached object holds is handed on by session.merge(); a stream cannot be shared.
            merging = owner is not None and owner.session is None and state is not None and state.session is not None
            if owner is not None and not (merging and not value.is_rereadable):
                value = value.twin()
        return self._own(value.become(self.type.upload_type), state)

    def _may_be_own(self, value: DepotFileInfo, state: InstanceState[Any] | None) -> bool:
        """Return whether the row may name this file already; where it is not loaded, the flush will know."""
        if state is None or state.key is None:
            return False
        known = [each[self.key] for each in (state.dict, state.committed_state) if self.key in each]
        if not known or any(unknown(each) for each in known):
            return True
        return any(own.get("path") == value.get("path") for each in known for own in files_in(each))

    def own(self, held: Any, state: InstanceState[Any], in_row: Any) -> Any:
        """Return what an attribute is to hold, with copies of stored files that its row does not hold.

        Args:
            held: a value, a list, or None.
            in_row: what the row holds.
        """
        known = {each.get("path") for each in files_in(in_row)}
        known.update(each.get("path") for each in files_in(state.dict.get(self.key)))
        for index, value in enumerate(files_in(held)):
            if not value.pending and value.get("path") not in known:
                if isinstance(held, FileList):
                    held.put(index, self.copy(value, state))
                else:
                    return self.copy(value, state)
        return held

    def copy(self, value: DepotFileInfo, state: InstanceState[Any] | None) -> DepotFileInfo:
        """Return a pending copy of a stored value that belongs to another row, so that each row owns its file."""
        if not isinstance(value, self.type.upload_type):
            # Another class of values makes other files of the same content, so it is stored anew.
            stored = Depots.get_file(value["path"])
            return self._own(self.type.upload_type(stored, self.type.upload_storage), state)
        return self._own(self.type.upload_type.copy_of(value, self.type.upload_storage), state)

    def _own(self, value: DepotFileInfo, state: InstanceState[Any] | None) -> DepotFileInfo:
        if self.type.upload_storage is not None:
            value.move_to(self.type.upload_storage)
        if state is not None:
            value.set_owner(weakref.ref(state), self.key)
        return value


def _same_owner(owner: tuple[weakref.ref[Any], str], state: InstanceState[Any] | None, key: str) -> bool:
    return owner[0]() is state and owner[1] == key


def own_of(value: Any) -> Any:
    """Return what is to be stored for one row of a value that is given to many: a pending one can be stored once."""
    if isinstance(value, list | tuple):
        return [own_of(each) for each in value]
    return value.twin() if isinstance(value, DepotFileInfo) and value.pending else value


@dataclass(frozen=True, slots=True, eq=False)
class AttributePlace:
    """The attribute of one object that holds a `FileList`.

    The object is kept alive by its list: ``session.get_one(Movie, 1).screenshots.append(...)`` is not lost.
    """

    column: FileColumn
    target: Any

    def same_as(self, place: Any) -> bool:
        """Return whether this is the same attribute of the same object."""
        return isinstance(place, AttributePlace) and self.target is place.target and self.column.key == place.column.key

    def accept(self, items: Sequence[Any], held: Sequence[DepotFileInfo]) -> list[Any]:
        """Return the values that a list of these items shall have."""
        return self.column.accept_items(items, held, attributes.instance_state(self.target))

    def changing(self, files: FileList[Any], before: Sequence[DepotFileInfo]) -> None:
        """Let the session know that the list is about to change, and what the row holds until the flush.

        Raises:
            TypeError: the object holds another list by now: the change would be lost.
        """
        state, key = attributes.instance_state(self.target), self.column.key
        if state.key is None and state.info.get(_EMPTY, {}).get(key) is files:
            state.dict.setdefault(key, files)
        if state.dict.get(key) is not files:
            raise TypeError(f"{self.column}: the object holds another list by now; change that one")
        old = state.committed_state.get(key, _NOT_SET)
        attributes.flag_modified(self.target, key)
        # In the place of SQLAlchemy's mark for "unknown"; and of the list itself, where it was assigned once more.
        # A new object keeps the mark: if it takes over the row of another, its list is written whatever it holds.
        if state.key is not None:
            state.committed_state[key] = FileList.of(before) if old is _NOT_SET or old is files else old


_NOT_SET: Final = object()

# Where the state of a new object keeps the lists that were only read: in its ``info``.
_EMPTY: Final = "depot_lite.empty"


def is_no_file(value: object) -> bool:
    """Return whether this is what a form sends where no file was chosen."""
    return not isinstance(value, DepotFileInfo) and is_empty_upload(value)


#: What can be iterated, and is no list of files.
_ONE_FILE: Final = (str, bytes, bytearray, memoryview, dict)

_WANTED: Final = "assign bytes, a binary file, a pathlib.Path, an upload, a FileIntent or an UploadedFile"

#: The key under which the ``info`` of a mapped class's manager has its file attributes, and that of a `Table` its file
#: columns. Every flush and statement looks there, of whatever objects.
INFO: Final = "depot_lite.columns"
_MAPPERS: Final[weakref.WeakSet[Mapper[Any]]] = weakref.WeakSet()
# By whether it is an `onupdate`: what the user has declared, before what it gives was stored.
_DEFAULTS: weakref.WeakKeyDictionary[Column[Any], dict[bool, Any]] = weakref.WeakKeyDictionary()
_NONE: Final[Mapping[str, FileColumn]] = {}


def register(mapper: Mapper[Any], key: str, attribute: object) -> FileColumn | None:
    """Remember an attribute of a mapped class that holds files, and return it; None if it holds none."""
    column = attribute.columns[0] if isinstance(attribute, ColumnProperty) else None
    kind = file_type(column.type) if isinstance(column, Column) else None
    if not isinstance(column, Column) or kind is None:
        return None
    found = FileColumn(mapper.class_.__name__, key, column, kind)
    mapper.class_manager.info.setdefault(INFO, {})[key] = found
    _MAPPERS.add(mapper)
    return found


def remember_default(column: Column[Any], default: ColumnDefault, *, for_update: bool) -> None:
    """Enter that a column has a default, or an ``onupdate``, that gives files."""
    _DEFAULTS.setdefault(column, {})[for_update] = default


def columns_of_class(class_: type) -> Mapping[str, FileColumn]:
    """Return the file attributes of a mapped class by their keys."""
    mapper: Mapper[Any] = class_mapper(class_, configure=False)
    return columns_of_mapper(mapper)


def columns_of_mapper(mapper: Mapper[Any]) -> Mapping[str, FileColumn]:
    """Return the file attributes of a mapper by their keys."""
    found: Mapping[str, FileColumn] = mapper.class_manager.info.get(INFO, _NONE)
    return found


def mappers_with_files() -> list[Mapper[Any]]:
    """Return the mappers that have file attributes, in the order of their names."""
    return sorted(_MAPPERS, key=str)


def columns_of_table(table: Table) -> Mapping[str, FileColumn]:
    """Return the file columns of a table by their keys, for statements that name no mapped class."""
    return {
        column.key: FileColumn(table.name, column.key, column, kind)
        for column in table.columns
        if (kind := file_type(column.type)) is not None
    }


def file_columns(table: Table) -> list[Column[Any]]:
    """Return the file columns of a table, which may come to have more of them."""
    count, found = table.info.get(INFO, (0, []))
    # A copy of a table has a copy of its ``info``, with the columns of the other.
    if count != len(table.c) or (found and found[0].table.fullname != table.fullname):
        found = [each for each in table.c if file_type(each.type) is not None]
        table.info[INFO] = len(table.c), found
    columns: list[Column[Any]] = found
    return columns
