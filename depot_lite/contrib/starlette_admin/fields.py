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

from depot_lite.contrib import display
from depot_lite.errors import ConfigurationError, EditRefused, InvalidContent, ValidationError
from depot_lite.fields import checks
from depot_lite.fields.columns import FileColumn, columns_of_mapper, files_in, mappers_with_files
from depot_lite.fields.edits import FileEdit
from depot_lite.fields.interfaces import DepotFileInfo
from depot_lite.fields.rules import Validator
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import MaxCount
from depot_lite.uploads import PREFIX, adoptable

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
        edit = data if isinstance(data, FormEdit) else None
        files, seen = self._shown_again(request, edit) if edit else (data or [], [each["id"] for each in data or ()])
        return {
            "files": files,
            "staged": _staged(edit),
            "seen": seen,
            "multiple": self._is_several,
            "accept": display.accepted(self.files),
            "hint": display.limits(self.files),
            "max_count": _max_count(self.files),
            "upload_url": self._upload_url(request),
        }

    def _shown_again(self, request: Request, edit: FormEdit) -> tuple[list[dict[str, Any]], list[str]]:
        """Return the files that stay, and those that whoever sends the form again has seen.

        What somebody else has added to a list is shown from now on. Another single file is not, but was named by the
        error that says so; who sends the form again replaces it knowingly.
        """
        held = _held(request, self.name, edit)
        there = {each["file_id"]: each for each in held if isinstance(each, UploadedFile) and not each.pending}
        told = self._is_several or edit.held is not None
        added = [each for each in there if each not in edit.seen] if told else []
        kept = [*edit.kept, *added] if self._is_several else edit.kept
        # What stays has to be in the form, or it would be removed by the next one, so it is shown by its id alone where
        # the row was not loaded. Where it was, what is not among its files has gone.
        files = [display.shown(there[each]) if each in there else display.unknown(each) for each in kept]
        return [each for each in files if not there or each["id"] in there], [*edit.seen, *added]

    @property
    def _is_several(self) -> bool:
        return self.files.type.multiple

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
        messages = await to_thread.run_sync(partial(_refusals, self.files, edit))
        if messages:
            raise ValueError("; ".join(messages))


def _refusals(column: FileColumn, edit: FileEdit) -> list[str]:
    """Return what is wrong with the new files of an edit. Those that are there already were checked when they came."""
    if not edit.new:
        return []
    try:
        accepted = column.accept(edit.new if column.type.multiple else edit.new[-1], None, None)
        sent = [each for each in files_in(accepted) if each.adopting_now() is None]
        checks.check([(column, each) for each in sent])
        for rule in column.type.validators if column.type.multiple else ():
            if isinstance(rule, Validator):
                rule.check_list(len(edit.items))
    except ValidationError as error:
        return [message for messages in error.by_field.values() for message in messages]
    except InvalidContent as error:
        return [str(error).removeprefix(f"{column}: ")]
    return []


def _held(request: Request, name: str, edit: FormEdit) -> Sequence[DepotFileInfo]:
    """Return the files among which an edit chooses: those that it was held against, or those of the row in the session.

    Nothing is loaded here: a row whose form is shown once more is in the session already.
    """
    if edit.held is not None:
        return edit.held
    wanted = {*edit.seen, *edit.kept}
    session = getattr(request.state.session, "sync_session", request.state.session)
    for each in list(session.identity_map.values()) if wanted else ():
        found = files_in(each.__dict__.get(name))
        if wanted & {value["file_id"] for value in found}:
            return found
    return ()


def _staged(edit: FileEdit | None) -> list[dict[str, Any]]:
    tokens = [each for each in (edit.new if edit else ()) if isinstance(each, str) and each.startswith(PREFIX)]
    uploads = [(token, adoptable(token)) for token in tokens]
    return [display.staged(upload, token) for token, upload in uploads if upload is not None]


def _max_count(column: FileColumn) -> int | None:
    counts = [each.count for each in column.type.validators if isinstance(each, MaxCount)]
    return min(counts, default=None)


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
