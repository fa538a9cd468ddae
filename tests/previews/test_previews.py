"""Previews of PDFs, videos and texts, hostile ones among them."""

from __future__ import annotations

import io
import logging
import signal
import threading
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from depot_lite import images, previews
from depot_lite.errors import ConfigurationError, ImageRefused, StorageFailed
from depot_lite.images import processes
from depot_lite.previews import pool
from tests.previews import samples
from tests.previews.samples import BLUE, GREEN, RED, WHITE

Colour = tuple[int, int, int]


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[None]:
    """The workers of all these tests, which end behind them."""
    yield
    pool.close_pool()


def preview(data: bytes, content_type: str) -> Image.Image:
    made = previews.preview(BytesIO(data), content_type)
    assert (made.content_type, made.extension) == ("image/bmp", ".bmp")
    picture = Image.open(BytesIO(made.data))
    picture.load()
    assert picture.size == (made.width, made.height)
    return picture


def corners(picture: Image.Image) -> list[Colour]:
    """Return the colours in the corners, by rows; those of a video are near those that were drawn."""
    width, height = picture.size
    places = [(x, y) for y in (height // 8, height - height // 8) for x in (width // 8, width - width // 8)]
    found: list[Any] = [picture.getpixel(place) for place in places]
    return [(255 * (red > 127), 255 * (green > 127), 255 * (blue > 127)) for red, green, blue in found]


def refused(data: bytes, content_type: str) -> ImageRefused:
    with pytest.raises(ImageRefused) as error:
        previews.preview(BytesIO(data), content_type)
    return error.value


# --- PDF --------------------------------------------------------------------------------------------------------------


def test_a_pdf_shows_its_first_page_on_white() -> None:
    picture = preview(samples.pdf(samples.COLOURS), "application/pdf")
    assert picture.size == (1334, 2000)
    assert corners(picture) == [RED, RED, BLUE, WHITE]
    assert set(corners(preview(samples.by_the_library(), "application/pdf"))) == {WHITE}


def test_a_page_is_turned_as_it_says() -> None:
    picture = preview(samples.pdf(samples.COLOURS, page=b"/Rotate 90"), "application/pdf")
    assert picture.size == (2000, 1334)
    assert corners(picture) == [BLUE, RED, WHITE, RED]


@pytest.mark.parametrize("size", [(1e6, 1e6), (1e6, 1.0), (14_400, 14_400)])
def test_a_large_page_is_drawn_small(size: tuple[float, float]) -> None:
    assert max(preview(samples.pdf(samples.COLOURS, size=size), "application/pdf").size) == 2000


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.pdf", samples.pdf())
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(samples.encrypted(), id="encrypted"),
        pytest.param(samples.pdf(samples.COLOURS)[:60], id="truncated"),
        pytest.param(b"", id="empty"),
        pytest.param(_zip(), id="zip"),
        pytest.param(samples.pdf().replace(b"/Kids[3 0 R]/Count 1", b"/Kids[]/Count 0"), id="without pages"),
    ],
)
def test_a_pdf_that_cannot_be_read_is_refused(data: bytes) -> None:
    assert refused(data, "application/pdf").rule == "decodable"


@pytest.mark.matrix
def test_a_bomb_of_nested_forms_ends_a_worker_only(caplog: pytest.LogCaptureFixture) -> None:
    """It would draw a billion squares."""
    with caplog.at_level(logging.WARNING, "depot_lite"), images.isolated(seconds=2):
        assert refused(samples.nested_forms(), "application/pdf").rule in ("decodable", "time", "memory")
        assert corners(preview(samples.pdf(samples.COLOURS), "application/pdf")) == [RED, RED, BLUE, WHITE]


