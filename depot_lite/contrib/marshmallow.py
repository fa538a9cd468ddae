"""A field of marshmallow for files.

::

    class MovieSchema(Schema):
        poster = File(allow_none=True)
        screenshots = fields.List(File())

Loaded files are pending values, to be assigned to the attributes of a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError, fields

from depot_lite.errors import InvalidContent
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.schema import accepted, as_data
from depot_lite.fields.upload import UploadedFile

__all__ = ["File"]

if TYPE_CHECKING:
    _Field = fields.Field[DepotFileInfo]
else:  # before marshmallow 4 it takes no parameter
    _Field = fields.Field


class File(_Field):
    """A file: written as `UploadedFile.as_dict`, loaded from an upload, bytes or the token of a direct upload.

    Args:
        upload_type: the class of loaded values.
        options: the options of any field of marshmallow.
    """

    def __init__(self, upload_type: type[DepotFileInfo] = UploadedFile, **options: Any) -> None:
        super().__init__(**options)
        self.upload_type = upload_type

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return as_data(value)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> DepotFileInfo:
        try:
            return accepted(self.upload_type, value)
        except InvalidContent as error:
            raise ValidationError(str(error)) from error
