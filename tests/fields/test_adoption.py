"""Direct uploads in columns: a token is assigned, and the row owns a file of its own once it is committed."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest
from PIL import Image
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from depot_lite.errors import ImageRefused, InvalidContent, SizeRefused, TypeRefused, ValidationError
from depot_lite.fields.specialized.image import UploadedImage
from depot_lite.fields.sqlalchemy import UploadedFileField
from depot_lite.fields.upload import UploadedFile
from depot_lite.fields.validators import ContentTypes, Size
from depot_lite.images.recipes import Crop
from depot_lite.io.content import FileIntent
from depot_lite.io.interfaces import FileStorage
from depot_lite.manager import DepotManager
from depot_lite.uploads import Upload, adoptable, upload_ticket
from tests.conftest import World, sqlite_engine
from tests.support.async_world import AsyncWorld
from tests.support.models import Account, Album, Document, Movie


@pytest.fixture(autouse=True)
def _signing(depots: dict[str, FileStorage]) -> None:
    DepotManager.configure_signing("a key that is long enough")
    DepotManager.alias("uploads", "default")
    DepotManager.make_middleware(lambda environ, start_response: [])


def upload(token: str) -> Upload:
    found = adoptable(token)
    assert found is not None
    return found


def sent(data: bytes, depot_name: str | None = None, **options: object) -> str:
    """Return the token of a file that was uploaded, as any storage would have it: under a type of the client's."""
    token = upload_ticket(depot_name, **options).token  # type: ignore[arg-type]  # those of upload_ticket
    found = upload(token)
    DepotManager.get(found.depot_name).create(data, found.filename, "text/x-hostile", file_id=found.file_id)
    return token


def test_the_row_owns_a_copy_and_the_upload_is_gone(world: World) -> None:
    token = sent(b"%PDF-1.7 plan", filename="plan.pdf")
    with world.session() as session:
        document = Document(content=token)
        content = document.content
        assert content is not None
        assert (content.pending, content.filename, content.size) == (True, "plan.pdf", None)
        session.add(document)
        session.flush()
        assert (content.pending, content.content_type, content.size) == (False, "application/pdf", 13)
        assert content.path != upload(token).path
        assert upload(token).path in world.stored()
        session.commit()
        assert world.stored() == {content.path}
    world.check(b"%PDF-1.7 plan")


def test_the_name_may_be_given_with_the_token(world: World) -> None:
    with world.session() as session:
        document = Document(content=FileIntent(sent(b"x", filename="a.txt"), "b.txt"))
        session.add(document)
        session.commit()
        assert document.content is not None
        assert document.content.filename == "b.txt"
        nameless = Document(content=sent(b"x"))
        session.add(nameless)
        session.commit()
        assert nameless.content is not None
        assert nameless.content.filename == "unnamed"


def test_after_a_rollback_the_token_works_again(world: World) -> None:
    token = sent(b"x")
    with world.session() as session:
        document = Document(content=token)
        session.add(document)
        session.flush()
        session.rollback()
        assert world.stored() == {upload(token).path}
        session.add(document)  # the value is pending again, and finds the file once more
        session.flush()
        session.rollback()
        session.add(Document(content=token))
        session.commit()
    world.check(b"x")


def test_a_savepoint_that_is_rolled_back_adopts_nothing(world: World) -> None:
    token = sent(b"x")
    with world.session() as session:
        session.add(Document(name="outer"))
        with session.begin_nested() as savepoint:
            session.add(Document(content=token))
            session.flush()
            savepoint.rollback()
        session.commit()
        assert world.stored() == {upload(token).path}
        with session.begin_nested():
            session.add(Document(content=token))
        session.commit()
    world.check(b"x")


def test_a_second_adoption_is_refused(world: World) -> None:
    token = sent(b"x", filename="a.txt")
    with world.session() as session:
        session.add(Document(content=token))
        session.commit()
        session.add(Document(content=token))
        with pytest.raises(
            InvalidContent, match=r"Document\.content: 'a\.txt' was never uploaded, or was adopted already"
        ):
            session.flush()
    world.check(b"x")


def test_what_was_never_uploaded_is_refused(world: World) -> None:
    with world.session() as session:
        session.add(Document(content=upload_ticket().token))
        with pytest.raises(InvalidContent, match="never uploaded"):
            session.commit()
    world.check()


def test_one_token_in_two_attributes_makes_two_files(world: World) -> None:
    """As one file that is assigned twice does: each row owns its own."""
    token = sent(b"x")
    with world.session() as session:
        session.add_all([Document(content=token), Document(content=token)])
        session.flush()
        session.add(Document(content=token))
        session.commit()
    world.check(b"x", b"x", b"x")


