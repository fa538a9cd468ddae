"""A world whose engine is asynchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tests.conftest import World

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "mariadb": "mariadb+aiomysql"}


class AsyncWorld(World):
    """A `World` with an asynchronous engine beside the other."""

    def run(self, journey: Callable[[AsyncEngine], Coroutine[Any, Any, None]]) -> None:
        """Run a journey in an event loop of its own."""

        async def main() -> None:
            async with self.async_engine() as engine:
                await journey(engine)

        asyncio.run(main())

    @asynccontextmanager
    async def async_engine(self) -> AsyncIterator[AsyncEngine]:
        """Give an engine for the same database, through an asynchronous driver."""
        url = self.engine.url.set(drivername=DRIVERS[self.engine.dialect.name])
        engine = create_async_engine(url, poolclass=NullPool)
        if self.engine.dialect.name == "sqlite":

            @event.listens_for(engine.sync_engine, "connect")
            def _connect(connection: Any, record: Any) -> None:
                connection.isolation_level = None

            @event.listens_for(engine.sync_engine, "begin")
            def _begin(connection: Any) -> None:
                connection.exec_driver_sql("BEGIN")

        yield engine
        await engine.dispose()
