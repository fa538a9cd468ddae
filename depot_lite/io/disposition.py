"""Content-Disposition (RFC 6266), and the content types that a browser may display inline."""

from __future__ import annotations

import os
import re
import unicodedata
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from depot_lite.errors import ConfigurationError
from depot_lite.io.content import clean_filename
from depot_lite.io.media_types.vocabulary import matches

_PASSIVE: Final = {
    "application": "pdf",
    "text": "plain",
    "image": "apng avif bmp gif heic heif jpeg jpg jxl png tiff vnd.microsoft.icon webp x-icon",
    "audio": "aac flac mp3 mp4 mpeg ogg opus wav webm x-m4a x-wav",
    "video": "3gpp mp4 mpeg ogg quicktime webm x-m4v x-matroska",
}
#: The types that a browser displays without executing anything. SVG is not included, since it can contain scripts.
INLINE_TYPES: Final = frozenset(f"{kind}/{name}" for kind, names in _PASSIVE.items() for name in names.split())

#: Types that are displayed if their bytes come with a policy that lets nothing run, which no URL of a storage can ask
#: for.
SANDBOXED_TYPES: Final = frozenset({"image/svg+xml"})

#: Types that a depot may add to those that are displayed. There are no others: a page or XML runs, and the policy must
#: not be all that prevents it.
ON_REQUEST: Final = SANDBOXED_TYPES | {"application/json", "text/csv", "text/vtt"}


def parse_inline_types(value: object, label: str) -> frozenset[str]:
    """Return the types that a setting lets browsers display. Text may contain several, with spaces or commas.

    ``default`` means `INLINE_TYPES`, ``image/*`` its images. Other names of a type are included.

    Raises:
        ConfigurationError: a type is none of `INLINE_TYPES` and `ON_REQUEST`.

    >>> sorted(parse_inline_types("application/pdf, image/jpeg", "a depot"))
    ['application/pdf', 'image/jpeg', 'image/jpg']
    >>> parse_inline_types(["default", "image/svg+xml"], "a depot") == INLINE_TYPES | {"image/svg+xml"}
    True
    """
    if value is None:
        return INLINE_TYPES
    listed = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(listed, list | tuple | set | frozenset):
        raise ConfigurationError(f"{label}: inline_types={value!r}: expected a list of content types")
    return frozenset().union(*(_types_of(each, label) for each in listed))


def _types_of(name: object, label: str) -> frozenset[str]:
    if name == "default":
        return INLINE_TYPES
    wanted = name.lower() if isinstance(name, str) else ""
    if wanted in ON_REQUEST:
        return frozenset({wanted})
    is_known = wanted in INLINE_TYPES or wanted.endswith("/*")
    found = frozenset(each for each in INLINE_TYPES if matches(each, wanted)) if is_known else frozenset()
    if not found:
        raise ConfigurationError(
            f"{label}: inline_types: {name!r} is never displayed, since browsers could run such files or cannot show "
            f"them; expected 'default', a family such as 'image/*', one of {', '.join(sorted(ON_REQUEST))}, or of "
            f"{', '.join(sorted(INLINE_TYPES))}"
        )
    return found


@lru_cache(maxsize=256)
def content_disposition(disposition: str, filename: str) -> str:
    r"""Return the value of a ``Content-Disposition`` header (RFC 6266), safe for any file name.

    ``filename`` is ASCII, for old clients: other letters are transliterated, and emoji left out. Any other name is also
    given as ``filename*`` (RFC 8187).

    >>> content_disposition("inline", "plan.pdf")
    'inline; filename="plan.pdf"'
    >>> content_disposition("attachment", 'Zoë "7%"\r\n.pdf')
    'attachment; filename="Zoe _7__.pdf"; filename*=UTF-8\'\'Zo%C3%AB%20%227%25%22.pdf'
    >>> content_disposition("inline", "Łódź.pdf").partition(";")[2].partition(";")[0]
    ' filename="Lodz.pdf"'
    """
    name = clean_filename(filename)
    if name is None:
        return disposition
    plain = _plain_name(name)
    value = f'{disposition}; filename="{plain}"'
    # `safe` lists the characters of RFC 8187's attr-char that quote() would escape.
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='!#$&+^`|')}"


# A quote or a backslash ends or escapes something; some browsers treat a percent sign as an escape (RFC 6266, D).
_UNQUOTABLE: Final = re.compile(r'[^ -~]|["\\%]')
# The name was cleaned before: no full-width slash, dot or colon may become a real one.
_NOT_OF_A_LETTER: Final = re.compile(r"[^0-9A-Za-z'()-]")
_FIRST_PICTOGRAPH: Final = "\u2190"


def _plain_name(name: str) -> str:
    """Return a name in ASCII, as allowed in a quoted string."""
    if name.isascii():
        return _UNQUOTABLE.sub("_", name)
    stem, extension = ("".join(map(_plain, part)) for part in os.path.splitext(name))
    return (stem.strip() or "_") + extension


@lru_cache(maxsize=1024)
def _plain(character: str) -> str:
    from anyascii import anyascii  # its tables are large, and most names need none

    if character.isascii():
        return _UNQUOTABLE.sub("_", character)
    if _FIRST_PICTOGRAPH <= character != "\ufffd" and unicodedata.category(character) in ("So", "Sk"):
        return ""
    return _NOT_OF_A_LETTER.sub("_", anyascii(character)) or "_"