def test_a_pending_value_can_be_assigned_to_a_second_attribute(world: World) -> None:
    with world.session() as session:
        first = Document(content=sent(b"x"))
        second = Document(content=first.content, report=first.content)
        session.add_all([first, second])
        session.commit()
        assert second.report is not None
        assert second.report.depot_name == "archive"
    world.check(b"x", b"x", b"x")


def test_a_value_that_copies_one_that_was_rolled_back_adopts_too(world: World) -> None:
    token = sent(b"x")
    with world.session() as session:
        first = Document(content=token)
        session.add(first)
        session.flush()
        copy = Document(content=first.content)
        session.rollback()
        session.add(copy)
        session.commit()
    world.check(b"x")


def test_what_is_replaced_or_deleted_in_the_same_transaction_leaves_nothing(world: World) -> None:
    with world.session() as session:
        document = Document(content=sent(b"x"))
        session.add(document)
        session.flush()
        document.content = b"y"  # type: ignore[assignment]  # whatever can be stored
        other = Document(content=sent(b"z"))
        session.add(other)
        session.flush()
        session.delete(other)
        session.flush()
        rows = session.scalars(select(Document)).all()
        session.commit()
        assert rows == [document]
        assert document.content is not None
        # What no row names any more was not adopted either: both uploads can be, and are swept otherwise.
        assert len(world.stored()) == 3


def test_a_statement_adopts(world: World) -> None:
    token = sent(b"x")
    with world.session() as session:
        session.execute(insert(Document), [{"content": token}])
        session.commit()
    world.check(b"x")


def test_a_statement_that_fails_adopts_nothing(world: World) -> None:
    """Even where the transaction goes on."""
    token = sent(b"x")
    with world.session() as session:
        session.add(Account(code="a"))
        session.commit()
        with pytest.raises(IntegrityError), session.begin_nested():
            session.execute(insert(Account), [{"code": "a", "photo": token}])
        session.commit()
        assert world.stored() == {upload(token).path}


def test_a_flush_that_is_refused_adopts_nothing(world: World) -> None:
    """The transaction goes on, and commits without it."""
    token = sent(b"x")
    with world.session() as session:
        session.add_all([Document(content=token, report=b"y"), Document(content=upload_ticket().token)])
        with pytest.raises(InvalidContent):
            session.flush()
        session.expunge_all()
        session.add(Document(name="another"))
        session.commit()
        assert world.stored() == {upload(token).path}


def test_lists_take_tokens(world: World) -> None:
    with world.session() as session:
        token = sent(b"b")
        movie = Movie(screenshots=[sent(b"a"), token, token])
        movie.screenshots.append(sent(b"c"))  # type: ignore[arg-type]  # whatever can be stored
        session.add(movie)
        session.commit()
        assert [each.size for each in movie.screenshots] == [1, 1, 1, 1]
    world.check(b"a", b"b", b"b", b"c")


def test_filters_and_other_classes_see_the_content(world: World) -> None:
    with world.session() as session:
        album = Album(cover=sent(b"cover"), letter=sent(b"letter"))
        session.add(album)
        session.commit()
    world.check(b"cover", b"cov", b"LETTER", b"signed: letter")


# --- refusals at assignment -------------------------------------------------------------------------------------------


def test_tokens_that_are_not_ours_are_refused_at_once(world: World) -> None:
    token = sent(b"x")
    for other in (token[:-6], token.replace("depot-upload:", "depot-upload:e"), "depot-upload:", "depot-upload:ü.ü"):
        with pytest.raises(InvalidContent, match=r"Document\.content: the token of the upload"):
            Document(content=other)
    with pytest.raises(InvalidContent, match="str cannot be stored"):
        Document(content=token.removeprefix("depot-upload:"))


def test_a_token_that_has_expired_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    past = time.time() - 3661
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: past)
        token = upload_ticket(expires_in=60).token
    with pytest.raises(InvalidContent, match="has expired"):
        Document(content=token)


def test_a_token_for_another_depot_is_refused(world: World) -> None:
    with pytest.raises(InvalidContent, match="expected a token for depot 'default', got one for 'archive'"):
        Document(content=sent(b"x", "archive"))
    with pytest.raises(InvalidContent, match="expected a token for depot 'archive', got one for 'default'"):
        Document(report=sent(b"x"))
    with world.session() as session:
        session.add(Document(content=sent(b"x", "uploads"), report=sent(b"y", "archive")))
        session.commit()


def test_without_keys_a_token_is_no_token(world: World) -> None:
    token = sent(b"x")
    DepotManager._clear()
    DepotManager.configure("default", world.depots["default"])
    with pytest.raises(InvalidContent, match="was not made here"):
        Document(content=token)


