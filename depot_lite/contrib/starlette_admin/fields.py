"""`FilesField`: a file column in the pages of starlette-admin, and the converter that recognises such columns.

It is not a subclass of starlette-admin's `FileField`, which stores files itself. The value from a form is a `FormEdit`,
which is assigned to the attribute. File columns are neither searchable nor sortable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from anyio import to_thread
from sqlalchemy.orm import InstrumentedAttribute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette_admin.contrib.sqla.converters import ModelConverter, register_converter
from starlette_admin.exceptions import FormValidationError
from starlette_admin.fields import BaseField
from starlette_admin.types import RequestAction

from depot_lite.contrib.admin import display
from depot_lite.contrib.admin.refusals import refusals
from depot_lite.errors import ConfigurationError, EditRefused, InvalidContent
from depot_lite.fields.columns import FileColumn, columns_of_mapper, files_in, mappers_with_files
from depot_lite.fields.edits import FileEdit, ids_of
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.sqlalchemy import UploadedFileField

_TEMPLATES: Final = "plugins/depot/"


class FormEdit(FileEdit):
    """A `FileEdit` from a form, with the files that it was applied to, so that the form can be displayed again."""

    __slots__ = ("field", "held", "is_new_row")

    #: The name of its field.
    field: str
    #: Whether it belongs to a new row.
    is_new_row: bool
    #: The files of the attribute when the edit was assigned to it; None before.
    held: Sequence[DepotFileInfo] | None

    def one(self, held: DepotFileInfo | None) -> Any:
        """Return the new value of the attribute; a refused edit is an error of the form."""
        self.held = files_in(held)
        with self._reporting():
            return super().one(held)

    def several(self, held: Sequence[DepotFileInfo]) -> Sequence[Any]:
        """Return the new value of the attribute; a refused edit is an error of the form."""
        self.held = tuple(held)
        with self._reporting():
            return super().several(held)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except EditRefused as error:
            raise FormValidationError({self.field: error.message}) from error


@dataclass
class FilesField(BaseField):
    """A file column, of one file or of many.

    Views create one for each `UploadedFileField`. To change its label or exclude it from a page, declare it::

        fields = ["id", "title", FilesField("poster", column=Movie.poster, label="Poster", exclude_from_list=True)]

    Args:
        column: the attribute, such as ``Movie.poster``.
    """

    column: Any = field(default=None, compare=False)
    exclude_from_import: bool | None = True
    list_template: str = f"{_TEMPLATES}field_list.html"
    form_template: str = f"{_TEMPLATES}field_form.html"
    detail_template: str = f"{_TEMPLATES}field_detail.html"

    @property  # type: ignore[misc]  # views assign to it
    def orderable(self) -> bool:
        """Whether lists can be sorted by the column: never, since the order of references is meaningless."""
        return False

    @orderable.setter
    def orderable(self, value: bool | None) -> None:
        pass

    @property
    def files(self) -> FileColumn:
        """The column, with its rules.

        Raises:
            ConfigurationError: it is not a file column.
        """
        found = _file_column(self.column)
        if found is None:
            raise ConfigurationError(f"FilesField({self.name!r}): expected a file column, got column={self.column}")
        return found

    # --- pages ---------------------------------------------------------------------------------------------------

    async def serialize_value(self, request: Request, value: Any) -> Any:
        """Return the data of the files for templates; their names for exports and relation lookups."""
        files = display.files_data(value)
        if request.state.action in {RequestAction.EXPORT, RequestAction.RELATION_LOOKUP}:
            return ", ".join(each["name"] for each in files)
        return files

    async def get_create_default(self, request: Request) -> None:
        """Return None: a new row has no files."""
        return

    def editing(self, request: Request, data: Any) -> dict[str, Any]:
        """Return the data for the editor: of a row, or of a form that is displayed again with errors."""
        column = self.files
        if isinstance(data, FormEdit):
            files = display.edit_data(data, _held(request, self.name, data), several=column.type.multiple)
        else:
            files = {"files": data or [], "seen": [each["id"] for each in data or ()]}
        return {
            **files,
            "multiple": column.type.multiple,
            "accept": display.accepted(column),
            "hint": display.limits(column),
            "max_count": display.max_count(column),
            "upload_url": self._upload_url(request),
        }

    def _upload_url(self, request: Request) -> str:
        route, key = f"{request.app.state.ROUTE_NAME}:plugin:depot:upload", request.path_params.get("key")
        if key is None or self.disabled or not display.signing_configured():
            return ""
        try:
            url = request.url_for(route, key=key)
        except LookupError:  # without the plugin
            return ""
        return str(url.include_query_params(field=self.id))

    # --- forms ---------------------------------------------------------------------------------------------------

    async def parse_form_data(self, request: Request, form_data: FormData) -> FormEdit:
        """Return the edit that a form describes.

        Raises:
            HTTPException: the values do not come from an editor.
        """
        try:
            edit = FormEdit.of_form(form_data.getlist(self.id))
        except InvalidContent as error:
            raise HTTPException(400, f"{self.name}: {error}") from error
        edit.field, edit.held = self.name, None
        prefix = self.id.removesuffix(self.name)  # of a row in the form of another one
        creating = request.state.action == RequestAction.CREATE
        edit.is_new_row = not form_data.get(f"{prefix}pk") if prefix else creating
        return edit

    async def validate(self, request: Request, value: Any, form_values: dict[str, Any]) -> None:
        """Check new files against the rules of the column.

        Raises:
            ValueError: with the messages of the rules.
        """
        edit: FormEdit = value
        if self.required and not edit.new and not edit.kept and (edit.is_new_row or edit.seen):
            raise ValueError("This field is required.")
        held, plain_edit = _held(request, self.name, edit) or (), FileEdit(edit.items, seen=edit.seen)
        messages = await to_thread.run_sync(partial(refusals, self.files, plain_edit, held))
        if messages:
            raise ValueError("; ".join(messages))


def _held(request: Request, name: str, edit: FormEdit) -> Sequence[DepotFileInfo] | None:
    """Return the files that an edit applies to: those it was assigned over, or those of the row in the session.

    Nothing is loaded: a row with its own form is in the session already. None if it is not, for example a row that is
    edited in the form of another one.
    """
    if edit.held is not None:
        return edit.held
    file_ids = {*edit.seen, *edit.kept}
    session = getattr(request.state.session, "sync_session", request.state.session)
    for each in list(session.identity_map.values()) if file_ids else ():
        found = files_in(each.__dict__.get(name))
        if not file_ids.isdisjoint(ids_of(found)):
            return found
    return None


def _file_column(given: Any) -> FileColumn | None:
    if isinstance(given, FileColumn):
        return given
    column = given.property.columns[0] if isinstance(given, InstrumentedAttribute) else given
    for mapper in mappers_with_files():
        for each in columns_of_mapper(mapper).values():
            if each.column is column:
                return each
    return None


@register_converter(UploadedFileField)
def convert(*args: Any, **kwargs: Any) -> BaseField:
    """Return the field of a file column, for `starlette_admin.contrib.sqla.ModelView`."""
    common = ModelConverter._field_common(*args, **kwargs)
    return FilesField(**common, column=kwargs["column"])
