"""The table of transaction cases under `AsyncSession`, whose sessions work in a greenlet."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from tests.fields.actions import BEFORE, Action, begin, every_action
from tests.fields.ends import End, every_end
from tests.support.async_world import AsyncWorld


@every_action
@every_end
def test_files_follow_their_rows(aworld: AsyncWorld, action: Action, end: End) -> None:
    """Every action x the ways in which its transaction can end, through each asynchronous driver."""
    begin(aworld)

    async def journey(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            await session.run_sync(lambda inner: end.run(inner, action))

    aworld.run(journey)
    aworld.check(*action.leaves if end.commits else BEFORE)
