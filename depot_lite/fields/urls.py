"""URLs of the files of values: the storage's, the public one in the row, or the middleware's."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from depot_lite.depots import Depots, is_absolute
from depot_lite.io.fileid import check_file_id


def url_of(
    depot_name: str,
    file_id: str,
    public_url: str | None = None,
    *,
    expires_in: int | timedelta | None = None,
    download: bool = False,
    filename: str | None = None,
    label: str | None = None,
    absolute: bool = False,
) -> str:
    """Return the storage's URL of a file if it has one, else ``public_url``, else the middleware's.

    The storage's is the lasting one of a public object, unless an option is given or the depot is private; else it is
    signed. With a middleware that is a proxy, the URL is always the middleware's.

    Args:
        public_url: the public URL in the row, if it has one. Ignored if the depot has become private, if any of the
            following is given, if the middleware is a proxy, and if it is neither an address of the web nor a path that
            begins with one slash.
        expires_in: the minimum lifetime, in seconds or as a timedelta.
        download: whether browsers save files of every type instead of showing them.
        filename: the name to save the file under.
        label: the present name of a file that was renamed; used where it needs no signature of its own.
        absolute: whether the URL needs a scheme and a host.

    Raises:
        ConfigurationError: none of the three exists: no middleware serves the files, or none at an absolute URL.
        UnknownDepot: there is no such depot.
    """
    has_options = expires_in is not None or download or filename is not None
    if Depots.hides_storage(depot_name):
        Depots.find(depot_name)
        check_file_id(file_id)
    else:
        lasting = None if has_options else _lasting_url(depot_name, file_id)
        if lasting is not None and (is_absolute(lasting) or not absolute):
            return lasting
        disposition, name = "attachment" if download else None, filename or label
        storage_url = Depots.get(depot_name).url(file_id, expires_in=expires_in, filename=name, disposition=disposition)
        if storage_url is not None and (is_absolute(storage_url) or not absolute):
            return storage_url
        plain = str(public_url)
        if not has_options and names_public_url(depot_name, public_url) and (is_absolute(plain) or not absolute):
            return plain
    path = f"{depot_name}/{file_id}"
    return Depots.url_for(
        path, expires_in=expires_in, download=download, filename=filename, label=label, absolute=absolute
    )


def url_or_none(
    depot_name: str, file_id: str, public_url: str | None = None, *, label: str | None = None
) -> str | None:
    """Return the URL of a file, or None if nothing serves it: neither its storage nor a middleware."""
    if Depots.has_middleware() or names_public_url(depot_name, public_url):
        return url_of(depot_name, file_id, public_url, label=label)
    return _lasting_url(depot_name, file_id) or Depots.get(depot_name).url(file_id, filename=label)


def _lasting_url(depot_name: str, file_id: str) -> str | None:
    """Return the storage's unsigned URL of a public object, None if there is none, or the depot is private."""
    depot = Depots.find(depot_name)
    return None if depot.visibility == "private" else depot.storage.public_url(file_id)


#: Whoever can write to the row may have put ``javascript:`` there. Browsers drop tabs and line breaks, and take a
#: backslash for a slash.
_WEB_ADDRESS: Final = re.compile(r"(?:https?://|/(?!/))[^\s\x00-\x20\x7f\\\ud800-\udfff]*", re.IGNORECASE)


def names_public_url(depot_name: str, public_url: object) -> bool:
    """Return whether the public URL in a row is to be used."""
    is_address = isinstance(public_url, str) and _WEB_ADDRESS.fullmatch(public_url) is not None
    return is_address and Depots.visibility(depot_name) != "private" and not Depots.hides_storage(depot_name)
