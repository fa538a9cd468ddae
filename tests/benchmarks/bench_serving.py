"""How fast files are served beside Starlette's FileResponse and filedepot's middleware, under real servers.

    python -m tests.benchmarks.bench_serving [--rounds N] [--server uvicorn|gunicorn|waitress|nginx]

One server process serves the same file from both at different paths; a client in this process asks for them in turns,
over kept connections. The table gives medians of requests or megabytes per second, and their ratio to the peer.

``nginx``, if it is installed, stands before gunicorn and sends the files named in X-Accel-Redirect; its peer
is the same nginx with the files in a folder of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager

SMALL: Final = 10 * 1024
LARGE: Final = 200 * 1024 * 1024
LIMITS: Final = {"uvicorn": (1.5, 2.5), "gunicorn": (1.0, 1.0), "waitress": (1.0, 1.0)}
PEERS: Final = {
    "uvicorn": "Starlette FileResponse",
    "gunicorn": "filedepot",
    "waitress": "filedepot",
    "nginx": "nginx alone",
}


# --- in the server ----------------------------------------------------------------------------------------------------


def _configured() -> None:
    DepotManager.configure("default", LocalFileStorage(os.environ["BENCH_FOLDER"]))


def asgi() -> object:
    """Return the application for uvicorn: ours below /depot, Starlette's below /peer."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse
    from starlette.routing import Mount, Route

    from depot_lite.asgi import DepotASGI

    _configured()

    async def peer(request: Request) -> FileResponse:
        return FileResponse(os.path.join(os.environ["BENCH_PEER"], request.path_params["name"]))

    return Starlette(routes=[Mount("/depot", DepotASGI()), Route("/peer/{name}", peer)])


def wsgi() -> object:
    """Return the application for gunicorn and waitress: ours below /depot, filedepot's below /peer."""
    from depot.manager import DepotManager as PeerManager
    from depot.middleware import DepotMiddleware as PeerMiddleware

    from depot_lite.middleware import DepotMiddleware

    _configured()
    PeerManager.configure("default", {"depot.storage_path": os.environ["BENCH_PEER"]})

    def nothing(environ: dict[str, object], start_response: object) -> list[bytes]:
        raise LookupError(environ["PATH_INFO"])

    accel = os.environ.get("BENCH_ACCEL")
    return DepotMiddleware(PeerMiddleware(nothing, mountpoint="/peer"), mountpoint="/depot", x_accel_redirect=accel)


def serve_uvicorn(listening: socket.socket) -> None:
    """Run uvicorn, whose option --fd would take the socket for one without TCP_NODELAY."""
    import uvicorn

    config = uvicorn.Config("tests.benchmarks.bench_serving:asgi", factory=True, log_level="warning", access_log=False)
    uvicorn.Server(config).run([listening])


def serve_waitress(listening: socket.socket) -> None:
    """Run waitress with two threads."""
    import waitress

    waitress.serve(wsgi(), sockets=[listening], threads=2)


def serve_gunicorn(listening: socket.socket) -> None:
    """Run gunicorn with one worker and two threads."""
    options = ["-w", "1", "--threads", "2", "--log-level", "warning", "-b", f"fd://{listening.fileno()}"]
    arguments = [sys.executable, "-m", "gunicorn", *options, "tests.benchmarks.bench_serving:wsgi()"]
    os.execv(sys.executable, arguments)


# --- the client -------------------------------------------------------------------------------------------------------


_NGINX: Final = """
daemon off; user root; pid {folder}/nginx.pid; error_log stderr crit; worker_processes 1;
events {{}}
http {{
    access_log off; sendfile on; keepalive_requests 1000000; default_type video/mp4;
    proxy_temp_path {folder}/proxy; client_body_temp_path {folder}/body; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream application {{ server 127.0.0.1:{behind}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location /depot/ {{
            proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
        location /protected/ {{ internal; alias {ours}/; }}
        location /peer/ {{ alias {peer}/; }}
    }}
}}
"""


