"""Files on azurite through the middleware: the redirect to a shared access signature, and what becomes of the URL.

And of S3 URLs that obstore signs, on a real server, which refuses wrong signatures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx
import obstore
import pytest

from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.disposition import content_disposition
from depot_lite.io.fileid import new_file_id
from depot_lite.io.objectstore import ObjectStoreStorage
from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots
from tests.io.azurite import ACCOUNT, KEY, Azurite, azurite
from tests.io.s3_server import real_server
from tests.io.serving import DATA, private_depot, serving


@pytest.fixture(scope="module")
def azure() -> Iterator[Azurite]:
    with azurite() as made:
        yield made


@pytest.fixture
def container(azure: Azurite) -> Iterator[str]:
    with azure.container() as name:
        yield name


@pytest.fixture
def storage(azure: Azurite, container: str) -> Iterator[ObjectStoreStorage]:
    """A private depot in a container of its own."""
    storage = azure.storage(container, prefix="our/media")
    with private_depot(storage):
        yield storage


def test_what_cannot_tell_a_name_is_sent_by_the_middleware(azure: Azurite, container: str) -> None:
    """A depot whose own credentials are a shared access signature signs nothing itself."""
    account = azure.storage(container)
    token = urlsplit(str(account.url(new_file_id()))).query
    config = {key: value for key, value in azure.options(container)["config"].items() if key != "account_key"}
    reader = azure.storage(container, config={**config, "sas_key": token})
    file_id = account.create(DATA, "a.png", "image/png")
    assert (reader.url(file_id), reader.has_urls) == (None, False)
    with temporary_depots():
        DepotManager.configure("default", account)
        with serving(proxy=True) as client:
            answer = client.get(f"/depot/default/{file_id}")
            assert (answer.status_code, answer.content == DATA) == (200, True)
            part = client.get(f"/depot/default/{file_id}", headers={"Range": "bytes=-5"})
            assert (part.status_code, part.content) == (206, DATA[-5:])
            tag = {"If-None-Match": answer.headers["etag"]}
            assert client.get(f"/depot/default/{file_id}", headers=tag).status_code == 304


# --- shared access signatures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.partition("?")[0],
        lambda url: url.replace("se=20", "se=21"),
        lambda url: url.replace("inline", "attachment"),
        lambda url: url.replace("sp=r", "sp=rw"),
        lambda url: url.replace("sig=", "sig=A"),
    ],
    ids=["no signature", "longer", "another disposition", "more rights", "another signature"],
)
def test_what_was_not_signed_is_refused(storage: ObjectStoreStorage, change: Callable[[str], str]) -> None:
    url = str(storage.url(storage.create(DATA), filename="a.png", disposition="inline", content_type="image/png"))
    changed = change(url)
    assert changed != url
    assert httpx.get(url, timeout=30).status_code == 200
    assert httpx.get(changed, timeout=30).status_code in {403, 404}


def test_a_url_stays_the_same_for_a_while_and_expires(
    storage: ObjectStoreStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fourth of its expiry, and it works for all of that from whenever it was given."""
    file_id, now = storage.create(DATA), 1_800_000_000 // 900 * 900
    monkeypatch.setattr(time, "time", lambda: now)
    first = storage.url(file_id)
    monkeypatch.setattr(time, "time", lambda: now + 899)
    assert storage.url(file_id) == first
    monkeypatch.setattr(time, "time", lambda: now + 900)
    assert storage.url(file_id) != first
    monkeypatch.undo()
    query = parse_qs(urlsplit(str(first)).query)
    assert (query["st"], query["se"]) == (["2027-01-15T08:00:00Z"], ["2027-01-15T09:15:00Z"])
    past = time.time() - 100
    monkeypatch.setattr(time, "time", lambda: past)
    expired = str(storage.url(file_id, expires_in=40))
    monkeypatch.undo()
    assert httpx.get(expired, timeout=30).status_code == 403


def test_obstore_s_signature_is_ours(azure: Azurite, container: str) -> None:
    """Without a name and a type, for the same object."""
    storage = azure.storage(container, prefix="media")
    file_id = storage.create(b"x")
    theirs = obstore.sign(cast(Any, storage._client.store), "GET", f"media/{file_id}", timedelta(hours=1))
    assert theirs.partition("?")[0] == str(storage.url(file_id)).partition("?")[0]


def test_the_account_s_key_may_be_in_the_environment(
    azure: Azurite, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    storage = azure.storage(container, config={"endpoint": azure.endpoint})
    url = str(storage.url(storage.create(DATA), filename="a.png"))
    assert httpx.get(url, timeout=30).headers["content-disposition"] == 'attachment; filename="a.png"'


def test_urls_may_be_turned_off_and_be_those_of_a_cdn(azure: Azurite, container: str) -> None:
    silent = azure.storage(container, sign_urls="no")
    assert (silent.url(new_file_id()), silent.has_urls) == (None, False)
    public = azure.storage(container, prefix="media", public_base_url="https://cdn.example.com/x/")
    file_id = public.create(b"x")
    assert public.url(file_id) == public.public_url(file_id) == f"https://cdn.example.com/x/media/{file_id}"
    assert public.get(file_id).public_url == public.public_url(file_id)


def test_a_key_that_is_none_is_refused(azure: Azurite, container: str) -> None:
    options = azure.options(container, account_key="&hunter2&")
    with pytest.raises((ConfigurationError, StorageFailed)) as caught:
        ObjectStoreStorage(**options)
    assert "hunter2" not in str(caught.value)


# --- signatures of obstore --------------------------------------------------------------------------------------------


def test_urls_of_s3_stay_the_same_for_a_while_and_tell_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The middleware sends the files that need a name."""
    server = real_server()
    with server.bucket() as bucket:
        keys = {"access_key_id": server.access_key, "secret_access_key": server.secret_key}
        storage = ObjectStoreStorage(
            f"s3://{bucket}/media",
            config={**keys, "endpoint": server.url, "region": "us-east-1"},
            client_options={"allow_http": True},
        )
        data = b"\x89PNG\r\n\x1a\n" + DATA
        file_id = storage.create(data, "a.png", "image/png")
        url = str(storage.url(file_id))
        answer = httpx.get(url, timeout=30)
        assert (answer.content == data, answer.headers["content-type"]) == (True, "image/png")
        assert answer.headers["content-disposition"] == content_disposition("inline", "a.png")
        assert httpx.get(url.replace("Signature=", "Signature=0"), timeout=30).status_code == 403
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["4500"]
        assert storage.url(file_id) == url
        later = time.time() + 1000
        monkeypatch.setattr(time, "time", lambda: later)
        assert storage._urls._remembered.cache_info().misses == 1  # type: ignore[attr-defined]
        storage.url(file_id)
        assert storage._urls._remembered.cache_info().misses == 2  # type: ignore[attr-defined]
        assert storage.url(file_id, filename="b.png") is None
        monkeypatch.undo()
        with temporary_depots():
            DepotManager.configure("default", storage)
            with serving() as client:
                answer = client.get(f"/depot/default/{file_id}")
                assert (answer.status_code, answer.content == data) == (200, True)