# --- refusals at flush ------------------------------------------------------------------------------------------------


class Base(DeclarativeBase):
    pass


class Picture(Base):
    """A column with rules, and one of images."""

    __tablename__ = "picture"
    id: Mapped[int] = mapped_column(primary_key=True)
    scan: Mapped[UploadedFile | None] = mapped_column(
        UploadedFileField(validators=[ContentTypes("image/*"), Size("1 kB")])
    )
    image: Mapped[UploadedImage | None] = mapped_column(
        UploadedFileField(upload_type=UploadedImage, variants={"small": Crop(8, 8)})
    )


@pytest.fixture
def session() -> Iterator[Session]:
    engine: Engine = sqlite_engine(":memory:")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def png(side: int = 16) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), "red").save(file, "PNG")
    return file.getvalue()


def test_validators_see_the_type_of_the_bytes(session: Session, depots: dict[str, FileStorage]) -> None:
    token = sent(b"<script>alert(1)</script>", filename="a.png")
    session.add(Picture(scan=token))
    with pytest.raises(ValidationError) as caught:
        session.commit()
    assert (caught.value.column, caught.value.filename) == ("Picture.scan", "a.png")
    assert [str(each) for each in depots["default"].list()] == [upload(token).file_id]


def test_validators_see_the_size(session: Session, depots: dict[str, FileStorage]) -> None:
    session.add(Picture(scan=sent(png() + bytes(1000))))
    with pytest.raises(SizeRefused, match="Picture"):
        session.commit()
    session.rollback()
    session.add(Picture(scan=sent(png())))
    session.commit()


def test_what_the_ticket_did_not_allow_is_refused(session: Session, depots: dict[str, FileStorage]) -> None:
    """By a storage that did not look, when the file was sent to it."""
    session.add(Picture(image=sent(png(), content_type="image/jpeg")))
    with pytest.raises(TypeRefused, match=r"is of type image/png; image/jpeg was announced"):
        session.flush()
    session.expunge_all()
    session.add(Picture(image=sent(png(), max_size=10)))
    with pytest.raises(SizeRefused, match="at most 10 bytes were announced"):
        session.flush()
    session.expunge_all()
    session.add(Picture(image=sent(b"no image at all", content_type="image/png", filename="a.png")))
    with pytest.raises(TypeRefused, match="is of type text/plain; image/png was announced"):
        session.flush()
    assert len(list(depots["default"].list())) == 3


def test_images_have_their_variants(session: Session, depots: dict[str, FileStorage]) -> None:
    picture = Picture(image=sent(png(), content_type="image/*", filename="a.png"))
    session.add(picture)
    session.commit()
    image = picture.image
    assert image is not None
    assert (image.width, image.content_type, image.variants["small"].width) == (16, "image/png", 8)
    assert sorted(map(str, depots["default"].list())) == sorted([image.file_id, image.variants["small"].file_id])
    session.delete(picture)
    session.commit()
    assert list(depots["default"].list()) == []


def test_what_is_no_image_is_refused(session: Session, depots: dict[str, FileStorage]) -> None:
    token = sent(png()[:20])
    session.add(Picture(image=token))
    with pytest.raises(ImageRefused):
        session.flush()
    assert [str(each) for each in depots["default"].list()] == [upload(token).file_id]


def test_what_is_stored_is_what_was_checked(session: Session, depots: dict[str, FileStorage]) -> None:
    """Who has the ticket may send another file while the first one is looked at."""
    token, data = sent(png()), png()

    def replace(file: object) -> None:
        depots["default"].replace(upload(token).file_id, b"<script>alert(1)</script>", "evil.html", "text/html")

    column = Picture.__table__.c.scan.type
    assert isinstance(column, UploadedFileField)
    column._validators = (*column._validators, replace)
    try:
        picture = Picture(scan=token)
        session.add(picture)
        session.commit()
    finally:
        column._validators = column._validators[:-1]
    assert picture.scan is not None
    with picture.scan.file as file:
        assert (file.read(), file.content_type) == (data, "image/png")


# --- asynchronous -----------------------------------------------------------------------------------------------------


def test_an_async_session_adopts(aworld: AsyncWorld) -> None:
    async def journey(engine: AsyncEngine) -> None:
        token = sent(b"x")
        async with AsyncSession(engine, expire_on_commit=False) as session:
            session.add(Document(content=token))
            await session.flush()
            await session.rollback()
            assert aworld.stored() == {upload(token).path}
            document = Document(content=token)
            session.add(document)
            await session.commit()
            assert document.content is not None
            assert aworld.stored() == {document.content.path}

    aworld.run(journey)
    aworld.check(b"x")
