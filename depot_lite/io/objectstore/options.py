"""The options of an `ObjectStoreStorage`, converted to a store of obstore.

obstore ignores some unknown names, and accepts some options without using them; here both are refused. Values are never
quoted, since any of them may hold a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from obstore import exceptions, parse_scheme
from obstore.store import ObjectStore, from_url

from depot_lite.errors import ConfigurationError
from depot_lite.io.objects.options import known, mapping
from depot_lite.io.objects.silence import Patience
from depot_lite.io.options import boolean

#: Stores with attributes, buckets, credentials and configurations.
CLOUDS: Final = {"s3", "gcs", "azure"}
_RETRIES: Final = {"max_retries", "retry_timeout", "backoff"}
_BACKOFF: Final = {"init_backoff", "max_backoff", "base"}
_SCHEMES: Final = "s3://bucket, gs://bucket, az://container, file:///folder, memory:// or https://server/folder"


#: A year, in seconds.
_NEVER: Final = 366 * 24 * 3600.0


class Stores(NamedTuple):
    """One store with different timeouts."""

    store: ObjectStore
    uploading: ObjectStore
    copying: ObjectStore


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a store: a URL without secrets, and its kind."""

    url: str
    #: s3, gcs, azure, http, local or memory.
    kind: str

    def key(self, prefix: str) -> str:
        """Return the start of keys on the server: the path of the URL and the prefix."""
        parts = urlsplit(self.url)
        path = unquote(parts.path).strip("/")
        if self.kind == "azure" and parts.scheme == "https":
            path = path.partition("/")[2]  # the container
        return f"{path}/{prefix}" if path else prefix

    def location(self, store: ObjectStore, prefix: str) -> Hashable:
        """Return the `FileStorage.location`, equal for storages of the same files, of any class."""
        if self.kind == "memory":
            return None
        if self.kind not in CLOUDS:
            return self.kind, f"{self.url.rstrip('/')}/{prefix}"
        config: Mapping[str, Any] = getattr(store, "config", {})
        bucket = config.get("container_name") or config.get("bucket") or urlsplit(self.url).netloc
        account = (config.get("account_name") or "",) if self.kind == "azure" else ()
        return self.kind, *account, bucket, self.key(prefix)


def address_of(url: object) -> Address:
    """Return the address of a URL.

    Raises:
        ConfigurationError: obstore does not support the URL, or it may hold a secret.
    """
    if not isinstance(url, str) or "://" not in url:
        raise ConfigurationError(f"url: expected {_SCHEMES}")
    try:
        parts, kind = urlsplit(url), parse_scheme(url)
        _ = parts.port
    except (exceptions.BaseError, ValueError):
        raise ConfigurationError(f"url: expected {_SCHEMES}") from None
    # abfss://container@account.dfs.core.windows.net has no user.
    if parts.password is not None or (parts.username is not None and parts.scheme not in {"abfs", "abfss"}):
        raise ConfigurationError("url holds a user name or a password: give them in config or client_options")
    if parts.query or parts.fragment:
        raise ConfigurationError("url has a query or a fragment: give its content, such as a SAS token, in config")
    return Address(url, kind)


def prefix_of(prefix: str | None) -> str:
    """Return the start of all keys: a folder with its slash, or nothing.

    >>> prefix_of("media"), prefix_of("/media/"), prefix_of(None)
    ('media/', 'media/', '')

    Raises:
        ConfigurationError: a part of it is empty, leads upwards, or has characters that stores would change.
    """
    folder = (prefix or "").strip("/")
    if not folder:
        return ""
    fine = folder.isprintable() and folder.isascii() and not set(folder) & set('\\{}^%`[]"<>~#|*?')
    if not fine or any(part in {"", ".", ".."} for part in folder.split("/")):
        raise ConfigurationError(f"prefix={prefix!r}: expected a folder such as 'media/photos'")
    return f"{folder}/"


