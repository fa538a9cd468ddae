"""Files attached to SQLAlchemy models, which live and die with their rows.

Applications import from here; validators, maintenance, serving, testing and the admins have modules of their own, which
docs/api.md lists. Names are loaded on first access, so a program that only serves files, or only
uses a depot, imports no SQLAlchemy, no Pillow and no boto3.

>>> from depot_lite import DepotManager
>>> DepotManager.__module__
'depot_lite.manager'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from depot_lite.errors import (
    AlreadyConfigured,
    ConfigurationError,
    CountRefused,
    DamagedReference,
    DepotError,
    EditRefused,
    ImageRefused,
    ImagesBusy,
    InvalidContent,
    InvalidFileId,
    MaintenanceStopped,
    MetaRefused,
    NameRefused,
    SeveralRefused,
    SizeRefused,
    StorageFailed,
    StorageFull,
    StorageTimeout,
    StoredFileNotFound,
    TypeRefused,
    UnknownBackend,
    UnknownDepot,
    ValidationError,
)

if TYPE_CHECKING:
    from depot_lite.asgi import DepotASGI
    from depot_lite.fields.edits import FileEdit
    from depot_lite.fields.filters.thumbnails import WithThumbnailFilter
    from depot_lite.fields.interfaces import DepotFileInfo, FileFilter
    from depot_lite.fields.lists import FileList
    from depot_lite.fields.specialized.image import (
        UploadedImage,
        UploadedImageWithThumb,
        outdated,
        regenerate,
    )
    from depot_lite.fields.specialized.media import UploadedMedia
    from depot_lite.fields.specialized.variants import ImageVariant
    from depot_lite.fields.sqlalchemy import UploadedFileField
    from depot_lite.fields.upload import UploadedFile
    from depot_lite.images.recipes import Crop, Pad, Thumbnail
    from depot_lite.io.composite.fallback import FallbackStorage
    from depot_lite.io.composite.mirror import MirrorStorage
    from depot_lite.io.content.intent import FileIntent
    from depot_lite.io.interfaces import FileStorage
    from depot_lite.io.stored import FileEntry, StoredFile
    from depot_lite.manager import DepotManager
    from depot_lite.uploads import Ticket, sweep_uploads, upload_ticket

__version__ = "0.1.0"

__all__ = [
    "AlreadyConfigured",
    "ConfigurationError",
    "CountRefused",
    "Crop",
    "DamagedReference",
    "DepotASGI",
    "DepotError",
    "DepotFileInfo",
    "DepotManager",
    "EditRefused",
    "FallbackStorage",
    "FileEdit",
    "FileEntry",
    "FileFilter",
    "FileIntent",
    "FileList",
    "FileStorage",
    "ImageRefused",
    "ImageVariant",
    "ImagesBusy",
    "InvalidContent",
    "InvalidFileId",
    "MaintenanceStopped",
    "MetaRefused",
    "MirrorStorage",
    "NameRefused",
    "Pad",
    "SeveralRefused",
    "SizeRefused",
    "StorageFailed",
    "StorageFull",
    "StorageTimeout",
    "StoredFile",
    "StoredFileNotFound",
    "Thumbnail",
    "Ticket",
    "TypeRefused",
    "UnknownBackend",
    "UnknownDepot",
    "UploadedFile",
    "UploadedFileField",
    "UploadedImage",
    "UploadedImageWithThumb",
    "UploadedMedia",
    "ValidationError",
    "WithThumbnailFilter",
    "__version__",
    "outdated",
    "regenerate",
    "sweep_uploads",
    "upload_ticket",
]

_HOMES: Final = {
    "Ticket": "depot_lite.uploads",
    "sweep_uploads": "depot_lite.uploads",
    "upload_ticket": "depot_lite.uploads",
    "Crop": "depot_lite.images.recipes",
    "DepotASGI": "depot_lite.asgi",
    "DepotFileInfo": "depot_lite.fields.interfaces",
    "DepotManager": "depot_lite.manager",
    "FallbackStorage": "depot_lite.io.composite.fallback",
    "FileEdit": "depot_lite.fields.edits",
    "FileEntry": "depot_lite.io.stored",
    "FileFilter": "depot_lite.fields.interfaces",
    "FileIntent": "depot_lite.io.content.intent",
    "FileList": "depot_lite.fields.lists",
    "FileStorage": "depot_lite.io.interfaces",
    "ImageVariant": "depot_lite.fields.specialized.variants",
    "MirrorStorage": "depot_lite.io.composite.mirror",
    "Pad": "depot_lite.images.recipes",
    "StoredFile": "depot_lite.io.stored",
    "Thumbnail": "depot_lite.images.recipes",
    "UploadedFile": "depot_lite.fields.upload",
    "UploadedFileField": "depot_lite.fields.sqlalchemy",
    "UploadedImage": "depot_lite.fields.specialized.image",
    "UploadedImageWithThumb": "depot_lite.fields.specialized.image",
    "UploadedMedia": "depot_lite.fields.specialized.media",
    "WithThumbnailFilter": "depot_lite.fields.filters.thumbnails",
    "outdated": "depot_lite.fields.specialized.image",
    "regenerate": "depot_lite.fields.specialized.image",
}

# Hidden from type checkers: they take a module with __getattr__ to have every name, misspelt ones included.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Load a public name from its module (PEP 562) and cache it."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(home), name)
        return value


def __dir__() -> list[str]:
    """List the public names, including those not loaded yet."""
    return sorted({*globals(), *__all__})
