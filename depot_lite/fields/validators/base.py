"""`Validator`, which each rule subclasses, and what rules hold their own options against."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from depot_lite.errors import ConfigurationError, SeveralRefused, ValidationError
from depot_lite.fields.validators.candidate import Candidate


class Validator(ABC):
    """A rule. One that needs no more than the file may be a function instead."""

    #: Whether it is done last, since it takes long.
    costly: ClassVar[bool] = False
    #: Whether it makes sense only for a column with ``multiple=True``.
    for_lists: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, file: Candidate) -> None:
        """Raise ValidationError if the file breaks the rule, several of them as `SeveralRefused`."""

    def prepare(self, file: Candidate) -> None:
        """Set limits and correct the name, before any validator of the column looks at the file. Refuses nothing."""

    def check_list(self, count: int) -> None:
        """Raise ValidationError if a list must not have so many files. Called for columns with ``multiple=True``."""

    def is_pointless(self, errors: Sequence[ValidationError]) -> bool:
        """Return whether the file need not be looked at any more, after these refusals of other validators."""
        return False


# --- options --------------------------------------------------------------------------------------------------------


def text_of(value: object) -> str:
    """Return a text, "" for what is none."""
    return value if isinstance(value, str) else ""


def all_of(errors: Sequence[ValidationError]) -> ValidationError:
    """Return the one error, or `SeveralRefused` with all of them."""
    return errors[0] if len(errors) == 1 else SeveralRefused(errors)


def one_of(option: str, value: Any, allowed: Sequence[str]) -> Any:
    """Return the value of an option; raise ConfigurationError if it is not allowed."""
    if value not in allowed:
        raise ConfigurationError(f"{option}={value!r}: {' or '.join(map(repr, allowed))} is wanted")
    return value


def positive(option: str, value: object, kind: type[int | float] = int) -> None:
    """Raise ConfigurationError if an option is neither None nor a number above 0."""
    kinds = (int, float) if kind is float else (int,)
    if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or not value > 0):
        wanted = "a positive number" if kind is float else "a positive whole number"
        raise ConfigurationError(f"{option}={value!r}: {wanted} is wanted")