def stores_of(
    address: Address,
    config: object,
    client_options: object,
    retry_config: object,
    credential_provider: Callable[[], Any] | None,
    mkdir: object,
    patience: Patience,
) -> Stores:
    """Return the stores, without a request.

    Raises:
        ConfigurationError: an option is unknown, or does not apply to this kind of store.
    """
    given: dict[str, Any] = {
        "config": mapping("config", config),
        "client_options": mapping("client_options", client_options),
        "retry_config": _retries(mapping("retry_config", retry_config)),
        "credential_provider": credential_provider,
        "mkdir": boolean("mkdir", mkdir),
    }
    options = {name: value for name, value in given.items() if value}
    if foreign := sorted(set(options) - _options_of_kind(address.kind)):
        raise ConfigurationError(f"{', '.join(foreign)}: no option of a store at {address.url}")
    try:
        return _patient(address, options, patience)
    except exceptions.UnknownConfigurationKeyError:
        unknown = [name for name in options["config"] if not _is_known(address, name)]
        raise ConfigurationError(f"config: unknown {', '.join(map(repr, unknown))} for {address.url}") from None
    except (exceptions.BaseError, ValueError, TypeError, OSError) as error:
        # Without the cause: its text may quote the refused value.
        raise ConfigurationError(f"obstore makes no store for {address.url}: {_complaint(error)}") from None


def _patient(address: Address, options: dict[str, Any], patience: Patience) -> Stores:
    """Return the stores, with timeouts where the caller has set none."""
    if not {"client_options", "retry_config"} <= _options_of_kind(address.kind):
        return Stores(*3 * [_made(address.url, **options)])

    def store(read: float, retry: float) -> ObjectStore:
        # The timeout of a whole request would end large files, however fast they come.
        timeouts = {"timeout": _NEVER, "connect_timeout": patience.connect, "read_timeout": read}
        client = {each: timedelta(seconds=number) for each, number in timeouts.items()}
        return _made(
            address.url,
            **options
            | {
                "client_options": client | options.get("client_options", {}),
                "retry_config": {"retry_timeout": timedelta(seconds=retry)} | options.get("retry_config", {}),
            },
        )

    # An upload has more time for one request, and is not repeated in vain: obstore does not see its bytes move.
    half = patience.timeout / 2
    return Stores(store(patience.read, half), store(half, patience.read), store(patience.copy_timeout, 0))


def _made(url: str, **options: Any) -> ObjectStore:
    # obstore's types have separate options for each kind of store, which a dictionary cannot match.
    make: Any = from_url
    store: ObjectStore = make(url, **options)
    return store


def _options_of_kind(kind: str) -> set[str]:
    if kind in CLOUDS:
        return {"config", "client_options", "retry_config", "credential_provider"}
    return {"http": {"client_options", "retry_config"}, "local": {"mkdir"}}.get(kind, set())


def _is_known(address: Address, name: str) -> bool:
    try:
        _made(address.url, config={name: "0"})
    except exceptions.UnknownConfigurationKeyError:
        return False
    except (exceptions.BaseError, ValueError, TypeError):
        return True
    return True


def _complaint(error: Exception) -> str:
    """Return obstore's complaint, if it is sure to quote no value."""
    text = str(error).partition("\n")[0]
    for harmless in (
        "Account must be specified",
        "Container name must be specified",
        "Missing bucket name",
        "Invalid key",
    ):
        if harmless in text:
            return text
    if "Unable to canonicalize" in text:
        return "there is no such folder; the option mkdir makes it"
    return f"an option is invalid ({type(error).__name__})"


def _retries(given: dict[str, Any]) -> dict[str, Any]:
    """Return obstore's ``retry_config``; times may be seconds."""
    backoff = mapping("retry_config['backoff']", given.get("backoff"))
    for option, found, allowed in (("retry_config", given, _RETRIES), ("retry_config['backoff']", backoff, _BACKOFF)):
        known(option, found, allowed)
    for found in (given, backoff):
        for name in {"retry_timeout", "init_backoff", "max_backoff"} & found.keys():
            if not isinstance(found[name], timedelta):
                found[name] = _duration(name, found[name])
    return {**given, "backoff": backoff} if backoff else {k: v for k, v in given.items() if k != "backoff"}


def _duration(name: str, value: object) -> timedelta:
    try:
        return timedelta(seconds=float(value))  # type: ignore[arg-type]  # whatever was given
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(f"retry_config[{name!r}]: expected a timedelta or a number of seconds") from None
