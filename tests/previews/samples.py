"""PDFs, videos and texts for the tests of previews, made by the libraries themselves or by hand."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import av
import pypdfium2
from PIL import Image, ImageDraw

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


# --- PDF --------------------------------------------------------------------------------------------------------------


def pdf(content: bytes = b"", *, size: tuple[float, float] = (200, 300), page: bytes = b"", more: bytes = b"") -> bytes:
    """Return a PDF of one page with these drawing instructions, entries of its page, and objects from number 5 on."""
    width, height = size
    parts = [
        b"1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj",
        b"2 0 obj <</Type/Pages/Kids[3 0 R]/Count 1>> endobj",
        b"3 0 obj <</Type/Page/Parent 2 0 R/MediaBox[0 0 %f %f]/Contents 4 0 R %s>> endobj" % (width, height, page),
        b"4 0 obj <</Length %d>> stream\n%s\nendstream endobj" % (len(content), content),
        more,
        b"trailer <</Root 1 0 R>>",
    ]
    return b"%PDF-1.7\n" + b"\n".join(parts) + b"\n%%EOF\n"


#: The upper half is red; the lower left quarter is blue.
COLOURS = b"1 0 0 rg 0 150 200 150 re f 0 0 1 rg 0 0 100 150 re f"


def by_the_library(width: float = 200, height: float = 300) -> bytes:
    document = pypdfium2.PdfDocument.new()
    document.new_page(width, height)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def nested_forms(depth: int = 30) -> bytes:
    """Return a PDF whose page draws a form twice, which draws another one twice, and so on."""
    forms = []
    for number in range(depth):
        drawn = b"/F Do /F Do" if number < depth - 1 else b"0 0 10 10 re f"
        entry = b"/Resources <</XObject <</F %d 0 R>>>>" % (6 + number)
        head = b"%d 0 obj <</Type/XObject/Subtype/Form/BBox[0 0 200 300] %s /Length %d>> stream\n"
        forms.append(head % (5 + number, entry, len(drawn)) + drawn + b"\nendstream endobj")
    return pdf(b"/F Do /F Do", page=b"/Resources <</XObject <</F 5 0 R>>>>", more=b"\n".join(forms))


def encrypted() -> bytes:
    """Return a PDF with a password that nobody knows."""
    keys = b"/Filter/Standard/V 1/R 2/P -4/O <%s>/U <%s>" % (b"ab" * 32, b"cd" * 32)
    data = pdf(COLOURS, more=b"5 0 obj <<%s>> endobj" % keys)
    return data.replace(b"trailer <<", b"trailer <</Encrypt 5 0 R/ID[<0102><0102>]")


# --- video ------------------------------------------------------------------------------------------------------------


def quarters(size: tuple[int, int] = (320, 180)) -> Image.Image:
    """Return green and red above white and blue."""
    width, height = size
    picture = Image.new("RGB", size, RED)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill=GREEN)
    draw.rectangle((0, height // 2, width // 2 - 1, height), fill=WHITE)
    draw.rectangle((width // 2, height // 2, width, height), fill=BLUE)
    return picture


def video(
    container: str = "mp4",
    codec: str = "libx264",
    *,
    frames: int = 50,
    dark: int = 0,
    size: tuple[int, int] = (320, 180),
    gop: int = 12,
    ratio: Fraction | None = None,
    options: dict[str, str] | None = None,
    title: str | None = None,
) -> bytes:
    """Return a video of 25 frames per second whose first frames are dark, and the others show `quarters`."""
    out = io.BytesIO()
    frame_of: Any = av.VideoFrame.from_image
    picture, black = frame_of(quarters(size)), frame_of(Image.new("RGB", size))
    with av.open(out, "w", format=container, options=options or {}) as output:
        if title is not None:
            output.metadata["title"] = title
        stream = output.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.gop_size = gop
        if ratio is not None:
            stream.codec_context.sample_aspect_ratio = ratio
        for number in range(frames):
            frame = black if number < dark else picture
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return out.getvalue()


def with_gap(data: bytes, gap: int) -> tuple[bytes, bytes]:
    """Return an MP4 in two parts, between which so many bytes belong: they are skipped on the way to its index."""
    start = data.index(b"moov") - 4
    # A box that may be longer than 4 GB has its size behind its name.
    filler = (1).to_bytes(4, "big") + b"free" + (16 + gap).to_bytes(8, "big")
    return data[:start] + filler, data[start:]


#: The matrices of a track that is turned by 90, 180 and 270 degrees, in numbers of 16.16 bits.
_MATRICES = {
    90: (0, 1, 0, -1, 0, 0),
    180: (-1, 0, 0, 0, -1, 0),
    270: (0, -1, 0, 1, 0, 0),
}


def turned(degrees: int) -> bytes:
    """Return a video that is to be shown turned clockwise, as phones write it."""
    data = bytearray(video())
    start = data.index(b"tkhd") + 4 + 40
    matrix = b"".join((each * 65536).to_bytes(4, "big", signed=True) for each in _MATRICES[degrees])
    data[start : start + 24] = matrix
    return bytes(data)


def sound_only() -> bytes:
    """Return an MP4 without pictures."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=44_100)
        assert isinstance(stream, av.AudioStream)
        for _ in range(20):
            frame = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
            frame.sample_rate = 44_100
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return out.getvalue()


def huge_frames() -> bytes:
    """Return a small WebM whose frames claim to have 16,383 x 16,383 pixels."""
    data = bytearray(video("webm", "libvpx", frames=5, gop=1))
    start = 0
    while (start := data.find(b"\x9d\x01\x2a", start)) >= 0:
        data[start + 3 : start + 7] = b"\xff\x3f\xff\x3f"
        start += 7
    return bytes(data)


def other_codec() -> bytes:
    """Return a video of an archive's codec, which is not among those that are decoded."""
    return video("matroska", "ffv1", frames=3)
