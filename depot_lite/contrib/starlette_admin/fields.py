"""`FilesField`: a file column in the pages of starlette-admin, and the converter that recognises such columns.

It is no `FileField` of starlette-admin, which stores files by itself. What a form says is a `FormEdit`, which is
assigned to the attribute like any value. Nobody searches or sorts by it.
"""

from __future__ import annotations

from collections.abc import Sequence
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
from depot_lite.fields.edits import FileEdit
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.sqlalchemy import UploadedFileField

_TEMPLATES: Final = "plugins/depot/"


class FormEdit(FileEdit):
    """What a form of the admin says. It remembers what it was held against, to show the form once more."""

    __slots__ = ("field", "fresh", "held")

    #: The field that it comes from, by its name.
    field: str
    #: Whether it is for a row that is about to be made.
    fresh: bool
    #: What the attribute held when the edit was assigned to it; None before.
    held: Sequence[DepotFileInfo] | None

    def one(self, held: DepotFileInfo | None) -> Any:
        """Return what the attribute shall hold; what is refused is an error of the form."""
        self.held = files_in(held)
        try:
            return super().one(held)
        except EditRefused as error:
            raise FormValidationError({self.field: error.message}) from error

    def several(self, held: Sequence[DepotFileInfo]) -> Sequence[Any]:
        """Return what the attribute shall hold."""
        self.held = tuple(held)
        return super().several(held)


@dataclass
class FilesField(BaseField):
    """A file column, of one file or of many.

    Views make it of every `UploadedFileField`; to change a label or to leave it out of a page, declare it::

        fields = ["id", "title", FilesField("poster", column=Movie.poster, label="Poster", exclude_from_list=True)]

    Args:
        column: the attribute, such as ``Movie.poster``.
    """

    column: Any = field(default=None, compare=False)
    exclude_from_import: bool | None = True
    list_template: str = f"{_TEMPLATES}field_list.html"
    form_template: str = f"{_TEMPLATES}field_form.html"
    detail_template: str = f"{_TEMPLATES}field_detail.html"

    @property  # type: ignore[misc]  # views set it as they like
    def orderable(self) -> bool:
        """Whether lists can be sorted by it: never, as the order of references says nothing."""
        return False

    @orderable.setter
    def orderable(self, value: bool | None) -> None:
        pass

    @property
    def files(self) -> FileColumn:
        """The column, with its rules.

        Raises:
            ConfigurationError: it is no file column.
        """
        found = _file_column(self.column)
        if found is None:
            raise ConfigurationError(f"FilesField({self.name!r}, column={self.column}): a file column is wanted")
        return found

    # --- what pages show -------------------------------------------------------------------------------------------

    async def serialize_value(self, request: Request, value: Any) -> Any:
        """Return what is shown of the files; their names where rows are exported, or looked up by another."""
        shown = display.all_shown(value)
        if request.state.action in {RequestAction.EXPORT, RequestAction.RELATION_LOOKUP}:
            return ", ".join(each["name"] for each in shown)
        return shown

    async def get_create_default(self, request: Request) -> None:
        """Return None: nothing is there before it was uploaded."""
        return

    def editing(self, request: Request, data: Any) -> dict[str, Any]:
        """Return what the form shows: of a row, or of a form that is shown once more with its errors."""
        column = self.files
        if isinstance(data, FormEdit):
            shown = display.shown_again(data, _held(request, self.name, data), several=column.type.multiple)
        else:
            shown = {"files": data or [], "seen": [each["id"] for each in data or ()]}
        return {
            **shown,
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
        except LookupError:  # the plugin is not there
            return ""
        return str(url.include_query_params(field=self.id))

    # --- what forms say --------------------------------------------------------------------------------------------

    async def parse_form_data(self, request: Request, form_data: FormData) -> FormEdit:
        """Return the edit that a form describes.

        Raises:
            HTTPException: it is no form of ours.
        """
        try:
            edit = FormEdit.of_form(form_data.getlist(self.id))
        except InvalidContent as error:
            raise HTTPException(400, f"{self.name}: {error}") from error
        edit.field, edit.held = self.name, None
        within = self.id.removesuffix(self.name)  # of a row that is edited in the form of another: its prefix
        creating = request.state.action == RequestAction.CREATE
        edit.fresh = not form_data.get(f"{within}pk") if within else creating
        return edit

    async def validate(self, request: Request, value: Any, form_values: dict[str, Any]) -> None:
        """Hold what is new against the rules of the column.

        Raises:
            ValueError: with the messages.
        """
        edit: FormEdit = value
        if self.required and not edit.new and not edit.kept and (edit.fresh or edit.seen):
            raise ValueError("This field is required.")
        held, as_it_is = _held(request, self.name, edit) or (), FileEdit(edit.items, seen=edit.seen)
        messages = await to_thread.run_sync(partial(refusals, self.files, as_it_is, held))
        if messages:
            raise ValueError("; ".join(messages))


def _held(request: Request, name: str, edit: FormEdit) -> Sequence[DepotFileInfo] | None:
    """Return the files among which an edit chooses: those that it was held against, or those of the row in the session.

    Nothing is loaded here: a row that has a form of its own is in the session already. None where it is not, as a row
    that is edited in the form of another.
    """
    if edit.held is not None:
        return edit.held
    wanted = {*edit.seen, *edit.kept}
    session = getattr(request.state.session, "sync_session", request.state.session)
    for each in list(session.identity_map.values()) if wanted else ():
        found = files_in(each.__dict__.get(name))
        if wanted & {value["file_id"] for value in found}:
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
