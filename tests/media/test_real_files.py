"""Files written by FFmpeg: their facts are those that FFmpeg itself finds."""

from __future__ import annotations

import io
import random
import struct
from typing import Any, Final

import av
import pytest

from depot_lite.media import read_recording
from tests.media.samples import TURNED

TAGS: Final = {"title": "Töne", "artist": "Die Band", "album": "Platte"}


def pictures(container: Any, stream: Any, seconds: int) -> None:
    """Write grey pictures, 25 a second."""
    for number in range(25 * seconds):
        frame = av.VideoFrame(320, 240, "yuv420p")
        for plane in frame.planes:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts = number
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def noise(container: Any, stream: Any, seconds: int, rate: int) -> None:
    """Write a second of silence, then one of noise, and so on."""
    size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.codec_context.format, "stereo", rate, size)
    chance = random.Random(1)
    for start in range(0, rate * seconds, size):
        samples = min(size, rate * seconds - start)
        frame = av.AudioFrame("s16", "stereo", samples)
        sound = chance.randbytes(4 * samples) if start // rate % 2 else b""
        frame.planes[0].update(sound.ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts = rate, start
        for each in resampler.resample(frame):
            container.mux(stream.encode(each))
    for each in resampler.resample(None):
        container.mux(stream.encode(each))
    container.mux(stream.encode(None))


def written(
    kind: str, *, film: str | None = None, sound: str | None = None, seconds: int = 2, **options: dict[str, str]
) -> bytes:
    """Return a file in a format of FFmpeg's."""
    file = io.BytesIO()
    rate = 48_000 if sound == "libopus" else 44_100
    # Both streams are there before the header is written, with the first of their data.
    with av.open(file, "w", format=kind, options=options.get("container", {})) as container:
        container.metadata.update(TAGS)
        seen: Any = container.add_stream(film, rate=25) if film else None
        heard: Any = container.add_stream(sound, rate=rate, options=options.get("codec")) if sound else None
        if seen:
            seen.width, seen.height, seen.pix_fmt = 320, 240, "yuv420p"
        if heard:
            heard.layout = "stereo"
        if seen:
            pictures(container, seen, seconds)
        if heard:
            noise(container, heard, seconds, rate)
    return file.getvalue()


FRAGMENTED: Final = {"movflags": "frag_keyframe+empty_moov"}
FILMS: Final[dict[str, dict[str, Any]]] = {
    "MP4": {"kind": "mp4", "film": "mpeg4", "sound": "aac"},
    "QuickTime": {"kind": "mov", "film": "mpeg4", "sound": "aac"},
    "fragmented MP4": {"kind": "mp4", "film": "mpeg4", "sound": "aac", "seconds": 3, "container": FRAGMENTED},
    "fragmented MP4 without an index": {
        "kind": "mp4",
        "film": "mpeg4",
        "sound": "aac",
        "seconds": 3,
        "container": {"movflags": f"{FRAGMENTED['movflags']}+skip_trailer"},
    },
    "WebM": {"kind": "webm", "film": "libvpx", "sound": "libopus"},
    "Matroska": {"kind": "matroska", "film": "mpeg4", "sound": "aac"},
    "AVI": {"kind": "avi", "film": "mpeg4", "sound": "libmp3lame"},
}
SOUNDS: Final[dict[str, dict[str, Any]]] = {
    "M4A": {"kind": "ipod", "sound": "aac"},
    "WAV": {"kind": "wav", "sound": "pcm_s16le"},
    "FLAC": {"kind": "flac", "sound": "flac"},
    "MP3 of a constant rate": {"kind": "mp3", "sound": "libmp3lame", "container": {"write_xing": "0"}},
    "MP3 of a variable rate": {"kind": "mp3", "sound": "libmp3lame", "seconds": 4, "codec": {"compression_level": "5"}},
    "Opus": {"kind": "ogg", "sound": "libopus"},
    "FLAC in Ogg": {"kind": "ogg", "sound": "flac"},
}


def known(data: bytes) -> tuple[float, int]:
    """Return the duration and the bit rate that FFmpeg finds."""
    with av.open(io.BytesIO(data)) as container:
        assert container.duration is not None
        return container.duration / av.time_base, container.bit_rate


@pytest.mark.parametrize("options", FILMS.values(), ids=FILMS)
def test_films(options: dict[str, Any]) -> None:
    data = written(**options)
    found, (duration, bitrate) = read_recording(io.BytesIO(data)), known(data)
    assert (found.width, found.height, found.problem) == (320, 240, None)
    assert found.duration == pytest.approx(duration, abs=0.001)
    assert found.bitrate == pytest.approx(bitrate, rel=0.001)
    if options["kind"] not in ("mov", "avi"):  # which keep their tags in other places
        assert found.tags == TAGS


@pytest.mark.parametrize("options", SOUNDS.values(), ids=SOUNDS)
def test_sounds(options: dict[str, Any]) -> None:
    data = written(**options)
    found, (duration, bitrate) = read_recording(io.BytesIO(data)), known(data)
    assert (found.width, found.height, found.problem) == (None, None, None)
    # FFmpeg counts the samples that Opus begins with, and ours counts those that the frames of a constant rate add.
    assert found.duration == pytest.approx(duration, abs=0.01)
    assert found.bitrate == pytest.approx(bitrate, rel=0.1)  # of the sound alone, without the tags
    if options["kind"] != "ogg" or options["sound"] == "libopus":
        assert found.tags == TAGS


def test_a_film_that_was_turned() -> None:
    """As a phone writes it; FFmpeg reads the same matrix."""
    upright = written("mp4", film="mpeg4")
    matrix = struct.pack(">9i", *(round(each * 65536) for each in (1, 0, 0, 0, 1, 0, 0, 0, 16384)))
    turned = struct.pack(">9i", *(round(each * 65536) for each in (*TURNED[:8], 16384)))
    header = upright.index(b"tkhd")
    at = upright.index(matrix, header)
    data = upright[:at] + turned + upright[at + len(turned) :]
    with av.open(io.BytesIO(data)) as container:
        frame = next(container.decode(video=0))
        assert abs(frame.rotation) == 90
    found = read_recording(io.BytesIO(data))
    assert (found.width, found.height) == (240, 320)


def test_the_duration_of_a_stream_that_was_recorded_live_is_not_known() -> None:
    found = read_recording(io.BytesIO(written("webm", film="libvpx", container={"live": "1"})))
    assert (found.duration, found.width, found.height) == (None, 320, 240)
