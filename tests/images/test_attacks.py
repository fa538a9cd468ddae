"""Images that were made to exhaust a server: refused by their headers, or decoded within the limits of memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import pillow_heif
import pytest
from PIL import Image

from depot_lite import images
from depot_lite.errors import ImageRefused, ImagesBusy
from depot_lite.fields.validators import Image as ImageValidator
from depot_lite.images import FORMATS
from depot_lite.images.budget import Budget
from depot_lite.images.formats import measure
from depot_lite.images.recipes import Thumbnail
from tests.images import attacks, metadata_attacks
from tests.images import awkward_images as awkward

#: What an image may add to the memory of the process.
_MEMORY = 512_000_000
#: Seconds of processor time for one image in all three functions: far more than any takes, far less than the attacks.
_SECONDS = 20

# Each image in a process of its own, whose peak is that image's, in kilobytes. Not that of `resource.getrusage`, which
# begins with the peak of the process that started this one.
_PROGRAM = """
import json, resource, sys
from depot_lite import images
from depot_lite.images.recipes import Thumbnail
from depot_lite.images.source import import_decoders
import_decoders()
resource.setrlimit(resource.RLIMIT_CPU, ({seconds}, {seconds}))
recipes = {{name: Thumbnail(size, size, animated=True) for name, size in (("a", 500), ("b", 300))}}

def peak():
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

before, rules = peak(), []
with open(sys.argv[1], "rb") as file:
    for work in (images.verify_image, lambda f, **o: images.render(f, recipes, **o)):
        try:
            work(file, formats=images.FORMATS)
            rules.append(None)
        except images.ImageRefused as error:
            rules.append(error.rule)
print(json.dumps([rules, peak() - before]))
"""


def outcome(data: bytes, folder: Path) -> tuple[list[str | None], int]:
    """Return the rules by which an image is refused, and the bytes that it took."""
    path = folder / "image"
    path.write_bytes(data)
    program = [sys.executable, "-c", _PROGRAM.format(seconds=_SECONDS), str(path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rules, peak = json.loads(done.stdout)
    return rules, peak


def every(*tables: Mapping[str, object]) -> list[object]:
    """Return the parameters of a test, by their names."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), id=name)
        for table in tables
        for name, value in table.items()
    ]


_SOME: Final = {name: attacks.REFUSED[name] for name in ("tiff tile", "tiff strip", "gif outside", "webp")}


@pytest.mark.parametrize(("make", "rule"), every(attacks.QUICK, _SOME, metadata_attacks.QUICK))
def test_an_image_is_measured_without_a_decoder(make: Callable[[], bytes], rule: str) -> None:
    with pytest.raises(ImageRefused) as caught:
        images.probe(BytesIO(make()), formats=FORMATS)
    assert caught.value.rule == rule


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("make", "rule"), every(attacks.QUICK, attacks.REFUSED, attacks.REFUSED_LARGE, metadata_attacks.LARGE)
)
def test_an_expensive_image_is_refused_before_it_is_decoded(
    make: Callable[[], bytes], rule: str, tmp_path: Path
) -> None:
    rules, peak = outcome(make(), tmp_path)
    assert rules == [rule, rule]
    assert peak < 20_000_000


@pytest.mark.matrix
@pytest.mark.parametrize("make", every(attacks.ACCEPTED))
def test_the_largest_images_stay_within_the_memory(make: Callable[[], bytes], tmp_path: Path) -> None:
    rules, peak = outcome(make(), tmp_path)
    assert set(rules) <= {None, "decodable"}
    assert peak < _MEMORY


@pytest.mark.matrix
@pytest.mark.parametrize("make", every(metadata_attacks.CHEAP))
def test_expensive_metadata_is_ignored(make: Callable[[], bytes], tmp_path: Path) -> None:
    rules, peak = outcome(make(), tmp_path)
    assert rules == [None, None]
    assert peak < _MEMORY


@pytest.mark.matrix
@pytest.mark.parametrize("make", every(metadata_attacks.FRAMES))
def test_large_animations_are_refused_by_the_copies_of_a_frame(make: Callable[[], bytes], tmp_path: Path) -> None:
    rules, peak = outcome(make(), tmp_path)
    assert rules == [None, "memory"]
    assert peak < _MEMORY


def test_the_metadata_of_frames_in_frames_is_removed() -> None:
    stripped = images.strip(BytesIO(metadata_attacks.webp_frames_in_frames()))
    assert stripped is not None
    assert len(stripped.data) < 1000
    assert images.verify_image(BytesIO(stripped.data)).frames == 2


def test_the_metadata_of_a_transparent_heic_is_removed() -> None:
    out = BytesIO()
    pillow_heif.from_pillow(Image.new("RGBA", (64, 64), "#12345678")).save(out)
    stripped = images.strip(out)
    assert stripped is not None
    assert stripped.content_type == "image/png"


def test_a_colour_profile_that_is_a_text_is_ignored() -> None:
    data = metadata_attacks.tiff_values(34_675, 2, b"x", 10)
    assert images.render(BytesIO(data), {"a": Thumbnail(8, 8)}, formats=["TIFF"])[1]["a"].width == 8


