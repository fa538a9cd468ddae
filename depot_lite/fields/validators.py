"""What a file must comply with before a column takes it.

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
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar, Final, Literal, TypeVar

from depot_lite.errors import (
    ConfigurationError,
    CountRefused,
    ImageRefused,
    NameRefused,
    SeveralRefused,
    SizeRefused,
    TypeRefused,
    ValidationError,
)
from depot_lite.fields.extensions import (
    ALLOWED_EXTENSIONS,
    AUDIO_EXTENSIONS,
    DATA_EXTENSIONS,
    DOCUMENT_EXTENSIONS,
    IMAGE_EXTENSIONS,
    TEXT_EXTENSIONS,
    UNKNOWN,
    VIDEO_EXTENSIONS,
    contradicting,
    extension_of,
    proven_type,
    renamed,
    run_inside,
    type_of_name,
)
from depot_lite.images import FORMATS, MAX_PIXELS, ImageInfo, probe, verify
from depot_lite.io.content import Content, clean_filename
from depot_lite.io.interfaces import UNNAMED, StoredFile
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

T = TypeVar("T")

#: The characters that Piccolo allows in file names: those of every keyboard and every file system.
ALLOWED_CHARACTERS: Final = string.ascii_letters + string.digits + " -_.()"


class Candidate:
    """A file that wants to be stored, as a validator sees it. Nothing is read before it is asked for.

    Args:
        content: the content.
        filename: the name that it shall be stored under.
        content_type: the type that it shall be stored with, as far as its bytes do not tell.
    """

    #: The error of the limit that counts, None where there is none.
    limiting: ValidationError | None = None
    _most: int | None = None

    def __init__(self, content: Content, filename: str, content_type: str | None = None) -> None:
        self._filename = filename
        self._ready = content
        self._claimed = content_type
        self._known: dict[object, Any] = {}

    @classmethod
    def of(cls, content: object, filename: str | None = None, content_type: str | None = None) -> Candidate:
        """Return a candidate of whatever can be stored, to try a validator.

        >>> Candidate.of(b"a,b", "table.csv").content_type
        'text/csv'
        """
        ready = Content.of(content, filename, content_type)
        return Candidate(ready, ready.filename or UNNAMED, ready.declared_type)

    @property
    def _content(self) -> Content:
        return self._ready

    @property
    def filename(self) -> str:
        """The name that the file will be stored under, ``unnamed`` where it has none.

        A validator may set it. It changes in the row only once all files of the object have passed.
        """
        return self._filename

    @filename.setter
    def filename(self, name: str) -> None:
        cleaned = clean_filename(name)
        if cleaned is None:
            raise NameRefused("has no usable name", rule="filename", value=name)
        self._filename = cleaned

    @property
    def content_type(self) -> str:
        """The media type that the bytes show.

        Where they show none, as those of text do not, a claim counts. It does not where files of the type that is
        claimed always show it: what is called ``photo.png`` and is no PNG has the type ``application/octet-stream``.
        """
        return proven_type(self.head(), self._claimed, self.filename)

    @property
    def declared_type(self) -> str | None:
        """The type that the client claimed, None if it said nothing."""
        return self._content.declared_type

    @property
    def size(self) -> int | None:
        """The number of bytes, None for a stream of unknown length as long as nobody has opened it."""
        return self._content.size

    def head(self) -> bytes:
        """Return the first bytes, up to 8 KiB."""
        return self._content.head()

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Give a binary file at its start. The user's own is back at its position afterwards.

        A stream is read into a temporary file first, as far as its limit allows, so that it can be stored afterwards.
        """
        content = self._content
        content.spool()
        with content.open() as file:
            yield file

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Let a stream that has more than ``size`` bytes be refused with this error, wherever it is read.

        That may be in a storage, while the file is being stored: reading stops one byte behind the limit. Where
        several limits are set, the lowest counts. None takes them away.
        """
        if size is None or self._most is None or size < self._most:
            self._most, self.limiting = size, error
            self._content.limit(size, error)

    def once(self, key: object, find: Callable[[], T]) -> T:
        """Return what ``find`` returns, called only if no validator has asked for ``key`` before."""
        if key not in self._known:
            self._known[key] = find()
        found: T = self._known[key]
        return found

    def close(self) -> None:
        """Close what looking at the bytes has opened. The file can be stored all the same."""

    def __repr__(self) -> str:
        """Show which file it is."""
        return f"<{type(self).__name__} {self.filename!r}>"


class StoredCandidate(Candidate):
    """A stored file of which a copy shall be made: its keys tell about it, and it is opened for its bytes only.

    A copy has the name of its original, so setting the name does nothing.

    Args:
        keys: those of the original.
        find: what returns the stored file.
    """

    def __init__(self, keys: Mapping[str, Any], find: Callable[[], StoredFile]) -> None:
        self._filename = str(keys.get("filename") or UNNAMED)
        self._keys = keys
        self._find = find
        self._stored: StoredFile | None = None
        self._known = {}

    @property
    def _content(self) -> Content:
        return Content.of(self._file())

    def _file(self) -> StoredFile:
        if self._stored is None:
            self._stored = self._find()
        return self._stored

    @property
    def filename(self) -> str:
        """The name of the original."""
        return self._filename

    @filename.setter
    def filename(self, name: str) -> None:
        pass

    @property
    def content_type(self) -> str:
        """The type that was found when the original was stored."""
        return str(self._keys.get("content_type") or UNKNOWN)

    @property
    def declared_type(self) -> None:
        """None: no client has anything to do with a copy."""
        return

    @property
    def size(self) -> int | None:
        """The number of bytes; asked of the storage where the row is one of filedepot's, which do not tell it."""
        known: int | None = self._keys.get("size")
        return self._file().content_length if known is None else known

    def limit(self, size: int | None, error: ValidationError | None) -> None:
        """Do nothing, as the size is known."""

    def close(self) -> None:
        """Close the stored file, if it was opened."""
        stored, self._stored = self._stored, None
        if stored is not None:
            stored.close()