# --- video ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("container", "codec", "content_type"),
    [
        ("mp4", "libx264", "video/mp4"),
        ("mov", "libx265", "video/quicktime"),
        ("webm", "libvpx", "video/webm"),
        ("matroska", "libvpx-vp9", "video/x-matroska"),
        ("avi", "mpeg4", "video/x-msvideo"),
    ],
)
def test_a_video_shows_a_frame(container: str, codec: str, content_type: str) -> None:
    picture = preview(samples.video(container, codec, frames=15), content_type)
    assert picture.size == (320, 180)
    assert corners(picture) == [GREEN, RED, WHITE, BLUE]


@pytest.mark.parametrize("gop", [12, 250])
def test_a_frame_that_is_not_dark_is_chosen(gop: int) -> None:
    """Also if only the first frame is a key frame."""
    assert corners(preview(samples.video(dark=40, gop=gop), "video/mp4")) == [GREEN, RED, WHITE, BLUE]


def test_a_video_that_is_dark_throughout_has_a_dark_frame() -> None:
    assert set(corners(preview(samples.video(dark=50), "video/mp4"))) == {(0, 0, 0)}
    assert preview(samples.video(frames=1), "video/mp4").size == (320, 180)


@pytest.mark.parametrize(
    ("degrees", "size", "expected"),
    [
        (90, (180, 320), [WHITE, GREEN, BLUE, RED]),
        (180, (320, 180), [BLUE, WHITE, RED, GREEN]),
        (270, (180, 320), [RED, BLUE, GREEN, WHITE]),
    ],
)
def test_a_frame_stands_upright(degrees: int, size: tuple[int, int], expected: list[Colour]) -> None:
    picture = preview(samples.turned(degrees), "video/mp4")
    assert (picture.size, corners(picture)) == (size, expected)


def test_pixels_that_are_no_squares_become_squares() -> None:
    assert preview(samples.video(ratio=Fraction(2, 1)), "video/mp4").size == (640, 180)


def test_metadata_may_be_of_any_encoding() -> None:
    data = samples.video(title="a title")
    assert b"a title" in data
    assert preview(data.replace(b"a title", b"\xe4 \xfftle"), "video/mp4").size == (320, 180)


