"""`Reference`: the dictionary kept as JSON in a row, frozen once its files are stored.

It is parsed when the row is loaded, so that encoders written in C, templates and users of filedepot find an ordinary
dictionary. Text that is no reference gives a *damaged* value, which can be replaced and deleted; asking it for a key
raises `DamagedReference`.
"""

from __future__ import annotations

import json
import json.scanner
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn, Self

from depot_lite.errors import DamagedReference, InvalidContent

# json.loads() without its options: (text, start) -> (data, end); StopIteration if it is no JSON.
_parse: Final = json.scanner.make_scanner(json.JSONDecoder())  # type: ignore[arg-type]  # typeshed names the wrong class


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("a stored file cannot be changed: assign a new one to the attribute")


class FrozenDict(dict[str, Any]):
    """A dictionary inside a stored value. Copies of it are ordinary dictionaries."""

    __slots__ = ()

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = pop = popitem = clear = setdefault = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return thawed(self)

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self),)


class FrozenList(list[Any]):
    """A list inside a stored value. Copies of it are ordinary lists."""

    __slots__ = ()

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return thawed(self)

    def __copy__(self) -> list[Any]:
        return list(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self),)


_CONTAINERS: Final = frozenset({dict, list})


def frozen(data: Any) -> Any:
    """Return JSON data whose dictionaries and lists refuse to be changed."""
    kind = data.__class__
    if kind is list:
        return FrozenList([frozen(each) for each in data])
    return FrozenDict({key: frozen(each) for key, each in data.items()}) if kind is dict else data


def thawed(data: Any) -> Any:
    """Return a copy of JSON data as ordinary dictionaries and lists."""
    if isinstance(data, dict):
        return {key: thawed(each) for key, each in data.items()}
    return [thawed(each) for each in data] if isinstance(data, list) else data


#: The only key of a damaged value, with the content of its row.
DAMAGED: Final = "damaged"


class Reference(dict[str, Any]):
    """A dictionary whose keys are also attributes."""

    # Says where a damaged value is. It is not set for others, so that loading is fast.
    __slots__ = ("_locate",)

    @classmethod
    def loader(cls, locate: Callable[[object], str] | None = None) -> Callable[[Any], Self | None]:
        """Return a function that makes a stored reference from the JSON in a row, and None from NULL.

        It is called for every row that is loaded, so it avoids attribute lookups.

        Args:
            locate: returns the table, column and primary key of a damaged value, for errors.
        """
        new, fill, parse, containers = dict.__new__, dict.update, _parse, _CONTAINERS

        def load(found: Any) -> Any:
            data, is_flat = found, False
            try:
                if data.__class__ is str:
                    data, end = parse(data, 0)
                    if end != len(found):
                        return _from_text(cls, found, locate)
                    # Most references have one flat list, and counting brackets is faster than looking at each key.
                    is_flat = found.count("[") == 1 and found.count("{") == 1
                if data is None:
                    return None
                data["depot_name"], data["file_id"], data["path"]
                if is_flat and (files := data.get("files")).__class__ is list:
                    data["files"] = FrozenList(files)
                else:
                    for key, each in data.items():
                        if each.__class__ in containers:
                            data[key] = frozen(each)
            except (StopIteration, ValueError, TypeError, KeyError, AttributeError, RecursionError):
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
        value = dict.__new__(cls)._fill({DAMAGED: found})
        object.__setattr__(value, "_locate", locate)
        return value

    def encode(self) -> str:
        """Return the reference as JSON text (filedepot's name)."""
        return json.dumps(self)

    @property
    def is_damaged(self) -> bool:
        """Whether the row holds something else than a reference to a file."""
        return dict.__contains__(self, DAMAGED) and not dict.__contains__(self, "path")

    def _fill(self, data: dict[str, Any]) -> Self:
        dict.update(self, data)
        self._freeze()
        return self

    def _freeze(self) -> None:
        for key, each in dict.items(self):
            if each.__class__ in _CONTAINERS:
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
        if not self.is_damaged:
            raise KeyError(key)
        try:
            locate = object.__getattribute__(self, "_locate")
        except AttributeError:  # a copy
            locate = None
        raise DamagedReference(self[DAMAGED], "a column of files" if locate is None else locate(self))

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


def _from_text(cls: type[Reference], found: Any, locate: Callable[[object], str] | None) -> Any:
    """Return the value for what `Reference.loader` could not take at once."""
    text = found.strip() if isinstance(found, str) else found
    if text == "":  # columns of other libraries keep None as empty text
        return None
    return cls.damaged(found, locate) if text == found else cls.loader(locate)(text)


def stored_keys(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return the keys of a stored value from its items.

    Raises:
        InvalidContent: they are not the items of a stored value.
    """
    keys = dict(each for each in pairs if isinstance(each, tuple) and len(each) == 2)
    if not keys.get("path"):
        raise InvalidContent("a generator is not a file: read it to bytes first")
    if not keys.get("files"):
        raise InvalidContent(
            f"{keys.get('filename')!r} is not stored yet, so it cannot be copied: flush the session first"
        )
    return keys
