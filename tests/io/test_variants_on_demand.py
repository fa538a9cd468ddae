"""Variants on demand in each kind of storage: made once for all that ask, one file, and gone with their original."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from PIL import Image
from sqlalchemy.orm import Mapped, mapped_column

from depot_lite import images
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.images.recipes import Thumbnail
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.conftest import World
from tests.io.backends import KINDS, REMOTE, Place, on
from tests.support.asking import over_wsgi
from tests.support.models import Base

CLIENTS: Final = 100


class Screen(Base):
    """An image with a variant on demand."""

    __tablename__ = "on_demand_screen"
    id: Mapped[int] = mapped_column(primary_key=True)
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField((), UploadedImage, variants={"small": Thumbnail(30, 30, format="WEBP", make="on_demand")})
    )


@pytest.fixture
def depots(place: Place) -> Iterator[dict[str, FileStorage]]:
    """A depot, and a middleware that serves it."""
    with temporary_depots():
        made = {"default": DepotManager.configure("default", place.storage("default"))}
        DepotManager.make_middleware(lambda environ, start_response: [])
        yield made


def add(world: World) -> UploadedImage:
    """Commit a row, and return its image."""
    file = io.BytesIO()
    Image.effect_noise((60, 40), 50).save(file, "PNG")
    with world.session() as session:
        screen = Screen(id=1, image=file.getvalue())
        session.add(screen)
        session.commit()
        assert screen.image is not None
        return screen.image


def delete(world: World) -> None:
    """Delete the row."""
    with world.session() as session:
        session.delete(session.get_one(Screen, 1))
        session.commit()


@on(*KINDS)
def test_a_hundred_requests_make_one_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All get it, or are redirected to it."""
    render, count, gate = images.render, list[None](), threading.Barrier(CLIENTS, timeout=30)

    def counted(*args: Any, **options: Any) -> Any:
        count.append(None)
        return render(*args, **options)

    def request(url: str) -> Any:
        gate.wait()
        return over_wsgi("GET", url, {}, {"proxy": True})

    monkeypatch.setattr(images, "render", counted)
    small = add(world).variants["small"]
    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(request, [small.url] * CLIENTS))
    assert {(status, data) for status, _, data in answers} == {(200, answers[0][2])}
    assert Image.open(io.BytesIO(answers[0][2])).size == (small.width, small.height)
    assert len(count) == 1
    assert world.stored() == {*world.rows(), small.path}
    delete(world)
    world.check()


@on(*REMOTE)
def test_it_costs_what_a_file_costs(world: World, place: Place) -> None:
    """To read it, once it is there; and to delete it no request of its own."""
    assert place.costs is not None
    assert place.counting is not None
    small = add(world).variants["small"]
    small.file.close()
    taken = place.counting(world.depots["default"])
    with small.file as file:
        file.read()
    assert taken() == place.costs.read
    delete(world)
    assert taken() == place.costs.delete
    world.check()
