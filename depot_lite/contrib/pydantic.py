"""Files in models of one's own for Pydantic, in addition to `UploadedFile` as the type of a field.

::

    class FileOut(BaseModel):
        filename: str
        url: str | None

    class MovieOut(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        poster: Annotated[FileOut, AsDict] | None

Pydantic looks for the fields of a model among the keys of a dictionary, and a value is one: its ``url`` is no key.
"""

from __future__ import annotations

from typing import Final

from pydantic import BeforeValidator

from depot_lite.fields.schema import as_data

__all__ = ["AsDict"]

#: Makes a model from the keys of `UploadedFile.as_dict`, or a list of models from a list of files.
AsDict: Final = BeforeValidator(as_data)
