"""What a file must comply with before a column takes it.

::

    class Person(Base):
        photo: Mapped[UploadedFile | None] = mapped_column(
            UploadedFileField(validators=[Size("5 MiB"), ContentTypes("image/*"), Image(min_width=200)])
        )

Validators run at flush, before anything of the object is stored; what they find comes out as one `ValidationError`, or
as `SeveralRefused` with all of them. A validator is whatever can be called with a `Candidate`: one of the classes here,
a subclass of `Validator`, or a function that raises ValidationError, or any other ValueError, for what it refuses.

>>> Size("1 kB")(Candidate.of(b"x" * 1500))
Traceback (most recent call last):
    ...
depot_lite.errors.SizeRefused: is 1.5 kB, at most 1 kB is allowed
"""

from __future__ import annotations

import string
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from depot_lite.errors import ConfigurationError, CountRefused, NameRefused, SizeRefused, TypeRefused
from depot_lite.fields.validators.base import Validator, all_of, one_of, positive, text_of
from depot_lite.fields.validators.candidate import Candidate, StoredCandidate
from depot_lite.fields.validators.extensions import (
    ALLOWED_EXTENSIONS,
    AUDIO_EXTENSIONS,
    DATA_EXTENSIONS,
    DOCUMENT_EXTENSIONS,
    IMAGE_EXTENSIONS,
    TEXT_EXTENSIONS,
    VIDEO_EXTENSIONS,
    contradicting,
    extension_of,
    renamed,
    run_inside,
    type_of_name,
)
from depot_lite.fields.validators.images import Image
from depot_lite.io.media_types import OCTET_STREAM
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

#: The characters that Piccolo allows in file names: those of every keyboard and every file system.
ALLOWED_CHARACTERS: Final = string.ascii_letters + string.digits + " -_.()"


