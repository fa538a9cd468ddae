"""`register`: users' own types, beside `depot_lite.io.media_types.kinds`."""

from __future__ import annotations

from collections.abc import Iterable

from depot_lite.errors import ConfigurationError
from depot_lite.io.media_types.detection import add_signature
from depot_lite.io.media_types.sample import HEAD_SIZE
from depot_lite.io.media_types.vocabulary import OCTET_STREAM, Kind, add, is_text_type, valid_media_type


def register(
    media_type: str,
    *,
    extensions: Iterable[str] = (),
    signatures: Iterable[tuple[int | bytes, ...]] = (),
    aliases: Iterable[str] = (),
    parents: Iterable[str] = (),
    is_text: bool = False,
    always_signed: bool = False,
) -> None:
    """Add a media type, or replace one.

    Args:
        extensions: of file names, as ``"scene"``; they belong to this type before all others.
        signatures: pairs of offset and bytes, as ``(0, b"RIFF", 8, b"SCEN")``: all of one signature have to match.
        aliases: other names of the type.
        parents: types of which each file of this type is one too: ``"application/zip"``.
        is_text: whether its files may be text. Types under ``text/``, and those with a parent that may, always may.
        always_signed: whether bytes without one of the signatures are never of this type, whatever the name says.

    Raises:
        ConfigurationError: a type is malformed, a signature is no such pairs or lies behind the first 8 KiB.
    """
    for name, given in {"extensions": extensions, "aliases": aliases, "parents": parents}.items():
        if isinstance(given, str):
            raise ConfigurationError(f"{name}={given!r}: expected a list, such as [{given!r}]")
    own, *others = (_checked(each) for each in (media_type, *aliases))
    if own == OCTET_STREAM:
        raise ConfigurationError(f"{OCTET_STREAM} is what files of unknown types have")
    above = [_checked(each) for each in parents]
    rows = [tuple(each) for each in signatures]
    for row in rows:
        _check_signature(row)
    names = [each.lower().removeprefix(".") for each in extensions]
    is_text = is_text or any(map(is_text_type, above))
    add(Kind(own, names, above, always_signed, is_text), others, first=True)
    for row in rows:
        add_signature((own, *row))


def _checked(media_type: str) -> str:
    found = valid_media_type(media_type)
    if found is None:
        raise ConfigurationError(f"expected a media type such as 'application/x-mine', got {media_type!r}")
    return found


def _check_signature(row: tuple[int | bytes, ...]) -> None:
    offsets, parts = row[::2], row[1::2]
    if (
        not parts
        or len(offsets) != len(parts)
        or not all(isinstance(each, int) and 0 <= each < HEAD_SIZE for each in offsets)
        or not all(isinstance(each, bytes) and each for each in parts)
    ):
        raise ConfigurationError(f"expected a signature such as (0, b'RIFF', 8, b'SCEN'), got {row!r}")
