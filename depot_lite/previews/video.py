"""A frame of a video, by PyAV (FFmpeg)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.previews.kinds import CONTAINERS

if TYPE_CHECKING:
    from PIL import Image

#: The most pixels of a frame: 8K. Larger ones are refused by the header.
_MAX_PIXELS: Final = 36_000_000
#: The longest side of the picture.
_SIDE: Final = 4096

#: FFmpeg has hundreds of decoders; these are those of videos that browsers, phones and cameras write.
_CODECS: Final = "h264,hevc,vp8,libvpx-vp9,vp9,libdav1d,av1,mpeg4,mpeg2video,mpeg1video,h263,theora,mjpeg,prores"

#: Where a frame is looked for, as parts of the length: titles and credits are seldom there.
_PLACES: Final = (0.1, 0.3, 0.6)
#: The packets that are read for one frame, and for the first frame that is not dark.
_PACKETS, _MORE_PACKETS = 300, 600
#: The mean of a dark frame, from 0 to 255, if it has no bright part.
_DARK: Final = 24


def library() -> Any:
    """Return the library, imported at the first call.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ConfigurationError("previews of video need PyAV: pip install 'depot_lite[video]'") from error
    return av


def frame(file: BinaryIO, content_type: str, seconds: float) -> Image.Image:
    """Return a frame that is not dark if there is one, upright, as it is displayed.

    Args:
        file: the video.
        content_type: one of `CONTAINERS`.
        seconds: the processor time after which no better frame is looked for.

    Raises:
        ImageRefused: there is no video stream, or it cannot be decoded.
    """
    av = library()
    with av.open(
        file,
        format=CONTAINERS[content_type],
        # A file that names others, by a playlist or a reference, opens none of them.
        io_open=_refuse,
        container_options={"protocol_whitelist": "none", "codec_whitelist": _CODECS, "probesize": "5000000"},
        options={"max_pixels": str(_MAX_PIXELS), "threads": "1"},
        **_text_options(av),
    ) as container:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None or stream.codec_context.codec.name not in _CODECS.split(","):
            raise ImageRefused("the file has no video, or one of another codec", rule="decodable")
        _check_size(stream.codec_context)
        stream.codec_context.thread_count = 1
        found = _brightest(_candidates(container, stream), time.process_time() + seconds)
        return _displayed(found, stream)


def _text_options(av: Any) -> dict[str, str]:
    # Until version 19, metadata that is not UTF-8 is an error unless this says otherwise.
    return {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError("a video opens no other files")


def _check_size(picture: Any) -> None:
    if picture.width * picture.height > _MAX_PIXELS:
        raise ImageRefused("the video has too many pixels", rule="max_pixels", limit=_MAX_PIXELS)


def _candidates(container: Any, stream: Any) -> Iterator[Any]:
    """Yield key frames at some places, and then the frames from the start."""
    length = container.duration
    stream.codec_context.skip_frame = "NONKEY"
    for place in _PLACES if length else ():
        container.seek(int(length * place) + max(container.start_time or 0, 0))
        yield from _frames(container, stream, _PACKETS, 1)
    stream.codec_context.skip_frame = "DEFAULT"
    container.seek(max(container.start_time or 0, 0))
    yield from _frames(container, stream, _MORE_PACKETS, _MORE_PACKETS)


def _frames(container: Any, stream: Any, packets: int, most: int) -> Iterator[Any]:
    for packet in container.demux(stream):
        for each in packet.decode():
            yield each
            most -= 1
            if not most:
                return
        packets -= 1
        if not packets:
            return


def _brightest(frames: Iterator[Any], deadline: float) -> Any:
    """Return the first frame that is not dark, else the brightest."""
    best, brightness = None, -1.0
    try:
        for each in frames:
            found = _brightness(each)
            if found > brightness:
                best, brightness = each, found
            if found >= _DARK or (best is not None and time.process_time() > deadline):
                break
    except library().FFmpegError:  # a truncated file has some frames
        pass
    if best is None:
        raise ImageRefused("the video has no frame that can be decoded", rule="decodable")
    return best


def _brightness(found: Any) -> float:
    from PIL import ImageStat

    _check_size(found)
    grey = found.reformat(width=64, height=64, format="gray").to_image()
    return float(ImageStat.Stat(grey).mean[0])


def _displayed(found: Any, stream: Any) -> Image.Image:
    from PIL import Image

    width, height = found.width, found.height
    if ratio := stream.sample_aspect_ratio:  # pixels that are no squares
        width = max(1, round(width * min(max(float(ratio), 0.1), 10)))
    scale = min(1, _SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture: Image.Image = found.reformat(width=size[0], height=size[1], format="rgb24").to_image()
    turn = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
    rotation = turn.get(round(found.rotation) % 360)
    return picture if rotation is None else picture.transpose(rotation)
