"""Files in SQLAdmin: its `ModelView`, with files that can be uploaded, looked at, replaced, ordered and removed.

::

    from depot_lite.contrib.sqladmin import ModelView      # instead of sqladmin's

    class MovieAdmin(ModelView, model=Movie):
        column_list = ["title", "poster", "screenshots"]

Lists show thumbnails, detail pages a viewer, forms an editor. Files are sent before their form, with progress, where
`DepotManager.configure_signing` has given keys; without keys, or without scripts, they go with the form.

A view that has hooks of its own (``create_context``, ``get_object_for_edit``, ``insert_model``, ``update_model``,
``get_list_value``, ``get_detail_value``) calls those of this class with ``super()``; a ``form_converter`` of its own is
a subclass of `FileConverter`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from depot_lite.errors import ConfigurationError

try:
    from sqladmin import ModelView as _ModelView
    from sqladmin import expose
    from sqladmin.forms import ModelConverter, ModelConverterBase, converts
except ImportError as error:
    raise ConfigurationError(
        "depot_lite.contrib.sqladmin needs sqladmin: pip install 'depot_lite[sqladmin]'"
    ) from error

from anyio import to_thread
from markupsafe import Markup
from sqlalchemy import inspect
from sqlalchemy.orm import ColumnProperty
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from depot_lite.contrib.admin import display
from depot_lite.contrib.admin.receiving import receive
from depot_lite.contrib.admin.refusals import by_field
from depot_lite.contrib.admin.rendering import FOR_EVER, asset, tags, thumbnails, viewer
from depot_lite.contrib.admin.wtforms import FilesField, Sent, arguments
from depot_lite.errors import InvalidContent, ValidationError
from depot_lite.fields.columns import FileColumn, columns_of_mapper, files_in
from depot_lite.fields.lists import FileList
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.sizes import size_of

__all__ = ["FileConverter", "ModelView"]

#: The form that is being made: SQLAdmin's fields know neither their view nor the request.
_FORM: Final[ContextVar[tuple[ModelView, Request] | None]] = ContextVar("depot_lite_form", default=None)


def _form_assets() -> Markup:
    form = _FORM.get()
    return Markup() if form is None else form[0]._assets(form[1])


def _form_upload_url(key: str) -> str:
    form = _FORM.get()
    if form is None or not display.signing_configured():
        return ""
    view, request = form
    row = request.path_params.get("pk")
    return view._url(request, "upload", key=key) + ("" if row is None else "?" + urlencode({"pk": row}))


def _sent_in(request: Request) -> dict[str, Sent]:
    """Return what a form has sent; nothing where rows come by another way, such as SQLAdmin's import."""
    sent: dict[str, Sent] = getattr(request.state, "depot_sent", {})
    return sent


class FileConverter(ModelConverter):
    """Makes the field of a file column, and those of all others as SQLAdmin does."""

    @converts("depot_lite.fields.columns.FileType")  # type: ignore[untyped-decorator]  # SQLAdmin's are
    def conv_files(self, model: type, prop: ColumnProperty[Any], kwargs: dict[str, Any]) -> FilesField:
        """Return the field of a file column."""
        column = columns_of_mapper(inspect(model))[prop.key]
        return FilesField(**arguments(column, kwargs), assets=_form_assets, upload_url=_form_upload_url)


