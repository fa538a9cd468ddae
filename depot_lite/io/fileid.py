"""File ids: how a new one is made, and the one check that each passes before it becomes a path or a key.

A file id is the canonical text of a UUID: 36 characters, lower case, with dashes. New ones are random (version 4, RFC
9562 section 5.4); those that filedepot made (version 1) have the same form. What a browser sends by itself has ids of
its own kind (version 8, section 5.8): rows name copies of it, so it is known for what it is.

Only in GridFS filedepot's ids are others: the 24 digits of MongoDB's ObjectIds. Rows and URLs that have them go on
working, since the check turns them into UUIDs of a version that nobody makes; storages see nothing else.
"""

from __future__ import annotations

import re
import uuid
from typing import Final

from depot_lite.errors import InvalidFileId

_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_OBJECT_ID: Final = r"[0-9a-f]{24}"
#: What a file id looks like, for who searches text for them. 24 digits of more, such as a checksum's, are none: they
#: could hide the beginning of a UUID behind them.
FILE_ID: Final = rf"(?:{_UUID}|(?<![0-9a-f]){_OBJECT_ID}(?![0-9a-f-]))"
#: How many characters it has.
ID_LENGTH: Final = 36

_CANONICAL: Final = re.compile(_UUID)
_OLD: Final = re.compile(_OBJECT_ID)
#: What stands between the parts of an ObjectId that is written as a UUID: version 0, in no variant of RFC 9562's.
_BETWEEN: Final = "-0000-0000-"


def new_file_id() -> str:
    """Return a file id that was never used before.

    >>> len(new_file_id())
    36
    """
    return str(uuid.uuid4())


def new_upload_id() -> str:
    """Return the id of a file that no row will name, only copy: random as all are, and known by its version.

    >>> is_upload_id(new_upload_id()), is_upload_id(new_file_id())
    (True, False)
    """
    made = new_file_id()
    return f"{made[:_VERSION]}8{made[_VERSION + 1 :]}"


def is_upload_id(file_id: str) -> bool:
    """Return whether this is the id of a file that no row names."""
    return file_id[_VERSION] == "8"


#: Where an id tells its version.
_VERSION: Final = 14


def is_file_id(text: object) -> bool:
    """Return whether this is a file id in its canonical form, as storages have them.

    >>> is_file_id("b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70"), is_file_id("B3A1C6DE-0F5B-4B6E-9A3E-2B1C4D5E6F70")
    (True, False)
    """
    return isinstance(text, str) and _CANONICAL.fullmatch(text) is not None


def checked_or_new(file_id: str | None) -> str:
    """Return the id that a new file gets: ``file_id`` after `check_file_id`, or a new one for None."""
    return new_file_id() if file_id is None else check_file_id(file_id)


def check_file_id(file_id: object) -> str:
    """Return ``file_id`` as it is, if it is one; the UUID that stands for it, if it is an ObjectId of filedepot's.

    Only this function stands between a string from a URL or a row and a path on disk: ``../../etc/passwd``, an empty
    string, a NUL byte and the other spellings that ``uuid.UUID`` accepts (braces, ``urn:``, upper case, which would be
    a second name of the same file on some file systems) all end here.

    Raises:
        InvalidFileId: it is something else.

    >>> check_file_id("../secret")
    Traceback (most recent call last):
    depot_lite.errors.InvalidFileId: '../secret' is not a file id: 36 characters such as 'b3a1c6de-...' are wanted
    """
    if isinstance(file_id, str) and _CANONICAL.fullmatch(file_id):
        return file_id
    if isinstance(file_id, str) and _OLD.fullmatch(file_id):
        return id_of_object_id(file_id)
    shown = repr(file_id) if len(repr(file_id)) <= 60 else repr(file_id)[:57] + "..."
    raise InvalidFileId(f"{shown} is not a file id: 36 characters such as 'b3a1c6de-...' are wanted")


def id_of_object_id(text: str) -> str:
    """Return the file id that stands for the 24 digits of an ObjectId.

    >>> id_of_object_id("507f1f77bcf86cd799439011")
    '507f1f77-bcf8-0000-0000-6cd799439011'
    """
    return f"{text[:8]}-{text[8:12]}{_BETWEEN}{text[12:]}"


def object_id_in(file_id: str) -> str | None:
    """Return the digits of the ObjectId that a file id stands for, None if it stands for none.

    >>> object_id_in("507f1f77-bcf8-0000-0000-6cd799439011"), object_id_in("b3a1c6de-0f5b-4b6e-9a3e-2b1c4d5e6f70")
    ('507f1f77bcf86cd799439011', None)
    """
    return f"{file_id[:8]}{file_id[9:13]}{file_id[24:]}" if file_id[13:24] == _BETWEEN else None
