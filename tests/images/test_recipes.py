"""Recipes: plain data, checked where they are written, with a name that stays the same."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest

from depot_lite.errors import ConfigurationError
from depot_lite.images.recipes import Crop, Pad, Recipe, Thumbnail


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "Thumbnail: width=0: expected a whole number from 1 to 16383"),
        ({"height": -1}, "Thumbnail: height=-1: expected a whole number from 1 to 16383"),
        ({"width": 16_384}, "Thumbnail: width=16384: expected a whole number from 1 to 16383"),
        ({"width": 1.5}, "Thumbnail: width=1.5: expected a whole number from 1 to 16383"),
        ({"width": True}, "Thumbnail: width=True: expected a whole number from 1 to 16383"),
        ({"quality": 0}, "Thumbnail: quality=0: expected a whole number from 1 to 100"),
        ({"quality": 101}, "Thumbnail: quality=101: expected a whole number from 1 to 100"),
        (
            {"format": "tiff"},
            "Thumbnail: format='tiff': expected one of JPEG, PNG, WEBP, AVIF, GIF, or None to keep the source's format",
        ),
        (
            {"background": "white"},
            "Thumbnail: background='white': "
            "expected a colour such as '#fff', '#ffffff' or '#ffffff80', or 'transparent'",
        ),
        ({"icc": "drop"}, "Thumbnail: icc='drop': expected 'srgb' or 'keep'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wanted(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Thumbnail(**{"width": 100, "height": 100, **options})
    assert str(caught.value) == message


@pytest.mark.parametrize("focus", [(2, 0), (0.5,), "middle", None])
def test_a_focus_outside_of_the_image_is_refused(focus: Any) -> None:
    with pytest.raises(ConfigurationError, match="expected two fractions from 0 to 1"):
        Crop(10, 10, focus=focus)


def test_a_jpeg_cannot_be_padded_with_nothing() -> None:
    with pytest.raises(ConfigurationError, match="an opaque colour, since JPEG has no transparency"):
        Pad(10, 10, format="jpeg", background="transparent")


def test_a_bare_recipe_is_refused_where_it_is_used() -> None:
    with pytest.raises(ConfigurationError, match="use Thumbnail, Crop or Pad"):
        Recipe(10, 10).region(100, 100)


@pytest.mark.parametrize(("written", "format"), [("jpg", "JPEG"), ("JPG", "JPEG"), ("webp", "WEBP"), (None, None)])
def test_formats_are_known_in_any_case(written: str | None, format: str | None) -> None:  # noqa: A002 - the option
    assert Thumbnail(1, 1, format=written).format == format


def test_each_option_changes_the_fingerprint_and_no_spelling_does() -> None:
    recipes = [
        Thumbnail(100, 100),
        Crop(100, 100),
        Pad(100, 100),
        Thumbnail(100, 101),
        Thumbnail(100, 100, format="PNG"),
        Thumbnail(100, 100, quality=80),
        Thumbnail(100, 100, background="#000000"),
        Thumbnail(100, 100, animated=True),
        Thumbnail(100, 100, icc="keep"),
        Thumbnail(100, 100, metadata=True),
        Crop(100, 100, focus=(0, 0.5)),
    ]
    assert len({recipe.fingerprint for recipe in recipes}) == len(recipes)
    assert Thumbnail(100, 100, format="jpg").fingerprint == Thumbnail(100, 100, format="JPEG").fingerprint
    assert Crop(100, 100, focus=(0, 1)).fingerprint == Crop(100, 100, focus=(0.0, 1.0)).fingerprint


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    """Written down, since files are stored under it: a change of this value means that RECIPE_VERSION was changed."""
    assert Thumbnail(128, 128).fingerprint == "30e1d0bf164a"


def test_recipes_are_values() -> None:
    recipe = Crop(10, 20, format="jpg", focus=(0, 1))
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert {recipe: 1}[Crop(10, 20, format="JPEG", focus=(0.0, 1.0))] == 1


@pytest.mark.parametrize(
    ("recipe", "source", "box", "size"),
    [
        (Thumbnail(128, 128), (6000, 4000), (0, 0, 6000, 4000), (128, 85)),
        (Thumbnail(128, 128), (100, 50), (0, 0, 100, 50), (100, 50)),
        (Thumbnail(128, 128), (100_000, 1), (0, 0, 100_000, 1), (128, 1)),
        (Crop(100, 100), (300, 100), (100, 0, 200, 100), (100, 100)),
        (Crop(100, 100, focus=(0, 0)), (300, 100), (0, 0, 100, 100), (100, 100)),
        (Crop(100, 100, focus=(0.9, 0)), (300, 100), (200, 0, 300, 100), (100, 100)),
        (Crop(100, 50), (20, 40), (0, 15, 20, 25), (100, 50)),
        (Crop(400, 400), (10_000, 1), (4999.5, 0, 5000.5, 1), (400, 400)),
        (Pad(100, 100), (300, 150), (0, 0, 300, 150), (100, 50)),
    ],
)
def test_what_a_recipe_takes_of_a_source(
    recipe: Recipe, source: tuple[int, int], box: tuple[float, ...], size: tuple[int, int]
) -> None:
    assert recipe.region(*source) == (box, size)


def test_recipes_and_images_are_imported_without_pillow() -> None:
    program = (
        "import sys, depot_lite.images\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'PIL', 'pillow_heif'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
