"""The recipes of a column: their names, and their application to an original."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from depot_lite import images
from depot_lite.errors import ConfigurationError
from depot_lite.images import ImageInfo, Rendition
from depot_lite.images.recipes import Recipe

#: The name of the original among the renditions, which no variant can have.
ORIGINAL: Final = "(original)"

# Names of variants become parts of file names, and keys of JSON that queries select.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_recipes(variants: Mapping[Any, Any]) -> None:
    """Raise ConfigurationError if a name cannot be part of a file name, or a value is not a recipe."""
    for name, recipe in variants.items():
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise ConfigurationError(f"variants: expected a name of 1 to 64 letters, digits, '-' and '_', got {name!r}")
        if not isinstance(recipe, Recipe) or type(recipe) is Recipe:
            raise ConfigurationError(f"variants[{name!r}]: {recipe!r} is not a Thumbnail, a Crop or a Pad")


def apply_recipes(
    file: BinaryIO, recipes: Mapping[str, Recipe], reduction: Recipe | None, *, strip: bool, **options: Any
) -> tuple[ImageInfo, dict[str, Rendition]]:
    """Return the header data of an image, and its renditions by name; `ORIGINAL` if the original is to be replaced.

    Args:
        file: the image.
        recipes: those of the renditions.
        reduction: the recipe of the original, if it may be too large.
        strip: whether to remove the metadata of the original.
        options: those of `depot_lite.images.probe`.

    Raises:
        ImageRefused: it is not an image, is broken, or exceeds a limit.
    """
    info = images.probe(file, **options)
    if reduction is not None and max(info.width, info.height) > reduction.width:
        recipes = {ORIGINAL: reduction, **recipes}
    made: dict[str, Rendition] = {}
    if recipes:
        file.seek(0)
        info, made = images.render(file, recipes, **options)
    if strip and ORIGINAL not in made:
        file.seek(0)
        stripped = images.strip(file, **options)
        made |= {} if stripped is None else {ORIGINAL: stripped}
    return info, made
