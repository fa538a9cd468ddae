"""The schema of values for Pydantic, and so for FastAPI and SQLModel, made without importing Pydantic.

A core schema is a dictionary (https://docs.pydantic.dev/latest/api/pydantic_core_schema/), so that a field annotated
with `UploadedFile` needs no wrapper and no ``arbitrary_types_allowed``. It takes a value, content or the token of a
direct upload, and is written as `UploadedFile.as_dict`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final, TypedDict

from depot_lite.errors import InvalidContent
from depot_lite.fields import adoption
from depot_lite.fields.interfaces import DepotFileInfo


class FileData(TypedDict):
    """A file as other programs see it: the keys of `UploadedFile.as_dict`.

    ``url`` is None for a pending value, and where no middleware and no URL of the storage serve the file. ``size`` is
    in bytes, ``width`` and ``height`` are in pixels, ``uploaded_at`` is a time in UTC by ISO 8601.
    """

    url: str | None
    filename: str
    content_type: str
    size: int | None
    checksum: str | None
    width: int | None
    height: int | None
    uploaded_at: str | None
    variants: dict[str, dict[str, Any]]
    meta: dict[str, Any]


def core_schema(kind: type[DepotFileInfo]) -> dict[str, Any]:
    """Return the schema of a class of values, for ``__get_pydantic_core_schema__``."""

    def validate(value: Any) -> DepotFileInfo:
        try:
            return accepted(kind, value)
        except InvalidContent as error:  # Pydantic reports ValueErrors only
            raise ValueError(str(error)) from error

    return {
        "type": "function-plain",
        "function": {"type": "no-info", "function": validate},
        "serialization": {"type": "function-plain", "function": as_data, "when_used": "always"},
    }


def accepted(kind: type[DepotFileInfo], value: Any) -> DepotFileInfo:
    """Return a value, or a pending one for content or for the token of a direct upload.

    Raises:
        InvalidContent: it is a dictionary, or cannot be stored.
    """
    if isinstance(value, DepotFileInfo):
        return value
    if isinstance(value, dict):
        # A dictionary from a request could name the file of any user.
        raise InvalidContent("a dictionary is not a file: expected an upload, bytes or the token of a direct upload")
    return adoption.adopting(kind, value, None) if adoption.is_token(value) else kind(value)


def as_data(value: Any) -> Any:
    """Return data for JSON with each file in it, also in dataclasses, as its ``as_dict()``."""
    if isinstance(value, DepotFileInfo):
        return value.as_dict()
    if isinstance(value, dict):
        return {key: as_data(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_data(getattr(value, each.name)) for each in dataclasses.fields(value)}
    return value


def json_schema(mode: str) -> dict[str, Any]:
    """Return the JSON schema of a file, for ``__get_pydantic_json_schema__``.

    Args:
        mode: ``"validation"``, for the content or the token that is given; ``"serialization"``, for `FileData`.
    """
    if mode == "validation":
        return {"type": "string", "format": "binary", "title": "File"}
    return {
        "type": "object",
        "title": "File",
        "properties": {
            name: {**schema, "title": name.replace("_", " ").capitalize()} for name, schema in _KEYS.items()
        },
        "required": list(_KEYS),
    }


def _optional(**schema: str) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


_VARIANT: Final = {
    "type": "object",
    "properties": {
        "url": _optional(type="string"),
        "filename": {"type": "string"},
        "content_type": {"type": "string"},
        "size": {"type": "integer"},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
    },
}
_KEYS: Final[dict[str, dict[str, Any]]] = {
    "url": _optional(type="string"),
    "filename": {"type": "string"},
    "content_type": {"type": "string"},
    "size": _optional(type="integer"),
    "checksum": _optional(type="string"),
    "width": _optional(type="integer"),
    "height": _optional(type="integer"),
    "uploaded_at": _optional(type="string", format="date-time"),
    "variants": {"type": "object", "additionalProperties": _VARIANT},
    "meta": {"type": "object", "additionalProperties": True},
}
