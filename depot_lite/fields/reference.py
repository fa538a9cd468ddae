"""`Reference`: the dictionary kept as JSON in a row, frozen once its files are stored.

It is parsed when the row is loaded, so that encoders written in C, templates and users of filedepot find an ordinary
dictionary. Text that is no reference gives a *damaged* value, which can be replaced and deleted; asking it for a key
raises `DamagedReference`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar, cast

from depot_lite import renditions
from depot_lite.depots import Depots
from depot_lite.errors import DamagedReference, InvalidContent, InvalidFileId, UnknownDepot
from depot_lite.fields import parsing
from depot_lite.fields.frozen import DEEPEST, FrozenList, frozen
from depot_lite.io.content import encodable
from depot_lite.io.fileid import check_file_id

T = TypeVar("T")

_CONTAINERS: Final = frozenset({dict, list})
#: After a row with other keys than the usual ones, so many are not tried as such: the rows of a column are alike.
OTHERS: Final = 100

#: The only key of a damaged value, with the content of its row.
DAMAGED: Final = "damaged"


class Reference(dict[str, Any]):
    """A dictionary whose keys are also attributes."""

    # Set for values with variants and for damaged ones only, so that loading is fast.
    __slots__ = ("_declared_variants", "_locate")

    @classmethod
    def loader(
        cls, locate: Callable[[object], str] | None = None, variants: Mapping[str, Any] | None = None
    ) -> Callable[[Any], Self | None]:
        """Return a function that makes a stored reference from the JSON in a row, and None from NULL.

        It is called for every row that is loaded, so it avoids attribute lookups.

        Args:
            locate: returns the table, column and primary key of a damaged value, for errors.
            variants: the column's variants by name.
        """
        load = cls._loader_of_any(locate)
        if parsing.parse_plain is not None:
            load = cls._loader_of_plain(parsing.parse_plain, load)
        if not variants:
            return load

        def load_declared(found: Any) -> Any:
            value = load(found)
            return value if value is None else value.declare_variants(variants)

        return load_declared

    @classmethod
    def _loader_of_plain(
        cls, parse: Callable[[str], Any], load_any: Callable[[Any], Self | None]
    ) -> Callable[[Any], Self | None]:
        """Return a loader that is faster for rows with the usual keys, and has ``load_any`` load the others."""
        new, fill = dict.__new__, dict.update
        new_list, extend, others = list.__new__, list.extend, 0

        def load(found: Any) -> Any:
            nonlocal others
            if found.__class__ is str:
                if others > 0:
                    others -= 1
                else:
                    try:
                        row = parse(found)
                    except Exception:
                        others = OTHERS
                    else:
                        files, value = new_list(FrozenList), new(cls)
                        extend(files, row.files)
                        fill(
                            value,
                            {
                                "depot_name": row.depot_name,
                                "files": files,
                                "file_id": row.file_id,
                                "path": row.path,
                                "filename": row.filename,
                                "content_type": row.content_type,
                                "size": row.size,
                                "checksum": row.checksum,
                                "uploaded_at": row.uploaded_at,
                                "_public_url": row._public_url,
                            },
                        )
                        return value
            return load_any(found)

        return load

    @classmethod
    def _loader_of_any(cls, locate: Callable[[object], str] | None = None) -> Callable[[Any], Self | None]:
        """Return a loader of rows with any keys."""
        new, fill, parse = dict.__new__, dict.update, parsing.parse

        def load(found: Any) -> Any:
            try:
                data = parse(found) if found.__class__ is str else found
                if data is None:
                    return None
                if not (data["depot_name"].__class__ is data["file_id"].__class__ is data["path"].__class__ is str):
                    return cls.damaged(found, locate)
                for key, each in data.items():
                    if each.__class__ in _CONTAINERS:
                        data[key] = frozen(each)
            except Exception:  # msgspec, json and the text itself have a dozen ways to be no reference
                return _from_text(cls, found, locate)
            value = new(cls)
            fill(value, data)
            return value

        return load

    @classmethod
    def decode(cls, data: str) -> Self:
        """Return the stored reference described by JSON text (filedepot's name)."""
        return cls.of_data(json.loads(data))

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> Self:
        """Return the stored reference described by a dictionary from a row."""
        return dict.__new__(cls)._fill(data)

    @classmethod
    def damaged(cls, found: Any, locate: Callable[[object], str] | None = None) -> Self:
        """Return the value of a row that holds something else than a reference; its only key is ``damaged``."""
        value = dict.__new__(cls)
        try:
            value._fill({DAMAGED: found})
        except RecursionError:  # of data that the driver has parsed
            value._fill({DAMAGED: f"JSON of more than {DEEPEST} levels"})
        object.__setattr__(value, "_locate", locate)
        return value

    def encode(self) -> str:
        """Return the reference as JSON text (filedepot's name)."""
        return json.dumps(self)

    @property
    def is_damaged(self) -> bool:
        """Whether the row holds something else than a reference to a file."""
        return dict.__contains__(self, DAMAGED) and not dict.__contains__(self, "path")

    @property
    def named_paths(self) -> list[str]:
        """The paths of all files that the value names, its own or not; empty if it names no main file."""
        files, path = self.get("files"), self.get("path")
        if not isinstance(path, str):
            return []
        named = [each for each in files if isinstance(each, str)] if isinstance(files, list) else []
        return named if path in named else [path, *named]

    @property
    def own_and_foreign_paths(self) -> tuple[list[str], list[str]]:
        """The paths that a stored value owns, and those that it names without owning them (`foreign_paths`)."""
        own: list[str] = []
        foreign: list[str] = []
        for each in self.named_paths:
            (own if _is_in_depot(each, self["path"].partition("/")[0]) else foreign).append(each)
        return own, foreign

    @property
    def foreign_paths(self) -> list[str]:
        """The paths that a stored value names without owning them. They are neither deleted nor copied with it."""
        return self.own_and_foreign_paths[1]

    @property
    def pending(self) -> bool:
        """Whether the bytes have not been stored yet."""
        return False

    @property
    def declared_variants(self) -> Mapping[str, Any]:
        """The variants that the column of this stored value declares, by name, whether they have been made or not."""
        try:
            return cast("Mapping[str, Any]", object.__getattribute__(self, "_declared_variants"))
        except AttributeError:
            return {}

    @property
    def derived_paths(self) -> list[str]:
        """The paths of this value's variants on demand, whether they have been made or not."""
        return self._derived_paths([each for each in self.declared_variants.values() if each.make == "on_demand"])

    @property
    def focused_paths(self) -> list[str]:
        """Those of `derived_paths` that depend on the point in the value's metadata."""
        variants = self.declared_variants.values()
        return self._derived_paths([each for each in variants if each.follows_focus and each.make == "on_demand"])

    def _derived_paths(self, recipes: Sequence[Any]) -> list[str]:
        if not recipes or self.pending or self.get("path") not in self.own_and_foreign_paths[0]:
            return []
        return renditions.derived_paths(self["path"], [each.for_meta(self.get("meta")) for each in recipes])

    def declare_variants(self, variants: Mapping[str, Any]) -> Self:
        """Set the variants that the column of this value declares, and return the value."""
        if variants:
            object.__setattr__(self, "_declared_variants", variants)
        return self

    def _optional(self, key: str, kind: type[T]) -> T | None:
        """Return the value of a key that may be missing or null. Text of rows is returned as UTF-8 can encode it.

        Raises:
            DamagedReference: the row has a value of another type.
        """
        found = self.get(key)
        if found is None or (isinstance(found, kind) and found.__class__ is not bool):
            return encodable(found) if isinstance(found, str) else found  # type: ignore[return-value]  # str is `kind`
        raise self._damage(key, f"of type {kind.__name__}")

    def _required(self, key: str, kind: type[T]) -> T:
        """Return the value of a key that every reference has, as `_optional` does."""
        found = self._optional(key, kind)
        if found is None:
            raise self._damage(key, f"of type {kind.__name__}")
        return found

    def _damage(self, key: str, expected: str) -> DamagedReference:
        """Return the error for a key with a value that is not as expected."""
        if self.is_damaged:
            return self._damage_of_all()
        return DamagedReference(self.get(key), str(self.get("path")), f"{key} {expected}")

    def _fill(self, data: dict[str, Any]) -> Self:
        dict.update(self, data)
        self._freeze()
        return self

    def _freeze(self) -> None:
        for key, each in dict.items(self):
            if isinstance(each, (dict, list, tuple)):
                dict.__setitem__(self, key, frozen(each))

    def _must_be_writable(self) -> None:
        """Raise TypeError if the reference is frozen."""

    def __getattr__(self, name: str) -> Any:
        """Return the key of that name."""
        if name.startswith("__"):  # a protocol that this class does not have
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        """Set the key of that name, on a pending value."""
        self[name] = value

    def __delattr__(self, name: str) -> None:
        """Remove the key of that name, from a pending value."""
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __missing__(self, key: str) -> Any:
        raise self._damage_of_all() if self.is_damaged else KeyError(key)

    def keep_place(self) -> None:
        """Find the row of a damaged value now, for errors that are raised after its session was closed."""
        if self.is_damaged:
            place = self._place()
            object.__setattr__(self, "_locate", lambda value: place)

    def _place(self) -> str:
        try:
            locate = object.__getattribute__(self, "_locate")
        except AttributeError:  # a copy
            locate = None
        return "a column of files" if locate is None else locate(self)

    def _damage_of_all(self) -> DamagedReference:
        return DamagedReference(self[DAMAGED], self._place())

    def __setitem__(self, key: str, value: Any) -> None:
        self._must_be_writable()
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        self._must_be_writable()
        dict.__delitem__(self, key)

    __hash__ = None  # as every dictionary

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]  # the overloads of dict say the same
        self.update(other)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict.__repr__(self)})"

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several keys, unless the reference is frozen."""
        self._must_be_writable()
        dict.update(self, *args, **kwargs)

    def pop(self, *args: Any) -> Any:
        """Remove a key and return its value, unless the reference is frozen."""
        self._must_be_writable()
        return dict.pop(self, *args)

    def popitem(self) -> Any:
        """Remove and return the last key and its value, unless the reference is frozen."""
        self._must_be_writable()
        return dict.popitem(self)

    def clear(self) -> None:
        """Remove every key, unless the reference is frozen."""
        self._must_be_writable()
        dict.clear(self)

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        """Return the value of a key, after setting it if it is missing; raise TypeError if the reference is frozen."""
        self._must_be_writable()
        return dict.setdefault(self, key, default)


def _is_in_depot(path: str, depot_name: str) -> bool:
    """Return whether a path leads to a file of this depot, under its name or an alias."""
    other, _, file_id = path.partition("/")
    try:
        check_file_id(file_id)
        return other == depot_name or Depots.resolve_alias(other) == Depots.resolve_alias(depot_name)
    except (InvalidFileId, UnknownDepot):
        return False


def _from_text(cls: type[Reference], found: Any, locate: Callable[[object], str] | None) -> Any:
    """Return the value for what `Reference.loader` could not take at once."""
    data = parsing.parsed(found) if isinstance(found, str) else found
    if data is None or (data is not found and isinstance(data, dict)):
        value = cls.loader(locate)(data)
        return cls.damaged(found, locate) if value is not None and value.is_damaged else value
    return cls.damaged(found, locate)


def stored_keys(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return the keys of a stored value from its items.

    Raises:
        InvalidContent: they are not the items of a stored value.
    """
    keys = dict(each for each in pairs if isinstance(each, tuple) and len(each) == 2)
    if keys.keys() == {DAMAGED}:
        return keys
    if not keys.get("path"):
        raise InvalidContent("a generator is not a file: read it to bytes first")
    if not keys.get("files"):
        raise InvalidContent(
            f"{keys.get('filename')!r} is not stored yet, so it cannot be copied: flush the session first"
        )
    return keys
