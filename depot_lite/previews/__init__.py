"""Previews: an image of a file that is none: the first page of a PDF, a frame of a video, the first lines of a text.

Decoders of documents and videos are large and their input is hostile, so they always run in worker processes with
limits of memory and time: those of `depot_lite.images.isolated` if it was called, otherwise 512 MiB and 10 seconds in
two processes. A worker reads the file through the process that asks, in the ranges that its decoder needs, so of a long
video in a remote storage only a few megabytes are transferred. The formats that are read are listed: FFmpeg's playlists
and scripts, which name other files and addresses, are not among them.

PDF needs the extra ``pdf``, video the extra ``video``, and text only Pillow.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from typing import BinaryIO, Final

from depot_lite.errors import ConfigurationError, ImageRefused
from depot_lite.images import Rendition
from depot_lite.previews.kinds import kind_of
from depot_lite.previews.pool import PreviewQuestion, current_pool

__all__ = ["can_preview", "preview", "require_extra"]

#: What each kind needs: a module, the name of its library, and the extra.
_NEEDED: Final = {
    "pdf": ("pypdfium2", "pypdfium2", "pdf"),
    "video": ("av", "PyAV", "video"),
    "text": ("PIL", "Pillow", "images"),
}


def can_preview(content_type: str) -> bool:
    """Return whether files of this type can have a preview.

    >>> can_preview("application/pdf"), can_preview("video/mp4"), can_preview("image/png"), can_preview("audio/mpeg")
    (True, True, False, False)
    """
    return kind_of(content_type) is not None


def require_extra(content_type: str) -> None:
    """Raise ConfigurationError if the library that previews of this type need is not installed."""
    kind = kind_of(content_type)
    if kind is not None and find_spec(_NEEDED[kind][0]) is None:
        _, name, extra = _NEEDED[kind]
        shown = "PDF" if kind == "pdf" else kind
        raise ConfigurationError(f"previews of {shown} need {name}: pip install 'depot_lite[{extra}]'")


def preview(file: BinaryIO, content_type: str) -> Rendition:
    """Return an image of a file: an uncompressed BMP, for `depot_lite.images.render` with ``formats=("BMP",)``.

    Args:
        file: a seekable file; it is read in parts, left at any position and never closed.
        content_type: the type found in its bytes.

    Raises:
        ImageRefused: the file can have no preview: it is encrypted, broken, has no picture, or takes too much memory or
            time.
        ImagesBusy: all workers were busy for too long.
        ConfigurationError: an extra is missing, or no worker can start.
    """
    kind = kind_of(content_type)
    if kind is None:
        raise ImageRefused(f"there are no previews of {content_type}", rule="format", value=content_type)
    require_extra(content_type)
    size = file.seek(0, os.SEEK_END)
    request = json.dumps({"kind": kind, "content_type": content_type, "size": size}).encode()
    found: Rendition | None = current_pool().ask(PreviewQuestion("preview", request, {""}, [], file), large=False)
    if found is None:
        raise ImageRefused("the file has no picture", rule="decodable")
    return found
