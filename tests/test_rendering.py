"""Variants on demand as clients see them: made once, stored beside their originals, and served like any file."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, Final

import pytest
from PIL import Image

from depot_lite import images, rendering, renditions
from depot_lite.asgi import DepotASGI
from depot_lite.depots import Depots
from depot_lite.errors import ImageRefused, ImagesBusy, StorageFailed
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Crop, Thumbnail
from depot_lite.io.content import Content
from depot_lite.io.fileid import derived_id, new_file_id, new_upload_id
from depot_lite.io.interfaces import FileInfo, FileStorage, StoredFile
from depot_lite.io.local import LocalFileStorage
from depot_lite.io.memory import MemoryFileStorage
from depot_lite.manager import DepotManager
from tests.support.asking import Ask, Elsewhere, _depots, application, ask, over_asgi, over_wsgi, signed

__all__ = ["_depots", "ask"]  # fixtures

# With qualities that no other column has: recipes are known to the whole process.
SMALL: Final = Thumbnail(30, 30, format="WEBP", quality=71, make="on_demand")
OTHER: Final = Crop(10, 10, make="on_demand")
NOW: Final = Thumbnail(20, 20)


class Narrow(UploadedImage):
    """Takes images of up to ten thousand pixels."""

    max_pixels = 10_000


FIELDS: Final = (
    UploadedFileField(upload_type=Narrow, variants={"small": SMALL, "now": NOW}),
    UploadedFileField(upload_type=Narrow, variants={"other": OTHER, "alike": SMALL}),
)


def picture(width: int = 60, height: int = 40) -> bytes:
    """Return a PNG."""
    file = io.BytesIO()
    Image.effect_noise((width, height), 50).save(file, "PNG")
    return file.getvalue()


def put(storage: FileStorage | None = None, data: bytes | None = None, visibility: str = "unlisted") -> str:
    """Store an original in a new depot, and return its path."""
    depot = DepotManager.configure("default", storage or MemoryFileStorage(), visibility=visibility)
    return f"default/{depot.create(picture() if data is None else data, 'me.png')}"


def url(path: str, recipe: Any = SMALL) -> str:
    """Return the URL of a variant."""
    return f"/depot/{path}~{recipe.fingerprint}"


def variant_of(path: str, recipe: Any = SMALL) -> str:
    """Return the id of a variant."""
    return derived_id(path.partition("/")[2], recipe.fingerprint)


def stored() -> set[str]:
    """Return the ids of all files in the depot."""
    return {str(each) for each in DepotManager.get().list()}


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads in which images are rendered, with an entry for each time."""
    names: list[str] = []
    render = images.render

    def counted(file: BinaryIO, *args: Any, **options: Any) -> Any:
        names.append(threading.current_thread().name)
        return render(file, *args, **options)

    monkeypatch.setattr(images, "render", counted)
    return names


def test_a_variant_is_made_at_the_first_request(ask: Ask, rendered: list[str]) -> None:
    """It is stored beside its original, and served from there."""
    path = put()
    status, headers, data = ask(url(path))
    assert (status, headers["content-type"]) == (200, "image/webp")
    assert headers["content-disposition"] == 'inline; filename="me-small.webp"'
    assert Image.open(io.BytesIO(data)).size == (30, 20)
    assert stored() == {path.partition("/")[2], variant_of(path)}
    with DepotManager.get_file(f"default/{variant_of(path)}") as file:
        assert (file.read(), file.filename, file.content_type) == (data, "me-small.webp", "image/webp")
    assert ask(url(path)) == (200, headers, data)
    assert len(rendered) == 1


def test_it_is_served_like_any_file(ask: Ask) -> None:
    """HEAD, ranges, preconditions, and a readable name; HEAD makes it, too."""
    path = put()
    status, headers, _ = ask(url(path), "HEAD")
    assert (status, headers["accept-ranges"]) == (200, "bytes")
    data = ask(url(path))[2]
    assert ask(url(path), headers={"range": "bytes=4-7"})[::2] == (206, data[4:8])
    assert ask(url(path), headers={"if-none-match": headers["etag"]})[0] == 304
    assert ask(url(path) + "/you.webp")[1]["content-disposition"] == 'inline; filename="you.webp"'
    assert ask(url(path), "POST")[0] == 405


