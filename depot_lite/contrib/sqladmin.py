"""Files in SQLAdmin: a `ModelView` in which files can be uploaded, viewed, replaced, ordered and removed.

::

    from depot_lite.contrib.sqladmin import ModelView      # instead of sqladmin's

    class MovieAdmin(ModelView, model=Movie):
        column_list = ["title", "poster", "screenshots"]

Lists show thumbnails, detail pages a viewer, forms an editor. With signing keys (`DepotManager.configure_signing`),
files are sent before their form, with a progress bar; without keys or without JavaScript they are sent with the form.

Views that override ``create_context``, ``get_object_for_edit``, ``insert_model``, ``update_model``, ``get_list_value``
or ``get_detail_value`` have to call ``super()``; a custom ``form_converter`` has to be a subclass of `FileConverter`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from copy import copy
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
from starlette.responses import Response, StreamingResponse

from depot_lite.contrib.admin import display
from depot_lite.contrib.admin.receiving import receive
from depot_lite.contrib.admin.refusals import by_field
from depot_lite.contrib.admin.rendering import CACHE_FOREVER, asset, tags, thumbnails, viewer
from depot_lite.contrib.admin.wtforms import FilesField, Submission, arguments
from depot_lite.errors import DamagedReference, InvalidContent, ValidationError
from depot_lite.fields.columns import FileColumn, columns_of_mapper, files_in
from depot_lite.fields.lists import FileList
from depot_lite.fields.schema import as_data
from depot_lite.fields.upload import UploadedFile
from depot_lite.io.sizes import size_of

__all__ = ["FileConverter", "ModelView"]

#: View and request of the current form, which SQLAdmin does not pass to its fields.
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


def _submissions(request: Request) -> dict[str, Submission]:
    """Return the submissions of a form by attribute; empty for rows from elsewhere, such as SQLAdmin's import."""
    found: dict[str, Submission] = getattr(request.state, "depot_submissions", {})
    return found


class FileConverter(ModelConverter):
    """SQLAdmin's converter of columns to form fields, with file columns."""

    @converts("depot_lite.fields.file_type.FileType")  # type: ignore[untyped-decorator]  # SQLAdmin's are
    def conv_files(self, model: type, prop: ColumnProperty[Any], kwargs: dict[str, Any]) -> FilesField:
        """Return the field of a file column."""
        column = columns_of_mapper(inspect(model))[prop.key]
        return FilesField(**arguments(column, kwargs), assets=_form_assets, upload_url=_form_upload_url)


