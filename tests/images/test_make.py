"""`make` of a recipe: when a variant is made is not a part of the recipe's identity."""

from __future__ import annotations

import pytest

from depot_lite.errors import ConfigurationError
from depot_lite.images.recipes import Crop, Pad, Thumbnail


def test_fingerprints_are_those_of_rows_that_were_written_before() -> None:
    """Rows of the first releases keep them, and would be made again for no reason."""
    assert Thumbnail(128, 128).fingerprint == "30e1d0bf164a"
    assert Crop(200, 100, format="WEBP", quality=80, focus=(0.25, 0.5)).fingerprint == "5887005fa615"
    assert Pad(60, 40, background="#eee").fingerprint == "3c484ded2e69"
    assert Crop(200, 100, focus=True).fingerprint == "df43df92d13a"
    assert Crop(200, 100, focus=True).for_meta({"focus": [0.25, 1]}).fingerprint == "df43df92d13a-025100"


@pytest.mark.parametrize("make", ["now", "later", "on_demand"])
def test_the_fingerprint_does_not_depend_on_when_a_variant_is_made(make: str) -> None:
    """A recipe can be put off, and made at once again, without a change of any row."""
    assert Thumbnail(8, 8, make=make).fingerprint == Thumbnail(8, 8).fingerprint  # type: ignore[arg-type]


def test_other_moments_are_refused() -> None:
    """The message names the three."""
    with pytest.raises(ConfigurationError, match="make='soon': expected 'now', 'later' or 'on_demand'"):
        Thumbnail(8, 8, make="soon")  # type: ignore[arg-type]