class ModelView(_ModelView):
    """SQLAdmin's `ModelView`, for models with and without files."""

    form_converter: ClassVar[type[ModelConverterBase]] = FileConverter

    #: The most bytes of one file that is sent before its form, in columns without a `Size` of their own.
    max_upload_size: ClassVar[int | str | None] = "1 GiB"

    @property
    def _files(self) -> Mapping[str, FileColumn]:
        return columns_of_mapper(inspect(self.model))

    def get_import_columns(self) -> list[str]:
        """Leave out files: a CSV has none."""
        return [each for each in super().get_import_columns() if each not in self._files]

    # --- pages -----------------------------------------------------------------------------------------------------

    async def get_list_value(self, obj: Any, prop: str, request: Request | None = None) -> tuple[Any, Any]:
        """Return a value and what a list shows of it: of files, unless a formatter of the view's says more."""
        value, shown = await super().get_list_value(obj, prop, request)
        if isinstance(shown, UploadedFile | FileList):
            shown = self._assets(request) + thumbnails(shown)
        return value, shown

    async def get_detail_value(self, obj: Any, prop: str, request: Request | None = None) -> tuple[Any, Any]:
        """Return a value and what a detail page shows of it."""
        value, shown = await super().get_detail_value(obj, prop, request)
        if isinstance(shown, UploadedFile | FileList):
            shown = self._assets(request) + viewer(shown, self._column_labels.get(prop, prop))
        return value, shown

    def _assets(self, request: Request | None) -> Markup:
        """Return the tags of styles and scripts, once for each page."""
        if request is None or getattr(request.state, "depot_assets", False):
            return Markup()
        request.state.depot_assets = True
        return tags(lambda name, version: f"{self._url(request, 'asset', name=name)}?v={version}")

    def _url(self, request: Request, route: str, **parts: str) -> str:
        return str(request.url_for(f"admin:view-{self.identity}-depot_{route}", **parts))

    # --- forms -----------------------------------------------------------------------------------------------------

    async def create_context(self, request: Request) -> dict[str, Any]:
        """Take the files of a form before SQLAdmin does."""
        await self._take(request, None)
        return await super().create_context(request)

    async def get_object_for_edit(self, request: Request) -> Any:
        """Return the row of a form, and take the files of the form before SQLAdmin does."""
        obj = await super().get_object_for_edit(request)
        await self._take(request, obj)
        return obj

    async def _take(self, request: Request, obj: Any) -> None:
        """Put a `Sent` in the place of what the form has for a file column.

        SQLAdmin fills an empty upload with the file that ``obj`` has, opened by a method that ours have not; and
        validates forms in the event loop.
        """
        _FORM.set((self, request))
        sent: dict[str, Sent] = {}
        request.state.depot_sent = sent
        if request.method != "POST":
            return
        form = await request.form()
        for key, column in self._files.items():
            if key in form:
                make = partial(Sent, column, form.getlist(key), files_in(getattr(obj, key, None)))
                sent[key] = await to_thread.run_sync(make)
        items: list[Any] = [(key, value) for key, value in form.multi_items() if key not in sent]
        items += sent.items()

        async def taken() -> FormData:
            return FormData(items)

        setattr(request, "form", taken)  # noqa: B010  # for this one request, whose class knows it as a method

    async def insert_model(self, request: Request, data: dict[str, Any]) -> Any:
        """Store a new row. One that is saved as a copy of another gets copies of the files that stay."""
        sent = _sent_in(request)
        if "pk" in request.path_params:
            data = {**data, **{key: sent[key].wanted(self._files[key]) for key in sent if key in data}}
        with self._blaming(sent):
            return await super().insert_model(request, data)

    async def update_model(self, request: Request, pk: str, data: dict[str, Any]) -> Any:
        """Store a row that has changed."""
        with self._blaming(_sent_in(request)):
            return await super().update_model(request, pk, data)

    @contextmanager
    def _blaming(self, sent: Mapping[str, Sent]) -> Iterator[None]:
        """Put what is refused beside its field; SQLAdmin shows the form once more for any error."""
        try:
            yield
        except (ValidationError, InvalidContent) as error:
            for key, messages in by_field(self._files, error).items():
                if key in sent:
                    sent[key].blame(messages)
            raise

    # --- routes ----------------------------------------------------------------------------------------------------

    @expose("/depot/assets/{name}")
    async def depot_asset(self, request: Request) -> Response:
        """Return a script or a style."""
        found = asset(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return Response(found.content, media_type=found.content_type, headers={"Cache-Control": FOR_EVER})

    @expose("/depot/upload/{key}", methods=["POST"])
    async def depot_upload(self, request: Request) -> Response:
        """Receive a file before its form, from whoever may send the form."""
        column = self._files.get(request.path_params["key"])
        if column is None or column.key not in self._form_prop_names:
            raise HTTPException(404)
        # A page of another site can send a request with the cookies of this one, but not with such a header.
        if "x-filename" not in request.headers or not await self._may_upload(request):
            raise HTTPException(403)
        limit = self.max_upload_size
        return await receive(request, column, max_size=None if limit is None else size_of("max_upload_size", limit))

    async def _may_upload(self, request: Request) -> bool:
        row = request.query_params.get("pk")
        if row is None:
            return self.can_create and await self.check_can_create(request)
        obj = await self.get_object_for_delete(row)  # which gives any row by its key
        return self.can_edit and obj is not None and await self.check_can_edit(request, obj)
