"""Validators: the rules that a file must comply with before a column accepts it.

::

    class Person(Base):
        photo: Mapped[UploadedFile | None] = mapped_column(
            UploadedFileField(validators=[Size("5 MiB"), ContentTypes("image/*"), Image(min_width=200)])
        )

Validators run at flush, before any file of the object is stored. The flush raises one `ValidationError`, or
`SeveralRefused` with all of them. A validator is any callable that takes a `Candidate`: one of the classes here, a
subclass of `Validator`, or a function that raises ValidationError, or any other ValueError, to refuse a file.

>>> Size("1 kB")(Candidate.of(b"x" * 1500))
Traceback (most recent call last):
    ...
depot_lite.errors.SizeRefused: is 1.5 kB, at most 1 kB is allowed
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from depot_lite.errors import ConfigurationError, CountRefused, SizeRefused, TypeRefused
from depot_lite.fields.validators.base import Validator, all_of, one_of, positive, text_of
from depot_lite.fields.validators.candidate import Candidate, StoredCandidate
from depot_lite.fields.validators.images import Image
from depot_lite.fields.validators.names import (
    ALLOWED_CHARACTERS,
    ALLOWED_EXTENSIONS,
    AUDIO_EXTENSIONS,
    DATA_EXTENSIONS,
    DOCUMENT_EXTENSIONS,
    IMAGE_EXTENSIONS,
    TEXT_EXTENSIONS,
    VIDEO_EXTENSIONS,
    Extensions,
    FileName,
    extension_of,
)
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.claims import contradicts_declaration, contradicts_name
from depot_lite.io.media_types.vocabulary import matches, type_of_name, with_usual_extension
from depot_lite.io.sizes import exact_size, is_decimal, shown_size, size_of

__all__ = [
    "ALLOWED_CHARACTERS",
    "ALLOWED_EXTENSIONS",
    "AUDIO_EXTENSIONS",
    "DATA_EXTENSIONS",
    "DOCUMENT_EXTENSIONS",
    "IMAGE_EXTENSIONS",
    "TEXT_EXTENSIONS",
    "VIDEO_EXTENSIONS",
    "Candidate",
    "ContentTypes",
    "Extensions",
    "FileName",
    "Image",
    "MatchingType",
    "MaxCount",
    "Size",
    "Validator",
]


# --- size -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size(Validator):
    """The allowed number of bytes. Both limits are numbers, or sizes such as ``"10 MiB"`` and ``"500 kB"``.

    Reading a stream of unknown length stops one byte beyond the maximum, even while it is being stored.
    """

    max: int | str | None = None
    min: int | str | None = None

    def __post_init__(self) -> None:
        if self.max is None and self.min is None:
            raise ConfigurationError("Size() limits nothing: Size(max='10 MiB'), Size(min=1)")
        least, most = self._least, self._most
        if most is not None and most < least:
            raise ConfigurationError(f"{self!r}: max is less than min")

    @property
    def _most(self) -> int | None:
        return None if self.max is None else size_of("max", self.max)

    @property
    def _least(self) -> int:
        return 0 if self.min is None else size_of("min", self.min)

    def prepare(self, file: Candidate) -> None:
        """Limit the bytes that are read from a stream."""
        if self._most is not None:
            limit = shown_size(self._most, decimal=is_decimal(self.max))
            file.limit(self._most, SizeRefused(f"is larger than {limit}", rule="max_size", limit=self._most))

    def __call__(self, file: Candidate) -> None:
        """Compare the size. A stream of unknown length is read only if its first bytes are outside the limits."""
        size = file.size
        if size is None:
            self._check_stream(file)
        elif self._most is not None and size > self._most:
            actual, limit = _shown_pair(size, self._most, decimal=is_decimal(self.max))
            allowed = f"at most {limit} {'is' if limit.startswith('1 ') else 'are'} allowed"
            raise SizeRefused(f"is {actual}, {allowed}", rule="max_size", limit=self._most, value=size)
        elif size < self._least:
            actual, limit = _shown_pair(size, self._least, decimal=is_decimal(self.min))
            needed = f"at least {limit} {'is' if limit.startswith('1 ') else 'are'} needed"
            message = f"is {actual}, {needed}" if size else "is empty"
            raise SizeRefused(message, rule="min_size", limit=self._least, value=size)

    def _check_stream(self, file: Candidate) -> None:
        head = len(file.head())
        if head < self._least or (self._most is not None and head > self._most):
            with file.open():  # reads to the end, or up to the limit
                self(file)


def _shown_pair(size: int, limit: int, *, decimal: bool) -> tuple[str, str]:
    """Return both sizes in readable units, or in bytes if they would look the same."""
    shown, allowed = shown_size(size, decimal=decimal), shown_size(limit, decimal=decimal)
    return (exact_size(size), exact_size(limit)) if shown == allowed else (shown, allowed)


# --- types -----------------------------------------------------------------------------------------------------------


class ContentTypes(Validator):
    """The allowed media types, as shown by the bytes: ``"application/pdf"``, or ``"image/*"`` for all images.

    Raises:
        ConfigurationError: an argument is not a media type.
    """

    def __init__(self, *types: str) -> None:
        found = [text_of(each).partition(";")[0].strip().lower() for each in types]
        for each in found:
            kind, _, subtype = each.partition("/")
            if not kind or not subtype or "*" in kind or ("*" in subtype and subtype != "*"):
                raise ConfigurationError(f"expected a media type such as 'application/pdf' or 'image/*', got {each!r}")
        if not types:
            raise ConfigurationError("ContentTypes() allows no file at all: ContentTypes('image/*', ...)")
        self.types = tuple(found)

    def __call__(self, file: Candidate) -> None:
        """Compare the type."""
        found = file.content_type
        if not any(matches(found, each) for each in self.types):
            name = "of an unknown type" if found == OCTET_STREAM else found
            message = f"is {name}, allowed: {', '.join(self.types)}"
            raise TypeRefused(message, rule="content_type", limit=self.types, value=found)

    def __repr__(self) -> str:
        """Show the types."""
        return f"ContentTypes({', '.join(map(repr, self.types))})"


@dataclass(frozen=True)
class MatchingType(Validator):
    """A file whose bytes match the type of its name, and the type that the client declared.

    Unspecific types contradict nothing: text matches every text format, a container (ZIP, MP4, Ogg) the formats that
    use it, and an unknown extension or ``application/octet-stream`` matches everything.

    Args:
        extension: ``"refuse"`` a name whose extension belongs to another type, ``"correct"`` it to the usual extension
            of the real type before any validator checks it, or ``"ignore"`` it. A copy keeps the name of its original.
        declared: ``"refuse"`` another declared type, or ``"ignore"`` it; ``"correct"`` is the same, since the bytes
            decide which type is stored. Browsers derive it from the extension, and not all of them correctly.
    """

    extension: Literal["refuse", "correct", "ignore"] = "refuse"
    declared: Literal["refuse", "correct", "ignore"] = "ignore"

    def __post_init__(self) -> None:
        one_of("extension", self.extension, _ACTIONS)
        one_of("declared", self.declared, _ACTIONS)

    def prepare(self, file: Candidate) -> None:
        """Correct the extension before any validator sees the name."""
        if self.extension == "correct":
            finding = file.finding()
            if contradicts_name(finding, file.filename):
                file.filename = with_usual_extension(file.filename, finding.media_type) or file.filename

    def __call__(self, file: Candidate) -> None:
        """Compare the type of the bytes with the claimed types; an empty file contradicts none."""
        if not file.head():
            return
        errors, finding = [], file.finding()
        name = "of another type" if finding.media_type == OCTET_STREAM else finding.media_type
        checked = self.extension == "refuse" or (self.extension == "correct" and not isinstance(file, StoredCandidate))
        if checked and contradicts_name(finding, file.filename):
            message = f"has the extension {extension_of(file.filename)!r} but is {name}"
            limit = type_of_name(file.filename)
            errors.append(TypeRefused(message, rule="extension_type", limit=limit, value=finding.media_type))
        if self.declared == "refuse" and contradicts_declaration(finding, file.declared_type):
            message = f"was sent as {file.declared_type} but is {name}"
            limit = file.declared_type
            errors.append(TypeRefused(message, rule="declared_type", limit=limit, value=finding.media_type))
        if errors:
            raise all_of(errors)


_ACTIONS: Final = ("refuse", "correct", "ignore")


# --- lists -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaxCount(Validator):
    """The maximum number of files in a list, for columns with ``multiple=True``."""

    count: int

    for_lists: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.count is None:
            raise ConfigurationError("count=None: expected a number")
        positive("count", self.count)

    def __call__(self, file: Candidate) -> None:
        """Accept every single file."""

    def check_list(self, count: int) -> None:
        """Compare the number of files."""
        if count > self.count:
            allowed = "1 is allowed" if self.count == 1 else f"at most {self.count} are allowed"
            raise CountRefused(f"{count} files, {allowed}", rule="max_count", limit=self.count, value=count)
