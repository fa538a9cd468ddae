"""JSON data that refuses to be changed: the dictionaries and lists inside a stored value."""

from __future__ import annotations

from typing import Any, Final, NoReturn


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("a stored file cannot be changed: assign a new one to the attribute")


class FrozenDict(dict[str, Any]):
    """A dictionary inside a stored value. Copies of it are ordinary dictionaries."""

    __slots__ = ()

    def __init__(self, *args: Any) -> None:
        if self:
            _refuse()
        super().__init__(*args)

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

    def __init__(self, *args: Any) -> None:
        if self:
            _refuse()
        super().__init__(*args)

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = extend = insert = remove = pop = clear = sort = reverse = _refuse

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return thawed(self)

    def __copy__(self) -> list[Any]:
        return list(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self),)


#: How many levels the JSON of a value may have: far less than Python's stack, in which it is copied and encoded.
DEEPEST: Final = 100
_UNCHANGING: Final = frozenset({str, int, float, bool, type(None), FrozenDict, FrozenList})


def frozen(data: Any, level: int = 0) -> Any:
    """Return JSON data whose dictionaries and lists refuse to be changed, as a row would give it.

    Raises:
        RecursionError: it has more levels than `DEEPEST`.
    """
    if data.__class__ in _UNCHANGING or not isinstance(data, (dict, list, tuple)):
        return data
    if level >= DEEPEST:
        raise RecursionError(f"more than {DEEPEST} levels")
    below = level + 1
    # Most of the content is text: it is not worth a call.
    if not isinstance(data, dict):
        values = list.__new__(FrozenList)
        list.extend(values, [each if each.__class__ is str else frozen(each, below) for each in data])
        return values
    items = dict.__new__(FrozenDict)
    if data:
        dict.update(
            items, {key: each if each.__class__ in _UNCHANGING else frozen(each, below) for key, each in data.items()}
        )
    return items


def thawed(data: Any) -> Any:
    """Return a copy of JSON data as ordinary dictionaries and lists."""
    if isinstance(data, dict):
        return {key: thawed(each) for key, each in data.items()}
    return [thawed(each) for each in data] if isinstance(data, list) else data
