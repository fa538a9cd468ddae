"""Previews of files in the pages of all admins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from depot_lite.contrib.admin.display import file_data
from depot_lite.contrib.admin.rendering import thumbnails, viewer
from depot_lite.fields.specialized.media import UploadedMedia
from depot_lite.images.recipes import Thumbnail
from depot_lite.manager import DepotManager
from depot_lite.previews import pool
from depot_lite.testing import temporary_depots
from tests.previews import samples

RECIPES = {"icon": Thumbnail(64, 64), "large": Thumbnail(300, 300, format="PNG")}


@pytest.fixture(scope="module", autouse=True)
def _depots() -> Iterator[None]:
    with temporary_depots():
        DepotManager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
        DepotManager.make_middleware(lambda environ, start_response: [])
        yield
    pool.close_pool()


def stored(content: bytes, name: str) -> UploadedMedia:
    value = UploadedMedia(content, filename=name)
    value.store(variants=RECIPES)
    return value


@pytest.mark.parametrize(
    ("content", "name"),
    [(samples.pdf(samples.COLOURS), "a.pdf"), (samples.video(), "a.mp4"), (b"Dear Sir,\n", "a.txt")],
)
def test_lists_show_the_smallest_preview(content: bytes, name: str) -> None:
    value = stored(content, name)
    assert f'<img src="{value.variants["icon"].url}" alt="{name}"' in thumbnails(value)


def test_a_video_has_its_preview_as_poster() -> None:
    value = stored(samples.video(), "a.mp4")
    assert f'<video src="{value.url}" poster="{value.variants["large"].url}" controls' in viewer(value)
    assert "320 × 180" in viewer(value)  # noqa: RUF001 - the multiplication sign


def test_a_file_that_browsers_do_not_show_has_its_preview_in_its_place() -> None:
    value = stored(samples.video("avi", "mpeg4"), "a.avi")
    assert file_data(value, "a")["kind"] == "other"
    page = viewer(value)
    assert f'<img src="{value.variants["large"].url}" alt="a.avi"' in page
    assert "no preview" not in page


def test_a_file_without_a_preview_has_an_icon() -> None:
    value = stored(samples.encrypted(), "a.pdf")
    assert "<img" not in thumbnails(value)
    assert "<iframe" in viewer(value)
