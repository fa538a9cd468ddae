"""The page on which the depots are counted, their unused files deleted, and missing ones removed from their rows.

    admin.add_view(MaintenanceView())

Nothing is asked of a storage or of the database before a button is pressed. Each job is one request, which ends when
its page is left. Who may open the page may do both, after a confirmation; `MaintenanceView.is_accessible` and
`MaintenanceView.can_delete` say who.
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
from depot_lite.contrib.starlette_admin.upkeep import SHOWN, Upkeep, depots, shown_age
from depot_lite.depots import Depots
from depot_lite.errors import ConfigurationError, UnknownDepot
from depot_lite.maintenance import FoundFile
from depot_lite.maintenance.rows.places import Place
from depot_lite.maintenance.unused import DAY

if TYPE_CHECKING:
    from starlette.templating import Jinja2Templates

_TEMPLATE: Final = "plugins/depot/maintenance.html"


class MaintenanceView(CustomView):
    """The page, at ``/depots`` below the admin. It needs the `DepotPlugin`, which brings its template and its script.

    Args:
        bind: the database, also as a sessionmaker; that of the admin's own sessions where not given.
        models: the declarative bases whose columns are read; all where not given.
        protect: columns that no model knows, as `find_unused` takes them.
        keep_if: what it says True to is not called unused.
        settle: how long the longest transaction takes, as `delete_unused_files` takes it.
        older_than: the age from which a file may be called unused that nobody names. It has to exceed the longest
            transaction, and the time for which an upload may wait for its form. Of younger ones the page warns.
        menu_label: how it is called in the menu.
        icon: its icon there.
        path: where it is.
        add_to_menu: whether the menu has it.
    """

    menu_label = "Depots"
    icon = "fa-solid fa-box-archive"
    path = "/depots"
    #: Not ``index``, which is the name of the admin's first page.
    route_name = "depot-maintenance"

    def __init__(
        self,
        bind: Bind | sessionmaker[Any] | async_sessionmaker[Any] | None = None,
        *,
        models: Iterable[object] | None = None,
        protect: Sequence[object] = (),
        keep_if: Callable[[FoundFile], bool] | None = None,
        settle: timedelta = timedelta(minutes=1),
        older_than: timedelta = DAY,
        menu_label: str | None = None,
        icon: str | None = None,
        path: str | None = None,
        add_to_menu: bool | None = None,
    ) -> None:
        super().__init__(menu_label=menu_label, icon=icon, path=path, add_to_menu=add_to_menu)
        self._bind = bind
        self._upkeep = Upkeep(None if models is None else tuple(models), tuple(protect), keep_if, settle, older_than)

    def can_delete(self, request: Request) -> bool:
        """Return whether who asks may delete unused files, and remove missing ones from rows of whatever model.

        Override it to let some only look.
        """
        return True

    @route("")
    async def index(self, request: Request) -> Response:
        """Show the depots, of which nothing is counted yet."""
        templates = cast("Jinja2Templates", self.templates)  # the admin gives them before anything is asked
        context = {
            "title": self.title(request),
            "view": self,
            "depots": depots(),
            "ages": [(int(each.total_seconds()), shown_age(each)) for each in self._upkeep.ages],
            "safe_age": int(self._upkeep.older_than.total_seconds()),
            "shown": SHOWN,
            "can_delete": self.can_delete(request),
        }
        return templates.TemplateResponse(request=request, name=_TEMPLATE, context=context)

    @route("/count", methods=["POST"], name="depot-maintenance-count")
    async def count(self, request: Request) -> Response:
        """Count the files of a depot."""
        return await self._answer(request, lambda asked: partial(self._upkeep.count, asked.depot_name))

    @route("/unused", methods=["POST"], name="depot-maintenance-unused")
    async def unused(self, request: Request) -> Response:
        """Find the files of a depot that no row names."""
        return await self._answer(request, lambda asked: partial(self._upkeep.unused, asked.depot_name, asked.age))

    @route("/delete", methods=["POST"], name="depot-maintenance-delete")
    async def delete(self, request: Request) -> Response:
        """Find them anew, and delete them."""
        if not self.can_delete(request):
            raise HTTPException(403)
        return await self._answer(
            request, lambda asked: partial(self._upkeep.delete, asked.depot_name, asked.age, asked.before)
        )

    @route("/missing", methods=["POST"], name="depot-maintenance-missing")
    async def missing(self, request: Request) -> Response:
        """Find the rows whose files are not in a depot."""
        link = partial(_edit_url, request, self._editable(request))
        return await self._answer(request, lambda asked: partial(self._upkeep.missing, asked.depot_name, link))

    @route("/clear", methods=["POST"], name="depot-maintenance-clear")
    async def clear(self, request: Request) -> Response:
        """Find the missing files anew, and remove them from their rows."""
        if not self.can_delete(request):
            raise HTTPException(403)
        link = partial(_edit_url, request, self._editable(request))
        return await self._answer(
            request, lambda asked: partial(self._upkeep.clear, asked.depot_name, asked.missing, link)
        )

    async def _answer(self, request: Request, work: Callable[[_Asked], Work]) -> Response:
        try:
            bind, job = self._bind_of(request), work(await self._asked(request))
            await _end_transaction(getattr(request.state, "session", None))
            return JobResponse(bind, job)
        except ConfigurationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)

    async def _asked(self, request: Request) -> _Asked:
        """Return what a request asks for, which is JSON: no form of another site sends that."""
        try:
            said = await request.json()
            now = datetime.now(UTC)
            before = min(datetime.fromisoformat(said["before"]), now) if "before" in said else now
            seconds, name = said.get("older_than", self._upkeep.older_than.total_seconds()), said["depot"]
            depot_name, missing = Depots.resolve_alias(name), index(said.get("missing", 0))
        except UnknownDepot:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError("the request cannot be understood; load the page again") from error
        return _Asked(depot_name, self._upkeep.checked_age(seconds), before, missing)

    def _bind_of(self, request: Request) -> Bind:
        """Return the database; of the request's session, which ends before the job does, only its engines are used."""
        bind = self._bind if self._bind is not None else getattr(request.state, "session", None)
        if bind is None:
            raise ConfigurationError("MaintenanceView(bind=...): which database? This admin has no sessions of its own")
        made: Bind = bind() if isinstance(bind, sessionmaker | async_sessionmaker) else bind
        return made

    def _editable(self, request: Request) -> list[ModelView]:
        """Return the views on whose pages this user may edit rows."""
        views = [] if self._admin is None else self._admin._model_views
        return [
            view
            for view in views
            if isinstance(view, ModelView) and view.is_accessible(request) and view.can_edit(request)
        ]


