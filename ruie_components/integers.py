"""Whole numbers: those that callers give as arguments, and those in messages."""

from __future__ import annotations

import operator
from typing import Any


def whole_number(name: str, value: Any, least: int) -> int:
    """An argument as an ``int``: any integer is taken, numpy's too, but no truth value.

    Args:
        name: The argument's name, for the message.
        value: The argument.
        least: The smallest valid number.

    Raises:
        ValueError: It is not an integer, or too small.

    >>> whole_number("k", 4, least=0)
    4
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    return number


def counted(number: int, thing: str) -> str:
    """A number of things, for a message.

    >>> counted(1, "text"), counted(2000, "text")
    ('1 text', '2,000 texts')
    """
    return f"{number:,} {thing}{'s' * (number != 1)}"
