"""The errors that this package raises. Each message says what was wrong, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails


class RuieError(Exception):
    """Base class of the errors that this package raises."""


class RowError(RuieError, ValueError):
    """A row of a data file is not a valid example. The message names file, line and field."""


class AnswerError(RuieError, ValueError):
    """A model's answer could not be read. Raised in strict mode only.

    Attributes:
        answer: The model's answer.
    """

    def __init__(self, message: str, answer: str) -> None:
        super().__init__(message)
        self.answer = answer


class PromptTooLongError(RuieError, ValueError):
    """The instruction and the input alone are larger than the token budget."""


class EncoderError(RuieError):
    """An encoder could not be loaded, or gave vectors that can't be used."""


class StoreError(RuieError):
    """A store can't be opened or written: locked, missing, broken, or built with another encoder."""


class ChatModelError(RuieError):
    """The chat model can't be reached or used: no server, no such model, a refusal."""


class AdaptationError(RuieError):
    """An encoder can't be adapted: it can't be trained, or the teacher doesn't fit the pool."""


def explain(error: ValidationError, most: int = 3, *, whole: str = "row: ") -> str:
    """A pydantic error in plain words, field by field; ``whole`` precedes what is wrong with several fields."""
    fields = ((_field(each["loc"]), _message(each)) for each in error.errors()[:most])
    return "; ".join(f"{field}: {message}" if field else f"{whole}{message}" for field, message in fields)


def _field(location: tuple[int | str, ...]) -> str:
    """A path such as ``entities[0].start``; empty for the whole.

    >>> _field(("entities", 0, "start")), _field(())
    ('entities[0].start', '')
    """
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    return name.removeprefix(".")


def _message(error: ErrorDetails) -> str:
    return "unknown key" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
