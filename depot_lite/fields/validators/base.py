"""`Validator`, the base class of rules, and checks of their options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from depot_lite.errors import ConfigurationError, SeveralRefused, ValidationError
from depot_lite.fields.validators.candidate import Candidate


class Validator(ABC):
    """A rule for files. A rule without options may be a plain function instead."""

    #: Whether it takes long, and so is called last.
    costly: ClassVar[bool] = False
    #: Whether it requires a column with ``multiple=True``.
    for_lists: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, file: Candidate) -> None:
        """Raise ValidationError if the file breaks the rule; `SeveralRefused` for several errors."""

    def prepare(self, file: Candidate) -> None:
        """Set limits and correct the name, before any validator of the column is called. Must not refuse the file."""

    def check_list(self, count: int) -> None:
        """Raise ValidationError if a list has too many or too few files. Called for columns with ``multiple=True``."""

    def is_pointless(self, errors: Sequence[ValidationError]) -> bool:
        """Return whether to skip this validator, given the errors of the validators before it."""
        return False


# --- options --------------------------------------------------------------------------------------------------------


def text_of(value: object) -> str:
    """Return a string as it is, and ``""`` for anything else."""
    return value if isinstance(value, str) else ""


def all_of(errors: Sequence[ValidationError]) -> ValidationError:
    """Return a single error as it is, several as `SeveralRefused`."""
    return errors[0] if len(errors) == 1 else SeveralRefused(errors)


def one_of(option: str, value: Any, allowed: Sequence[str]) -> Any:
    """Return the value of an option; raise ConfigurationError if it is not allowed."""
    if value not in allowed:
        raise ConfigurationError(f"{option}={value!r}: expected {' or '.join(map(repr, allowed))}")
    return value


def positive(option: str, value: object, kind: type[int | float] = int) -> None:
    """Raise ConfigurationError if an option is neither None nor a number above 0."""
    kinds = (int, float) if kind is float else (int,)
    if value is not None and (isinstance(value, bool) or not isinstance(value, kinds) or not value > 0):
        expected = "a positive number" if kind is float else "a positive whole number"
        raise ConfigurationError(f"{option}={value!r}: expected {expected}")
