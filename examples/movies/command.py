"""The command line of the demo, ``python examples/movies``."""

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
    """Start the demo and print its address. SIGINT (Ctrl-C) or SIGTERM ends it."""
    options = _parser().parse_args(arguments)
    settings = Settings.of(os.environ, options.home)
    # Both raise KeyboardInterrupt, which rolls back the transaction if the films are being added.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt), listen(options.host, options.port) as listening:
        app = create_app(settings)
        _introduce(settings, options.host, listening.getsockname()[1])
        # With a timeout, because a browser that has paused a trailer keeps its connection.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3)
        uvicorn.Server(config).run(sockets=[listening])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="movies", description="A film archive, to try depot_lite.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, help=f"port, 0 for any free one (default: {_PORT}, or the next free one)")
    parser.add_argument("--home", type=Path, help="folder for all data (default: $MOVIES_HOME)")
    return parser


def listen(host: str, port: int | None) -> socket.socket:
    """Return a listening socket: on the given port, or on the first free one from 8000."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for each in range(_PORT, _PORT + 100) if port is None else [port]:
        try:
            return socket.create_server((host, each), family=family)
        except OSError as error:
            if port is not None or error.errno != errno.EADDRINUSE:
                raise SystemExit(f"cannot listen on {host}, port {each}: {error.strerror}") from error
    raise SystemExit(f"no port from {_PORT} to {_PORT + 99} is free on {host}: use --port")


def _introduce(settings: Settings, host: str, port: int) -> None:
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"Admin:     {address}/admin")
    print(f"API:       {address}/api/movies")
    print(f"Database:  {make_url(settings.engine_url)!r}")  # its repr hides the password
    print(f"Files:     {f's3://{settings.s3_bucket}/movies/' if settings.s3_bucket else settings.media}")
    print(f"Home:      {settings.home} (delete it to begin anew)")
    if host not in {"127.0.0.1", "::1", "localhost"}:
        print("There is no login: anyone who can reach this address can change and delete everything.")
    print("Ctrl-C ends it.", flush=True)
