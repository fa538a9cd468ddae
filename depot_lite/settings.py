"""Settings of a depot to its storage. Values may be strings, as .ini files and the environment give them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

from depot_lite.errors import ConfigurationError, UnknownBackend
from depot_lite.io.interfaces import FileStorage

_DEFAULT_BACKEND: Final = "depot_lite.io.local.LocalFileStorage"

#: Our backends and the extras that they need, listed in the errors about backends that do not exist.
_BACKENDS: Final[Mapping[str, str | None]] = {
    _DEFAULT_BACKEND: None,
    "depot_lite.io.memory.MemoryFileStorage": None,
    "depot_lite.io.boto3.S3Storage": "s3",
    "depot_lite.io.gcs.GCSStorage": "gcs",
    "depot_lite.io.gridfs.GridFSStorage": "gridfs",
    "depot_lite.io.objectstore.ObjectStoreStorage": "objectstore",
}
#: The extras of the modules that need one, named if a backend's library is missing.
_EXTRAS: Final = {name.rpartition(".")[0]: extra for name, extra in _BACKENDS.items() if extra is not None}

_SECRET_WORDS: Final = ("secret", "password", "passwd", "token", "key", "credential", "auth", "signature")


def build(options: Mapping[str, Any], label: str) -> FileStorage:
    """Return the storage that these options describe, ``backend`` among them; ``label`` names the depot in errors.

    Raises:
        ConfigurationError: an option is unknown, missing or refused by the storage.
        UnknownBackend: the ``backend`` does not lead to a storage class.
    """
    options = dict(options)
    storage_class = _load(options.pop("backend", _DEFAULT_BACKEND), label)
    _check_options(storage_class, options, label)
    try:
        return storage_class(**options)
    except (ValueError, TypeError, ConfigurationError) as error:
        reason, hidden = _without_secrets(str(error), options)
        # A traceback prints the cause as well, so a cause that contains a secret is dropped.
        cause = None if hidden else error
        raise ConfigurationError(f"{label} ({_dotted(storage_class)}): {reason}") from cause


def options_in(config: Mapping[str, Any], prefix: str, label: str) -> dict[str, Any]:
    """Return the settings that begin with the prefix, without it."""
    if not isinstance(config, Mapping):
        raise ConfigurationError(f"{label}: expected a settings dictionary or a storage, got {type(config).__name__}")
    options = {key[len(prefix) :]: value for key, value in config.items() if str(key).startswith(prefix)}
    if config and not options:
        raise ConfigurationError(
            f"{label}: none of the {len(config)} settings begins with {prefix!r}, such as {prefix + 'storage_path'!r}; "
            "pass the prefix of your settings, for example configure(name, config, prefix='')"
        )
    return options


def _load(backend: object, label: str) -> type[FileStorage]:
    """Return the storage class of a ``backend`` setting: the class itself or its dotted name."""
    loaded = _load_by_name(backend, label) if isinstance(backend, str) else backend
    if not (isinstance(loaded, type) and issubclass(loaded, FileStorage)):
        raise UnknownBackend(f"{label}: backend {backend!r} is not a subclass of FileStorage; {_HINT}")
    return loaded


_LISTED: Final = ", ".join(name if extra is None else f"{name} (extra {extra})" for name, extra in _BACKENDS.items())
_HINT: Final = f"expected {_LISTED}, or the dotted name of another subclass of FileStorage"


def _load_by_name(backend: str, label: str) -> object:
    # filedepot's settings keep working.
    dotted = f"depot_lite.io.{backend.removeprefix('depot.io.')}" if backend.startswith("depot.io.") else backend
    dotted = dotted.replace("depot_lite.io.awss3.", "depot_lite.io.boto3.")  # its older class for S3
    module_name, _, class_name = dotted.rpartition(".")
    if not all(part.isidentifier() for part in dotted.split(".")) or not module_name:
        raise UnknownBackend(f"{label}: backend {backend!r} is not the dotted name of a class; {_HINT}")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise UnknownBackend(f"{label}: backend {backend!r}: there is no module {error.name!r}; {_HINT}") from error
        raise _import_failed(module_name, error, label) from error
    if not hasattr(module, class_name):
        raise UnknownBackend(f"{label}: backend {backend!r}: {module_name} has no class {class_name!r}; {_HINT}")
    return getattr(module, class_name)


def _import_failed(module_name: str, error: ImportError, label: str) -> ConfigurationError:
    """Return the error for a backend that exists but cannot import something else."""
    message = f"{label}: importing {module_name} failed: {error}"
    if extra := _EXTRAS.get(module_name):
        message += f"; install its extra: pip install 'depot_lite[{extra}]'"
    return ConfigurationError(message)


def _check_options(storage_class: type[FileStorage], options: Mapping[str, Any], label: str) -> None:
    """Refuse unknown and missing options. The message names them and never shows a value."""
    parameters = inspect.signature(storage_class).parameters.values()
    named = [each for each in parameters if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}]
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    known = [each.name for each in named]
    unknown = [] if takes_any else [each for each in options if each not in known]
    missing = [each.name for each in named if each.default is each.empty and each.name not in options]
    if not unknown and not missing:
        return
    found = [f"unknown option {_quoted(unknown)}"] if unknown else []
    found += [f"option {_quoted(missing)} is missing"] if missing else []
    raise ConfigurationError(
        f"{label} ({_dotted(storage_class)}): {' and '.join(found)}; the options are {_quoted(known) or 'none'}"
    )


def _without_secrets(text: str, options: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the text without the values of secret options, and whether it contained any.

    A storage may quote a refused value, and messages end up in logs. A URL counts as secret: it may contain a password.
    """
    cleaned = text
    for name, value in options.items():
        secret = any(word in name.lower() for word in _SECRET_WORDS) or "://" in str(value)
        if secret and str(value):
            cleaned = cleaned.replace(str(value), f"<{name}>")
    return cleaned, cleaned != text


def _dotted(storage_class: type[FileStorage]) -> str:
    return f"{storage_class.__module__}.{storage_class.__qualname__}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(repr(each) for each in names)