class ModelView(_ModelView):
    """SQLAdmin's `ModelView`, for models with and without files."""

    form_converter: ClassVar[type[ModelConverterBase]] = FileConverter

    #: Maximum size of a file sent before its form, for columns without a `Size` rule.
    max_upload_size: ClassVar[int | str | None] = "1 GiB"

    @property
    def _files(self) -> Mapping[str, FileColumn]:
        return columns_of_mapper(inspect(self.model))

    def get_import_columns(self) -> list[str]:
        """Leave out file columns: a CSV file cannot contain files."""
        return [each for each in super().get_import_columns() if each not in self._files]

    # --- pages -----------------------------------------------------------------------------------------------------

    async def get_list_value(self, obj: Any, prop: str, request: Request | None = None) -> tuple[Any, Any]:
        """Return a value and its form in lists: thumbnails for files, unless the view has a formatter."""
        value, formatted = await super().get_list_value(obj, prop, request)
        if isinstance(formatted, UploadedFile | FileList):
            formatted = self._assets(request) + thumbnails(formatted)
        return value, formatted

    async def get_detail_value(self, obj: Any, prop: str, request: Request | None = None) -> tuple[Any, Any]:
        """Return a value and its form on detail pages."""
        value, formatted = await super().get_detail_value(obj, prop, request)
        if isinstance(formatted, UploadedFile | FileList):
            formatted = self._assets(request) + viewer(formatted, self._column_labels.get(prop, prop))
        return value, formatted

    async def custom_export_cell(self, row: Any, name: str, value: Any) -> str | None:
        """Return the names of files in pretty exports, which show what lists do, unless the view has a formatter."""
        if name not in self._list_formatters and isinstance(value, UploadedFile | FileList):
            return str(value)
        return await super().custom_export_cell(row, name, value)

    async def export_data(
        self, data: list[Any], export_type: str = "csv", request: Request | None = None
    ) -> StreamingResponse:
        """Return rows as CSV or JSON; in JSON, files are as `UploadedFile.as_dict` returns them."""
        view = copy(self)
        if export_type == "json":
            # SQLAdmin gives values to an encoder that asks no hook for dictionaries.
            setattr(view, "get_prop_value", self._outside_value)  # noqa: B010  # for this export only; it is a method of the class
        return await super(ModelView, view).export_data(data, export_type, request)

    async def _outside_value(self, obj: Any, prop: str) -> Any:
        value = await self.get_prop_value(obj, prop)
        try:
            return as_data(value) if isinstance(value, UploadedFile | FileList) else value
        except DamagedReference:
            return str(value)

    def _assets(self, request: Request | None) -> Markup:
        """Return the tags of styles and scripts, once per page."""
        if request is None or getattr(request.state, "depot_assets", False):
            return Markup()
        request.state.depot_assets = True
        return tags(lambda name, version: f"{self._url(request, 'asset', name=name)}?v={version}")

    def _url(self, request: Request, route: str, **parts: str) -> str:
        return str(request.url_for(f"admin:view-{self.identity}-depot_{route}", **parts))

    # --- forms -----------------------------------------------------------------------------------------------------

    async def create_context(self, request: Request) -> dict[str, Any]:
        """Read the files of a form before SQLAdmin does."""
        await self._read_form(request, None)
        return await super().create_context(request)

    async def get_object_for_edit(self, request: Request) -> Any:
        """Return the row of a form, and read the files of the form before SQLAdmin does."""
        obj = await super().get_object_for_edit(request)
        await self._read_form(request, obj)
        return obj

    async def _read_form(self, request: Request, obj: Any) -> None:
        """Replace the submitted values of each file column by a `Submission`.

        For an empty upload, SQLAdmin would open the file of ``obj`` with a method that our values do not have; and it
        validates forms in the event loop.
        """
        _FORM.set((self, request))
        submissions: dict[str, Submission] = {}
        request.state.depot_submissions = submissions
        if request.method != "POST":
            return
        form = await request.form()
        for key, column in self._files.items():
            if key in form:
                make = partial(Submission, column, form.getlist(key), files_in(getattr(obj, key, None)))
                submissions[key] = await to_thread.run_sync(make)
        items: list[Any] = [(key, value) for key, value in form.multi_items() if key not in submissions]
        items += submissions.items()

        async def replaced_form() -> FormData:
            return FormData(items)

        setattr(request, "form", replaced_form)  # noqa: B010  # for this request only; the attribute is a method of the class

    async def insert_model(self, request: Request, data: dict[str, Any]) -> Any:
        """Create a row. A row saved as a copy of another gets copies of the files that are kept."""
        submissions = _submissions(request)
        if "pk" in request.path_params:
            copies = {key: each.value_for(self._files[key]) for key, each in submissions.items() if key in data}
            data = {**data, **copies}
        with self._reporting_errors(submissions):
            return await super().insert_model(request, data)

    async def update_model(self, request: Request, pk: str, data: dict[str, Any]) -> Any:
        """Update a row."""
        with self._reporting_errors(_submissions(request)):
            return await super().update_model(request, pk, data)

    @contextmanager
    def _reporting_errors(self, submissions: Mapping[str, Submission]) -> Iterator[None]:
        """Add the errors of files to their fields; SQLAdmin displays the form again after any error."""
        try:
            yield
        except (ValidationError, InvalidContent) as error:
            for key, messages in by_field(self._files, error).items():
                if key in submissions:
                    submissions[key].add_errors(messages)
            raise

    # --- routes ----------------------------------------------------------------------------------------------------

    @expose("/depot/assets/{name}")
    async def depot_asset(self, request: Request) -> Response:
        """Return a script or a style sheet."""
        found = asset(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        return Response(found.content, media_type=found.content_type, headers={"Cache-Control": CACHE_FOREVER})

    @expose("/depot/upload/{key}", methods=["POST"])
    async def depot_upload(self, request: Request) -> Response:
        """Receive a file before its form, from users who may send the form."""
        column = self._files.get(request.path_params["key"])
        if column is None or column.key not in self._form_prop_names:
            raise HTTPException(404)
        # CSRF: a page of another site can send a request with this site's cookies, but not with this header.
        if "x-filename" not in request.headers or not await self._may_upload(request):
            raise HTTPException(403)
        limit = self.max_upload_size
        return await receive(request, column, max_size=None if limit is None else size_of("max_upload_size", limit))

    async def _may_upload(self, request: Request) -> bool:
        row = request.query_params.get("pk")
        if row is None:
            return self.can_create and await self.check_can_create(request)
        obj = await self.get_object_for_delete(row)  # which returns any row by its key
        return self.can_edit and obj is not None and await self.check_can_edit(request, obj)
