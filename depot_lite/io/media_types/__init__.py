r"""Media types: one vocabulary of names, extensions and signatures, the same on every machine.

`register` adds a type. It is called once, when an application starts:

>>> from depot_lite.io import media_types
>>> media_types.register("application/x-scene", extensions=["scene"], signatures=[(0, b"SCENE\x00")])
>>> media_types.content_type_of(b"SCENE\x00\x01", None, None), media_types.content_type_of(b"\x00", None, "a.scene")
('application/x-scene', 'application/x-scene')
"""

from __future__ import annotations

from depot_lite.io.media_types.detection import content_type_of
from depot_lite.io.media_types.registration import register
from depot_lite.io.media_types.vocabulary import OCTET_STREAM, valid_media_type

__all__ = ["OCTET_STREAM", "content_type_of", "register", "valid_media_type"]
