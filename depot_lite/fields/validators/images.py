"""`Image`: the validator for images and their dimensions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from depot_lite.errors import ConfigurationError, ImageRefused, SizeRefused, TypeRefused, ValidationError
from depot_lite.fields.validators.base import Validator, all_of, positive
from depot_lite.fields.validators.candidate import Candidate
from depot_lite.images import DEFAULT_FORMATS, FORMATS, MAX_PIXELS, ImageInfo, probe, verify_image
from depot_lite.images.headers import named_formats

__all__ = ["Image"]


@dataclass(frozen=True)
class Image(Validator):
    """An image that can be decoded, with dimensions within limits. Needs the extra ``images``.

    The dimensions are read from the header; an image that exceeds a limit is never decoded.

    Args:
        formats: the allowed formats, by their names in Pillow, such as ``("JPEG", "PNG")``.
        max_pixels: the maximum of width times height, so that a small file cannot fill the memory; None for no limit.
        min_ratio: the minimum of width / height; 1 refuses images that are higher than wide.
        max_ratio: the maximum of width / height.
        aspect_ratio: the required ratio of width to height, such as ``(16, 9)``, or their quotient.
        tolerance: the allowed deviation from ``aspect_ratio``, as a fraction of it.
        decode: whether to decode every pixel, to find files that are truncated or damaged.
        truncated: ``"allow"`` for a JPEG that lacks only its end, as browsers do; ``"refuse"`` refuses it, too.
    """

    formats: Collection[str] = DEFAULT_FORMATS
    min_width: int | None = None
    max_width: int | None = None
    min_height: int | None = None
    max_height: int | None = None
    max_pixels: int | None = MAX_PIXELS
    min_ratio: float | None = None
    max_ratio: float | None = None
    aspect_ratio: tuple[float, float] | float | None = None
    tolerance: float = 0.01
    decode: bool = True
    truncated: Literal["allow", "refuse"] = "allow"

    costly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("min_width", "max_width", "min_height", "max_height", "max_pixels"):
            positive(name, self._options[name])
        for name in ("min_ratio", "max_ratio"):
            positive(name, self._options[name], float)
        for each in self.aspect_ratio if isinstance(self.aspect_ratio, tuple) else (self.aspect_ratio,):
            positive("aspect_ratio", each, float)
        if isinstance(self.aspect_ratio, tuple) and len(self.aspect_ratio) != 2:
            raise ConfigurationError(f"aspect_ratio={self.aspect_ratio!r}: expected two numbers, such as (16, 9)")
        if isinstance(self.tolerance, bool) or not 0 <= self.tolerance < 1:
            raise ConfigurationError(f"tolerance={self.tolerance!r}: expected a fraction, such as 0.01")
        for low, high in (("min_width", "max_width"), ("min_height", "max_height"), ("min_ratio", "max_ratio")):
            if None not in (self._options[low], self._options[high]) and self._options[low] > self._options[high]:
                raise ConfigurationError(f"{low}={self._options[low]!r} is more than {high}={self._options[high]!r}")
        if self.truncated not in ("allow", "refuse"):
            raise ConfigurationError(f"truncated={self.truncated!r}: expected 'allow' or 'refuse'")
        if isinstance(self.formats, str) or not self._formats:
            raise ConfigurationError(f"formats={self.formats!r}: expected some of {', '.join(FORMATS)}")

    @property
    def _options(self) -> Mapping[str, Any]:
        return vars(self)

    @property
    def _formats(self) -> tuple[str, ...]:
        return named_formats(self.formats)

    def is_pointless(self, errors: Sequence[ValidationError]) -> bool:
        """Return whether the file is refused for its type or size, or another `Image` could not read it."""
        return any(isinstance(each, SizeRefused | TypeRefused) or _is_unreadable(each) for each in errors)

    def __call__(self, file: Candidate) -> None:
        """Check the dimensions in the header, then decode the image."""
        errors = list(self._refusals(self._examine(file, probe)))
        if errors:
            raise all_of(errors)
        if self.decode:
            self._examine(file, verify_image)

    def _examine(self, file: Candidate, look: Callable[..., ImageInfo]) -> ImageInfo:
        limits = {"formats": self._formats, "max_pixels": self.max_pixels, "truncated": self.truncated}

        def examine() -> ImageInfo:
            with file.open() as opened:
                return look(opened, **limits)

        return file.cached((look, *limits.values()), examine)

    def _refusals(self, found: ImageInfo) -> Iterator[ImageRefused]:
        width, height = found.width, found.height
        for side, value, least, most in (
            ("wide", width, self.min_width, self.max_width),
            ("high", height, self.min_height, self.max_height),
        ):
            rule = "width" if side == "wide" else "height"
            if least is not None and value < least:
                message = f"is {value} pixels {side}, at least {least} are needed"
                yield ImageRefused(message, rule=f"min_{rule}", limit=least, value=value)
            if most is not None and value > most:
                message = f"is {value} pixels {side}, at most {most} are allowed"
                yield ImageRefused(message, rule=f"max_{rule}", limit=most, value=value)
        yield from self._ratio_refusals(width, height)

    def _ratio_refusals(self, width: int, height: int) -> Iterator[ImageRefused]:
        ratio = width / height
        measured = f"is {width} x {height} pixels"
        if self.min_ratio is not None and ratio < self.min_ratio:
            message = f"{measured}, at least {self.min_ratio:g} times as wide as high is needed"
            yield ImageRefused(message, rule="min_ratio", limit=self.min_ratio, value=ratio)
        if self.max_ratio is not None and ratio > self.max_ratio:
            message = f"{measured}, at most {self.max_ratio:g} times as wide as high is allowed"
            yield ImageRefused(message, rule="max_ratio", limit=self.max_ratio, value=ratio)
        if self.aspect_ratio is not None:
            sides = self.aspect_ratio if isinstance(self.aspect_ratio, tuple) else (self.aspect_ratio, 1)
            expected = sides[0] / sides[1]
            if abs(ratio - expected) > expected * self.tolerance:
                message = f"{measured}, expected a ratio of {sides[0]:g}:{sides[1]:g}"
                yield ImageRefused(message, rule="aspect_ratio", limit=expected, value=ratio)


def _is_unreadable(error: ValidationError) -> bool:
    return isinstance(error, ImageRefused) and error.rule not in _MEASURES


_MEASURES: Final = {f"{limit}_{measure}" for limit in ("min", "max") for measure in ("width", "height", "ratio")} | {
    "aspect_ratio"
}
