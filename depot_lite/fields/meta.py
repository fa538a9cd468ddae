"""Metadata that people give to files, kept under the key ``meta``: any JSON, unless the column declares its names."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Any, Final, Literal, Union, get_args, get_origin

from depot_lite.errors import ConfigurationError, MetaRefused
from depot_lite.fields.frozen import frozen
from depot_lite.focus import FOCUS, point_in

_SIMPLE: Final = (str, int, float, bool, type(None))


def plain_meta(meta: Mapping[Any, Any]) -> dict[str, Any]:
    """Return metadata as JSON keeps it: with lists in place of tuples.

    Raises:
        MetaRefused: it is not a dictionary with text as keys, or JSON cannot keep a value.
    """
    if not hasattr(meta, "items") or any(not isinstance(each, str) for each in meta):
        raise MetaRefused(f"meta: expected a dictionary whose keys are text, got {meta!r}", rule="meta", value=meta)
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(meta), allow_nan=False))
        frozen(plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise MetaRefused(f"meta: expected values that JSON can keep: {error}", rule="meta", value=meta) from error
    return plain


def checked_declaration(declared: Mapping[Any, Any] | None) -> Mapping[str, Any] | None:
    """Return the names and types of a column's metadata.

    Raises:
        ConfigurationError: a name is not text, or a type is none that JSON can keep.
    """
    for name, kind in (declared or {}).items():
        if not isinstance(name, str) or not _is_type(kind):
            raise ConfigurationError(
                f"meta={{{name!r}: {kind!r}}}: expected a name, and str, int, float, bool, Literal, None, "
                "or a list, tuple, dict or union of these"
            )
    return None if declared is None else dict(declared)


def check_meta(declared: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Raise MetaRefused if metadata has a name that is not declared, or a value of another type."""
    for name, value in meta.items():
        if name not in declared:
            names = ", ".join(map(repr, declared)) or "none"
            raise MetaRefused(f"has no metadata {name!r}, allowed: {names}", rule="meta", limit=declared, value=name)
        kind = declared[name]
        if not _fits(value, kind):
            expected = kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else kind
            message = f"has the metadata {name!r}: expected {expected}, got {value!r}"
            raise MetaRefused(message, rule="meta", limit=kind, value=value)


def check_focus(meta: Mapping[str, Any]) -> None:
    """Raise MetaRefused if metadata has a focus that is not a point of the image."""
    if meta.get(FOCUS) is not None and point_in(meta) is None:
        message = f"has the metadata {FOCUS!r}: expected two numbers from 0 to 1, [x, y], got {meta[FOCUS]!r}"
        raise MetaRefused(message, rule="meta", limit="two numbers from 0 to 1", value=meta[FOCUS])


def _is_type(kind: Any) -> bool:
    origin = get_origin(kind)
    if origin is None:
        return kind is None or kind in (*_SIMPLE, list, dict)
    if origin is Literal:
        return all(isinstance(each, _SIMPLE) for each in get_args(kind))
    inner = [each for each in get_args(kind) if each is not Ellipsis]
    if origin is dict and inner[0] is not str:
        return False
    return origin in (list, tuple, dict, Union, types.UnionType) and all(map(_is_type, inner))


def _fits(value: Any, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return any(value == each and type(value) is type(each) for each in inner)
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is list:
        return isinstance(value, list) and all(_fits(each, inner[0]) for each in value)
    if origin is tuple:
        inner = (inner[0],) * len(value) if Ellipsis in inner and isinstance(value, list) else inner
        return isinstance(value, list) and len(value) == len(inner) and all(map(_fits, value, inner))
    if origin is dict:
        return isinstance(value, dict) and all(_fits(each, inner[1]) for each in value.values())
    if kind is None or kind is type(None):
        return value is None
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
