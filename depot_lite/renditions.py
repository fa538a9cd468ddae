"""Renditions: the recipes of variants that are made on demand, as the columns of this process declare them.

A URL names a variant by the id of its original and the fingerprint of its recipe, ``<id>~<fingerprint>``, and no size,
so that only declared recipes are ever made. `depot_lite.rendering` makes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

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
    """Return the declarations of a recipe, one per class of values; none if no column has declared it."""
    return tuple(_declared.get(fingerprint, {}).values())


def fingerprints() -> tuple[str, ...]:
    """Return the fingerprints of all declared recipes."""
    return tuple(_declared)


def derived_paths(path: str, recipes: Iterable[Any]) -> list[str]:
    """Return the paths of the files that recipes make of an original, whether they exist or not."""
    depot_name, _, file_id = path.partition("/")
    return [f"{depot_name}/{derived_id(file_id, each.fingerprint)}" for each in recipes]


# --- URLs -------------------------------------------------------------------------------------------------------------

_REQUESTED: Final = re.compile(r"([^~]+)~([0-9a-f]{12})")


def requested(file_id: str, fingerprint: str) -> str:
    """Return the part of a URL that stands for the id of a variant.

    >>> requested("b3a1c6de-...-e2", "0123456789ab")
    'b3a1c6de-...-e2~0123456789ab'
    """
    return f"{file_id}~{fingerprint}"


def parse_requested(text: str) -> tuple[str, str | None]:
    """Return the file id in a URL, and the fingerprint of a recipe if it stands for a variant.

    >>> parse_requested("b3a1c6de-...-e2~0123456789ab"), parse_requested("b3a1c6de-...-e2")
    (('b3a1c6de-...-e2', '0123456789ab'), ('b3a1c6de-...-e2', None))
    """
    found = _REQUESTED.fullmatch(text)
    return (found[1], found[2]) if found else (text, None)
