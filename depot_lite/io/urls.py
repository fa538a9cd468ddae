"""The URLs of a storage: of its files, and of the forms by which browsers upload to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from urllib.parse import quote

from depot_lite.errors import ConfigurationError, StorageFailed
from depot_lite.io.fileid import check_file_id, id_of
from depot_lite.io.options import web_address
from depot_lite.io.stored import StoredFile
from depot_lite.signing import DEFAULT_EXPIRY, positive_seconds, rounded

#: Signs a URL: ``signer(url, expires)`` returns it with a signature that is valid until then. The time is in UTC.
UrlSigner = Callable[[str, datetime], str]


class StorageUrls:
    """The URLs of a `FileStorage`: none, unless it has a public base URL or its backend overrides these methods."""

    #: The address at which another server shows the files, such as a CDN, without a slash at its end.
    _public_base_url: str | None = None
    #: Signs the URLs at this address.
    _url_signer: UrlSigner | None = None

    def _publish(self, public_base_url: str | None, url_signer: UrlSigner | None) -> None:
        """Take the options by which another server shows the files.

        Raises:
            ConfigurationError: the base URL is no address, or the signer is not callable, or has no base URL.
        """
        self._public_base_url = web_address("public_base_url", public_base_url)
        if url_signer is not None and not callable(url_signer):
            raise ConfigurationError(f"url_signer: expected a callable, got {type(url_signer).__name__}")
        if url_signer is not None and self._public_base_url is None:
            raise ConfigurationError("url_signer needs a public_base_url, the address that it signs URLs at")
        # The same URL is signed repeatedly while its rounded expiry stays, and RSA is slow.
        self._url_signer = None if url_signer is None else lru_cache(maxsize=1024)(url_signer)

    @cached_property
    def has_urls(self) -> bool:
        """Whether the storage may have URLs of its own: it has a public base URL, or overrides one of the methods."""
        kind = type(self)
        overridden = kind.url is not StorageUrls.url or kind.public_url is not StorageUrls.public_url
        return overridden or self._public_base_url is not None

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        """Return the storage's own URL of a file, or None if the application has to serve it; makes no request."""
        file_id = id_of(file_or_id)
        return self._url_at_public_base(file_id) if self._url_signer is None else None

    def url_for_row(self, file_id: str) -> str | None:
        """Return the public URL that the row of a file keeps, as in filedepot; makes no request.

        None for one at a public base URL that only the configuration makes public: the row would lead there when it has
        gone.
        """
        return None if type(self).public_url is StorageUrls.public_url else self.public_url(file_id)

    def _public_path(self, file_id: str) -> str | None:
        """Return the path of a file below the public base URL; None if there is no such file. Makes no request."""
        return file_id

    def _url_at_public_base(self, file_id: str) -> str | None:
        if self._public_base_url is None or (path := self._public_path(file_id)) is None:
            return None
        # "/" stands between folders; "~" is unreserved (RFC 3986).
        return f"{self._public_base_url}/{quote(path, safe='/~')}"

    def _signed_at_public_base(self, file_id: str, expires_in: int) -> str | None:
        """Return the URL with the signature of the ``url_signer``, if there is one; it stays the same for a while."""
        url = self._url_at_public_base(file_id)
        if url is None or self._url_signer is None:
            return url
        start, expiry = rounded(time.time(), expires_in)
        try:
            return self._url_signer(url, datetime.fromtimestamp(start + expiry, UTC))
        except Exception as error:
            raise StorageFailed(f"cannot sign {url}: the url_signer failed ({type(error).__name__})") from error

    def url(
        self,
        file_or_id: StoredFile | str,
        *,
        expires_in: int | timedelta | None = None,
        filename: str | None = None,
        disposition: str | None = None,
        content_type: str | None = None,
    ) -> str | None:
        """Return a URL by which anyone can download the file from the storage itself, or None if it has no URLs.

        Makes no request, so that a page may show hundreds; the file need not exist. A URL at a public base URL heeds
        none of the options but ``expires_in``, and that if there is a ``url_signer``.

        Args:
            expires_in: the least time for which the URL is valid, in seconds; the default is the storage's.
            filename: the file name of the download.
            disposition: ``inline`` or ``attachment``.
            content_type: the type to send.

        Raises:
            ConfigurationError: one of the arguments is invalid.
            StorageFailed: the URL cannot be signed.
        """
        file_id = id_of(file_or_id)
        return self._signed_at_public_base(file_id, positive_seconds(expires_in, DEFAULT_EXPIRY))

    def upload_form(
        self,
        file_id: str,
        *,
        max_size: int,
        content_type: str | None = None,
        filename: str | None = None,
        expires_in: int = 600,
    ) -> tuple[str, dict[str, str]] | None:
        """Return the form for an upload from a browser to the storage itself: its URL, and its fields in order.

        The result is None if the storage accepts no forms, so that the application has to receive the file. The file is
        the last field, ``file``. The storage refuses files of more than ``max_size`` bytes, and any other id. Makes no
        request.

        Args:
            file_id: the id that the file will have.
            max_size: in bytes.
            content_type: ``image/png``; ``image/*``, with the exact type given by the browser in the field
                ``Content-Type``; or None, to store the file without a type.
            filename: the file name.
            expires_in: how long the form is valid, in seconds.
        """
        return self._upload_form(check_file_id(file_id), max_size, content_type, filename, expires_in)

    def _upload_form(
        self, file_id: str, max_size: int, content_type: str | None, filename: str | None, expires_in: int
    ) -> tuple[str, dict[str, str]] | None:
        """Return the form, for `upload_form`. Backends that receive files from browsers override it."""
        return None
