"""File ids: creation, and the check before an id becomes a path or a key.

A file id is the canonical text of a UUID: 36 characters, lower case, with dashes. New ones are random (version 4, RFC
9562 section 5.4); filedepot's (version 1) have the same form. Direct uploads of browsers have ids of version 8 (section
5.8), which no row names: rows name copies of these files. Variants that are made on demand have ids of version 5
(section 5.5), which are derived from those of their originals; no row names them either.

A few ids are reserved for the notes that maintenance keeps in a depot (`note_id`). They have the form of an id of
version 0, which nothing else creates, and are refused like a malformed id, so that no row, no URL and no listing leads
to a note.

In GridFS, filedepot's ids are the 24 digits of MongoDB's ObjectIds. They still work in rows and URLs, because the check
turns them into UUIDs of version 0, which nothing else creates; storages see only UUIDs.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Final

from depot_lite.errors import InvalidFileId

_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OBJECT_ID: Final = r"[0-9a-f]{24}"
#: A regular expression for searching text for file ids. 24 digits within a longer number, such as a checksum, do not
#: match: they could hide the beginning of a UUID that follows.
FILE_ID: Final = rf"(?:{_UUID}|(?<![0-9a-f]){_OBJECT_ID}(?![0-9a-f-]))"
#: The number of characters of a file id.
ID_LENGTH: Final = 36

#: The beginning of reserved ids: "depot" in ASCII.
_NOTE_PREFIX: Final = "6465706f-7400-0000-f000-"

_CANONICAL: Final = re.compile(rf"(?!{_NOTE_PREFIX}){_UUID}")
_OLD: Final = re.compile(_OBJECT_ID)
#: The middle of an ObjectId that is written as a UUID: version 0, and no variant of RFC 9562.
_BETWEEN: Final = "-0000-0000-"


def new_file_id() -> str:
    """Return a new, random file id.

    >>> len(new_file_id())
    36
    """
    return str(uuid.uuid4())


def note_id(number: int) -> str:
    """Return the reserved id of a note, under which a storage keeps it like a file.

    >>> note_id(1), is_file_id(note_id(1))
    ('6465706f-7400-0000-f000-000000000001', False)
    """
    return f"{_NOTE_PREFIX}{number:012x}"


def is_note_id(file_id: str) -> bool:
    """Return whether this is the reserved id of a note."""
    return file_id.startswith(_NOTE_PREFIX)


def new_upload_id() -> str:
    """Return a new, random id for a direct upload, which rows copy and never name.

    >>> is_upload_id(new_upload_id()), is_upload_id(new_file_id())
    (True, False)
    """
    file_id = new_file_id()
    return f"{file_id[:_VERSION_POSITION]}8{file_id[_VERSION_POSITION + 1 :]}"


def is_upload_id(file_id: str) -> bool:
    """Return whether this is the id of a direct upload."""
    return file_id[_VERSION_POSITION] == "8"


#: The position of the version in an id.
_VERSION_POSITION: Final = 14

#: The namespace of derived ids. Changing it would orphan every file that was made on demand.
_DERIVED: Final = uuid.UUID("0c3f5b0e-7d0a-4d0f-9c53-6f2b7a1de9a4").bytes


def derived_id(file_id: str, fingerprint: str) -> str:
    """Return the id of the file that a recipe makes of an original: a UUID of version 5.

    Raises:
        InvalidFileId: the id of the original is malformed.

    >>> derived_id("b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70", "0123456789ab")
    '9826a317-e0d8-5bd3-aa18-7d18576fba2c'
    """
    # uuid.uuid5() takes twice as long, and a sweep derives the ids of all originals.
    name = f"{check_file_id(file_id)} {fingerprint}".encode()
    key = bytearray(hashlib.sha1(_DERIVED + name, usedforsecurity=False).digest()[:16])
    key[6], key[8] = key[6] & 0x0F | 0x50, key[8] & 0x3F | 0x80
    text = key.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_derived_id(file_id: str) -> bool:
    """Return whether this is the id of a file that was made on demand, and can be made again."""
    return file_id[_VERSION_POSITION] == "5"


def is_file_id(text: object) -> bool:
    """Return whether this is a file id in its canonical form, the form used by storages.

    >>> is_file_id("b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70"), is_file_id("B3A1C6DE-0F5B-4B6E-9A3E-2B1C4D5E6F70")
    (True, False)
    """
    return isinstance(text, str) and _CANONICAL.fullmatch(text) is not None


def checked_or_new(file_id: str | None) -> str:
    """Return the checked id, or a new one if it is None."""
    return new_file_id() if file_id is None else check_file_id(file_id)


def check_file_id(file_id: object) -> str:
    """Return a valid file id unchanged, or the UUID that stands for an ObjectId of filedepot's.

    Only this function protects paths on disk from strings of URLs and rows: it refuses ``../../etc/passwd``, an empty
    string, a NUL byte, and the other spellings that ``uuid.UUID`` accepts (braces, ``urn:``, and upper case, which some
    file systems would treat as a second name of the same file).

    Raises:
        InvalidFileId: it is neither of the two.

    >>> check_file_id("../secret")
    Traceback (most recent call last):
    depot_lite.errors.InvalidFileId: expected a file id such as 'b3a1c6de-...' of 36 characters, got '../secret'
    """
    if isinstance(file_id, str) and _CANONICAL.fullmatch(file_id):
        return file_id
    if isinstance(file_id, str) and _OLD.fullmatch(file_id):
        return id_of_object_id(file_id)
    given = repr(file_id) if len(repr(file_id)) <= 60 else repr(file_id)[:57] + "..."
    raise InvalidFileId(f"expected a file id such as 'b3a1c6de-...' of 36 characters, got {given}")


def id_of(file_or_id: object) -> str:
    """Return the checked id of a stored file, or the checked id itself."""
    return check_file_id(getattr(file_or_id, "file_id", file_or_id))


def id_of_object_id(text: str) -> str:
    """Return the file id that stands for the 24 digits of an ObjectId.

    >>> id_of_object_id("507f1f77bcf86cd799439011")
    '507f1f77-bcf8-0000-0000-6cd799439011'
    """
    return f"{text[:8]}-{text[8:12]}{_BETWEEN}{text[12:]}"


def object_id_in(file_id: str) -> str | None:
    """Return the digits of the ObjectId that a file id stands for, or None if it is an ordinary id.

    >>> object_id_in("507f1f77-bcf8-0000-0000-6cd799439011"), object_id_in("b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70")
    ('507f1f77bcf86cd799439011', None)
    """
    return f"{file_id[:8]}{file_id[9:13]}{file_id[24:]}" if file_id[13:24] == _BETWEEN else None
