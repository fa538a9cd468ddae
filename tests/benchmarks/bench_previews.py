"""Previews of a PDF, a film and a text, and thumbnails of animations: the time of each, and the memory of a worker.

    python -m tests.benchmarks.bench_previews [--rounds N]

The first preview of each, which may start a worker, is told apart. A preview is the picture of the file, before it has
variants. The animation has 100 frames of 1000 x 900 pixels, which are reduced to 500 x 450: processor time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from statistics import median

import av
from PIL import Image

from depot_lite import images
from depot_lite.images.recipes import Thumbnail
from depot_lite.previews import preview
from tests.benchmarks.alternating import say, seconds


def page() -> bytes:
    """Return a PDF of a page with 50 lines."""
    lines = b"".join(b"(The file is stored first, then the row is written.) Tj 0 -14 Td " for _ in range(50))
    content = b"BT /F1 11 Tf 50 780 Td " + lines + b"ET"
    parts = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    objects = b"".join(b"%d 0 obj%sendobj\n" % (number, part) for number, part in enumerate(parts, 1))
    return b"%PDF-1.4\n" + objects + b"trailer<</Root 1 0 R/Size 6>>\n%%EOF"


def film() -> bytes:
    """Return two seconds of 1920 x 1080 pixels with detail everywhere."""
    noise = Image.effect_noise((320, 180), 60).resize((2000, 1080)).convert("RGB")
    out = BytesIO()
    with av.open(out, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number in range(50):
            output.mux(stream.encode(av.VideoFrame.from_image(noise.crop((number, 0, number + 1920, 1080)))))
        output.mux(stream.encode())
    return out.getvalue()


def animation() -> bytes:
    """Return a GIF of 100 frames."""
    noise = Image.effect_noise((100, 90), 60).resize((1000, 900))
    frames = [noise.rotate(3.6 * number).convert("P") for number in range(100)]
    out = BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=40)
    return out.getvalue()


def elapsed(work: Callable[[], object]) -> float:
    """Return the seconds on the clock, since workers do the work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def memory_of_workers() -> list[int]:
    """Return the resident memory of each child of this process in MB (Linux)."""
    children = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    texts = [Path(f"/proc/{pid}/status").read_text() for pid in children]
    return [int(text.partition("VmRSS:")[2].split()[0]) // 1000 for text in texts]


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    text = b"The file is stored first, then the row is written.\n" * 100
    files = {"application/pdf": page(), "video/mp4": film(), "text/plain": text}
    for kind, data in files.items():
        first, *times = [elapsed(lambda: preview(BytesIO(data), kind)) for _ in range(rounds + 1)]  # noqa: B023
        say(f"{kind:16} {1000 * median(times):6.0f} ms, the first {1000 * first:.0f} ms")
    say(f"memory of workers {memory_of_workers()} MB")
    moving = animation()
    for name in ("WEBP", "AVIF"):
        recipes = {"a": Thumbnail(500, 450, format=name, animated=True)}
        say(f"animation, {name} {seconds(lambda: images.render(BytesIO(moving), recipes)):.1f} s")  # noqa: B023


if __name__ == "__main__":
    main()