def test_a_profile_with_elements_is_used_by_its_other_tags() -> None:
    data = awkward.saved(Image.new("RGB", (8, 8), (10, 200, 30)), "PNG", icc_profile=metadata_attacks.profile(1))
    made = images.render(BytesIO(data), {"a": Thumbnail(8, 8)})[1]["a"]
    with Image.open(BytesIO(made.data)) as drawn:
        assert drawn.getpixel((0, 0)) != (10, 200, 30)


def test_the_first_frame_of_a_sequence_may_be_its_main_picture() -> None:
    """As in every AVIF that Pillow writes: the bytes are read twice."""
    frames = [Image.effect_noise((200, 200), 90).convert("RGB") for _ in range(2)]
    data = awkward.saved(frames[0], "AVIF", save_all=True, append_images=frames[1:])
    assert images.probe(BytesIO(data)).frames == 2


@pytest.mark.parametrize("name", ["AVIF", "HEIF"])
@pytest.mark.parametrize("tail", [b"\0\0\0\4SEFT", b"SEFHxxxxSEFT", b"\0\0\0\1abcd" + bytes(8)])
def test_bytes_behind_an_image_do_not_matter(name: str, tail: bytes) -> None:
    data = awkward.heic() if name == "HEIF" else awkward.saved(awkward.quarters(), "AVIF")
    assert images.probe(BytesIO(data + tail)) == images.probe(BytesIO(data))


def test_a_tiff_that_is_not_compressed_needs_no_buffer() -> None:
    made = attacks.tiff(10_000, compression=1)
    assert measure("TIFF", BytesIO(made), None, 10**9).memory < 2000


@pytest.mark.matrix
@pytest.mark.parametrize(("name", "options"), [("PNG", {"compress_level": 1}), ("JPEG", {"progressive": True})])
def test_a_photograph_of_24_megapixels_is_rotated_and_stripped(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph = attacks.drawn(6000, 4000)
    stripped = images.strip(BytesIO(awkward.saved(photograph, name, exif=exif, **options)))
    assert stripped is not None
    assert (stripped.width, stripped.height) == (4000, 6000)
    made = images.render(BytesIO(awkward.saved(photograph, name, **options)), {"a": Thumbnail(3000, 3000)})[1]
    assert made["a"].width == 3000


@pytest.mark.parametrize("name", ["TIFF", "BMP", "ICO", "JPEG2000"])
def test_formats_that_browsers_do_not_show_are_read_on_request(name: str) -> None:
    data = awkward.saved(awkward.quarters(), name)
    with pytest.raises(ImageRefused, match=f"is an image of the type {name}"):
        images.render(BytesIO(data), {"a": Thumbnail(10, 10)})
    assert ImageValidator().formats == images.DEFAULT_FORMATS
    assert images.probe(BytesIO(data), formats=[name]).format == name


@pytest.mark.parametrize("work", [images.verify_image, lambda f: images.render(f, {"a": Thumbnail(50, 50)})])
def test_an_error_does_not_keep_the_picture(work: Callable[[BytesIO], object]) -> None:
    """Neither while it is handled, nor as the last error of a thread."""
    data = awkward.saved(Image.effect_noise((600, 400), 90), "PNG")[:5000]
    held: list[list[object]] = []
    with pytest.raises(ImageRefused) as caught:
        work(BytesIO(data))
    error: BaseException | None = caught.value
    while error is not None:
        at = error.__traceback__
        while at is not None:
            if at.tb_frame.f_code.co_filename != __file__:
                held.append([each for each in at.tb_frame.f_locals.values() if isinstance(each, Image.Image)])
            at = at.tb_next
        error = error.__cause__
    assert len(held) > 2
    assert not any(held)


@pytest.mark.parametrize(("size", "width"), [(1_000, 64), (100_000, 96)])
def test_exif_data_of_more_than_a_jpeg_can_hold_is_ignored(size: int, width: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x927C] = bytes(size)
    data = awkward.saved(awkward.quarters(), "PNG", exif=exif.tobytes())
    assert images.probe(BytesIO(data)).width == width


def test_small_images_overtake_large_ones() -> None:
    budget, entered, done = Budget(48, largest=480), threading.Event(), threading.Event()

    def large() -> None:
        with budget.reserve(200):
            entered.set()
            assert done.wait(60)

    threads = [threading.Thread(target=large) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.wait(60)
    with budget.reserve(40), budget.reserve(2):
        assert budget.held == 480 + 42
    done.set()
    for thread in threads:
        thread.join(60)
    assert budget.held == 0


def test_a_wait_for_other_images_has_an_end() -> None:
    budget = Budget(10, largest=10, wait=0.01)
    with budget.reserve(10), pytest.raises(ImagesBusy, match=r"others were, for 0\.01 seconds"):
        budget.reserve(5).__enter__()
    with budget.reserve(5):
        assert budget.held == 5
    assert budget.held == 0