class Validator(ABC):
    """A rule. One that needs no more than the file may be a function instead."""

    #: Whether it is done last, since it takes long.
    costly: ClassVar[bool] = False
    #: Whether it makes sense only for a column with ``multiple=True``.
    for_lists: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, file: Candidate) -> None:
        """Raise ValidationError if the file breaks the rule, several of them as `SeveralRefused`."""

    def prepare(self, file: Candidate) -> None:
        """Set limits and correct the name, before any validator of the column looks at the file. Refuses nothing."""

    def check_list(self, count: int) -> None:
        """Raise ValidationError if a list must not have so many files. Called for columns with ``multiple=True``."""

    def is_pointless(self, errors: Sequence[ValidationError]) -> bool:
        """Return whether the file need not be looked at any more, after these refusals of other validators."""
        return False


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
            kind, _, subtype = _text(each).partition("/")
            if not kind or not subtype or "*" in kind or ("*" in subtype and subtype != "*"):
                raise ConfigurationError(f"{each!r}: a media type is wanted, such as 'application/pdf' or 'image/*'")
        if not types:
            raise ConfigurationError("ContentTypes() allows no file at all: ContentTypes('image/*', ...)")
        self.types = tuple(each.lower() for each in types)

    def __call__(self, file: Candidate) -> None:
        """Compare the type."""
        found = file.content_type
        if found not in self.types and found.partition("/")[0] + "/*" not in self.types:
            shown = "of an unknown type" if found == UNKNOWN else found
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
            if not _text(each).strip(".") or set(each) & set("/\\*, "):
                raise ConfigurationError(f"{each!r}: an extension is wanted, such as 'pdf'")
        if not extensions:
            raise ConfigurationError("Extensions() allows no file at all: Extensions('pdf', *IMAGE_EXTENSIONS)")
        self.extensions = tuple(dict.fromkeys(each.lstrip(".").lower() for each in extensions))
        self.double = _one_of("double", double, ("refuse", "allow"))

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
        if self.characters is not None and not all(len(_text(each)) == 1 for each in self.characters):
            raise ConfigurationError(f"characters={self.characters!r}: characters are wanted, or None for all")
        if self.characters is not None and not self.characters:
            raise ConfigurationError("characters='' allows no name at all: None allows all")
        _positive("max_length", self.max_length)
        _one_of("dots", self.dots, ("refuse", "allow"))

    def __call__(self, file: Candidate) -> None:
        """Look at the name that the file will be stored under."""
        errors = list(self._refusals(file.filename))
        if errors:
            raise _all_of(errors)

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
        _one_of("extension", self.extension, _WAYS)
        _one_of("declared", self.declared, _WAYS)

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
            raise _all_of(errors)


_WAYS: Final = ("refuse", "correct", "ignore")


def _shown_type(found: str) -> str:
    return "of another type" if found == UNKNOWN else found


# --- images ---------------------------------------------------------------------------------------------------------

# Other names that people know the formats by.
_FORMATS: Final = {"JPG": "JPEG", "TIF": "TIFF", "HEIC": "HEIF"}


