"""`FilesField`: a file column in a form of WTForms, which SQLAdmin and Flask-Admin build theirs with.

Its data is a `FileEdit`, made to be assigned to the attribute. What the column refuses is an error of the field, and
the form that is shown again keeps what was kept. The bytes of an upload are lost with a form that is refused, as they
are on any page; a file that was sent before its form is not.
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


class Sent:
    """What a form sent for one column, held against what its row has, and checked.

    Where forms are made in an event loop, this is made in a thread before, and goes through the data of the form to its
    `FilesField` in the place of what was sent.
    """

    def __init__(self, column: FileColumn, values: Sequence[Any], held: Sequence[DepotFileInfo]) -> None:
        self.held = tuple(held)
        self.edit = FileEdit()
        self.refused: list[str] = []
        #: The field that has taken it, for what a flush refuses.
        self.field: FilesField | None = None
        try:
            self.edit = FileEdit.of_form(values)
        except InvalidContent as error:
            self.refused = [str(error)]
        else:
            self.refused = refusals(column, self.edit, self.held)

    def wanted(self, column: FileColumn) -> Any:
        """Return what an attribute shall hold that may be of another row than the form was made for."""
        if column.type.multiple:
            return self.edit.several(self.held)
        return self.edit.one(self.held[0] if self.held else None)

    def blame(self, messages: Sequence[str]) -> None:
        """Put errors beside the field, after its form was validated."""
        if self.field is not None:
            self.field.errors = [*self.field.errors, *messages]


class FilesWidget:
    """Renders the editor: the files that are there, a place for new ones, and what was seen."""

    # Templates of both admins ask for it.
    input_type = "file"

    def __call__(self, field: FilesField, **kwargs: Any) -> Markup:
        """Return the field, with what the page has to load for it."""
        column, errors = field.column, bool(field.errors)
        made = editor(
            field.name,
            field.id,
            **field.shown(),
            multiple=column.type.multiple,
            accept=display.accepted(column),
            max_count=display.max_count(column),
            upload_url=field.upload_url(column.key),
            disabled=bool(kwargs.get("disabled")),
            invalid=errors,
            hint=display.limits(column),
            label=field.label.text,
        )
        # The styles of both admins show a message behind its sibling that is marked so.
        return Markup('{}<div class="{}">{}</div>').format(field.assets(), "is-invalid" if errors else "", made)


class FilesField(Field):
    """The files of one column, one or many.

    Args:
        column: the column.
        assets: gives the tags of styles and scripts, the first time that a page asks for them.
        upload_url: gives the URL to which files of an attribute are sent before their form is; "" where they are not.
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
        self.sent: Sent | None = None

    def process_data(self, value: Any) -> None:
        """Take what the row holds."""
        self.held, self.data = tuple(files_in(value)), FileEdit()

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take what the form says, or what somebody has made of it before."""
        prepared = valuelist[0] if valuelist else None
        self.sent = prepared if isinstance(prepared, Sent) else Sent(self.column, valuelist, self.held)
        self.sent.field, self.held, self.data = self, self.sent.held, self.sent.edit

    def pre_validate(self, form: BaseForm) -> None:
        """Say what the column refuses."""
        edit = self.data
        if self.sent is not None and self.sent.refused:
            self.errors = [*self.errors, *self.sent.refused]
            raise StopValidation
        if self.flags.required and not edit.new and not edit.kept and (edit.seen or not self.held):
            raise StopValidation(_REQUIRED)

    def shown(self) -> dict[str, Any]:
        """Return what the editor shows: of the row, or of a form that is shown once more."""
        edit = self.sent.edit if self.sent else FileEdit.of_held(self.held)
        return display.shown_again(edit, self.held, several=self.column.type.multiple)


def arguments(column: FileColumn, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the field, of those that a converter has put together for any column."""
    # A list is never NULL: without files it is empty, whatever the converters make of a column that may not be NULL.
    needless = column.type.multiple and not column.column.nullable
    validators = list(given.get("validators") or ())
    if needless and validators and isinstance(validators[-1], InputRequired):
        del validators[-1]
    return {**given, "validators": validators, "default": None, "filters": (), "column": column}