class _Asked(NamedTuple):
    """What a request asks for."""

    depot_name: str
    age: timedelta
    #: Before which moment a file was stored that may be deleted.
    before: datetime
    #: How many files were missing when they were shown.
    missing: int


async def _end_transaction(session: object) -> None:
    """Commit what the checks of the request have begun, as the admin does next.

    A job may take hours, and SQLite would let nobody write meanwhile.
    """
    if isinstance(session, AsyncSession):
        await session.commit()
    elif isinstance(session, Session):
        await to_thread.run_sync(session.commit)


def _edit_url(request: Request, views: Iterable[ModelView], place: Place, key: tuple[Any, ...]) -> str | None:
    """Return the page on which a row can be edited: of the most general model, whose view has most rows."""
    found = [(view, names) for view in views if (names := _key_names(inspect(view.model), place)) is not None]
    for view, names in sorted(found, key=lambda pair: len(list(inspect(pair[0].model).iterate_to_root()))):
        values = {name: str(value) for name, value in zip(names, key, strict=True)}
        wanted = view.pk_field.name.split(",")
        if set(wanted) <= set(values) and view.key is not None:
            pk = iterencode(values[each] for each in wanted) if len(wanted) > 1 else values[wanted[0]]
            return edit_url(request, view.key, pk)
    return None


def _key_names(mapper: Mapper[Any], place: Place) -> list[str] | None:
    """Return the attributes of a model that hold the primary key of a table; None where it has not this column."""
    with suppress(UnmappedColumnError):
        mapper.get_property_by_column(place.column)
        return [mapper.get_property_by_column(column).key for column in place.key]
    return None
