"""A database that is far away: a proxy, in a process of its own, that hands on what clients send after some time."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Final

from sqlalchemy import URL, make_url

#: Parameters that keep a driver from encryption, which takes more journeys, and not the same number of them each time.
_PLAIN: Final = {"postgresql": {"sslmode": "disable", "gssencmode": "disable"}}


@contextmanager
def delayed(url: str, milliseconds: float) -> Iterator[URL]:
    """Give the URL of a database that answers this much later."""
    target = make_url(url)
    ours, theirs = multiprocessing.Pipe()
    arguments = (target.host, target.port, milliseconds / 1000, theirs)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=arguments, daemon=True)
    process.start()
    try:
        there = target.set(host="127.0.0.1", port=ours.recv())
        yield there.update_query_dict(_PLAIN.get(target.get_backend_name(), {}))
    finally:
        process.terminate()
        process.join()


def _serve(host: str, port: int, delay: float, told: Connection) -> None:
    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            from_server, to_server = await asyncio.open_connection(host, port)
            await asyncio.gather(_forward(reader, to_server, delay), _forward(from_server, writer, 0))

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 20):
            await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
    writer.close()
