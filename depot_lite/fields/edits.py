"""`FileEdit`: the changes that a form makes to the files of an attribute: kept files, their order, and new ones.

::

    document.content = FileEdit.of_form(form.getlist("content"))     # Starlette, Werkzeug, WTForms ...

A form sends the files that it showed (``seen:<file id>``), the files to keep (``keep:<file id>``), and new files as
uploads or as tokens of direct uploads: all under one name, in the order of the list. A file that was shown but not kept
is removed; a form without any of these values changes nothing.

The edit is applied when it is assigned, to the present files of the attribute, so that two people who edit the same row
do not overwrite each other's changes:

- In a list, files that were added meanwhile stay, at the end, and files that were deleted meanwhile stay deleted. The
  form decides about the order if it changed it.
- A single file that the form did not show is neither replaced (`EditRefused`) nor cleared.

File ids need not be secret: they select among the files of the row, and never give access to other files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self

from depot_lite.errors import EditRefused, InvalidContent
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.reference import DAMAGED
from depot_lite.io.content import encodable, is_empty_upload
from depot_lite.uploads import PREFIX

#: Prefixes of the form values for files that were shown, and for files to keep.
SEEN: Final = "seen:"
KEEP: Final = "keep:"


@dataclass(frozen=True, slots=True)
class Kept:
    """A present file of the attribute that stays."""

    file_id: str


class FileEdit:
    """An edit of the files of one attribute, to be assigned to it.

    Args:
        items: the new files of the attribute in their order: `Kept` files, and values that can be assigned to it.
        seen: the ids of the files that the form showed.

    >>> FileEdit.of_form(["seen:1", "seen:2", "keep:2", b"new"])
    FileEdit([Kept(file_id='2'), b'new'], seen=['1', '2'])
    """

    __slots__ = ("items", "seen")

    def __init__(self, items: Iterable[Any] = (), *, seen: Iterable[str] = ()) -> None:
        self.items: tuple[Any, ...] = tuple(_without_repeated(items))
        self.seen = tuple(dict.fromkeys(seen))

    @classmethod
    def of_form(cls, values: Iterable[Any]) -> Self:
        """Return the edit described by the values of one form field, in their order.

        Raises:
            InvalidContent: a text is neither a token nor a value of `seen` or `keep`.
        """
        items, seen = [], []
        for each in values:
            if is_empty_upload(each):
                continue
            if not isinstance(each, str) or each.startswith(PREFIX):
                items.append(each)
            elif each.startswith(KEEP):
                items.append(Kept(each.removeprefix(KEEP)))
            elif each.startswith(SEEN):
                seen.append(each.removeprefix(SEEN))
            else:
                raise InvalidContent(
                    f"expected an upload, a token, 'keep:<file id>' or 'seen:<file id>', got {each[:40]!r}"
                )
        return cls(items, seen=seen)

    @classmethod
    def of_held(cls, held: Iterable[DepotFileInfo]) -> Self:
        """Return an edit that shows these files and keeps all of them."""
        ids = ids_of(held)
        return cls(map(Kept, ids), seen=ids)

    @property
    def kept(self) -> list[str]:
        """The ids of the kept files, in the order of the form."""
        return [each.file_id for each in self.items if isinstance(each, Kept)]

    @property
    def new(self) -> list[Any]:
        """The new files, in the order of the form."""
        return [each for each in self.items if not isinstance(each, Kept)]

    @property
    def is_change(self) -> bool:
        """Whether the form changes any of the files that it showed."""
        return bool(self.new) or self.kept != list(self.seen)

    def one(self, held: DepotFileInfo | None) -> Any:
        """Return the new value of an attribute of one file: ``held`` itself, a new file, or None.

        Raises:
            EditRefused: the attribute holds a file that the form did not show.
        """
        held_id = None if held is None else ids_of([held])[0]
        if held is not None and held_id not in self.seen and self.new:
            name = held.get("filename")
            raise EditRefused(f"was changed meanwhile: there is {name!r} now", rule="changed", value=name)
        if self.new:
            return self.new[-1]
        return None if held_id in self.seen and held_id not in self.kept else held

    def several(self, held: Sequence[DepotFileInfo]) -> Sequence[Any]:
        """Return the new files of a list; ``held`` itself if nothing changes.

        Raises:
            EditRefused: something changes, and a damaged reference is kept, which no row takes.
        """
        present = dict(zip(ids_of(held), held, strict=True))
        removed = set(self.seen).difference(self.kept)
        if self._is_in_order():
            result = [*(each for key, each in present.items() if key not in removed), *self.new]
        else:
            kept = set(self.kept)
            result = [present.get(each.file_id) if isinstance(each, Kept) else each for each in self.items]
            result += [each for key, each in present.items() if key not in kept and key not in removed]
            result = [each for each in result if each is not None]
        if len(result) == len(held) and all(map(_same, result, held)):
            return held
        if any(isinstance(each, DepotFileInfo) and each.is_damaged for each in result):
            raise EditRefused("has a damaged reference: remove it first", rule="damaged")
        return result

    def _is_in_order(self) -> bool:
        """Return whether the form kept the order: kept files as they were shown, new files after them."""
        in_order = [each for each in self.seen if each in set(self.kept)]
        return self.kept == in_order and not any(isinstance(each, Kept) for each in self.items[len(in_order) :])

    def __repr__(self) -> str:
        """Show the kept, new and seen files."""
        return f"{type(self).__name__}({list(self.items)!r}, seen={list(self.seen)!r})"


def ids_of(held: Iterable[DepotFileInfo]) -> list[str]:
    """Return the ids by which forms name the files of an attribute.

    A damaged reference has none, so that it gets one made of its content. A row may name a file twice.
    """
    found: list[str] = []
    for each in held:
        digest = sha256(repr(each.get(DAMAGED)).encode(errors="replace")).hexdigest()[:16]
        name = f"damaged-{digest}" if each.is_damaged else encodable(str(each.get("file_id")))
        found.append(f"{name}-{len(found)}" if name in found else name)
    return found


def _same(one: object, other: object) -> bool:
    return one is other


def _without_repeated(items: Iterable[Any]) -> Iterable[Any]:
    """Yield the items without repeated `Kept` files."""
    kept = set()
    for each in items:
        if not isinstance(each, Kept):
            yield each
        elif each not in kept:
            kept.add(each)
            yield each