@contextmanager
def behind_nginx(folder: Path, peer: Path) -> Iterator[int]:
    """Give the port of nginx in front of gunicorn."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    os.environ["BENCH_ACCEL"] = f"{folder}=/protected"
    with served("gunicorn", folder, peer) as behind, tempfile.TemporaryDirectory(prefix="nginx-") as name:
        config = Path(name, "nginx.conf")
        config.write_text(_NGINX.format(folder=name, behind=behind, port=port, ours=folder, peer=peer))
        process = subprocess.Popen(["nginx", "-e", "stderr", "-c", str(config)])
        try:
            while True:
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
            yield port
        finally:
            process.terminate()
            process.wait(30)
            del os.environ["BENCH_ACCEL"]


@contextmanager
def served(server: str, folder: Path, peer: Path) -> Iterator[int]:
    """Give the port of a server of that kind."""
    if server == "nginx":
        with behind_nginx(folder, peer) as port:
            yield port
        return
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        port = listening.getsockname()[1]
        code = f"import socket; from tests.benchmarks.bench_serving import serve_{server} as serve"
        arguments = ["-c", f"{code}; serve(socket.socket(fileno={listening.fileno()}))"]
        environment = {**os.environ, "BENCH_FOLDER": str(folder), "BENCH_PEER": str(peer), "PYTHONPATH": os.getcwd()}
        process = subprocess.Popen([sys.executable, *arguments], pass_fds=[listening.fileno()], env=environment)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(30)


def asked(connection: socket.socket, path: str, buffer: bytearray) -> int:
    """Send a request over a connection that stays open, take the answer, and return the length of its body."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # else some answers wait 40 ms for our ACK
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
    count = connection.recv_into(buffer)
    while (end := buffer.find(b"\r\n\r\n", 0, count)) < 0:
        count += connection.recv_into(memoryview(buffer)[count:])
    head = bytes(buffer[:end]).lower()
    assert head.startswith(b"http/1.1 200"), head
    length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
    left = length - (count - end - 4)
    while left:
        # Thrown away unread (tcp(7)): the server is measured, and not how fast this process copies on the same machine.
        got = connection.recv_into(buffer, min(left, len(buffer)), socket.MSG_TRUNC)
        assert got, f"the connection was closed, {left} of {length} bytes of {path} are missing"
        left -= got
    return length


def seconds(port: int, path: str, times: int) -> float:
    """Return how long that many requests take, one after the other."""
    buffer = bytearray(4 * 1024 * 1024)
    with closing(socket.create_connection(("127.0.0.1", port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asked(connection, path, buffer)
        start = time.perf_counter()
        for _ in range(times):
            asked(connection, path, buffer)
        return time.perf_counter() - start


def _stored(folder: Path, peer: Path, size: int) -> tuple[str, str]:
    """Store random bytes for both, and return their paths."""
    data = os.urandom(size)
    file_id = LocalFileStorage(folder, durable=False).create(data, "file.bin", "video/mp4")
    from depot.io.local import LocalFileStorage as PeerStorage

    peer_id = PeerStorage(str(peer)).create(data, "file.bin", "video/mp4")
    (peer / f"{peer_id}.mp4").symlink_to(peer / peer_id / "file")
    return file_id, peer_id


def _paths(server: str, folder: Path, peer: Path, size: int) -> dict[str, str]:
    """Store a new file for both, and return what to ask for.

    New ones for each round: how fast a system sends a file depends on how its pages happen to lie in memory.
    """
    for each in (folder, peer):
        for path in (*each.glob("*.mp4"), *(entry for entry in each.glob("*") if entry.is_dir())):
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
    ours, theirs = _stored(folder, peer, size)
    peers = f"/peer/{theirs}.mp4" if server in {"uvicorn", "nginx"} else f"/peer/default/{theirs}"
    return {"depot_lite": f"/depot/default/{ours}", PEERS[server]: peers}


def measured(server: str, rounds: int) -> list[str]:
    """Return the lines of the table."""
    lines, limits = [], LIMITS.get(server, (None, None))
    with tempfile.TemporaryDirectory(prefix="bench_serving-") as name:
        folder, peer = Path(name, "ours"), Path(name, "peer")
        for size, times, limit in ((SMALL, 1000, limits[0]), (LARGE, 6, limits[1])):
            with served(server, folder, peer) as port:
                taken: dict[str, list[float]] = {"depot_lite": [], PEERS[server]: []}
                for number in range(rounds):
                    paths = _paths(server, folder, peer, size)
                    for each in list(paths)[:: 1 if number % 2 else -1]:
                        taken[each].append(seconds(port, paths[each], times))
            rates = {each: times / statistics.median(found) for each, found in taken.items()}
            for each, rate in rates.items():
                shown = f"{rate:10.0f} /s" if size == SMALL else f"{rate * size / 1e6:10.0f} MB/s"
                ratio = rate / rates[PEERS[server]]
                told = "" if limit is None or each == PEERS[server] else f"  (at least {limit})"
                lines.append(f"{server:10}{size // 1024:>8} KiB  {each:24}{shown}{ratio:8.2f}{told}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Serving beside Starlette and filedepot")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--server", choices=sorted(PEERS), action="append")
    given = parser.parse_args()
    for server in given.server or [each for each in sorted(PEERS) if each != "nginx" or shutil.which("nginx")]:
        sys.stdout.write("\n".join([*measured(server, given.rounds), ""]))


if __name__ == "__main__":
    main()
