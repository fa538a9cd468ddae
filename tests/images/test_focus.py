"""Recipes that follow the focus of an image, without an image."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any

import pytest

from depot_lite.errors import ConfigurationError
from depot_lite.focus import is_moved, split_point
from depot_lite.images.recipes import Crop, Region, Thumbnail, for_meta

SQUARE = Crop(100, 100, focus=True)


def box(recipe: Any) -> Any:
    """Return the part of an image of 1000 x 500 that a recipe shows."""
    return recipe.region(1000, 500).box


@pytest.mark.parametrize(
    ("meta", "point", "left"),
    [
        ({"focus": [0, 0.5]}, (0, 50), 0),
        ({"focus": (0.3, 1)}, (30, 100), 50),
        ({"focus": [0.304, 0.996]}, (30, 100), 50),
        ({"focus": [1.0, 1]}, (100, 100), 500),
        ({"alt": "A photo"}, (50, 50), 250),
        ({}, (50, 50), 250),
        (None, (50, 50), 250),
        ({"focus": [1.001, 0]}, (50, 50), 250),
        ({"focus": [float("nan"), 0]}, (50, 50), 250),
        ({"focus": [10**400, 0]}, (50, 50), 250),
        ({"focus": [True, False]}, (50, 50), 250),
        ({"focus": "00"}, (50, 50), 250),
        ([["focus", [0, 0]]], (50, 50), 250),
    ],
)
def test_the_metadata_decides(meta: Any, point: tuple[int, int], left: int) -> None:
    """To a hundredth; whatever is no point is the centre."""
    recipe = SQUARE.for_meta(meta)
    assert split_point(recipe.fingerprint) == (SQUARE.fingerprint, point)
    assert box(recipe) == (left, 0, left + 500, 500)
    assert recipe.size_for(None, None) == (100, 100)
    assert recipe.for_meta({"focus": [0.7, 0.7]}) is recipe


def test_other_recipes_follow_nothing() -> None:
    """They are themselves for every image."""
    recipes = {"whole": Thumbnail(8, 8), "square": Crop(8, 8), "top": Crop(8, 8, focus=(0.5, 0))}
    assert for_meta(recipes, {"focus": [0, 0]}) == recipes
    assert not any(each.follows_focus for each in recipes.values())
    assert Crop(100, 100).fingerprint != SQUARE.fingerprint


def test_the_time_of_making_stays() -> None:
    """It is no part of the fingerprint."""
    recipe = Crop(8, 8, focus=True, make="later").for_meta({"focus": [0, 0]})
    assert recipe.make == "later"
    assert recipe.fingerprint == Crop(8, 8, focus=True).for_meta({"focus": [0, 0]}).fingerprint


@pytest.mark.parametrize("focus", [False, 1, None, "left", (0.5,), (2, 0)])
def test_what_is_neither_a_point_nor_true_is_refused(focus: Any) -> None:
    """The message names both."""
    with pytest.raises(ConfigurationError, match="expected two fractions from 0 to 1"):
        Crop(8, 8, focus=focus)


@dataclass(frozen=True, slots=True)
class Upper(Crop):
    """A crop that shows more of what is above the point."""

    by: float = 0.0

    def region(self, width: int, height: int) -> Region:
        found = Crop.region(self, width, height)
        return found._replace(box=(found.box[0] + self.by, *found.box[1:]))


def test_a_subclass_follows_as_well() -> None:
    """It decides about the region, also in a worker process."""
    recipe = Upper(100, 100, focus=True, by=7).for_meta({"focus": [0.5, 0.5]})
    assert box(pickle.loads(pickle.dumps(recipe)))[0] == 257
    assert recipe.fingerprint != SQUARE.for_meta({}).fingerprint


@pytest.mark.parametrize(
    "text", ["0123456789ab", "0123456789ab-00050", "0123456789ab-101000", "0123456789ab-" + 6 * "\u0660"]
)
def test_points_are_written_in_one_way(text: str) -> None:
    """Else an image would have more files than points."""
    assert split_point(text) == (text, None)
    assert not is_moved(text, "0123456789ab-050050")
