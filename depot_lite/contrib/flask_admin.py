"""Files in Flask-Admin: a `ModelView` in which files can be uploaded, viewed, replaced, ordered and removed.

::

    from depot_lite.contrib.flask_admin import ModelView   # instead of flask_admin.contrib.sqla's

    admin.add_view(ModelView(Movie, db.session))

Lists show thumbnails, detail pages (``can_view_details = True``) a viewer, forms an editor. Files are sent with the
form.

Views that override ``create_model``, ``update_model`` or ``handle_view_exception`` have to call ``super()``; a custom
``model_form_converter`` has to be a subclass of `FileConverter`.
"""

from __future__ import annotations

from typing import Any

from depot_lite.errors import ConfigurationError

try:
    from flask import Response, abort, flash, g, url_for
    from flask_admin import expose
    from flask_admin.contrib.sqla import ModelView as _ModelView
    from flask_admin.contrib.sqla.form import AdminModelConverter
    from flask_admin.model.form import converts
except ImportError as error:  # also of a name, if Flask-SQLAlchemy is missing
    raise ConfigurationError(
        "depot_lite.contrib.flask_admin needs Flask-Admin and Flask-SQLAlchemy: pip install 'depot_lite[flask-admin]'"
    ) from error

from markupsafe import Markup
from sqlalchemy import Column, inspect
from sqlalchemy.orm import ColumnProperty

from depot_lite.contrib.admin.refusals import by_field
from depot_lite.contrib.admin.rendering import CACHE_FOREVER, asset, tags, thumbnails, viewer
from depot_lite.contrib.admin.wtforms import FilesField, arguments
from depot_lite.errors import InvalidContent, ValidationError
from depot_lite.fields.columns import columns_of_mapper
from depot_lite.fields.file_type import FileType
from depot_lite.fields.lists import FileList
from depot_lite.fields.upload import UploadedFile

__all__ = ["FileConverter", "ModelView"]


def _assets() -> Markup:
    """Return the tags of styles and scripts, once per page, with URLs of the current view."""
    if "depot_assets" in g:
        return Markup()
    g.depot_assets = True
    return tags(lambda name, version: url_for(".depot_asset", file=name, v=version))


class FileConverter(AdminModelConverter):  # type: ignore[misc]  # Flask-Admin ships no types
    """Flask-Admin's converter of columns to form fields, with file columns."""

    @converts("depot_lite.fields.file_type.FileType")  # type: ignore[untyped-decorator]  # likewise
    def conv_files(
        self, model: type, prop: ColumnProperty[Any], field_args: dict[str, Any], **extra: Any
    ) -> FilesField:
        """Return the field of a file column."""
        column = columns_of_mapper(inspect(model))[prop.key]
        return FilesField(**arguments(column, field_args), assets=_assets)


class ModelView(_ModelView):  # type: ignore[misc]  # likewise
    """Flask-Admin's `ModelView`, for models with and without files."""

    model_form_converter = FileConverter

    column_type_formatters: Any
    column_type_formatters_detail: Any
    column_type_formatters_export: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Before Flask-Admin's formatters for lists and dictionaries, but after the view's own.
        self.column_type_formatters = _files_first(self.column_type_formatters, self._thumbnails)
        self.column_type_formatters_detail = _files_first(self.column_type_formatters_detail, self._viewer)
        self.column_type_formatters_export = _files_first(self.column_type_formatters_export, _names)

    # --- pages -----------------------------------------------------------------------------------------------------

    def _thumbnails(self, view: Any, held: Any, name: str) -> Markup:
        return _assets() + thumbnails(held)

    def _viewer(self, view: Any, held: Any, name: str) -> Markup:
        return _assets() + viewer(held, self.get_column_name(name))

    def scaffold_sortable_columns(self) -> dict[Any, Any]:
        """Leave out file columns: sorting by JSON is meaningless, and an error on PostgreSQL."""
        return {key: each for key, each in super().scaffold_sortable_columns().items() if not _is_file(each)}

    @expose("/depot/assets/<file>")  # type: ignore[untyped-decorator]  # likewise
    def depot_asset(self, file: str) -> Response:
        """Return a script or a style sheet."""
        found = asset(file)
        if found is None:
            abort(404)
        return Response(found.content, mimetype=found.content_type, headers={"Cache-Control": CACHE_FOREVER})

    # --- forms -----------------------------------------------------------------------------------------------------

    def create_model(self, form: Any) -> Any:
        """Create a row."""
        g.depot_form = form
        return super().create_model(form)

    def update_model(self, form: Any, model: Any) -> Any:
        """Update a row."""
        g.depot_form = form
        return super().update_model(form, model)

    def handle_view_exception(self, exc: Exception) -> bool:
        """Display the errors of files beside their fields."""
        if not isinstance(exc, ValidationError | InvalidContent):
            return bool(super().handle_view_exception(exc))
        form = g.pop("depot_form", None)
        for key, messages in by_field(columns_of_mapper(inspect(self.model)), exc).items():
            field = None if form is None else form._fields.get(key)
            if isinstance(field, FilesField) and field.submission is not None:
                field.submission.add_errors(messages)
        flash(str(exc), "error")
        return True


def _files_first(formatters: Any, formatter: Any) -> dict[Any, Any]:
    """Return the formatters with one for files first, since the first match is used; the view's own replace it."""
    return {UploadedFile: formatter, FileList: formatter, **formatters}


def _names(view: Any, held: Any, name: str) -> str:
    return str(held)


def _is_file(column: Any) -> bool:
    return isinstance(column, Column) and isinstance(column.type, FileType)
