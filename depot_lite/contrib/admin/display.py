"""Files as plain data for the templates of admin pages, made without a request to a storage.

`file_data` returns the data of a stored value, `staged_data` the data of an upload waiting for its form. Names come
from users, so templates escape them. Active content is never displayed, only offered for download.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, DepotError, UnknownDepot
from depot_lite.fields.analyzers import shown_facts
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.edits import FileEdit, Kept, ids_of
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.specialized.image import ImageVariant, UploadedImage, UploadedImageWithThumb
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.urls import url_of
from depot_lite.fields.validators import ContentTypes, Extensions, MaxCount, Size
from depot_lite.io.content import encodable
from depot_lite.io.disposition import INLINE_TYPES
from depot_lite.io.media_types import OCTET_STREAM
from depot_lite.io.media_types.vocabulary import type_of_name
from depot_lite.io.sizes import shown_size
from depot_lite.uploads import Upload, adoptable

#: Image types that all current browsers display. Others (HEIC, TIFF) are represented by a variant, if there is one.
_DRAWN: Final = frozenset(
    f"image/{each}" for each in ("apng", "avif", "bmp", "gif", "jpeg", "png", "vnd.microsoft.icon", "webp")
)

#: Minimum size of a thumbnail in a list, in pixels of its longer side.
_THUMBNAIL: Final = 48


def kind_of(content_type: str, depot_name: str | None = None) -> str:
    """Return the kind of viewer: ``image``, ``video``, ``audio``, ``pdf``, ``text``, or ``other`` for a card.

    Files of types that their depot does not let browsers show have a card.

    >>> kind_of("video/mp4"), kind_of("application/pdf"), kind_of("image/svg+xml")
    ('video', 'pdf', 'other')
    """
    if content_type not in INLINE_TYPES or content_type not in _inline_types(depot_name):
        return "other"
    family, _, name = content_type.partition("/")
    return "pdf" if name == "pdf" else family


def _inline_types(depot_name: str | None) -> frozenset[str]:
    try:
        return INLINE_TYPES if depot_name is None else Depots.find(depot_name).inline_types
    except UnknownDepot:  # nothing of it is shown
        return INLINE_TYPES


def files_data(held: object) -> list[dict[str, Any]]:
    """Return the data of all stored files of an attribute, which may hold one file, a list or None."""
    return list(_stored(files_in(held)).values())


def _stored(held: Sequence[DepotFileInfo]) -> dict[str, dict[str, Any]]:
    """Return the data of the stored values, by the ids that forms use."""
    return {
        name: file_data(each, name)
        for name, each in zip(ids_of(held), held, strict=True)
        if isinstance(each, UploadedFile) and not each.pending
    }


def file_data(value: UploadedFile, name: str) -> dict[str, Any]:
    """Return the data of a stored value: properties from its row, and URLs made without a request.

    ``url`` is None if the depot is not configured here or its files are not served. A row may hold anything: a value
    that is no reference, or lacks keys, is shown as a damaged reference, with the text of the row.

    Args:
        value: the value.
        name: its id in forms.
    """
    try:
        data = _data(value, name)
    except Exception:  # of whatever the keys of the row hold
        data = {}
    if data and not any(isinstance(each, str) and len(each) > _LONGEST for each in data.values()):
        return data
    text = str(value) if value.is_damaged else repr(dict(value))
    shortened = text if len(text) <= _TEXT else f"{text[:_TEXT]}…"
    return {"id": name, "name": "damaged reference", "type": "", "kind": "damaged", "text": shortened}


#: The number of characters of a damaged reference that are shown.
_TEXT: Final = 300
#: More characters than a name or a signed URL has: a single row must not make a page of megabytes.
_LONGEST: Final = 10_000


def _data(value: UploadedFile, name: str) -> dict[str, Any]:
    content_type, size = value.content_type, value.size
    url = _url_or_none(lambda: value.url)
    facts = shown_facts(value.facts)
    measured = facts.pop("dimensions", None)
    return {
        "id": name,
        "path": encodable(value.path),
        "name": value.filename,
        "type": content_type,
        "kind": kind_of(content_type, value.depot_name),
        "size": None if size is None else shown_size(size),
        "dimensions": _dimensions(value) or measured,
        "duration": facts.pop("duration", None),
        "pages": facts.pop("pages", None),
        "facts": facts,
        "checksum": value.checksum,
        "uploaded_at": None if value.uploaded_at is None else f"{value.uploaded_at:%Y-%m-%d %H:%M} UTC",
        "url": url,
        "download_url": _url_or_none(lambda: value.url_for(download=True)) or url,
        # Shown in a frame without a sandbox, in which browsers show no PDF. So it is never the URL in the row, which
        # whoever writes to the row may lead anywhere: the page there could send the admin's tab elsewhere.
        "document_url": _url_or_none(lambda: url_of(value.depot_name, value.file_id)),
        "picture_url": _picture(value, url),
        "thumbnail_url": _thumbnail(value),
    }


def unloaded_data(file_id: str) -> dict[str, Any]:
    """Return the data of a file of a row that was not loaded."""
    return {"id": file_id, "name": "a file that is there already", "type": "", "kind": "other"}


def staged_data(upload: Upload, token: str) -> dict[str, Any]:
    """Return the data of an upload waiting for its form; its type is guessed from its name."""
    name = upload.filename or "unnamed"
    content_type = type_of_name(name) or OCTET_STREAM
    url = _url_or_none(lambda: url_of(upload.depot_name, upload.file_id))
    return {
        "token": token,
        "name": name,
        "type": content_type,
        "kind": kind_of(content_type, upload.depot_name),
        "size": shown_size(upload.max_size),  # the actual size of a staged file
        "url": url,
        "picture_url": url if content_type in _DRAWN else None,
    }


def edit_data(edit: FileEdit, held: Sequence[DepotFileInfo] | None, *, several: bool) -> dict[str, Any]:
    """Return the data of a form that is displayed again with errors: ``files`` in the order of the edit, and ``seen``.

    Changes made by others meanwhile are included. Only a single upload waiting for its form replaces another file: the
    error names that file, and saving again confirms the replacement.

    Args:
        held: the files of the attribute; None if the row was not loaded. Kept files have to be in the form, or the next
            submission would remove them, so they are included by id then.
    """
    there = _stored(held or ())
    added = [each for each in there if each not in edit.seen]
    items = [_item(each, there, held is None) for each in edit.items]
    files = [each for each in items if each is not None]
    if several:
        files += [there[each] for each in added]
    elif not any("token" in each for each in files):
        # The replacement was lost with its form: saving again must not remove the existing file.
        staying = {*edit.kept, *added, *(edit.seen if edit.new else ())}
        known = edit.seen if held is None else there
        files = [there[each] if each in there else unloaded_data(each) for each in known if each in staying]
    return {"files": files, "seen": [*edit.seen, *added]}


def _item(item: Any, there: Mapping[str, dict[str, Any]], not_loaded: bool) -> dict[str, Any] | None:
    """Return the data of one item of an edit; None for a deleted file and for an upload without a token."""
    if isinstance(item, Kept):
        return there.get(item.file_id) or (unloaded_data(item.file_id) if not_loaded else None)
    upload = adoptable(item) if isinstance(item, str) else None
    return None if upload is None else staged_data(upload, item)


def _url_or_none(make: Callable[[], str | None]) -> str | None:
    try:
        return make()
    except DepotError:
        return None


def _dimensions(value: DepotFileInfo) -> str | None:
    width, height = value.get("width"), value.get("height")
    return f"{width} × {height}" if width and height else None  # noqa: RUF001  # the multiplication sign


def _variants(value: UploadedFile) -> list[ImageVariant]:
    found = value.variants.values() if isinstance(value, UploadedImage) else ()
    return sorted((each for each in found if not each.is_unmade), key=_side)


def _side(variant: ImageVariant) -> int:
    return max(variant.width or 0, variant.height or 0)


def _thumbnail(value: UploadedFile) -> str | None:
    """Return the URL of the smallest variant that is large enough; lists never load originals."""
    if isinstance(value, UploadedImageWithThumb):
        return _url_or_none(lambda: value.thumb_url)
    variants = _variants(value)
    fitting = [each for each in variants if _side(each) >= _THUMBNAIL] or variants[-1:]
    return _url_or_none(lambda: fitting[0].url) if fitting else None


def _picture(value: UploadedFile, url: str | None) -> str | None:
    """Return the URL of an image that browsers can display: the original, or its largest variant."""
    if value.content_type in _DRAWN:
        return url
    drawn = [each for each in _variants(value) if each.content_type in _DRAWN]
    return _url_or_none(lambda: drawn[-1].url) if drawn else None


def accepted(column: FileColumn) -> str:
    """Return the ``accept`` attribute of a file input, approximated from the rules of the column.

    It only filters the file dialog; the rules are enforced at flush.
    """
    types = [each for rule in column.type.validators if isinstance(rule, ContentTypes) for each in rule.types]
    names = [f".{each}" for rule in column.type.validators if isinstance(rule, Extensions) for each in rule.extensions]
    # A file has to satisfy both rules. The list of extensions is usually the narrower one.
    return ",".join(names or types)


def limits(column: FileColumn) -> str:
    """Return the limits of a column as a hint beside its input; "" without limits.

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


def _joined(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "")


def max_count(column: FileColumn) -> int | None:
    """Return the maximum number of files of a column, or None."""
    counts = [each.count for each in column.type.validators if isinstance(each, MaxCount)]
    return min(counts, default=None)


def signing_configured() -> bool:
    """Return whether signing keys are configured, which staging needs."""
    try:
        Depots.signer()
    except ConfigurationError:
        return False
    return True
