"""How long a download of 10 KB takes while clients and storages are slow, under uvicorn.

    python -m tests.benchmarks.bench_peers [--rounds N] [--source FOLDER]

A server process has a local depot, and one on an S3 that answers after a second, or never. The client in this process
asks for one file, over a new connection each time, while

- nothing else happens,
- 40 direct uploads have stalled,
- 100 uploads to the slow S3 are in progress,
- 40 photographs of 12 megapixels get their variants, each in a session of its own,
- 40 uploads to the S3 that never answers hang: also how long ``aio`` of the local depot takes, and a cancellation.

The table gives median and maximum in milliseconds. ``--source`` measures the package in another folder, such as an
older checkout. A download that takes longer than 20 s is counted as that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

KEY: Final = "the key of the benchmark"
SMALL: Final = 10 * 1024
PATIENCE: Final = 20.0


# --- the S3 -----------------------------------------------------------------------------------------------------------


def s3_that_answers_after(seconds: float | None) -> int:
    """Return the port of a server that says yes to every request, after so many seconds or never."""
    port: list[int] = []
    ready = threading.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                if fields.get(b"expect"):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await reader.readexactly(int(fields.get(b"content-length", 0)))
                await asyncio.sleep(3600 if seconds is None else seconds)
                writer.write(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n')
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=500)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    ready.wait()
    return port[0]


# --- in the server ----------------------------------------------------------------------------------------------------


def serve(folder: str, descriptor: int, slow: int, silent: int) -> None:
    """Serve in this process until it is ended."""
    import uvicorn
    from sqlalchemy import Column, Integer, event
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
    from sqlalchemy.orm import declarative_base

    from depot_lite import Crop, Thumbnail
    from depot_lite.fields.specialized.image import UploadedImage
    from depot_lite.fields.sqlalchemy import UploadedFileField
    from depot_lite.io.boto3 import S3Storage
    from depot_lite.io.local import LocalFileStorage
    from depot_lite.manager import DepotManager

    local = LocalFileStorage(folder, durable=False)
    DepotManager.configure("default", local)
    for name, port in (("slow", slow), ("silent", silent)):
        DepotManager.configure(
            name, S3Storage("key", "secret", name, "us-east-1", endpoint_url=f"http://127.0.0.1:{port}")
        )
    DepotManager.configure_signing(KEY)

    base: Any = declarative_base()
    variants = {"icon": Crop(200, 200), "page": Thumbnail(1600, 1600)}

    class Picture(base):  # type: ignore[misc]  # made here, as a process of its own runs this
        __tablename__ = "picture"
        id = Column(Integer, primary_key=True)
        photo: Any = Column(UploadedFileField(upload_type=UploadedImage, variants=variants))

    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/../pictures.db")
    event.listen(engine.sync_engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=60000"))
    photograph = _photograph()
    tasks: set[asyncio.Task[Any]] = set()

    async def upload(name: str) -> None:
        await DepotManager.get(name).aio.create(b"x" * SMALL)

    async def picture() -> None:
        async with AsyncSession(engine) as session:
            session.add(Picture(photo=photograph))
            await session.flush()
            await session.rollback()

    async def control(scope: Any, receive: Any, send: Any) -> None:
        action = scope["path"].strip("/")
        if action == "photographs":
            async with engine.begin() as connection:
                await connection.run_sync(base.metadata.create_all)
            tasks.update(asyncio.ensure_future(picture()) for _ in range(40))
        elif action in {"slow", "silent"}:
            tasks.update(asyncio.ensure_future(upload(action)) for _ in range(100 if action == "slow" else 40))
        elif action == "local":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await local.aio.read(await local.aio.create(b"x" * SMALL))
        elif action == "cancel":
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=PATIENCE)
        left = sum(not task.done() for task in tasks)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                sys.stderr.write(f"{action}: {task.exception()!r}\n")
        body = str(left).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    uvicorn.run(
        DepotManager.make_asgi_middleware(control), fd=descriptor, log_level="critical", lifespan="off", ws="none"
    )


def _photograph() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    noise = Image.effect_noise((1000, 750), 60).resize((4000, 3000))
    Image.merge("RGB", [noise, noise.rotate(90).resize((4000, 3000)), noise]).save(file, "JPEG", quality=90)
    return file.getvalue()


# --- the client -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(source: str | None) -> Iterator[tuple[int, str]]:
    """Run a server; give its port and the path of a file of 10 KB."""
    from depot_lite.io.local import LocalFileStorage

    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0), backlog=500) as listening:
        files = Path(folder) / "files"
        file_id = LocalFileStorage(files).create(os.urandom(SMALL))
        port = listening.getsockname()[1]
        ports = [str(s3_that_answers_after(1)), str(s3_that_answers_after(None))]
        process = subprocess.Popen(
            [sys.executable, __file__, "serve", str(files), str(listening.fileno()), *ports],
            env={**os.environ, "PYTHONPATH": source or str(Path(__file__).parents[2])},
            cwd=folder,
            pass_fds=[listening.fileno()],
        )
        listening.close()  # if the server fails, connections are refused
        try:
            ask(port, "/")
            yield port, f"/depot/default/{file_id}"
        finally:
            process.kill()
            process.wait()


def ask(port: int, path: str, timeout: float = PATIENCE) -> bytes:
    """Return the body of an answer."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        found = b""
        while data := connection.recv(65536):
            found += data
    return found.partition(b"\r\n\r\n")[2]


