"""Signed URLs of objects, which stay the same for a while.

obstore signs with the time of the call, and without headers for the answer. For Azure, if the account key is known, a
shared access signature is made here, with headers
(https://learn.microsoft.com/rest/api/storageservices/create-service-sas). Otherwise obstore signs once for each file
and span of time, and this process remembers the URL; a URL with headers is left to the middleware.
"""

from __future__ import annotations

import base64
import hmac
import os
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cached_property, lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from depot_lite.io.objects.options import LONGEST
from depot_lite.io.objectstore.client import StoreClient
from depot_lite.io.objectstore.options import CLOUDS, Address
from depot_lite.signing import rounded

_VERSION: Final = "2022-11-02"
#: How many URLs signed by obstore are remembered.
_REMEMBERED: Final = 4096
#: Variables in which obstore looks for an account's key, unless the options have one.
_KEY_VARIABLES: Final = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY")
_ACCOUNT_VARIABLE: Final = "AZURE_STORAGE_ACCOUNT_NAME"
#: Options with which obstore does not sign with the account's key.
_OTHER_CREDENTIALS: Final = {"sas_key", "token", "client_secret", "federated_token_file", "skip_signature"}
#: Azure's parameters for headers of the answer.
_PARAMETERS: Final = {"response-content-disposition": "rscd", "response-content-type": "rsct"}


class ObjectUrls:
    """The signed URLs of one store's objects."""

    def __init__(self, client: StoreClient, address: Address, *, provided: bool) -> None:
        self._client = client
        config: Mapping[str, Any] = getattr(client.store, "config", {})
        self._account, self._account_key = (
            _account_of(config) if address.kind == "azure" and not provided else ("", b"")
        )
        # A shared access signature cannot sign URLs, and skip_signature needs none.
        self.can_sign: Final = address.kind in CLOUDS and not {"sas_key", "skip_signature"} & config.keys()
        self._remembered: Callable[[str, int, int], str] = lru_cache(_REMEMBERED)(self._ask)

    def signed(self, key: str, expires_in: int, headers: Mapping[str, str]) -> str | None:
        """Return a URL that works for at least ``expires_in`` seconds; None if it cannot have the headers.

        Args:
            headers: the result of `response_headers`.
        """
        if not self.can_sign:
            return None
        start, expiry = rounded(time.time(), expires_in, LONGEST)
        if self._account_key:
            return self._shared_access(key, start, expiry, {_PARAMETERS[name]: text for name, text in headers.items()})
        return None if headers else self._remembered(key, start, expiry)

    def _ask(self, key: str, start: int, expiry: int) -> str:
        return self._client.sign(key, timedelta(seconds=expiry))

    def _shared_access(self, key: str, start: int, expiry: int, headers: Mapping[str, str]) -> str:
        url = self._base + quote(key, safe="/~")
        query = {"sv": _VERSION, "sr": "b", "sp": "r", "st": _time(start), "se": _time(start + expiry), **headers}
        query["sig"] = self._signature(url, query)
        return f"{url}?{urlencode(query, quote_via=quote)}"

    def _signature(self, url: str, query: Mapping[str, str]) -> str:
        path = unquote(urlsplit(url).path)
        # The path of an emulator begins with the account, which is in the host of Azure.
        path = path.removeprefix(f"/{self._account}") if not _is_azure(url) else path
        resource = f"/blob/{self._account}{path}"
        names = ("sv", "sr", "", "", "", "rscd", "", "", "rsct")
        text = [query["sp"], query["st"], query["se"], resource, "", "", "", *(query.get(name, "") for name in names)]
        return base64.b64encode(hmac.digest(self._account_key, "\n".join(text).encode(), "sha256")).decode()

    @cached_property
    def _base(self) -> str:
        """Return the start of all URLs: host and path depend on endpoint, account and container."""
        return self._client.sign("k", timedelta(seconds=60)).partition("?")[0].removesuffix("k")


def _account_of(config: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the account and its key, if obstore signs with the key."""
    name = config.get("account_name") or os.environ.get(_ACCOUNT_VARIABLE, "")
    key = config.get("account_key")
    if key is None and not _OTHER_CREDENTIALS & config.keys():
        key = next((os.environ[each] for each in _KEY_VARIABLES if os.environ.get(each)), None)
    if not name or not key or "credential_type" in config:
        return "", b""
    return name, base64.b64decode(key)


def _is_azure(url: str) -> bool:
    return (urlsplit(url).hostname or "").endswith((".windows.net", ".microsoft.com", ".azure.net"))


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
