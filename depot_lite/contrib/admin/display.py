"""What an admin page shows of a file: plain data for templates, made without asking a storage.

`shown` gives it of a stored value, `staged` of one that waits for its form. Names are those of users and are escaped
where they are printed; what a browser would run is never shown, only offered for download.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, DepotError
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.edits import FileEdit, Kept
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.specialized.image import UploadedImageWithThumb
from depot_lite.fields.upload import UploadedFile, url_of
from depot_lite.fields.validators import ContentTypes, Extensions, MaxCount, Size
from depot_lite.io.disposition import INLINE_TYPES
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.sizes import shown_size
from depot_lite.uploads import Upload, adoptable

#: Images that every browser of today draws. Of others (HEIC, TIFF) a variant is shown, where there is one.
_DRAWN: Final = frozenset(
    f"image/{each}" for each in ("apng", "avif", "bmp", "gif", "jpeg", "png", "vnd.microsoft.icon", "webp")
)

#: The least that a thumbnail of a list has, in pixels of its longer side.
_THUMBNAIL: Final = 48


def kind_of(content_type: str) -> str:
    """Return how a file is shown: ``image``, ``video``, ``audio``, ``pdf``, ``text``, or ``other`` for a card.

    >>> kind_of("video/mp4"), kind_of("application/pdf"), kind_of("image/svg+xml")
    ('video', 'pdf', 'other')
    """
    if content_type not in INLINE_TYPES:
        return "other"
    family, _, name = content_type.partition("/")
    return "pdf" if name == "pdf" else family


def all_shown(held: object) -> list[dict[str, Any]]:
    """Return what is shown of what an attribute holds: of one file, of all files of a list, of none."""
    return [shown(each) for each in files_in(held) if isinstance(each, UploadedFile) and not each.pending]


def shown(value: UploadedFile) -> dict[str, Any]:
    """Return what is shown of a stored value: facts of its row, and URLs that are made without a request.

    ``url`` is None where the depot is not configured here or nothing serves its files.
    """
    content_type, size = value.content_type, value.size
    url = _made(lambda: value.url)
    return {
        "id": value.file_id,
        "path": value.path,
        "name": value.filename,
        "type": content_type,
        "kind": kind_of(content_type),
        "size": None if size is None else shown_size(size),
        "dimensions": _dimensions(value),
        "checksum": value.checksum,
        "uploaded_at": None if value.uploaded_at is None else f"{value.uploaded_at:%Y-%m-%d %H:%M} UTC",
        "url": url,
        "download_url": _made(lambda: value.url_for(download=True)) or url,
        "picture_url": _picture(value, url),
        "thumbnail_url": _thumbnail(value),
    }


def unknown(file_id: str) -> dict[str, Any]:
    """Return what is shown of a file of a row that was not read: that there is one."""
    return {"id": file_id, "name": "a file that is there already", "type": "", "kind": "other"}


def staged(upload: Upload, token: str) -> dict[str, Any]:
    """Return what is shown of a file that was sent and waits for its form; its type is guessed by its name."""
    name = upload.filename or "unnamed"
    found = mimetypes.guess_type(name)[0] or OCTET_STREAM
    url = _made(lambda: url_of(upload.depot_name, upload.file_id))
    return {
        "token": token,
        "name": name,
        "type": found,
        "kind": kind_of(found),
        "size": shown_size(upload.max_size),  # of a file that was staged, its own
        "url": url,
        "picture_url": url if found in _DRAWN else None,
    }


def shown_again(edit: FileEdit, held: Sequence[DepotFileInfo] | None, *, several: bool) -> dict[str, Any]:
    """Return what a form shows that comes back with errors: ``files`` in the order of the edit, and ``seen``.

    What somebody else has done meanwhile is shown from now on. Only a single file that waits for its form stands in
    the place of another: the error says which one, and who saves again means it.

    Args:
        held: what the attribute holds; None where the row was not loaded. What stays has to be in the form, or the next
            one would remove it, so it is shown by its being there then.
    """
    there = {str(each["file_id"]): each for each in held or () if isinstance(each, UploadedFile) and not each.pending}
    added = [each for each in there if each not in edit.seen]
    items = [_item(each, there, held is None) for each in edit.items]
    files = [each for each in items if each is not None]
    if several:
        files += [shown(there[each]) for each in added]
    elif not any("token" in each for each in files):
        # What would have replaced a file has gone with its form: who saves again must not remove the file.
        stays = {*edit.kept, *added, *(edit.seen if edit.new else ())}
        known = edit.seen if held is None else there
        files = [shown(there[each]) if each in there else unknown(each) for each in known if each in stays]
    return {"files": files, "seen": [*edit.seen, *added]}


def _item(item: Any, there: Mapping[str, UploadedFile], not_loaded: bool) -> dict[str, Any] | None:
    """Return what is shown of one item of an edit; None of a file that has gone, and of an upload without a token."""
    if isinstance(item, Kept):
        known = there.get(item.file_id)
        return shown(known) if known is not None else unknown(item.file_id) if not_loaded else None
    upload = adoptable(item) if isinstance(item, str) else None
    return None if upload is None else staged(upload, item)


def _made(url: Callable[[], str]) -> str | None:
    try:
        return url()
    except DepotError:
        return None


def _dimensions(value: DepotFileInfo) -> str | None:
    width, height = value.get("width"), value.get("height")
    return f"{width} × {height}" if width and height else None  # noqa: RUF001  # the sign of multiplication


def _variants(value: UploadedFile) -> list[dict[str, Any]]:
    entries = value.get("variants") or {}
    return sorted(entries.values(), key=lambda each: max(each["width"], each["height"]))


def _thumbnail(value: UploadedFile) -> str | None:
    """Return the URL of the smallest variant that is large enough: lists load no originals."""
    if isinstance(value, UploadedImageWithThumb):
        return _made(lambda: value.thumb_url)
    variants = _variants(value)
    fitting = [each for each in variants if max(each["width"], each["height"]) >= _THUMBNAIL] or variants[-1:]
    return _made(lambda: url_of(value.depot_name, fitting[0]["file_id"])) if fitting else None


def _picture(value: UploadedFile, url: str | None) -> str | None:
    """Return the URL of the image as a browser can draw it: the original, or its largest variant."""
    if value.content_type in _DRAWN:
        return url
    drawn = [each for each in _variants(value) if each["content_type"] in _DRAWN]
    return _made(lambda: url_of(value.depot_name, drawn[-1]["file_id"])) if drawn else None


def accepted(column: FileColumn) -> str:
    """Return what the file dialog of a browser offers (the ``accept`` of an input): the rules of the column, roughly.

    The browser does not enforce it, the flush does.
    """
    types = [each for rule in column.type.validators if isinstance(rule, ContentTypes) for each in rule.types]
    names = [f".{each}" for rule in column.type.validators if isinstance(rule, Extensions) for each in rule.extensions]
    # Either rule alone would let through what the other refuses, so the narrower says more.
    return ",".join(names or types)


def limits(column: FileColumn) -> str:
    """Return the limits of a column in words, for a hint beside its input; "" where there are none.

    >>> from sqlalchemy import Column
    >>> from depot_lite.fields.sqlalchemy import UploadedFileField
    >>> kind = UploadedFileField(validators=[Size("10 MiB"), Extensions("pdf")])
    >>> limits(FileColumn("Document", "content", Column(kind), kind))
    'pdf · up to 10 MiB'
    """
    kinds, sizes, counts = [], [], []
    for rule in column.type.validators:
        if isinstance(rule, ContentTypes):
            kinds.append(_joined([each.removesuffix("/*") for each in rule.types]))
        elif isinstance(rule, Extensions):
            kinds.append(_joined(rule.extensions))
        elif isinstance(rule, Size) and rule.max is not None:
            sizes.append(f"up to {rule.max if isinstance(rule.max, str) else shown_size(rule.max)}")
        elif isinstance(rule, MaxCount):
            counts.append(f"at most {rule.count} files" if rule.count > 1 else "one file")
    return " · ".join((*kinds, *sizes, *counts))


def _joined(words: Sequence[str]) -> str:
    return ", ".join(words[:6]) + (" …" if len(words) > 6 else "")


def max_count(column: FileColumn) -> int | None:
    """Return how many files a column takes, None where it does not say."""
    counts = [each.count for each in column.type.validators if isinstance(each, MaxCount)]
    return min(counts, default=None)


def signing_configured() -> bool:
    """Return whether there are keys to sign with, which staging needs."""
    try:
        Depots.signer()
    except ConfigurationError:
        return False
    return True
