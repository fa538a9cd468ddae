"""`FileEdit`: what a form says became of the files of an attribute: which it keeps, in which order, and which are new.

::

    document.content = FileEdit.of_form(form.getlist("content"))     # Starlette, Werkzeug, WTForms ...

A form tells of the files that it showed (``seen:<file id>``), of those that are to stay (``keep:<file id>``), and
sends new ones, as uploads or as the tokens of direct uploads; all of it under one name, in the order that the list
shall have. What a browser leaves out was removed; a form without any of it changes nothing.

Nothing is decided before the edit is assigned. Then it is held against what the attribute holds by now, so that two
people who edit the same row lose nothing of each other:

- of a list, what was added meanwhile stays, at its end; what was deleted meanwhile stays away; the order is the form's
  where the form changed it.
- a single file that the form did not show is not replaced (`EditRefused`), and not cleared.

A file id is no secret and no key here: it selects among the files of the row, and never leads to a file elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from depot_lite.errors import EditRefused, InvalidContent
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.io.content import is_empty_upload
from depot_lite.uploads import PREFIX

#: How a form says that it showed a file, and that a file stays.
SEEN: Final = "seen:"
KEEP: Final = "keep:"


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that the attribute holds already, and that stays."""

    file_id: str


class FileEdit:
    """An edit of the files of one attribute, to be assigned to it.

    Args:
        items: what the attribute shall hold, in this order: `Kept` files, and whatever can be assigned to it.
        seen: the ids of the files that whoever made the edit had before him.

    >>> FileEdit.of_form(["seen:1", "seen:2", "keep:2", b"new"])
    FileEdit([Kept(file_id='2'), b'new'], seen=['1', '2'])
    """

    __slots__ = ("items", "seen")

    def __init__(self, items: Iterable[Any] = (), *, seen: Iterable[str] = ()) -> None:
        self.items: tuple[Any, ...] = tuple(_each_once(items))
        self.seen = tuple(dict.fromkeys(seen))

    @classmethod
    def of_form(cls, values: Iterable[Any]) -> Self:
        """Return the edit that the values of one form field describe, in the order in which they came.

        Raises:
            InvalidContent: one of them is text that no form of ours sends.
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
                    f"{each[:40]!r}: an upload, its token, 'keep:<file id>' or 'seen:<file id>' is wanted"
                )
        return cls(items, seen=seen)

    @classmethod
    def of_held(cls, held: Iterable[DepotFileInfo]) -> Self:
        """Return the edit that shows these files and changes none."""
        ids = [str(each["file_id"]) for each in held]
        return cls(map(Kept, ids), seen=ids)

    @property
    def kept(self) -> list[str]:
        """The ids of the files that stay, in the order of the form."""
        return [each.file_id for each in self.items if isinstance(each, Kept)]

    @property
    def new(self) -> list[Any]:
        """What is to be stored, in the order of the form."""
        return [each for each in self.items if not isinstance(each, Kept)]

    @property
    def is_change(self) -> bool:
        """Whether the form wants something else than what it showed."""
        return bool(self.new) or self.kept != list(self.seen)

    def one(self, held: DepotFileInfo | None) -> Any:
        """Return what an attribute of one file shall hold: ``held`` itself, a new file, or None.

        Raises:
            EditRefused: another file has come to be there that the form did not show.
        """
        if held is not None and held["file_id"] not in self.seen and self.new:
            raise EditRefused(
                f"was changed meanwhile: there is {held['filename']!r} now", rule="changed", value=held["filename"]
            )
        if self.new:
            return self.new[-1]
        removed = held is not None and held["file_id"] in self.seen and held["file_id"] not in self.kept
        return None if removed else held

    def several(self, held: Sequence[DepotFileInfo]) -> Sequence[Any]:
        """Return what an attribute of many files shall hold; ``held`` itself where nothing changes."""
        there = {str(each["file_id"]): each for each in held}
        removed = set(self.seen).difference(self.kept)
        if self._is_in_order():
            wanted = [*(each for key, each in there.items() if key not in removed), *self.new]
        else:
            placed = set(self.kept)
            wanted = [there.get(each.file_id) if isinstance(each, Kept) else each for each in self.items]
            wanted += [each for key, each in there.items() if key not in placed and key not in removed]
            wanted = [each for each in wanted if each is not None]
        return held if len(wanted) == len(held) and all(map(_same, wanted, held)) else wanted

    def _is_in_order(self) -> bool:
        """Return whether the form left the order alone: what stays as it was shown, what is new behind it."""
        shown = [each for each in self.seen if each in set(self.kept)]
        return self.kept == shown and not any(isinstance(each, Kept) for each in self.items[len(shown) :])

    def __repr__(self) -> str:
        """Show what stays, what is new, and what was seen."""
        return f"{type(self).__name__}({list(self.items)!r}, seen={list(self.seen)!r})"


def _same(one: object, other: object) -> bool:
    return one is other


def _each_once(items: Iterable[Any]) -> Iterable[Any]:
    """Yield the items; a file that stays only where it comes first."""
    kept = set()
    for each in items:
        if not isinstance(each, Kept):
            yield each
        elif each not in kept:
            kept.add(each)
            yield each
