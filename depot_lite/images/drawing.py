"""Drawing: a decoded image becomes the pictures of its recipes, each at its size and in its colours."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from depot_lite.images.colours import convert_colours, convert_mode, flatten, greyscale, working_mode
from depot_lite.images.headers import ImageInfo
from depot_lite.images.recipes import OUTPUT_FORMATS, Pad, Recipe, Region
from depot_lite.images.source import OpenedImage, refusing

if TYPE_CHECKING:
    from PIL import Image

# Pillow's numbers, so that no module of it is needed: Image.Transpose by EXIF orientation, Image.Resampling.LANCZOS.
_TRANSPOSE: Final = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_LANCZOS: Final = 1

# The least factor by which the final, good resampling shrinks; a faster and coarser method may do the rest. 2 is
# Pillow's default for `thumbnail`. The decoder of JPEG scales well enough for a smaller factor.
_GAP: Final = 2.0
DRAFT_GAP: Final = 1.5


class Plan:
    """A recipe applied to one image: the part to use, its size and its format."""

    def __init__(self, recipe: Recipe, info: ImageInfo) -> None:
        self.recipe = recipe
        self.region: Region = recipe.region(info.width, info.height)
        left, top, right, bottom = self.region.box
        self.whole = (left, top, right, bottom) == (0, 0, info.width, info.height)
        #: The size of the whole image at the scale of the rendition.
        self.need = (
            info.width * self.region.size[0] / (right - left),
            info.height * self.region.size[1] / (bottom - top),
        )
        default = info.format if info.format in OUTPUT_FORMATS else "PNG" if info.has_alpha else "JPEG"
        self.format = recipe.format or default
        self.animated = recipe.animated and info.frames > 1 and self.format != "JPEG"


def memory_of(plans: Collection[Plan], info: ImageInfo) -> int:
    """Return the bytes of the renditions of all frames, and of the pictures they are drawn from."""
    kept = sum(4 * plan.region.size[0] * plan.region.size[1] * (info.frames if plan.animated else 1) for plan in plans)
    source = max(min(_GAP * _GAP * p.need[0] * p.need[1], info.width * info.height) for p in plans)
    return kept + 4 * math.ceil(source)


def draft(image: Image.Image, size: tuple[int, int]) -> None:
    """Have a JPEG scaled down while it is decoded, but not below this size."""
    if image.format == "JPEG" and min(size) > 0:
        image.draft(None, size)


def decode_frame(source: OpenedImage, need: tuple[float, float], index: int) -> Image.Image:
    """Return a frame as displayed, in a mode that can be scaled, and little larger than needed."""
    image = source.image
    with refusing():
        source.seek(index)
        source.load()
        if image.mode in ("I", "F"):
            image = greyscale(image)
        wide, high = source.encoded_size(need, _GAP)
        # Not one factor for both: an image of 3 x 29 million pixels is as narrow as it can be.
        factors = max(1, image.width // wide), max(1, image.height // high)
        return rotated(reduced(image, working_mode(image), factors), source.orientation)


def reduced(image: Image.Image, mode: str, factors: tuple[int, int]) -> Image.Image:
    """Return an image in another mode, its width and height divided by these factors."""
    if image.mode == mode and mode in ("L", "RGB", "CMYK"):
        return image if factors == (1, 1) else image.reduce(factors)
    from PIL import Image

    # In bands of about a million pixels, since converting the whole image would make copies of full size.
    across, down = factors
    base = Image.new(mode, (-(-image.width // across), -(-image.height // down)))
    step = down * max(1, 1_000_000 // (image.width * down))
    for top in range(0, image.height, step):
        band = image.crop((0, top, image.width, min(top + step, image.height)))
        base.paste(convert_mode(band, mode).reduce(factors), (0, top // down))
    return base


def rotated(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image as it is displayed."""
    from PIL import Image

    return image if orientation == 1 else image.transpose(Image.Transpose(_TRANSPOSE[orientation]))


def draw(base: Image.Image, plans: Mapping[str, Plan], source: OpenedImage) -> dict[str, Image.Image]:
    """Return the finished picture of each plan; the largest is drawn first."""
    candidates, found = [base], {}
    for name, plan in sorted(plans.items(), key=lambda item: -item[1].need[0] * item[1].need[1]):
        drawn = _scale(candidates, plan, source.info)
        if plan.whole:
            candidates.append(drawn)
        found[name] = _finish(drawn, plan, source)
    return found


def _scale(candidates: list[Image.Image], plan: Plan, info: ImageInfo) -> Image.Image:
    wide, high = plan.need
    best = next((c for c in reversed(candidates) if c.width >= _GAP * wide and c.height >= _GAP * high), candidates[0])
    across, down = best.width / info.width, best.height / info.height
    left, top, right, bottom = plan.region.box
    box = left * across, top * down, min(right * across, best.width), min(bottom * down, best.height)
    return best.resize(plan.region.size, _LANCZOS, box=box, reducing_gap=_GAP)


def _finish(image: Image.Image, plan: Plan, source: OpenedImage) -> Image.Image:
    from PIL import Image

    image, profile = convert_colours(image, source.icc, plan.format, keep=plan.recipe.icc == "keep")
    fill = plan.recipe.fill
    if isinstance(plan.recipe, Pad):
        transparent = plan.format != "JPEG" and (fill[3] < 255 or image.mode in ("LA", "RGBA"))
        image = flatten(image, fill) if plan.format == "JPEG" else image
        canvas = Image.new(
            "RGBA" if transparent else "RGB", (plan.recipe.width, plan.recipe.height), fill[: 4 if transparent else 3]
        )
        canvas.paste(
            image.convert(canvas.mode), ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2)
        )
        image = canvas
    elif plan.format == "JPEG":
        image = flatten(image, fill)
    if plan.format != "PNG" and image.mode == "LA":
        image = image.convert("RGBA")
    # Pillow writes comments and profiles found here, even into another format.
    image.info = {"icc_profile": profile} if profile else {}
    return image
