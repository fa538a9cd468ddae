"""The schema of values for Pydantic, and so for FastAPI and SQLModel, made without importing Pydantic.

A core schema is a dictionary (https://docs.pydantic.dev/latest/api/pydantic_core_schema/), so that a field annotated
with `UploadedFile` needs no wrapper and no ``arbitrary_types_allowed``. It takes a value, content or the token of a
direct upload, and is written as `UploadedFile.as_dict`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NotRequired, get_type_hints

from typing_extensions import TypedDict  # Pydantic refuses the one in `typing` before Python 3.12

from depot_lite.errors import InvalidContent
from depot_lite.fields import adoption
from depot_lite.fields.interfaces import DepotFileInfo


class VariantData(TypedDict):
    """A variant of an image as other programs see it: the keys of `ImageVariant.as_dict`.

    ``url`` is None as for `FileData`. Of a variant that is made on demand, the row does not know the ``size``, nor
    always the type and the dimensions.
    """

    url: str | None
    filename: str
    content_type: str | None
    size: int | None
    width: int | None
    height: int | None


class _Time:
    """Marks text as a time, for Pydantic."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {**handler(schema), "format": "date-time"}


class FileData(TypedDict):
    """A file as other programs see it: the keys of `UploadedFile.as_dict`.

    ``url`` is None for a pending value, and where no middleware and no URL of the storage serve the file. ``size`` is
    in bytes, ``width`` and ``height`` are in pixels, ``uploaded_at`` is a time in UTC by ISO 8601.
    ``facts`` are those that analyzers have found (`depot_lite.fields.analyzers`).
    """

    url: str | None
    filename: str
    content_type: str
    size: int | None
    checksum: str | None
    width: int | None
    height: int | None
    uploaded_at: Annotated[str, _Time()] | None
    variants: dict[str, VariantData]
    meta: dict[str, Any]
    facts: dict[str, Any]


class ImageData(FileData):
    """An image as other programs see it: the keys of `UploadedImage.as_dict`, with a placeholder if it has one."""

    blurhash: NotRequired[str | None]
    dominant_colour: NotRequired[str | None]


# A subclass may add keys and keep the annotation.
for _keys in (FileData, ImageData):
    _keys.__pydantic_config__ = {"extra": "allow"}  # type: ignore[attr-defined]  # a TypedDict declares keys only


def core_schema(kind: type[DepotFileInfo], handler: Any) -> dict[str, Any]:
    """Return the schema of a class of values, for ``__get_pydantic_core_schema__``."""

    def validate(value: Any) -> DepotFileInfo:
        try:
            return accepted(kind, value)
        except InvalidContent as error:  # Pydantic reports ValueErrors only
            raise ValueError(str(error)) from error

    # A subclass may return more keys.
    data = handler.generate_schema(_keys_of(kind))
    return {
        "type": "function-plain",
        "function": {"type": "no-info", "function": validate},
        "json_schema_input_schema": {"type": "bytes"},
        # With the schema of the keys, `include` and `exclude` choose among them.
        "serialization": {"type": "function-wrap", "function": _written, "schema": data, "return_schema": data},
    }


def _keys_of(kind: type[DepotFileInfo]) -> Any:
    try:
        return get_type_hints(kind.as_dict).get("return", dict[str, Any])
    except NameError:  # a name that only type checkers import
        return dict[str, Any]


def _written(value: Any, write: Callable[[Any], Any]) -> Any:
    return write(as_data(value))


def accepted(kind: type[DepotFileInfo], value: Any) -> DepotFileInfo:
    """Return a value, or a pending one for content or for the token of a direct upload.

    Raises:
        InvalidContent: it is a dictionary, text that is no token, or cannot be stored.
    """
    if isinstance(value, DepotFileInfo):
        value.keep_place()  # an answer is often written after the session was closed
        return value
    if isinstance(value, dict | str) and not adoption.is_token(value):
        found = "text" if isinstance(value, str) else "a dictionary"
        raise InvalidContent(f"{found} is not a file: expected an upload, bytes or the token of a direct upload")
    return adoption.pending_value(kind, value)


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