def test_it_is_redirected_to_like_any_file(ask: Ask) -> None:
    """To the storage's own URL, once it is there."""
    path = put(Elsewhere())
    for _ in range(2):
        status, headers, _ = ask(url(path))
        assert (status, headers["location"].split("?")[0]) == (302, f"https://elsewhere/{variant_of(path)}")
    assert ask(url(path), proxy=True)[0] == 200


def test_the_web_server_in_front_may_send_it(ask: Ask, tmp_path: Path) -> None:
    """As it sends other files."""
    path = put(LocalFileStorage(tmp_path))
    status, headers, data = ask(url(path), x_sendfile=True)
    assert (status, data) == (200, b"")
    assert variant_of(path) in headers["x-sendfile"]


@pytest.mark.parametrize("wrong", ["0123456789ab", NOW.fingerprint])
def test_other_recipes_are_not_made(ask: Ask, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nor those that are made at once; the log says once which models are missing."""
    path = put()
    rendering._unknown.discard(wrong)
    for _ in range(3):
        assert ask(f"/depot/{path}~{wrong}")[0] == 404
    assert stored() == {path.partition("/")[2]}
    [message] = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert f"its recipe {wrong}" in message
    assert "import the models" in message
    assert f"{SMALL.fingerprint} (small)" in message


def test_invented_recipes_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nor the memory."""
    path = put()
    for number in range(3 * rendering._MOST_LOGGED):
        assert over_wsgi("GET", f"/depot/{path}~{number:012x}", {}, {})[0] == 404
    assert len(rendering._unknown) == rendering._MOST_LOGGED
    rendering._unknown.clear()


@pytest.mark.parametrize("name", ["~", "{}~", "~0123456789ab", "{}~0123456789AB", "{}~0123456789abc", "{}~..", "x~{}"])
def test_what_names_no_variant_is_not_found(ask: Ask, name: str) -> None:
    """Before the hook is asked, too."""
    path = put()
    asked: list[str] = []
    wrong = name.format(path.partition("/")[2])
    assert ask(f"/depot/default/{wrong}")[0] == 404
    assert ask(f"/depot/default/{wrong}", authorize=lambda *args: asked.append(args[2]))[0] == 404
    assert asked == []


def test_a_variant_without_its_original_is_not_found(ask: Ask) -> None:
    put()
    assert ask(f"/depot/default/{new_file_id()}~{SMALL.fingerprint}")[0] == 404


@pytest.mark.parametrize("kind", ["variant", "upload"])
def test_only_originals_have_variants(ask: Ask, rendered: list[str], kind: str) -> None:
    """Not a variant, of which there would be others without end, nor an upload that no row has adopted."""
    path = put()
    assert ask(url(path))[0] == 200
    other = variant_of(path) if kind == "variant" else DepotManager.get().create(picture(), file_id=new_upload_id())
    known = stored()
    assert ask(url(f"default/{other}"))[0] == 404
    assert (stored(), len(rendered)) == (known, 1)


def test_an_old_id_may_look_like_that_of_a_variant(ask: Ask) -> None:
    """Filedepot's ids in GridFS are 24 digits, with any at the place of the version."""
    depot = DepotManager.configure("default", MemoryFileStorage())
    old = "507f1f77bcf86c5799439011"
    depot.create(picture(), "me.png", file_id=old)
    assert ask(f"/depot/default/{old}~{SMALL.fingerprint}")[0] == 200


# --- access -----------------------------------------------------------------------------------------------------------


def test_a_variant_in_a_private_depot_needs_its_signature(ask: Ask, rendered: list[str]) -> None:
    """That of the original, or of another variant, is none."""
    path = put(visibility="private")
    name = f"{path}~{SMALL.fingerprint}"
    assert ask(f"/depot/{name}")[0] == 403
    for other in (path, f"{path}~{OTHER.fingerprint}", f"default/{variant_of(path)}"):
        assert ask(f"/depot/{name}?{signed(other).partition('?')[2]}")[0] == 403
    assert rendered == []
    status, headers, _ = ask(signed(name, 60, download=True, filename="you.webp"))
    assert (status, headers["content-disposition"]) == (200, 'attachment; filename="you.webp"')
    assert headers["cache-control"].startswith("private, ")
    assert ask(f"/depot/{path}?{signed(name).partition('?')[2]}")[0] == 403


def test_a_hook_is_asked_about_the_original(ask: Ask, rendered: list[str]) -> None:
    """Before anything is made."""
    path = put()
    asked: list[tuple[str, str]] = []

    def authorize(request: Any, depot: str, file_id: str) -> bool:
        asked.append((depot, file_id))
        return len(asked) > 1

    assert ask(url(path), authorize=authorize)[0] == 403
    assert rendered == []
    assert ask(url(path), authorize=authorize)[0] == 200
    assert asked == 2 * [("default", path.partition("/")[2])]


# --- originals that cannot be rendered --------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"no image", picture()[:200], picture(200, 100)])
def test_an_original_that_is_refused_is_decoded_once(
    ask: Ask, rendered: list[str], data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Text, a broken image, and one with more pixels than its class accepts; until some minutes have passed."""
    path = put(data=data)
    for _ in range(5):
        assert ask(url(path))[0] == 404
    assert len(rendered) == 1
    [message] = [each.getMessage() for each in caplog.records]
    assert message.startswith(f"no variant of {path} can be made: ")
    rendering._refused.clear()
    assert ask(url(path))[0] == 404
    assert len(rendered) == 2


def test_few_refusals_are_remembered() -> None:
    """However many files a client sends."""
    put()
    rendering._refused.clear()
    for number in range(rendering._MOST_REMEMBERED + 10):
        rendering._remember(Depots.find("default"), "", str(number), ImageRefused("it is no image"))
    assert len(rendering._refused) == rendering._MOST_REMEMBERED
    assert ("default", "0") not in rendering._refused
    rendering._refused.clear()


class Wide(UploadedImage):
    """Takes larger images."""


def test_a_class_that_accepts_the_original_makes_it(ask: Ask) -> None:
    """If several columns have the same recipe."""
    path = put(data=picture(200, 100))
    before = {recipe: dict(found) for recipe, found in renditions._declared.items()}
    try:
        UploadedFileField(upload_type=Wide, variants={"wide": SMALL})
        status, headers, _ = ask(url(path))
        assert (status, headers["content-disposition"]) == (200, 'inline; filename="me-wide.webp"')
    finally:
        renditions._declared.clear()
        renditions._declared.update(before)


# --- failures ---------------------------------------------------------------------------------------------------------


class Failing(MemoryFileStorage):
    """A storage that calls back before it stores and opens files."""

    def __init__(self) -> None:
        super().__init__()
        self.before_save: Callable[[str], object] = lambda file_id: None
        self.before_open: Callable[[str], object] = lambda file_id: None

    def _save(self, file_id: str, content: Content) -> FileInfo:
        self.before_save(file_id)
        return super()._save(file_id, content)

    def _open(self, file_id: str) -> StoredFile:
        self.before_open(file_id)
        return super()._open(file_id)


def fail(file_id: str) -> None:
    raise StorageFailed("it is down")


@pytest.mark.parametrize("failing", ["before_save", "before_open"])
def test_a_storage_that_is_down_is_tried_again(ask: Ask, failing: str) -> None:
    """The error is forgotten with its requests."""
    storage = Failing()
    path = put(storage)
    setattr(storage, failing, fail)
    for _ in range(2):
        assert ask(url(path))[0] == 503
    setattr(storage, failing, lambda file_id: None)
    assert ask(url(path))[0] == 200


def test_a_client_comes_again_when_others_are_decoded(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After."""
    path = put()

    def busy(*_: Any, **options: Any) -> Any:
        raise ImagesBusy("others are decoded")

    with monkeypatch.context() as patch:
        patch.setattr(images, "render", busy)
        status, headers, _ = ask(url(path))
    assert (status, headers["retry-after"]) == (503, "5")
    with monkeypatch.context() as patch:
        patch.setattr(rendering, "_MOST", 0)
        assert ask(url(path))[0] == 503
    assert ask(url(path))[0] == 200


def test_a_variant_of_an_original_that_goes_meanwhile_goes_too(ask: Ask) -> None:
    """It has been deleted with all variants that there were, and this one was not among them."""
    storage = Failing()
    path = put(storage)
    storage.before_save = lambda file_id: storage.delete(path.partition("/")[2])
    assert ask(url(path))[0] == 404
    assert stored() == set()


def test_a_file_that_another_process_has_made_is_not_made_again(rendered: list[str]) -> None:
    """Since this one looked for it."""
    path = put()
    DepotManager.get().create(b"made", file_id=variant_of(path))
    rendering.make(Depots.find("default"), path.partition("/")[2], SMALL.fingerprint).result()
    assert rendered == []


# --- many at once -----------------------------------------------------------------------------------------------------


class Gate:
    """Holds up rendering until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.opened, self.count = threading.Event(), threading.Event(), 0
        render = images.render

        def waiting(*args: Any, **options: Any) -> Any:
            self.count += 1
            self.begun.set()
            assert self.opened.wait(20)
            return render(*args, **options)

        monkeypatch.setattr(images, "render", waiting)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def test_a_hundred_threads_render_once(gate: Gate, tmp_path: Path) -> None:
    """And get the same file."""
    path = put(LocalFileStorage(tmp_path))
    with ThreadPoolExecutor(100) as pool:
        asked = [pool.submit(over_wsgi, "GET", url(path), {}, {}) for _ in range(100)]
        assert gate.begun.wait(20)
        gate.opened.set()
        answers = [each.result() for each in asked]
    assert {(status, data) for status, _, data in answers} == {(200, answers[0][2])}
    assert gate.count == 1
    assert stored() == {path.partition("/")[2], variant_of(path)}


async def request(app: DepotASGI, url: str) -> int:
    """Return the status of a request."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        await asyncio.Event().wait()

    path = url.partition("?")[0]
    await app({"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}, receive, send)
    status: int = sent[0]["status"]
    return status


def test_a_hundred_tasks_render_once_and_hold_up_nobody(gate: Gate) -> None:
    """Other files of the same storage are served meanwhile: no thread waits."""
    path = put()

    async def ask_all() -> list[int]:
        app = DepotASGI(application)
        asked = [asyncio.ensure_future(request(app, url(path))) for _ in range(100)]
        await asyncio.to_thread(gate.begun.wait, 20)
        async with asyncio.timeout(20):
            assert await asyncio.gather(*(request(app, f"/depot/{path}") for _ in range(100))) == [200] * 100
        gate.opened.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(ask_all()) == [200] * 100
    assert gate.count == 1


def test_a_client_that_leaves_stops_no_work(gate: Gate) -> None:
    """Also if it was the first."""
    path = put()

    async def leave() -> int:
        app = DepotASGI(application)
        first = asyncio.ensure_future(request(app, url(path)))
        await asyncio.to_thread(gate.begun.wait, 20)
        second = asyncio.ensure_future(request(app, url(path)))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.opened.set()
        return await second

    assert asyncio.run(leave()) == 200
    assert gate.count == 1


def test_an_error_reaches_all_that_wait(gate: Gate) -> None:
    """As 503; the next one tries again."""
    storage = Failing()
    path = put(storage)
    storage.before_save = fail

    async def ask_all() -> list[int]:
        app = DepotASGI(application)
        asked = [asyncio.ensure_future(request(app, url(path))) for _ in range(10)]
        await asyncio.to_thread(gate.begun.wait, 20)
        gate.opened.set()
        return await asyncio.gather(*asked)

    assert set(asyncio.run(ask_all())) == {503}
    storage.before_save = lambda file_id: None
    assert over_asgi("GET", url(path), {}, {})[0] == 200