@dataclass(frozen=True)
class Image(Validator):
    """An image that can be decoded, of dimensions within limits. Needs the extra ``images``.

    The dimensions are read from the header; an image that breaks a limit is never decoded.

    Args:
        formats: those of Pillow that are tried, such as ``("JPEG", "PNG")``; a file of any other is refused.
        max_pixels: of width times height, so that a small file cannot fill the memory; None for no limit.
        min_ratio: of width to height; 1 refuses what is higher than wide.
        max_ratio: of width to height.
        aspect_ratio: the width and height of what is wanted, as ``(16, 9)``, or their quotient.
        tolerance: by how much the quotient may differ from ``aspect_ratio``, as a part of it.
        decode: whether every pixel is decoded, to find files that break off or are damaged.
    """

    formats: Collection[str] = FORMATS
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

    costly: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("min_width", "max_width", "min_height", "max_height", "max_pixels"):
            _positive(name, self._options[name])
        for name in ("min_ratio", "max_ratio"):
            _positive(name, self._options[name], float)
        for each in self.aspect_ratio if isinstance(self.aspect_ratio, tuple) else (self.aspect_ratio,):
            _positive("aspect_ratio", each, float)
        if isinstance(self.aspect_ratio, tuple) and len(self.aspect_ratio) != 2:
            raise ConfigurationError(f"aspect_ratio={self.aspect_ratio!r}: two numbers are wanted, such as (16, 9)")
        if isinstance(self.tolerance, bool) or not 0 <= self.tolerance < 1:
            raise ConfigurationError(f"tolerance={self.tolerance!r}: a part of the ratio is wanted, such as 0.01")
        for low, high in (("min_width", "max_width"), ("min_height", "max_height"), ("min_ratio", "max_ratio")):
            if None not in (self._options[low], self._options[high]) and self._options[low] > self._options[high]:
                raise ConfigurationError(f"{low}={self._options[low]!r} is more than {high}={self._options[high]!r}")
        unknown = set(self._formats) - set(FORMATS)
        if isinstance(self.formats, str) or unknown or not self._formats:
            raise ConfigurationError(f"formats={self.formats!r}: some of {', '.join(FORMATS)} are wanted")

    @property
    def _options(self) -> Mapping[str, Any]:
        return vars(self)

    @property
    def _formats(self) -> tuple[str, ...]:
        return tuple(_FORMATS.get(str(each).upper(), str(each).upper()) for each in self.formats)

    def is_pointless(self, errors: Sequence[ValidationError]) -> bool:
        """Return whether it is no image for certain, or too large, or another `Image` could not read it."""
        return any(isinstance(each, SizeRefused | TypeRefused) or _is_unreadable(each) for each in errors)

    def __call__(self, file: Candidate) -> None:
        """Read the header and compare; then decode."""
        errors = list(self._refusals(self._look(file, probe)))
        if errors:
            raise _all_of(errors)
        if self.decode:
            self._look(file, verify)

    def _look(self, file: Candidate, look: Callable[..., ImageInfo]) -> ImageInfo:
        def find() -> ImageInfo:
            with file.open() as opened:
                return look(opened, formats=self._formats, max_pixels=self.max_pixels)

        return file.once((look, self._formats, self.max_pixels), find)

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
            wanted = sides[0] / sides[1]
            if abs(ratio - wanted) > wanted * self.tolerance:
                message = f"{measured}, a ratio of {sides[0]:g}:{sides[1]:g} is wanted"
                yield ImageRefused(message, rule="aspect_ratio", limit=wanted, value=ratio)


def _is_unreadable(error: ValidationError) -> bool:
    return isinstance(error, ImageRefused) and error.rule not in _MEASURES


_MEASURES: Final = {f"{most}_{what}" for most in ("min", "max") for what in ("width", "height", "ratio")} | {
    "aspect_ratio"
}


# --- lists ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MaxCount(Validator):
    """So many files at most in a list, for columns with ``multiple=True``."""

    count: int

    for_lists: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.count is None:
            raise ConfigurationError("count=None: a number is wanted")
        _positive("count", self.count)

    def __call__(self, file: Candidate) -> None:
        """Allow each single file."""

    def check_list(self, count: int) -> None:
        """Compare the number of files."""
        if count > self.count:
            allowed = "1 is allowed" if self.count == 1 else f"at most {self.count} are allowed"
            raise CountRefused(f"{count} files, {allowed}", rule="max_count", limit=self.count, value=count)


# --- options --------------------------------------------------------------------------------------------------------


def _text(value: object) -> str:
    """Return a text, "" for what is none."""
    return value if isinstance(value, str) else ""


def _all_of(errors: Sequence[ValidationError]) -> ValidationError:
    return errors[0] if len(errors) == 1 else SeveralRefused(errors)


def _one_of(option: str, value: Any, allowed: Sequence[str]) -> Any:
    if value not in allowed:
        raise ConfigurationError(f"{option}={value!r}: {' or '.join(map(repr, allowed))} is wanted")
    return value


def _positive(option: str, value: object, kind: type[int | float] = int) -> None:
    kinds = (int, float) if kind is float else (int,)
    if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or not value > 0):
        wanted = "a positive number" if kind is float else "a positive whole number"
        raise ConfigurationError(f"{option}={value!r}: {wanted} is wanted")
