"""`Reference`: the dictionary that a row holds as JSON, read when it is looked at and frozen once its files are stored.

Most rows are loaded for other columns, so a reference that comes from a row keeps the row's text until something is
asked of it. It is a real dictionary all the same, because encoders, templates and users of filedepot expect one.
"""

from __future__ import annotations

import json
from typing import Any, Final, Self, cast

# The key under which a reference from a row keeps its text until it is read. Neither a string nor anything else that
# JSON knows: an encoder written in C that reads the dictionary behind our back fails loudly instead of writing "{}".
UNREAD: Final = cast(str, object())

# What json.loads comes to once it has looked at its options.
_parse: Final = json.JSONDecoder().decode


class Reference(dict[str, Any]):
    """A dictionary whose keys are attributes too."""

    __slots__ = ()

    def _must_be_writable(self) -> None:
        """Raise TypeError if the reference is frozen."""

    def _read(self) -> None:
        # Two threads may come here with one value: both parse, and the text goes only once the keys are there.
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
        # Of a reference from a row every key is missing until it is read; afterwards dict finds the keys without us.
        # Whether _read() did anything says nothing: another thread may have read since the key was missed.
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

    def __ior__(self, other: Any) -> Self:  # type: ignore[override]  # the overloads of dict say no more
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
        """Set several keys, before the reference is frozen."""
        self._must_be_writable()
        dict.update(self, *args, **kwargs)

    def pop(self, *args: Any) -> Any:
        """Remove a key and return its value, before the reference is frozen."""
        self._must_be_writable()
        return dict.pop(self, *args)

    def popitem(self) -> Any:
        """Remove and return the last key and its value, before the reference is frozen."""
        self._must_be_writable()
        return dict.popitem(self)

    def clear(self) -> None:
        """Remove every key, before the reference is frozen."""
        self._must_be_writable()
        dict.clear(self)

    def setdefault(self, key: str, default: Any = None, /) -> Any:
        """Return the value of a key, setting it first if it is missing and the reference is not frozen."""
        self._must_be_writable()
        return dict.setdefault(self, key, default)

    def copy(self) -> dict[str, Any]:
        """Return a plain dictionary with the same keys."""
        return dict(self)
