"""`DepotPlugin`: scripts and styles of file columns, the upload route, and errors at flush.

A file is sent as the body of a POST to ``<admin>/plugins/depot/upload/<view>?field=<field>`` and streamed into its
depot; the response contains a token or error messages. Sessions, permissions and CSRF tokens of the admin apply as they
do to forms.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette_admin import BaseAdmin
from starlette_admin.events import AdminEvent
from starlette_admin.exceptions import FormValidationError
from starlette_admin.helpers import static_url
from starlette_admin.plugins import BasePlugin
from starlette_admin.types import RequestAction
from starlette_admin.views import BaseModelView

from depot_lite.contrib.admin.receiving import receive
from depot_lite.contrib.admin.refusals import by_field
from depot_lite.contrib.starlette_admin.fields import FilesField
from depot_lite.errors import InvalidContent, StorageFailed, ValidationError
from depot_lite.fields.columns import FileColumn, columns_of_class
from depot_lite.io.sizes import size_of

_log = logging.getLogger("depot_lite")

#: The version of scripts and styles, part of their URLs because browsers cache them.
_VERSION: Final = 1

#: The priority of our hooks: after all others, so that their changes are flushed, too.
_LAST: Final = -1_000_000


class DepotPlugin(BasePlugin):
    """The plugin with which an admin uploads, displays and edits files.

    Args:
        max_size: maximum size of a file, in bytes or as ``"1 GiB"``, for columns without a `Size` rule; None for no
            limit.
    """

    name: ClassVar[str] = "depot"
    package: ClassVar[str | None] = "depot_lite.contrib"

    def __init__(self, *, max_size: int | str | None = "1 GiB") -> None:
        self.max_size = None if max_size is None else size_of("max_size", max_size)
        self._admin: BaseAdmin | None = None

    def css_links(self, request: Request) -> Sequence[str]:
        """Return the URLs of the styles."""
        return [static_url(request, "plugins/depot/files.css", v=_VERSION)]

    def js_links(self, request: Request) -> Sequence[str]:
        """Return the URLs of the scripts."""
        return [static_url(request, "plugins/depot/files.js", v=_VERSION)]

    def routes(self) -> Sequence[Route | Mount]:
        """Return the route that receives files."""
        return [Route("/upload/{key}", self._upload, methods=["POST"], name="upload")]

    def setup(self, admin: BaseAdmin) -> None:
        """Register hooks that display the errors of a flush beside their fields."""
        self._admin = admin
        for each in (AdminEvent.BEFORE_CREATE, AdminEvent.BEFORE_EDIT):
            admin.events.on(each, self._flush, priority=_LAST)

    def on_mount(self, admin: BaseAdmin) -> None:
        """Register the hooks for rows in the form of another one."""
        for view in admin._model_views:
            for inline in view._inline_instances:
                for each in (AdminEvent.BEFORE_CREATE, AdminEvent.BEFORE_EDIT):
                    inline.events.on(each, self._flush, priority=_LAST)

    # --- flushes ---------------------------------------------------------------------------------------------------

    async def _flush(self, context: Any) -> None:
        """Flush the session early, and turn the errors of files into errors of the form.

        Raises:
            FormValidationError: the messages by field name.
        """
        columns = columns_of_class(type(context.obj))
        if not columns:
            return
        session = context.request.state.session
        session.add(context.obj)
        try:
            if isinstance(session, AsyncSession):
                await session.flush()
            else:
                await to_thread.run_sync(session.flush)
        except (ValidationError, InvalidContent) as error:
            by_name = by_field(columns, error)
            if not by_name:
                raise
            raise FormValidationError({name: "; ".join(messages) for name, messages in by_name.items()}) from error
        except StorageFailed as error:
            _log.exception("the files of a form could not be stored")
            raise FormValidationError({next(iter(columns)): "could not be stored: try again"}) from error

    # --- uploads ---------------------------------------------------------------------------------------------------

    async def _upload(self, request: Request) -> Response:
        """Stage the file that is the body of the request."""
        return await receive(request, self._column(request), max_size=self.max_size)

    def _column(self, request: Request) -> FileColumn:
        """Return the column that a file is for.

        Raises:
            HTTPException: the field does not exist, or the user may not write it.
        """
        if self._admin is None:
            raise HTTPException(404)
        view = self._admin._find_view_by_key(request.path_params["key"])
        for action, allowed in ((RequestAction.CREATE, view.can_create), (RequestAction.EDIT, view.can_edit)):
            if view.is_accessible(request) and allowed(request):
                found = _field(request, view, request.query_params.get("field", ""), action)
                if found is not None:
                    return found.files
        raise HTTPException(403)


def _field(request: Request, view: BaseModelView, field_id: str, action: RequestAction) -> FilesField | None:
    """Return the field with this id in the form of a view, or in one of its inline forms."""
    for inline in view._inline_instances:
        if field_id.startswith(f"{inline._prefix()}."):
            view, field_id = inline, field_id.rpartition(".")[2]
    for each in view.get_fields_list(request, action=action):
        if each.name == field_id and isinstance(each, FilesField) and not each.read_only:
            return each
    return None
