"""The URLs of a storage: of its files, and of the forms by which browsers upload to it."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property

from depot_lite.io.fileid import check_file_id, id_of
from depot_lite.io.stored import StoredFile


class StorageUrls:
    """The URLs of a `FileStorage`: none, unless its backend overrides these methods."""

    @cached_property
    def has_urls(self) -> bool:
        """Whether the storage may have URLs of its own, that is, overrides ``url`` or ``public_url``."""
        kind = type(self)
        return kind.url is not StorageUrls.url or kind.public_url is not StorageUrls.public_url

    def public_url(self, file_or_id: StoredFile | str) -> str | None:
        """Return the storage's own URL of a file, or None if the application has to serve it; makes no request."""
        id_of(file_or_id)
        return None

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

        Makes no request, so that a page may show hundreds; the file need not exist.

        Args:
            expires_in: the least time for which the URL is valid, in seconds; the default is the storage's.
            filename: the file name of the download.
            disposition: ``inline`` or ``attachment``.
            content_type: the type to send.

        Raises:
            ConfigurationError: one of the arguments is invalid.
        """
        id_of(file_or_id)
        return None

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
