"""Writing: finished pictures become files, with the metadata that a recipe keeps."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from depot_lite.errors import ConfigurationError
from depot_lite.images.drawing import Plan
from depot_lite.images.headers import CONTENT_TYPES, EXTENSIONS, Rendition
from depot_lite.images.source import OpenedImage

if TYPE_CHECKING:
    from PIL import Image

# The EXIF tags that `metadata=True` keeps. Only those known to be harmless are listed; others include serial numbers,
# the position, the preview from before the image was cropped, and the maker's private notes.
_KEPT_TAGS: Final = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
_KEPT_EXPOSURE_TAGS: Final = (
    *(0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9004, 0x9010, 0x9011, 0x9012, 0x9201, 0x9202, 0x9203, 0x9204, 0x9205),
    *(0x9207, 0x9208, 0x9209, 0x920A, 0x9290, 0x9291, 0x9292, 0xA402, 0xA403, 0xA405, 0xA406, 0xA433, 0xA434),
)
_EXPOSURE: Final = 0x8769


#: The longest duration of a frame of GIF, in milliseconds: two bytes of hundredths of a second.
_MAX_DURATION: Final = 655_350


def rendition_of(pictures: list[Image.Image], plan: Plan, source: OpenedImage, durations: list[float]) -> Rendition:
    """Return the file of a picture, or of all frames, as its recipe says."""
    options: dict[str, Any] = {}
    if plan.recipe.quality is not None and plan.format in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = plan.recipe.quality
    if plan.recipe.metadata and plan.format != "GIF" and (exif := _kept_exif(source.exif)):
        options["exif"] = exif
    if profile := pictures[0].info.pop("icc_profile", None):
        options["icc_profile"] = profile
    if len(pictures) > 1:
        options |= _animation_options(plan.format, source, durations)
    return save(pictures, plan.format, options)


def save(pictures: list[Image.Image], name: str, options: dict[str, Any]) -> Rendition:
    """Return the file of a picture or of several frames.

    Raises:
        ConfigurationError: the installed Pillow cannot write the format.
    """
    from PIL import Image

    # Filled by the plugins, all of which were imported to open the source.
    if name not in Image.SAVE:
        raise ConfigurationError(f"this Pillow cannot write {name}; choose another format, or another Pillow")
    if len(pictures) > 1:
        options = {"save_all": True, "append_images": pictures[1:]} | options
    out = BytesIO()
    pictures[0].save(out, name, **options)
    width, height = pictures[0].size
    return Rendition(out.getvalue(), width, height, CONTENT_TYPES[name], EXTENSIONS[name])


def _animation_options(name: str, source: OpenedImage, durations: list[float]) -> dict[str, Any]:
    """Return the options for the duration of each frame, in milliseconds, and the number of repetitions."""
    # `times` is the number of runs, 0 for ever. GIF counts repetitions, and has no entry for one run; AVIF has none.
    loop = source.image.info.get("loop", None if source.info.format == "GIF" else 0)
    times = 1 if loop is None else loop + 1 if loop and source.info.format == "GIF" else loop
    options: dict[str, Any] = {"duration": [round(duration) for duration in durations]}
    if name == "GIF" and sum(durations) > _MAX_DURATION:
        # Pillow joins frames that are alike, with the sum of their durations.
        options["duration"] = [min(each, _MAX_DURATION // len(durations)) for each in options["duration"]]
    if name == "GIF":
        # Each frame is complete, so the previous one must not show through its transparent pixels.
        return options | {"disposal": 2} | ({} if times == 1 else {"loop": max(times - 1, 0)})
    return options if name == "AVIF" else options | {"loop": times}


def _kept_exif(exif: Image.Exif) -> bytes | None:
    from PIL import Image

    clean = Image.Exif()
    try:
        clean.update({tag: exif[tag] for tag in _KEPT_TAGS if tag in exif})
        exposure = exif.get_ifd(_EXPOSURE)
        found: dict[int, Any] = {tag: exposure[tag] for tag in _KEPT_EXPOSURE_TAGS if tag in exposure}
        if found:
            clean.get_ifd(_EXPOSURE).update(found)
        return clean.tobytes() if len(clean) or found else None
    except Exception:  # EXIF data that can be read but not written is no reason to refuse the image
        return None


def jpeg_settings(image: Any) -> dict[str, Any]:
    """Return the options that write a JPEG with the quantization of its source."""
    from PIL import JpegImagePlugin

    return {
        "qtables": [image.quantization[number] for number in dict.fromkeys(each[3] for each in image.layer)],
        "subsampling": JpegImagePlugin.get_sampling(image),
        "progressive": bool(image.info.get("progressive")),
    }
