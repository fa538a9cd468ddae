"""`Extensions` and `FileName`: the validators for file names.

The groups of extensions have the names that Piccolo gives them, and contain at least the same extensions.
"""

from __future__ import annotations

import os
import re
import string
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from depot_lite.errors import ConfigurationError, NameRefused
from depot_lite.fields.validators.base import Validator, all_of, one_of, positive, text_of
from depot_lite.fields.validators.candidate import Candidate

#: The characters that Piccolo allows in file names: every keyboard and every file system has them.
ALLOWED_CHARACTERS: Final = string.ascii_letters + string.digits + " -_.()"

#: Audio.
AUDIO_EXTENSIONS: Final = ("aac", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav")
#: Tables.
DATA_EXTENSIONS: Final = ("csv", "json", "ods", "tsv", "xlsx")
#: Office documents.
DOCUMENT_EXTENSIONS: Final = ("docx", "epub", "odp", "odt", "pdf", "pptx")
#: Images. SVG may contain scripts: depot_lite serves it as a download only, and `Image` refuses it.
IMAGE_EXTENSIONS: Final = ("avif", "gif", "heic", "jpeg", "jpg", "png", "svg", "tif", "tiff", "webp")
#: Text.
TEXT_EXTENSIONS: Final = ("md", "rtf", "txt")
#: Video.
VIDEO_EXTENSIONS: Final = ("m4v", "mkv", "mov", "mp4", "ogv", "webm")
#: All groups together.
ALLOWED_EXTENSIONS: Final = (
    *AUDIO_EXTENSIONS,
    *DATA_EXTENSIONS,
    *DOCUMENT_EXTENSIONS,
    *IMAGE_EXTENSIONS,
    *TEXT_EXTENSIONS,
    *VIDEO_EXTENSIONS,
)

# Extensions that web servers may execute anywhere in a name (with Apache's AddHandler, "shell.php.jpg" is executed),
# and programs of Windows, whose desktop hides the last extension. Not included: formats that are active in a browser
# only ("page.html.pdf" and "logo.svg.png" are everyday names), since browsers go by the type; and "com", with which
# many company names end.
_EXECUTABLE: Final = re.compile(
    r"ph(?:p\d*|ps|t|tml\d?|ar)|asp|aspx|asa|asax|ascx|ashx|asmx|cer|cshtml|jspx?|jspf|jsw|jsv|jhtml|cfml?|cfc|f?cgi|pl|pm"
    r"|py|pyc|pyw|rb|lua|shtml|stm|shtm|htaccess|exe|bat|cmd|scr|pif|msi|cpl|dll|hta|vb[es]?|js[eb]|ws[fh]?|ps1|sh"
)


class Extensions(Validator):
    """The allowed extensions, in upper or lower case; ``"tar.gz"`` works too. A name without an extension is refused.

    Args:
        extensions: with or without a leading dot.
        double: ``"refuse"`` names such as ``shell.php.jpg``, which some web servers execute although the last extension
            is harmless, or ``"allow"`` them if no such server ever sees the files.

    Raises:
        ConfigurationError: an argument is not an extension.
    """

    def __init__(self, *extensions: str, double: Literal["refuse", "allow"] = "refuse") -> None:
        for each in extensions:
            if not text_of(each).strip(".") or set(each) & set("/\\*, "):
                raise ConfigurationError(f"expected an extension such as 'pdf', got {each!r}")
        if not extensions:
            raise ConfigurationError("Extensions() allows no file at all: Extensions('pdf', *IMAGE_EXTENSIONS)")
        self.extensions = tuple(dict.fromkeys(each.lstrip(".").lower() for each in extensions))
        self.double = one_of("double", double, ("refuse", "allow"))

    def __call__(self, file: Candidate) -> None:
        """Check the name that the file will be stored under."""
        lower = file.filename.lower()
        if not extension_of(lower):
            self._refuse("has no extension", "")
        found = [each for each in self.extensions if lower.endswith("." + each) and lower[: -len(each)].strip(".")]
        if not found:
            self._refuse(f"has the extension {extension_of(lower)!r}", extension_of(lower))
        executable = None if self.double == "allow" else executable_extension(lower[: -len(max(found, key=len)) - 1])
        if executable is not None:
            message = f"has the extension {executable!r} before its last one, which some servers would run"
            raise NameRefused(message, rule="double_extension", value=executable)

    def _refuse(self, problem: str, found: str) -> None:
        message = f"{problem}, allowed: {', '.join(self.extensions)}"
        raise NameRefused(message, rule="extension", limit=self.extensions, value=found)

    def __repr__(self) -> str:
        """Show the extensions, and the option unless it is the default."""
        double = "" if self.double == "refuse" else f", double={self.double!r}"
        return f"Extensions({', '.join(map(repr, self.extensions))}{double})"


@dataclass(frozen=True)
class FileName(Validator):
    """The allowed characters and length of a name, without a leading dot or two dots in a row.

    Args:
        characters: the allowed characters; `ALLOWED_CHARACTERS` is strict and excludes accents. None allows all.
        max_length: the maximum number of characters. Names are always cut to 255 bytes.
        dots: ``"refuse"`` or ``"allow"`` names such as ``.profile``, which is hidden on Unix, and ``wait..txt``.

    >>> FileName()(Candidate.of(b"", "plan (2).pdf"))
    """

    characters: Collection[str] | None = ALLOWED_CHARACTERS
    max_length: int | None = None
    dots: Literal["refuse", "allow"] = "refuse"

    def __post_init__(self) -> None:
        if self.characters is not None and not all(len(text_of(each)) == 1 for each in self.characters):
            raise ConfigurationError(f"characters={self.characters!r}: expected single characters, or None for all")
        if self.characters is not None and not self.characters:
            raise ConfigurationError("characters='' allows no name at all: None allows all")
        positive("max_length", self.max_length)
        one_of("dots", self.dots, ("refuse", "allow"))

    def __call__(self, file: Candidate) -> None:
        """Check the name that the file will be stored under."""
        errors = list(self._refusals(file.filename))
        if errors:
            raise all_of(errors)

    def _refusals(self, name: str) -> Iterator[NameRefused]:
        if self.dots == "refuse" and name.startswith("."):
            yield NameRefused("has a name that begins with a dot", rule="dots", value=name)
        if self.dots == "refuse" and ".." in name:
            yield NameRefused("has two dots in a row in its name", rule="dots", value=name)
        refused = (
            [] if self.characters is None else [each for each in dict.fromkeys(name) if each not in self.characters]
        )
        if refused:
            listed = " ".join(refused[:5]) + (" ..." if len(refused) > 5 else "")
            message = f"has characters in its name that are not allowed: {listed}"
            yield NameRefused(message, rule="characters", limit=self.characters, value="".join(refused))
        if self.max_length is not None and len(name) > self.max_length:
            message = f"has a name of {len(name)} characters, at most {self.max_length} are allowed"
            yield NameRefused(message, rule="name_length", limit=self.max_length, value=len(name))


def extension_of(filename: str) -> str:
    """Return the last extension in lower case without its dot, or ``""``.

    >>> extension_of("Plan.PDF"), extension_of("backup.tar.gz"), extension_of(".htaccess"), extension_of("shell.php.")
    ('pdf', 'gz', '', '')
    """
    return os.path.splitext(filename)[1][1:].lower()


def executable_extension(stem: str) -> str | None:
    """Return the first extension in a name, given without its last one, for which a server may execute the file.

    >>> [executable_extension(stem) for stem in ("shell.PHP5", ".php", "v1.2 of php", "shell.asp;")]
    ['php5', 'php', None, 'asp']
    """
    # Old versions of IIS end a name at a semicolon, NTFS at a colon, and Windows drops trailing spaces.
    inner = (re.split("[;:%]", each)[0].strip().lower() for each in stem.split(".")[1:])
    return next((each for each in inner if _EXECUTABLE.fullmatch(each)), None)
