"""``python examples/movies``: words in, a server out."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvicorn
from sqlalchemy import make_url

from movies.app import create_app
from movies.settings import Settings

_PORT: Final = 8000


def main(arguments: Sequence[str] | None = None) -> None:
    """Start the demo and print its address. It ends with SIGINT (Ctrl-C) or SIGTERM."""
    told = _parser().parse_args(arguments)
    settings = Settings.of(os.environ, told.home)
    # Both end it in the same way, also while films are put in: the transaction is rolled back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), listen(told.host, told.port) as listening:
        app = create_app(settings)
        _introduce(settings, told.host, listening.getsockname()[1])
        # It does not wait for ever for a browser that has paused a trailer.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listening])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="movies", description="A film archive, to try depot_lite.")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: this machine only)")
    parser.add_argument("--port", type=int, help=f"0: any that is free (default: {_PORT}, or the next that is free)")
    parser.add_argument("--home", type=Path, help="the folder for everything it keeps (default: $MOVIES_HOME)")
    return parser


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens: on the port that was asked for, else on the first that is free from 8000 on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for each in range(_PORT, _PORT + 100) if port is None else [port]:
        try:
            return socket.create_server((host, each), family=family)
        except OSError as error:
            if port is not None or error.errno != errno.EADDRINUSE:
                raise SystemExit(f"cannot listen on {host}, port {each}: {error.strerror}") from error
    raise SystemExit(f"no port from {_PORT} to {_PORT + 99} is free on {host}: give one by --port")


def _introduce(settings: Settings, host: str, port: int) -> None:
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"Admin:     {address}/admin")
    print(f"API:       {address}/api/movies")
    print(f"Database:  {make_url(settings.engine_url)!r}")  # its repr hides the password
    print(f"Files:     {f's3://{settings.s3_bucket}/movies/' if settings.s3_bucket else settings.media}")
    print(f"Home:      {settings.home} (delete it to begin anew)")
    if host not in {"127.0.0.1", "::1", "localhost"}:
        print("There is no login: whoever reaches this address can change and delete everything.")
    print("Ctrl-C ends it.", flush=True)