def test_a_truncated_video_shows_a_frame_if_its_header_is_there() -> None:
    fragments = samples.video(options={"movflags": "frag_keyframe+empty_moov"})
    assert corners(preview(fragments[: len(fragments) * 3 // 4], "video/mp4")) == [GREEN, RED, WHITE, BLUE]
    assert refused(samples.video()[:3000], "video/mp4").rule == "decodable"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(samples.sound_only(), id="sound only"),
        pytest.param(samples.huge_frames(), id="huge frames"),
        pytest.param(b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", id="playlist"),
        pytest.param(b"ffconcat version 1.0\nfile /etc/hostname\n", id="concatenation"),
        pytest.param(samples.pdf(), id="PDF"),
        pytest.param(b"", id="empty"),
    ],
)
@pytest.mark.parametrize("content_type", ["video/mp4", "video/webm"])
def test_a_video_that_cannot_be_read_is_refused(data: bytes, content_type: str) -> None:
    assert refused(data, content_type).rule == "decodable"


class Counting(BytesIO):
    """A file in front of gigabytes of zeros that are not there, which counts what is read."""

    def __init__(self, head: bytes, gap: int, tail: bytes) -> None:
        super().__init__(head)
        self.gap, self.tail, self.count, self.at = gap, tail, 0, 0
        self.head = head

    def seek(self, position: int, whence: int = 0, /) -> int:
        size = len(self.head) + self.gap + len(self.tail)
        self.at = (0, self.at, size)[whence] + position
        return self.at

    def read(self, size: int | None = -1, /) -> bytes:
        size = 0 if size is None or size < 0 else size
        start = max(self.at - len(self.head), 0)
        zeros = bytes(max(0, min(size, self.gap - start)))
        whole = self.head[self.at : self.at + size] + zeros
        behind = max(self.at - len(self.head) - self.gap, 0)
        whole = whole[:size] + self.tail[behind : behind + max(0, size - len(whole))]
        self.at += len(whole)
        self.count += len(whole)
        return whole


def test_of_a_long_video_little_is_read() -> None:
    """Its index stands behind four gigabytes."""
    gap = 4 * 1024**3
    head, tail = samples.with_gap(samples.video(), gap)
    file = Counting(head, gap, tail)
    made = previews.preview(file, "video/mp4")
    assert (made.width, made.height) == (320, 180)
    assert 0 < file.count < 2_000_000


def test_other_codecs_are_not_decoded() -> None:
    assert refused(samples.other_codec(), "video/x-matroska").rule == "decodable"


# --- limits -----------------------------------------------------------------------------------------------------------


def _busy() -> list[processes.WorkerProcess]:
    """Return the workers that make previews now."""
    current = pool.current_pool()
    return [each for each in current._workers if each not in current._idle]


def test_a_worker_that_is_killed_is_replaced() -> None:
    assert preview(b"text", "text/plain").width == 1000

    class Killing(BytesIO):
        """Kills the worker that reads it."""

        def read(self, size: int | None = -1, /) -> bytes:
            for worker in _busy():
                worker._process.kill()
                worker._process.wait(60)
            return super().read(size)

    with pytest.raises(ImageRefused) as error:
        previews.preview(Killing(samples.video()), "video/mp4")
    assert error.value.rule == "decodable"
    assert preview(b"text", "text/plain").width == 1000


def test_a_worker_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert preview(b"text", "text/plain").width == 1000

    class Stopping(BytesIO):
        """Stops the worker that reads it."""

        def read(self, size: int | None = -1, /) -> bytes:
            for worker in _busy():
                worker._process.send_signal(signal.SIGSTOP)
            return super().read(size)

    with monkeypatch.context() as patch:
        patch.setattr(processes, "_START", 0)
        patch.setattr(processes, "_PATIENCE", 0.02)
        with pytest.raises(ImageRefused) as error:
            previews.preview(Stopping(b"text"), "text/plain")
    assert error.value.rule == "time"
    assert preview(b"text", "text/plain").width == 1000


def test_an_error_of_the_storage_is_passed_on() -> None:
    class Failing(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise StorageFailed("gone")

    with pytest.raises(StorageFailed, match="gone"):
        previews.preview(Failing(b"text"), "text/plain")
    assert preview(b"text", "text/plain").width == 1000


def test_a_file_that_gives_less_than_it_is_asked_for_is_read_to_its_end() -> None:
    class Short(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(1000, size or 0))

    made = previews.preview(Short(samples.video()), "video/mp4")
    assert made.width == 320


def test_a_file_seems_to_end_at_the_limit_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = samples.video(frames=10)
    monkeypatch.setattr(pool, "MAX_READ", len(data) // 2)
    assert refused(data, "video/mp4").rule == "decodable"


def test_the_limits_are_those_of_images() -> None:
    with images.isolated(workers=1, memory="300 MiB", seconds=3):
        assert preview(b"text", "text/plain").width == 1000
        assert pool.current_pool().options.seconds == 3
    assert preview(b"text", "text/plain").width == 1000
    assert pool.current_pool().options.seconds == 10


def test_many_threads_share_the_workers() -> None:
    made: list[int] = []
    files = [(samples.video(frames=5), "video/mp4"), (samples.pdf(samples.COLOURS), "application/pdf")] * 4
    threads = [threading.Thread(target=lambda each=each: made.append(preview(*each).width)) for each in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(made) == [320] * 4 + [1334] * 4
    assert len(pool.current_pool()._workers) <= 2


@pytest.mark.parametrize(("content_type", "extra"), [("application/pdf", "pdf"), ("video/mp4", "video")])
def test_a_missing_library_is_named_with_its_extra(
    content_type: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'depot_lite\[{extra}\]'"):
        previews.preview(BytesIO(b""), content_type)


def test_other_files_have_no_previews() -> None:
    for content_type in ("application/zip", "audio/mpeg", "image/png", "video/x-flv", "text"):
        assert not previews.can_preview(content_type)
    assert refused(b"", "application/zip").rule == "format"
