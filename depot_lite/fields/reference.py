"""`Reference`: the dictionary kept as JSON in a row, parsed at first use and frozen once its files are stored.

Most rows are loaded for other columns, so a reference from a row keeps the row's text until it is first used. It is a
real dictionary nevertheless: encoders, templates and users of filedepot expect one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Final, Self, cast

from depot_lite.errors import InvalidContent

# The key under which a reference from a row keeps its text until it is parsed. It is not a JSON type: an encoder
# written in C bypasses our methods, and must fail instead of writing "{}".
UNREAD: Final = cast(str, object())

# The call that json.loads makes after examining its options.
_parse: Final = json.JSONDecoder().decode


class Reference(dict[str, Any]):
    """A dictionary whose keys are also attributes."""

    __slots__ = ()

    @classmethod
    def loader(cls) -> Callable[[Any], Self | None]:
        """Return a function that makes a stored reference from the JSON text in a row, and None from NULL.

        The text is parsed at first use. The function is called for every row that is loaded, so it
        avoids attribute lookups.
        """
        # On an empty dictionary setdefault is equivalent to __setitem__ and takes half the time.
        new, put = dict.__new__, dict.setdefault

        def load(data: Any) -> Any:
            if data.__class__ is not str:  # NULL, or JSON that a driver has parsed already
                return None if data is None else new(cls)._fill(data)
            if not data or data == "null":  # columns of other libraries keep None as JSON's null
                return None
            value = new(cls)
            put(value, UNREAD, data)
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

    def encode(self) -> str:
        """Return the reference as JSON text (filedepot's name)."""
        return json.dumps(self)

    def _fill(self, data: dict[str, Any]) -> Self:
        dict.update(self, data)
        return self

    def _must_be_writable(self) -> None:
        """Raise TypeError if the reference is frozen."""

    def _read(self) -> None:
        # Two threads may parse the same reference: the text is removed only after the keys have been set.
        text = dict.get(self, UNREAD)
        if text is not None:
            dict.update(self, _parse(text))
            dict.pop(self, UNREAD, None)

    def __getattr__(self, name: str) -> Any:
        """Return the key of that name."""
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
        # Every key of an unparsed reference is missing; once parsed, dict finds them without this method. Look again
        # even if _read() had nothing to do: another thread may have parsed the reference since the key was missed.
        self._read()
        if dict.__contains__(self, key):
            return dict.__getitem__(self, key)
        raise KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self._must_be_writable()
        dict.__setitem__(self, key, value)

    def __delitem__(self, key: str) -> None:
        self._must_be_writable()
        dict.__delitem__(self, key)

    def __iter__(self) -> Any:
        self._read()
        return dict.__iter__(self)

    def __reversed__(self) -> Any:
        self._read()
        return dict.__reversed__(self)

    def __len__(self) -> int:
        self._read()
        return dict.__len__(self)

    def __contains__(self, key: object) -> bool:
        self._read()
        return dict.__contains__(self, key)

    def __eq__(self, other: object) -> bool:
        self._read()
        if isinstance(other, Reference):
            other._read()
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # as every dictionary

    def __or__(self, other: Any) -> Any:
        return {**self, **other}

    def __ror__(self, other: Any) -> Any:
        return {**other, **self}

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]  # the overloads of dict say the same
        self.update(other)
        return self

    def __repr__(self) -> str:
        self._read()
        return f"{type(self).__name__}({dict.__repr__(self)})"

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return the value of a key, or the default."""
        self._read()
        return dict.get(self, key, default)

    def keys(self) -> Any:
        """Return the keys."""
        self._read()
        return dict.keys(self)

    def values(self) -> Any:
        """Return the values."""
        self._read()
        return dict.values(self)

    def items(self) -> Any:
        """Return the keys with their values."""
        self._read()
        return dict.items(self)

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

    def copy(self) -> dict[str, Any]:
        """Return a plain dictionary with the same keys."""
        return dict(self)


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
