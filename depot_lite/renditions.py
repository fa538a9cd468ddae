"""Renditions: the recipes of variants that are made on demand, as the columns of this process declare them.

A URL names a variant by the id of its original and the fingerprint of its recipe, ``<id>~<fingerprint>``, and no size,
so that only declared recipes are ever made. `depot_lite.rendering` makes them.

The fingerprint of a recipe that follows the focus of its image ends with a point. Anybody could invent ten thousand of
these, so that such a URL ends with a signature, ``<id>~<fingerprint>-<point>~<signature>``, and is refused without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from depot_lite.focus import DIGITS, split_point
from depot_lite.io.fileid import derived_id

if TYPE_CHECKING:
    from depot_lite.images.headers import Rendition
    from depot_lite.images.recipes import Recipe
    from depot_lite.io.stored import StoredFile


class Maker(Protocol):
    """A class of values that has variants."""

    def rendition_of(self, original: StoredFile, recipe: Recipe) -> Rendition:
        """Return a rendition of a stored original.

        Raises:
            ImageRefused: the file is no image that the class accepts.
        """
        ...


@dataclass(frozen=True, slots=True)
class Declaration:
    """A recipe as a column declares it: its name there, and the class of the column's values."""

    name: str
    recipe: Recipe
    maker: Maker


#: Fingerprint -> class of values -> declaration. Entries are only added, each by one atomic call, so it needs no lock.
_declared: Final[dict[str, dict[Maker, Declaration]]] = {}


def declare(variants: Iterable[tuple[str, Any]], maker: Maker) -> None:
    """Enter the recipes of a column, by name, that are made on demand."""
    for name, recipe in variants:
        if recipe.make == "on_demand":
            _declared.setdefault(recipe.fingerprint, {}).setdefault(maker, Declaration(name, recipe, maker))


def declarations(fingerprint: str) -> tuple[Declaration, ...]:
    """Return the declarations of a recipe, one per class of values; none if no column has declared it.

    A recipe that follows the focus is none without a point, and is that for this point.
    """
    of, point = split_point(fingerprint)
    found = [each for each in _declared.get(of, {}).values() if each.recipe.follows_focus is (point is not None)]
    return tuple(each if point is None else replace(each, recipe=each.recipe.at(point)) for each in found)


def declared_names() -> dict[str, str]:
    """Return the names of all declared recipes by their fingerprints, each as one of its columns has it."""
    return {fingerprint: next(iter(by_maker.values())).name for fingerprint, by_maker in _declared.items()}


def fingerprints() -> tuple[str, ...]:
    """Return the fingerprints of the declared recipes that are the same for all images."""
    return tuple(each for each in _declared if declarations(each))


def derived_paths(path: str, recipes: Iterable[Any]) -> list[str]:
    """Return the paths of the files that recipes make of an original, whether they exist or not."""
    depot_name, _, file_id = path.partition("/")
    return [f"{depot_name}/{derived_id(file_id, each.fingerprint)}" for each in recipes]


# --- URLs -------------------------------------------------------------------------------------------------------------

_REQUESTED: Final = re.compile(rf"([^~]+)~([0-9a-f]{{12}}(?:-{DIGITS})?)(?:~([A-Za-z0-9_-]{{1,64}}))?")


class Requested(NamedTuple):
    """The part of a URL that stands for a file: its id, or that of an original with the fingerprint of a recipe.

    >>> str(Requested("b3a1c6de-...-e2", "0123456789ab"))
    'b3a1c6de-...-e2~0123456789ab'
    """

    file_id: str
    #: None if the URL stands for the file itself.
    fingerprint: str | None = None
    signature: str | None = None

    @property
    def has_point(self) -> bool:
        """Whether the variant is that of a recipe for one point, and its URL needs a signature."""
        return self.fingerprint is not None and has_point(self.fingerprint)

    def __str__(self) -> str:
        return "~".join(each for each in self if each is not None)


def has_point(fingerprint: str) -> bool:
    """Return whether a fingerprint is that of a recipe for one point."""
    return split_point(fingerprint)[1] is not None


def parse_requested(text: str) -> Requested:
    """Return the part of a URL, taken to pieces.

    >>> parse_requested("b3a1c6de-...-e2~0123456789ab-025100~c2lnbmVk")
    Requested(file_id='b3a1c6de-...-e2', fingerprint='0123456789ab-025100', signature='c2lnbmVk')
    >>> parse_requested("b3a1c6de-...-e2")
    Requested(file_id='b3a1c6de-...-e2', fingerprint=None, signature=None)
    """
    found = _REQUESTED.fullmatch(text)
    requested = Requested(*found.groups()) if found else Requested(text)
    return requested if requested.has_point is (requested.signature is not None) else Requested(text)
