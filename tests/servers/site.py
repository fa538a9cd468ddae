"""The site that the servers of these tests serve: a local depot for everybody, a private one, and an application.

It is imported in the process of the server, which `tests.servers.running` starts::

    python -m tests.servers.site uvicorn <descriptor of the socket>
    python -m gunicorn tests.servers.site:wsgi
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from depot_lite.asgi import DepotASGI
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.local import LocalFileStorage
from depot_lite.manager import DepotManager
from depot_lite.middleware import DepotMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

#: Where the server finds the folder of its depots.
VARIABLE: Final = "DEPOT_TEST_SITE"
KEY: Final = "the key of the servers' tests"
#: The pages of the site: path -> HTML. One that a test put into the folder ``pages`` is found there.
PAGES: Final = "pages"
#: Seconds in which an upload has to send something, and uploads at once under ASGI; under WSGI the default.
IDLE: Final = 3
AT_ONCE: Final = 40


#: A variant on demand, which a column declares.
SMALL: Final = Thumbnail(32, 32, format="WEBP", make="on_demand")
PHOTOGRAPH: Final = UploadedFileField(upload_type=UploadedImage, variants={"small": SMALL})


def configure(folder: Path) -> None:
    """Configure the depots below a folder, the same for the server and for the test that fills them."""
    for name, visibility in (("default", "unlisted"), ("private", "private")):
        DepotManager.configure(name, LocalFileStorage(folder / name, durable=False), visibility=visibility)
    DepotManager.configure_signing(KEY)


def page(path: str) -> bytes:
    """Return the answer of the application."""
    if path == "/sent-by":
        return f"{_sent_by[-1]} {sum(_sendfile)}".encode()
    file = Path(os.environ[VARIABLE]) / PAGES / path.strip("/")
    return file.read_bytes() if file.is_file() else b"app: " + path.encode()


#: The types of the objects that the server got to send, and how many bytes the kernel sent from a file by itself.
_sent_by: Final[list[str]] = ["nothing"]
_sendfile: Final[list[int]] = []


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer whatever is for no file."""
    body = page(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(body)))])
    return [body]


def wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer, and remember the object handed to the server."""
    sent = _middleware()(environ, start_response)
    if environ["PATH_INFO"].startswith("/depot/"):
        _sent_by.append(f"{type(sent).__module__}.{type(sent).__name__}")
    return sent


_made: Final[list[DepotMiddleware]] = []


def _middleware() -> DepotMiddleware:
    if not _made:
        configure(Path(os.environ[VARIABLE]))
        _made.append(DepotMiddleware(application, upload_idle=IDLE))
        _count_sendfile()
    return _made[0]


def _count_sendfile() -> None:
    original = os.sendfile

    def sendfile(*given: Any, **more: Any) -> int:
        _sendfile.append(original(*given, **more))
        return _sendfile[-1]

    os.sendfile = sendfile


async def _async_application(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body = page(scope["path"])
    headers = [(b"content-type", b"text/html"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(server: str, descriptor: int) -> None:
    """Serve in this process until it is ended."""
    if server == "uvicorn":
        import uvicorn

        configure(Path(os.environ[VARIABLE]))
        app = DepotASGI(_async_application, upload_idle=IDLE, uploads_at_once=AT_ONCE)
        uvicorn.run(app, fd=descriptor, log_level="warning", lifespan="off")
    else:
        import waitress

        waitress.serve(wsgi, sockets=[socket.socket(fileno=descriptor)], threads=8)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
