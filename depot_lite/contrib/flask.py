"""JSON of Flask with files as other programs see them.

::

    app.json = FileJSONProvider(app)

Templates and ``jsonify`` use it.
"""

from __future__ import annotations

from typing import Any

from flask.json.provider import DefaultJSONProvider

from depot_lite.fields.schema import as_data

__all__ = ["FileJSONProvider"]


class FileJSONProvider(DefaultJSONProvider):
    """Flask's provider, for which each file is its `UploadedFile.as_dict`.

    A value is a dictionary, for which encoders ask no hook: without this provider its keys in the row are written.
    """

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return JSON text."""
        return super().dumps(as_data(obj), **kwargs)
