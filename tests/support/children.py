"""Processes that are forked from the one of the tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

#: How long a child may take, in seconds.
_DEADLINE: Final = 20


def in_child(call: Callable[[], str]) -> str:
    """Return the result of a call in a forked process, or its error; nothing if it hangs."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(_DEADLINE)
        try:
            os.write(write, call().encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as answer:
        text = answer.read().decode()
    os.waitpid(child, 0)
    return text