# --- size -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Size(Validator):
    """So many bytes at most, and at least. Numbers, or sizes such as ``"10 MiB"`` and ``"500 kB"``.

    A stream whose length nobody knows is stopped as soon as it has given one byte too many, wherever it is read.
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
        """Let a stream stop at the limit."""
        if self._most is not None:
            limit = shown_size(self._most, decimal=is_decimal(self.max))
            file.limit(self._most, SizeRefused(f"is larger than {limit}", rule="max_size", limit=self._most))

    def __call__(self, file: Candidate) -> None:
        """Compare the size; of a stream, what has been read of it."""
        size = file.size
        if size is None:
            self._check_stream(file)
        elif self._most is not None and size > self._most:
            is_, limit = _shown_pair(size, self._most, decimal=is_decimal(self.max))
            allowed = f"at most {limit} {'is' if limit.startswith('1 ') else 'are'} allowed"
            raise SizeRefused(f"is {is_}, {allowed}", rule="max_size", limit=self._most, value=size)
        elif size < self._least:
            is_, limit = _shown_pair(size, self._least, decimal=is_decimal(self.min))
            needed = f"at least {limit} {'is' if limit.startswith('1 ') else 'are'} needed"
            message = f"is {is_}, {needed}" if size else "is empty"
            raise SizeRefused(message, rule="min_size", limit=self._least, value=size)

    def _check_stream(self, file: Candidate) -> None:
        head = len(file.head())
        if head < self._least or (self._most is not None and head > self._most):
            with file.open():  # it is all there is, or more than enough: now the size is known, or the limit strikes
                self(file)


def _shown_pair(size: int, limit: int, *, decimal: bool) -> tuple[str, str]:
    """Return both sizes as people read them, and to the byte where they would look the same."""
    shown, allowed = shown_size(size, decimal=decimal), shown_size(limit, decimal=decimal)
    return (exact_size(size), exact_size(limit)) if shown == allowed else (shown, allowed)


# --- types and names ------------------------------------------------------------------------------------------------


class ContentTypes(Validator):
    """One of these media types, as the bytes show it: ``"application/pdf"``, or ``"image/*"`` for all of a kind.

    Raises:
        ConfigurationError: one of them is no media type.
    """

    def __init__(self, *types: str) -> None:
        for each in types:
            kind, _, subtype = text_of(each).partition("/")
            if not kind or not subtype or "*" in kind or ("*" in subtype and subtype != "*"):
                raise ConfigurationError(f"{each!r}: a media type is wanted, such as 'application/pdf' or 'image/*'")
        if not types:
            raise ConfigurationError("ContentTypes() allows no file at all: ContentTypes('image/*', ...)")
        self.types = tuple(each.lower() for each in types)

    def __call__(self, file: Candidate) -> None:
        """Compare the type."""
        found = file.content_type
        if found not in self.types and found.partition("/")[0] + "/*" not in self.types:
            shown = "of an unknown type" if found == OCTET_STREAM else found
            message = f"is {shown}, allowed: {', '.join(self.types)}"
            raise TypeRefused(message, rule="content_type", limit=self.types, value=found)

    def __repr__(self) -> str:
        """Show the types."""
        return f"ContentTypes({', '.join(map(repr, self.types))})"


class Extensions(Validator):
    """One of these extensions, in upper or lower case; ``"tar.gz"`` is one too. A name without is refused.

    Args:
        extensions: with or without the dot in front.
        double: what is done with names such as ``shell.php.jpg``, which some web servers run although the last
            extension is harmless: ``"refuse"``, or ``"allow"`` where the files never get near such a server.

    Raises:
        ConfigurationError: one of them is no extension.
    """

    def __init__(self, *extensions: str, double: Literal["refuse", "allow"] = "refuse") -> None:
        for each in extensions:
            if not text_of(each).strip(".") or set(each) & set("/\\*, "):
                raise ConfigurationError(f"{each!r}: an extension is wanted, such as 'pdf'")
        if not extensions:
            raise ConfigurationError("Extensions() allows no file at all: Extensions('pdf', *IMAGE_EXTENSIONS)")
        self.extensions = tuple(dict.fromkeys(each.lstrip(".").lower() for each in extensions))
        self.double = one_of("double", double, ("refuse", "allow"))

    def __call__(self, file: Candidate) -> None:
        """Look at the name that the file will be stored under."""
        lower = file.filename.lower()
        if not extension_of(lower):
            self._refuse("has no extension", "")
        found = [each for each in self.extensions if lower.endswith("." + each) and lower[: -len(each)].strip(".")]
        if not found:
            self._refuse(f"has the extension {extension_of(lower)!r}", extension_of(lower))
        active = None if self.double == "allow" else run_inside(lower[: -len(max(found, key=len)) - 1])
        if active is not None:
            message = f"has the extension {active!r} before its last one, which some servers would run"
            raise NameRefused(message, rule="double_extension", value=active)

    def _refuse(self, what: str, found: str) -> None:
        message = f"{what}, allowed: {', '.join(self.extensions)}"
        raise NameRefused(message, rule="extension", limit=self.extensions, value=found)

    def __repr__(self) -> str:
        """Show the extensions, and the option where it is not the default."""
        double = "" if self.double == "refuse" else f", double={self.double!r}"
        return f"Extensions({', '.join(map(repr, self.extensions))}{double})"


@dataclass(frozen=True)
class FileName(Validator):
    """A name of these characters only, not too long, that neither begins with a dot nor has two in a row.

    Args:
        characters: those that are allowed; `ALLOWED_CHARACTERS` is strict and knows no accents. None allows all.
        max_length: how many characters there may be. Beyond 255 bytes names are cut in any case.
        dots: ``"refuse"`` or ``"allow"`` names such as ``.profile``, which is hidden on Unix, and ``wait..txt``.

    >>> FileName()(Candidate.of(b"", "plan (2).pdf"))
    """

    characters: Collection[str] | None = ALLOWED_CHARACTERS
    max_length: int | None = None
    dots: Literal["refuse", "allow"] = "refuse"

    def __post_init__(self) -> None:
        if self.characters is not None and not all(len(text_of(each)) == 1 for each in self.characters):
            raise ConfigurationError(f"characters={self.characters!r}: characters are wanted, or None for all")
        if self.characters is not None and not self.characters:
            raise ConfigurationError("characters='' allows no name at all: None allows all")
        positive("max_length", self.max_length)
        one_of("dots", self.dots, ("refuse", "allow"))

    def __call__(self, file: Candidate) -> None:
        """Look at the name that the file will be stored under."""
        errors = list(self._refusals(file.filename))
        if errors:
            raise all_of(errors)

    def _refusals(self, name: str) -> Iterator[NameRefused]:
        if self.dots == "refuse" and name.startswith("."):
            yield NameRefused("has a name that begins with a dot", rule="dots", value=name)
        if self.dots == "refuse" and ".." in name:
            yield NameRefused("has two dots in a row in its name", rule="dots", value=name)
        strange = (
            [] if self.characters is None else [each for each in dict.fromkeys(name) if each not in self.characters]
        )
        if strange:
            listed = " ".join(strange[:5]) + (" ..." if len(strange) > 5 else "")
            message = f"has characters in its name that are not allowed: {listed}"
            yield NameRefused(message, rule="characters", limit=self.characters, value="".join(strange))
        if self.max_length is not None and len(name) > self.max_length:
            message = f"has a name of {len(name)} characters, at most {self.max_length} are allowed"
            yield NameRefused(message, rule="name_length", limit=self.max_length, value=len(name))


@dataclass(frozen=True)
class MatchingType(Validator):
    """Bytes that are what the name, and the client, say of them.

    What says little contradicts nothing: a text may be of any kind of text, a container (ZIP, MP4, Ogg) may hold what
    it usually does, and an unknown extension or ``application/octet-stream`` may be anything.

    Args:
        extension: ``"refuse"`` a name whose extension stands for another type, ``"correct"`` it to the usual extension
            of the real one before any validator looks at it, or ``"ignore"`` it. A copy keeps the name of its original.
        declared: ``"refuse"`` a type of the client's that is another one, or ``"ignore"`` it; ``"correct"`` is the
            same, as the bytes decide what is stored. Browsers take it from the extension, and some of them strangely.
    """

    extension: Literal["refuse", "correct", "ignore"] = "refuse"
    declared: Literal["refuse", "correct", "ignore"] = "ignore"

    def __post_init__(self) -> None:
        one_of("extension", self.extension, _WAYS)
        one_of("declared", self.declared, _WAYS)

    def prepare(self, file: Candidate) -> None:
        """Correct the extension, so that every validator sees the corrected name."""
        if self.extension == "correct":
            found = contradicting(file.head(), type_of_name(file.filename))
            corrected = None if found is None else renamed(file.filename, found)
            if corrected is not None:
                file.filename = corrected

    def __call__(self, file: Candidate) -> None:
        """Compare what the bytes show with what is claimed."""
        errors = []
        found = None
        if self.extension == "refuse" or (self.extension == "correct" and not isinstance(file, StoredCandidate)):
            found = contradicting(file.head(), type_of_name(file.filename))
        if found is not None:
            message = f"has the extension {extension_of(file.filename)!r} but is {_shown_type(found)}"
            errors.append(TypeRefused(message, rule="extension_type", limit=type_of_name(file.filename), value=found))
        declared = file.declared_type if self.declared == "refuse" else None
        found = None if declared is None else contradicting(file.head(), declared, declared=True)
        if found is not None:
            message = f"was sent as {declared} but is {_shown_type(found)}"
            errors.append(TypeRefused(message, rule="declared_type", limit=declared, value=found))
        if errors:
            raise all_of(errors)


_WAYS: Final = ("refuse", "correct", "ignore")


def _shown_type(found: str) -> str:
    return "of another type" if found == OCTET_STREAM else found


# --- lists ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaxCount(Validator):
    """So many files at most in a list, for columns with ``multiple=True``."""

    count: int

    for_lists: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.count is None:
            raise ConfigurationError("count=None: a number is wanted")
        positive("count", self.count)

    def __call__(self, file: Candidate) -> None:
        """Allow each single file."""

    def check_list(self, count: int) -> None:
        """Compare the number of files."""
        if count > self.count:
            allowed = "1 is allowed" if self.count == 1 else f"at most {self.count} are allowed"
            raise CountRefused(f"{count} files, {allowed}", rule="max_count", limit=self.count, value=count)
