"""The maintenance page: counts depots, deletes unused files, and removes missing files from their rows.

    admin.add_view(MaintenanceView())

Storages and the database are not accessed before a button is pressed. Each job is one request, and ends when the user
leaves the page. Every user of the page may delete, after a confirmation; override `MaintenanceView.is_accessible` and
`MaintenanceView.can_delete` to restrict that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from anyio import to_thread
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Mapper, Session, sessionmaker
from sqlalchemy.orm.exc import UnmappedColumnError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette_admin.contrib.sqla import ModelView
from starlette_admin.helpers import edit_url
from starlette_admin.routing import route
from starlette_admin.tools.iter import iterencode
from starlette_admin.views import CustomView

from depot_lite.contrib.starlette_admin.jobs import Bind, JobResponse, Work
from depot_lite.contrib.starlette_admin.upkeep import SHOWN, Upkeep, depots
from depot_lite.depots import Depots
from depot_lite.durations import format_age
from depot_lite.errors import ConfigurationError, UnknownDepot
from depot_lite.maintenance import FoundFile
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.trash import WEEK
from depot_lite.maintenance.unused import DAY

if TYPE_CHECKING:
    from starlette.templating import Jinja2Templates

_TEMPLATE: Final = "plugins/depot/maintenance.html"


class MaintenanceView(CustomView):
    """The maintenance page, at ``/depots`` below the admin. Its template and script belong to the `DepotPlugin`.

    Args:
        bind: the database, also as a sessionmaker; by default that of the admin's sessions.
        models: the declarative bases whose columns are read; by default all.
        protect: columns outside all models, as in `find_unused`.
        keep_if: files for which it returns True do not count as unused.
        settle: the duration of the longest transaction, as in `delete_unused_files`.
        max_delete: the number or the share of a depot's files that one job may delete, as in `find_unused`.
        allow_empty: tables that may be empty, as in `find_unused`.
        ignore_columns: columns outside all models that may contain ids of unused files, as in `find_unused`.
        allow_newer: whether many files may go that are newer than every file that a row names, as in `find_unused`.
        trash: for how long files are marked before they are deleted, as in `delete_unused_files`.
        older_than: the minimum age of unused files. It has to exceed the longest transaction, and the time for which an
            upload may wait for its form. The page warns about younger files.
        menu_label: the label in the menu.
        icon: the icon in the menu.
        path: the path below the admin.
        add_to_menu: whether the page is in the menu.
    """

    menu_label = "Depots"
    icon = "fa-solid fa-box-archive"
    path = "/depots"
    #: Not ``index``, which is the admin's home page.
    route_name = "depot-maintenance"

    def __init__(
        self,
        bind: Bind | sessionmaker[Any] | async_sessionmaker[Any] | None = None,
        *,
        models: Iterable[object] | None = None,
        protect: Sequence[object] = (),
        keep_if: Callable[[FoundFile], bool] | None = None,
        max_delete: int | str | None = None,
        allow_empty: Iterable[str] = (),
        ignore_columns: Iterable[str] = (),
        allow_newer: bool = False,
        trash: timedelta = WEEK,
        settle: timedelta = timedelta(minutes=1),
        older_than: timedelta = DAY,
        menu_label: str | None = None,
        icon: str | None = None,
        path: str | None = None,
        add_to_menu: bool | None = None,
    ) -> None:
        super().__init__(menu_label=menu_label, icon=icon, path=path, add_to_menu=add_to_menu)
        self._bind = bind
        self._upkeep = Upkeep(
            None if models is None else tuple(models),
            tuple(protect),
            keep_if,
            settle,
            older_than,
            max_delete=max_delete,
            allow_empty=tuple(allow_empty),
            ignore_columns=tuple(ignore_columns),
            allow_newer=allow_newer,
            trash=trash,
        )

    def can_delete(self, request: Request) -> bool:
        """Return whether the user may delete unused files, and remove missing files from rows of any model.

        Override it to give users read-only access.
        """
        return True

    @route("")
    async def index(self, request: Request) -> Response:
        """Display the depots, not counted yet."""
        templates = cast("Jinja2Templates", self.templates)  # set by the admin before the first request
        context = {
            "title": self.title(request),
            "view": self,
            "depots": depots(),
            "ages": [(int(each.total_seconds()), format_age(each)) for each in self._upkeep.ages],
            "safe_age": int(self._upkeep.older_than.total_seconds()),
            "shown": SHOWN,
            "can_delete": self.can_delete(request),
        }
        return templates.TemplateResponse(request=request, name=_TEMPLATE, context=context)

    @route("/count", methods=["POST"], name="depot-maintenance-count")
    async def count(self, request: Request) -> Response:
        """Count the files of a depot."""
        return await self._answer(request, lambda job: partial(self._upkeep.count, job.depot_name))

    @route("/unused", methods=["POST"], name="depot-maintenance-unused")
    async def unused(self, request: Request) -> Response:
        """Find the files of a depot that no row names."""
        return await self._answer(request, lambda job: partial(self._upkeep.unused, job.depot_name, job.age))

    @route("/delete", methods=["POST"], name="depot-maintenance-delete")
    async def delete(self, request: Request) -> Response:
        """Find the unused files again, and delete them."""
        if not self.can_delete(request):
            raise HTTPException(403)
        return await self._answer(
            request, lambda job: partial(self._upkeep.delete, job.depot_name, job.age, job.before)
        )

    @route("/missing", methods=["POST"], name="depot-maintenance-missing")
    async def missing(self, request: Request) -> Response:
        """Find the rows whose files are missing in a depot."""
        link = partial(_edit_url, request, self._editable(request))
        return await self._answer(request, lambda job: partial(self._upkeep.missing, job.depot_name, link))

    @route("/clear", methods=["POST"], name="depot-maintenance-clear")
    async def clear(self, request: Request) -> Response:
        """Find the missing files again, and remove them from their rows."""
        if not self.can_delete(request):
            raise HTTPException(403)
        link = partial(_edit_url, request, self._editable(request))
        return await self._answer(request, lambda job: partial(self._upkeep.clear, job.depot_name, job.missing, link))

    async def _answer(self, request: Request, work: Callable[[_JobRequest], Work]) -> Response:
        try:
            bind, job_work = self._bind_of(request), work(await self._parse(request))
            await _end_transaction(getattr(request.state, "session", None))
            return JobResponse(bind, job_work)
        except ConfigurationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    async def _parse(self, request: Request) -> _JobRequest:
        """Return the parameters of a request, which are JSON: a form of another site cannot send that."""
        try:
            data = await request.json()
            now = datetime.now(UTC)
            before = min(datetime.fromisoformat(data["before"]), now) if "before" in data else now
            seconds, name = data.get("older_than", self._upkeep.older_than.total_seconds()), data["depot"]
            depot_name, missing = Depots.resolve_alias(name), index(data.get("missing", 0))
        except UnknownDepot:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError("the request cannot be parsed; reload the page") from error
        return _JobRequest(depot_name, self._upkeep.checked_age(seconds), before, missing)

    def _bind_of(self, request: Request) -> Bind:
        """Return the database; of the request's session, which ends before the job, only the engine is used."""
        bind = self._bind if self._bind is not None else getattr(request.state, "session", None)
        if bind is None:
            raise ConfigurationError("MaintenanceView: expected bind=..., because this admin has no sessions")
        made: Bind = bind() if isinstance(bind, sessionmaker | async_sessionmaker) else bind
        return made

    def _editable(self, request: Request) -> list[ModelView]:
        """Return the views in which this user may edit rows."""
        views = [] if self._admin is None else self._admin._model_views
        return [
            view
            for view in views
            if isinstance(view, ModelView) and view.is_accessible(request) and view.can_edit(request)
        ]


