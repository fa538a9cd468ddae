"""`FileList`: the value of an attribute of a column with ``multiple=True``, an ordered list of files.

Each method that changes it first makes the new list, lets the attribute's column accept the new items (bytes, uploads,
stored values of other rows ...), tells the session, and only then replaces the items. So a refusal leaves the list
unchanged, and all changes take the same path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, Protocol, Self, TypeVar

from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.parsing import parsed

T = TypeVar("T", bound=DepotFileInfo)


class ListBinding(Protocol):
    """The attribute of one object that holds a list."""

    def same_as(self, binding: Any) -> bool:
        """Return whether this is the same attribute of the same object."""

    def accept(self, items: Sequence[Any], held: Sequence[DepotFileInfo]) -> list[Any]:
        """Return the values of a list with these items; ``held`` are those that are in the list already."""

    def changing(self, files: FileList[Any], before: Sequence[DepotFileInfo]) -> None:
        """Tell the session about a change; raise TypeError if the attribute holds another list by now."""


class _Unbound:
    """The binding of a list that belongs to no object, and can be changed like any list."""

    def same_as(self, binding: Any) -> bool:
        return binding is self

    def accept(self, items: Sequence[Any], held: Sequence[DepotFileInfo]) -> list[Any]:
        return list(items)

    def changing(self, files: FileList[Any], before: Sequence[DepotFileInfo]) -> None:
        pass


_UNBOUND: Final = _Unbound()


class FileList(list[T]):
    """An ordered list of the files of one row. The session notices changes, as it does for relationships.

    It takes any value that can be assigned to an attribute of one file. A file of another row becomes a copy, and so
    does a file that is in the list already: each element has files of its own. Elements cannot be changed in place.

    A list that its object has dropped (another one was assigned, or the object was expired and loaded again) raises
    TypeError when changed, since the change would be lost; ``list(files)`` makes an ordinary list of the same values.
    """

    __slots__ = ("__weakref__", "_binding")

    _binding: ListBinding

    def __init__(self, values: Iterable[T] = ()) -> None:
        if hasattr(self, "_binding"):  # called again, past the session
            raise TypeError("a list of files cannot be initialized again: assign another one to the attribute")
        super().__init__(values)

    @classmethod
    def of(cls, values: Iterable[T], binding: ListBinding | None = None) -> Self:
        """Return a list of values that have been accepted already."""
        files = cls.__new__(cls)
        list.extend(files, values)
        if binding is not None:
            files._binding = binding
        return files

    @classmethod
    def loader(
        cls,
        kind: type[DepotFileInfo],
        locate: Callable[[object], str] | None = None,
        variants: Mapping[str, Any] | None = None,
    ) -> Callable[[Any], FileList[Any]]:
        """Return a function that makes a list from the JSON of a row, as text or parsed by the driver.

        Args:
            kind: the class of the values.
            locate: returns the table, column and primary key of a damaged value, for errors.
            variants: the column's variants by name.
        """
        load_one: Callable[[Any], Any] = kind.loader(locate, variants)
        damaged: Callable[..., Any] = kind.damaged

        def load(found: Any) -> Any:
            data = parsed(found) if found.__class__ is str else found
            if data is None:
                return cls.of(())
            if not isinstance(data, list):
                return cls.of((damaged(found, locate),))
            return cls.of([load_one(each) if isinstance(each, dict) else damaged(each, locate) for each in data])

        return load

    def bound_to(self, binding: ListBinding) -> Self:
        """Bind the list to an attribute and return it; if it is bound to another one, return a bound copy."""
        known: ListBinding = getattr(self, "_binding", binding)
        if known is _UNBOUND:
            known = binding
        if not known.same_as(binding):
            return self.of(self, binding)
        self._binding = binding
        return self

    def is_bound_to(self, binding: ListBinding) -> bool:
        """Return whether the list is bound to this attribute."""
        known: ListBinding | None = getattr(self, "_binding", None)
        return known is not None and known.same_as(binding)

    def take(self, values: Iterable[T]) -> None:
        """Replace all values without telling the session, while a flush is being prepared."""
        list.__setitem__(self, slice(None), list(values))

    def put(self, index: int, value: T) -> None:
        """Replace one value without telling the session, while a flush is being prepared."""
        list.__setitem__(self, index, value)

    def _change_to(self, items: list[Any]) -> None:
        binding: ListBinding | None = getattr(self, "_binding", None)
        if binding is None:
            raise TypeError("this list of files belongs to no object: assign it to an attribute, or change list(files)")
        before = list(self)
        after = binding.accept(items, before)
        if len(after) != len(before) or any(new is not old for new, old in zip(after, before, strict=True)):
            binding.changing(self, before)
            list.__setitem__(self, slice(None), after)

    def __copy__(self) -> list[T]:
        return list(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.of((each.__deepcopy__(memo) for each in self), _UNBOUND)

    def __str__(self) -> str:
        """Return the names of the files, for people: in templates and exports."""
        return ", ".join(map(str, self))

    def __format__(self, spec: str) -> str:
        """Format the names of the files."""
        return format(str(self), spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self).of, (list(self),)

    __hash__ = None  # like every list


def merged(base: Sequence[T], mine: Sequence[T], theirs: Sequence[T] | None) -> list[T] | None:
    """Return a list with the changes of two sessions to the same list; None if both have changed its order.

    Values removed by either are removed; values added by either are there, at the end or where they were inserted. Of a
    value that both have renamed, ``mine`` is kept.

    Args:
        base: the list that both sessions have loaded.
        mine: the list of one session.
        theirs: the list of the other session.
    """
    theirs = () if theirs is None else theirs
    first, one, other = ([str(each["path"]) for each in values] for values in (base, mine, theirs))
    known = {str(each["path"]): each for each in base}
    # A value that one session has renamed keeps its path.
    values = {str(each["path"]): each for each in theirs}
    values.update(
        (path, each) for path, each in zip(one, mine, strict=True) if path not in values or each != known.get(path)
    )
    common = set(first) & set(one) & set(other)
    before, here, there = ([path for path in paths if path in common] for paths in (first, one, other))
    if here == before:
        paths = _woven(other, one, set(first))
    elif there in (before, here):
        paths = _woven(one, other, set(first))
    else:
        return None
    return [values[path] for path in paths]


def _woven(paths: list[str], others: list[str], base: set[str]) -> list[str]:
    """Return the first list with the removals and additions of the second."""
    result = [path for path in paths if path in others or path not in base]
    for position, path in enumerate(others):
        if path not in base and path not in result:
            before = [each for each in others[:position] if each in result]
            after = [each for each in others[position:] if each in base and each in result]
            if not after:
                result.append(path)
            else:
                result.insert(result.index(before[-1]) + 1 if before else result.index(after[0]), path)
    return result


def _changing(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def change(self: FileList[Any], /, *args: Any, **kwargs: Any) -> Any:
        items = list(self)
        result = method(items, *args, **kwargs)
        self._change_to(items)
        return self if result is items else result

    return change


_CHANGING: Final = (
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("__setitem__", "__delitem__", "__iadd__", "__imul__"),
)
for _name in _CHANGING:
    setattr(FileList, _name, _changing(getattr(list, _name)))
