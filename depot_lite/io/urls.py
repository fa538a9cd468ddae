"""The URLs of a storage: of its files, and of the forms by which browsers upload to it."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from urllib.parse import quote

from depot_lite.io.fileid import check_file_id, id_of
from depot_lite.io.stored import StoredFile


class StorageUrls:
    """The URLs of a `FileStorage`: none, unless it has a public base URL or its backend overrides these methods."""

    #: The address at which another server shows the files, such as a CDN, without a slash at its end.
    _public_base_url: str | None = None

    @cached_property
    def has_urls(self) -> bool:
        """Whether the storage may have URLs of its own: it has a public base URL, or overrides one of the methods."""
        kind = type(self)
        overridden = kind.url is not StorageUrls.url or kind.public_url is not StorageUrls.public_url
        return overridden or self._public_base_url is not None

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        """Return the storage's own URL of a file, or None if the application has to serve it; makes no request."""
        return self._url_at_public_base(id_of(file_or_id))

    def _public_path(self, file_id: str) -> str | None:
        """Return the path of a file below the public base URL; None if there is no such file. Makes no request."""
        return file_id

    def _url_at_public_base(self, file_id: str) -> str | None:
        if self._public_base_url is None or (path := self._public_path(file_id)) is None:
            return None
        # "/" stands between folders; "~" is unreserved (RFC 3986).
        return f"{self._public_base_url}/{quote(path, safe='/~')}"

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

        Makes no request, so that a page may show hundreds; the file need not exist. A URL at a public base URL does not
        expire, and has none of the options.

        Args:
            expires_in: the least time for which the URL is valid, in seconds; the default is the storage's.
            filename: the file name of the download.
            disposition: ``inline`` or ``attachment``.
            content_type: the type to send.

        Raises:
            ConfigurationError: one of the arguments is invalid.
        """
        return self._url_at_public_base(id_of(file_or_id))

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