class _JobRequest(NamedTuple):
    """The parameters of a job."""

    depot_name: str
    age: timedelta
    #: Only files stored before this time may be deleted.
    before: datetime
    #: The number of missing files that the user confirmed.
    missing: int


async def _end_transaction(session: object) -> None:
    """Commit the transaction of the request, as the admin would do next.

    A job may take hours, and an open transaction would block writers on SQLite.
    """
    if isinstance(session, AsyncSession):
        await session.commit()
    elif isinstance(session, Session):
        await to_thread.run_sync(session.commit)


def _edit_url(request: Request, views: Iterable[ModelView], place: Place, key: tuple[Any, ...]) -> str | None:
    """Return the URL of the page to edit a row, in the view of the most general model."""
    found = [(view, names) for view in views if (names := _key_names(inspect(view.model), place)) is not None]
    for view, names in sorted(found, key=lambda pair: len(list(inspect(pair[0].model).iterate_to_root()))):
        values = {name: str(value) for name, value in zip(names, key, strict=True)}
        key_names = view.pk_field.name.split(",")
        if set(key_names) <= set(values) and view.key is not None:
            pk = iterencode(values[each] for each in key_names) if len(key_names) > 1 else values[key_names[0]]
            return edit_url(request, view.key, pk)
    return None


def _key_names(mapper: Mapper[Any], place: Place) -> list[str] | None:
    """Return the attributes of a model for the primary key of a table; None if the model lacks the column."""
    with suppress(UnmappedColumnError):
        mapper.get_property_by_column(place.column)
        return [mapper.get_property_by_column(column).key for column in place.key]
    return None
