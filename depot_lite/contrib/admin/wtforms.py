"""`FilesField`: a file column in a form of WTForms, for SQLAdmin and Flask-Admin.

Its data is a `FileEdit`, which can be assigned to the attribute. Files that the column refuses are errors of the field,
and the form that is displayed again keeps the user's choices. As on any page, the bytes of an upload are lost with a
refused form; a file that was sent before its form is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from markupsafe import Markup
from wtforms import Field
from wtforms.form import BaseForm
from wtforms.validators import InputRequired, StopValidation

from depot_lite.contrib.admin import display
from depot_lite.contrib.admin.refusals import refusals
from depot_lite.contrib.admin.rendering import editor
from depot_lite.errors import InvalidContent
from depot_lite.fields.columns import FileColumn, files_in
from depot_lite.fields.edits import FileEdit
from depot_lite.fields.interfaces import DepotFileInfo

_REQUIRED: Final = "This field is required."


class Submission:
    """The submission of a form for one column, compared with its row and checked.

    Frameworks that build forms in an event loop create it in a thread first, and pass it to the `FilesField` through
    the data of the form, in place of the submitted values.
    """

    def __init__(self, column: FileColumn, values: Sequence[Any], held: Sequence[DepotFileInfo]) -> None:
        self.held = tuple(held)
        self.edit = FileEdit()
        self.refused: list[str] = []
        #: The field of the form, for errors at flush.
        self.field: FilesField | None = None
        try:
            self.edit = FileEdit.of_form(values)
        except InvalidContent as error:
            self.refused = [str(error)]
        else:
            self.refused = refusals(column, self.edit, self.held)

    def value_for(self, column: FileColumn) -> Any:
        """Return the value for an attribute, also of another row than the form was made for."""
        if column.type.multiple:
            return self.edit.several(self.held)
        return self.edit.one(self.held[0] if self.held else None)

    def add_errors(self, messages: Sequence[str]) -> None:
        """Add errors to the field after its form was validated."""
        if self.field is not None:
            self.field.errors = [*self.field.errors, *messages]


class FilesWidget:
    """The editor: existing files, an input for new ones, and the ids of the files that the user saw."""

    # The templates of both admins read it.
    input_type = "file"

    def __call__(self, field: FilesField, **kwargs: Any) -> Markup:
        """Return the field with the tags of its assets."""
        column, errors = field.column, bool(field.errors)
        html = editor(
            field.name,
            field.id,
            **field.editor_data(),
            multiple=column.type.multiple,
            accept=display.accepted(column),
            max_count=display.max_count(column),
            upload_url=field.upload_url(column.key),
            disabled=bool(kwargs.get("disabled")),
            invalid=errors,
            hint=display.limits(column),
            label=field.label.text,
        )
        # The style sheets of both admins display messages after a sibling with this class.
        return Markup('{}<div class="{}">{}</div>').format(field.assets(), "is-invalid" if errors else "", html)


class FilesField(Field):
    """The files of one column, one or many.

    Args:
        column: the column.
        assets: returns the tags of styles and scripts at the first call for a page.
        upload_url: returns the URL for files sent before their form; "" if they are sent with it.
    """

    widget = FilesWidget()

    def __init__(
        self,
        label: str | None = None,
        validators: Any = None,
        *,
        column: FileColumn,
        assets: Callable[[], Markup] = Markup,
        upload_url: Callable[[str], str] = lambda key: "",
        **kwargs: Any,
    ) -> None:
        super().__init__(label, validators, **kwargs)
        self.column = column
        self.assets = assets
        self.upload_url = upload_url
        self.held: tuple[DepotFileInfo, ...] = ()
        self.submission: Submission | None = None

    def process_data(self, value: Any) -> None:
        """Take the value of the row."""
        self.held, self.data = tuple(files_in(value)), FileEdit()

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take the submitted values, or the `Submission` made of them before."""
        prepared = valuelist[0] if valuelist else None
        self.submission = (
            prepared if isinstance(prepared, Submission) else Submission(self.column, valuelist, self.held)
        )
        self.submission.field, self.held, self.data = self, self.submission.held, self.submission.edit

    def pre_validate(self, form: BaseForm) -> None:
        """Report the files that the column refuses."""
        edit = self.data
        if self.submission is not None and self.submission.refused:
            self.errors = [*self.errors, *self.submission.refused]
            raise StopValidation
        if self.flags.required and not edit.new and not edit.kept and (edit.seen or not self.held):
            raise StopValidation(_REQUIRED)

    def editor_data(self) -> dict[str, Any]:
        """Return the data for the editor: of the row, or of a form that is displayed again."""
        edit = self.submission.edit if self.submission else FileEdit.of_held(self.held)
        return display.edit_data(edit, self.held, several=self.column.type.multiple)


def arguments(column: FileColumn, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a `FilesField`, from the arguments of a converter."""
    # Converters require a value for a column that is NOT NULL, but a list without files is empty and not NULL.
    may_be_empty = column.type.multiple and not column.column.nullable
    validators = list(given.get("validators") or ())
    if may_be_empty and validators and isinstance(validators[-1], InputRequired):
        del validators[-1]
    return {**given, "validators": validators, "default": None, "filters": (), "column": column}