def downloads(port: int, path: str, busy: Callable[[], bool]) -> tuple[float, float, int]:
    """Return median and maximum, in milliseconds, of up to 50 downloads while the server is busy, and their number."""
    times: list[float] = []
    while len(times) < 50 and (busy() or not times):
        began = time.perf_counter()
        with contextlib.suppress(TimeoutError):
            assert len(ask(port, path, PATIENCE)) == SMALL
        times.append((time.perf_counter() - began) * 1000)
        if times[-1] >= PATIENCE * 1000:
            break
    return statistics.median(times), max(times), len(times)


def is_busy(port: int) -> bool:
    """Return whether the server has work of a scenario left."""
    return ask(port, "/") != b"0"


@contextlib.contextmanager
def stalled(port: int, count: int) -> Iterator[None]:
    """Begin direct uploads that go no further."""
    from depot_lite.manager import DepotManager
    from depot_lite.serving.fileserver import FileServer
    from depot_lite.testing import temporary_depots
    from depot_lite.uploads import upload_ticket

    with contextlib.ExitStack() as closing:
        closing.enter_context(temporary_depots())
        DepotManager.configure("default", {"depot.backend": "depot_lite.io.memory.MemoryFileStorage"})
        DepotManager.configure_signing(KEY)
        DepotManager.set_middleware(FileServer())
        for _ in range(count):
            url = urlsplit(upload_ticket().url)
            put = closing.enter_context(socket.create_connection(("127.0.0.1", port)))
            put.sendall(f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nx".encode())
        yield


def measure(source: str | None) -> dict[str, tuple[float, float, int]]:
    """Run all scenarios once."""
    found: dict[str, tuple[float, float, int]] = {}
    with server(source) as (port, path):
        for _ in range(5):
            ask(port, path)
        found["nothing else"] = downloads(port, path, lambda: True)
        with stalled(port, 40):
            found["40 stalled uploads"] = downloads(port, path, lambda: True)
    for name, action in (("100 uploads to a slow S3", "slow"), ("40 photographs", "photographs")):
        with server(source) as (port, path):
            ask(port, path)
            ask(port, f"/{action}")
            found[name] = downloads(port, path, lambda port=port: is_busy(port))  # type: ignore[misc]  # bound at once
    with server(source) as (port, path):
        ask(port, path)
        ask(port, "/silent")
        found["40 hung calls to S3"] = downloads(port, path, lambda: True)
        for name, action in (("  aio of the local depot", "local"), ("  cancelling them", "cancel")):
            began = time.perf_counter()
            with contextlib.suppress(TimeoutError):
                ask(port, f"/{action}", PATIENCE)
            took = (time.perf_counter() - began) * 1000
            found[name] = took, took, 1
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--source")
    arguments = parser.parse_args()
    rounds = [measure(arguments.source) for _ in range(arguments.rounds)]
    sys.stdout.write(f"{'beside':<28}{'median ms':>10}{'max ms':>10}{'downloads':>11}\n")
    for name, (_, _, count) in rounds[0].items():
        median, most = statistics.median(each[name][0] for each in rounds), max(each[name][1] for each in rounds)
        sys.stdout.write(f"{name:<28}{median:>10.1f}{most:>10.0f}{count:>11}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], *(int(each) for each in sys.argv[3:6]))
    else:
        main()
