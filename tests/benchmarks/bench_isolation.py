"""A thumbnail of 24 megapixels in a worker process, beside the same in the process itself.

python -m tests.benchmarks.bench_isolation --rounds 7
"""

from __future__ import annotations

import argparse
import sys
import time
from io import BytesIO
from statistics import median

from PIL import Image

from depot_lite import images
from depot_lite.images.recipes import Thumbnail


def photographs() -> dict[str, bytes]:
    """Return a picture with detail everywhere, in the formats of cameras and browsers."""
    width, height = 6000, 4000
    noise = Image.effect_noise((width // 10, height // 10), 60).resize((width, height))
    picture = Image.merge("RGB", (noise, Image.linear_gradient("L").resize((width, height)), noise))
    found = {}
    for name, options in (("JPEG", {"quality": 90}), ("PNG", {"compress_level": 1}), ("WEBP", {"method": 0})):
        out = BytesIO()
        picture.save(out, name, **options)
        found[name] = out.getvalue()
    return found


def seconds(data: bytes) -> float:
    """Return the time for one thumbnail."""
    began = time.perf_counter()
    images.render(BytesIO(data), {"a": Thumbnail(600, 600)})
    return time.perf_counter() - began


def main() -> None:
    """Print the ratio for each format, from pairs that are measured one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for name, data in photographs().items():
        pairs = []
        for _ in range(rounds + 1):
            here = seconds(data)
            with images.isolated(workers=1):
                images.probe(BytesIO(data))  # starts the worker
                pairs.append((here, seconds(data)))
        ratios = sorted(there / here for here, there in pairs[1:])
        here = median(pair[0] for pair in pairs[1:])
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        sys.stdout.write(f"{name:5} {here:6.3f} s, in a worker {median(ratios):.2f} times ({spread})\n")


if __name__ == "__main__":
    main()
