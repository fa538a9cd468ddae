"""Mutations of small images, until the time is up: every one is rendered or refused, within the limits.

    python -m tests.images.fuzz --seconds 300

Ends with exit code 1 and the bytes, in hexadecimal, of the first image that raised something else, took more than the
documented memory, or more than two seconds of processor time. Not part of the test suite.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
import warnings
from io import BytesIO

from depot_lite import images
from depot_lite.errors import ImageRefused
from depot_lite.images.recipes import Crop, Thumbnail
from tests.images import attacks
from tests.images import awkward_images as awkward

_MEMORY = 512_000_000
_SECONDS = 2.0
_INTERESTING = (b"\0", b"\xff", b"\x7f\xff", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\0\1")


def samples() -> list[bytes]:
    """Return small images of all formats."""
    plain = [awkward.saved(awkward.quarters(), name) for name in ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF")]
    moving = [awkward.animation(name) for name in ("GIF", "WEBP", "PNG")]
    more = [awkward.from_a_phone(), awkward.from_a_phone(progressive=True), awkward.heic()]
    icons = [
        awkward.saved(awkward.quarters(), "ICO", bitmap_format=each, sizes=[(96, 64), (9, 9)])
        for each in ("png", "bmp")
    ]
    tiles = {"tile_size": (32, 32), "quality_layers": [20, 4], "progression": "RPCL", "precinct_size": (32, 32)}
    waves = [awkward.saved(awkward.quarters(), "JPEG2000", **each) for each in ({}, {"no_jp2": True}, tiles)]
    hostile = [
        attacks.tiff(64),
        attacks.gif_hidden(64),
        attacks.gif_outside(),
        attacks.webp(64),
        attacks.jp2(),
        attacks.jpeg2000(),
    ]
    packed = [awkward.saved(awkward.quarters(), "TIFF", compression=each) for each in ("tiff_lzw", "jpeg", "packbits")]
    return [*plain, *moving, *more, *icons, *waves, *hostile, *packed]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return the image with a few bytes changed, left out, repeated or cut off; mostly near its beginning."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = (
            min(int(chance.expovariate(1 / 200)), len(found) - 1)
            if chance.random() < 0.7
            else chance.randrange(len(found))
        )
        match chance.randrange(5):
            case 0:
                found[at] = chance.randrange(256)
            case 1:
                new = chance.choice(_INTERESTING)
                found[at : at + len(new)] = new
            case 2:
                del found[at : at + chance.randrange(1, 9)]
            case 3:
                found[at:at] = found[at : at + chance.randrange(1, 200)] * chance.choice((1, 2, 50))
            case _:
                del found[max(at, 32) :]
        if not found:
            return data
    return bytes(found)


def main() -> int:
    """Run until the time is up, and return the exit code."""
    parser = argparse.ArgumentParser(description="Mutations of small images.")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    chance = random.Random(options.seed)
    warnings.simplefilter("ignore")
    kinds, outcomes = samples(), {"rendered": 0, "refused": 0}
    recipes = {"a": Thumbnail(50, 50, animated=True), "b": Crop(20, 20)}
    end, base = time.monotonic() + options.seconds, _peak()
    while time.monotonic() < end:
        data = mutated(chance.choice(kinds), chance)
        began = time.process_time()
        try:
            images.verify_image(BytesIO(data), formats=images.FORMATS)
            images.render(BytesIO(data), recipes, formats=images.FORMATS)
            images.strip(BytesIO(data), formats=images.FORMATS)
            outcomes["rendered"] += 1
        except ImageRefused:
            outcomes["refused"] += 1
        except Exception as error:
            return _failed(data, options.seed, f"raised {error!r}")
        if time.process_time() - began > _SECONDS:
            return _failed(data, options.seed, f"took {time.process_time() - began:.1f} s")
        if _peak() - base > _MEMORY:
            return _failed(data, options.seed, f"took {(_peak() - base) / 1e6:.0f} MB")
    sys.stdout.write(f"seed {options.seed}: {outcomes}, at most {(_peak() - base) / 1e6:.0f} MB\n")
    return 0


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _failed(data: bytes, seed: int, reason: str) -> int:
    sys.stdout.write(f"seed {seed}: {data.hex()}\n{reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
