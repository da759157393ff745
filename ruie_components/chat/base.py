"""The chat-model protocol: it maps a prompt to a response, whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from ruie_components.prompts import Message


class ModelInput(Protocol):
    """The input of a chat model: the same content as messages and as one string. Every ``Prompt`` is one."""

    @property
    def messages(self) -> list[Message]:
        """``(role, content)`` pairs, for a chat model."""

    @property
    def text(self) -> str:
        """One string, for a base model."""


@dataclass(frozen=True)
class MessageList:
    """Messages from another source than ``build_prompt``, as a chat model's input."""

    messages: list[Message]

    @property
    def text(self) -> str:
        """The messages as one string, as in the paper: an answer follows its block."""
        pieces = [(" " if role == "ai" else "\n\n") + content for role, content in self.messages]
        return "".join(pieces).removeprefix("\n\n")


@dataclass(frozen=True)
class TokenProbability:
    """A generated token and its natural log-probability, with likely alternatives."""

    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Response:
    """A chat model's answer, whole or one piece of a stream.

    Attributes:
        text: The text of the answer or of the piece.
        input_tokens: Tokens of the prompt as the model counted them; ``None`` if unknown.
        output_tokens: Tokens of the answer as the model counted them; ``None`` if unknown.
        truncated: Whether the answer was cut off at the token limit.
        tokens: The generated tokens with their probabilities, if the model returns them.
        seconds: The duration of the request, if the model or a cache has timed it.
    """

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    truncated: bool = False
    tokens: tuple[TokenProbability, ...] = ()
    seconds: float | None = None

    def __add__(self, piece: Response) -> Response:
        """The response so far with the next piece of its stream; counts of tokens add up."""
        return Response(
            self.text + piece.text,
            _sum(self.input_tokens, piece.input_tokens),
            _sum(self.output_tokens, piece.output_tokens),
            self.truncated or piece.truncated,
            self.tokens + piece.tokens,
            _sum(self.seconds, piece.seconds),
        )


_Number = TypeVar("_Number", int, float)


def _sum(count: _Number | None, more: _Number | None) -> _Number | None:
    return (count or 0) + more if more is not None else count


@dataclass(frozen=True)
class Constraint:
    """The constraint on an answer's form.

    Attributes:
        json_schema: A JSON schema of the answer.
        grammar: A GBNF grammar of the answer (llama.cpp's form).
    """

    json_schema: Mapping[str, Any] | None = None
    grammar: str | None = None


@runtime_checkable
class ChatModel(Protocol):
    """A model that completes prompts.

    A model that was tuned for chat reads ``prompt.messages``, a base model ``prompt.text``. It makes one request per
    call; the caller retries. The client's transport errors reach the caller unchanged.
    """

    @property
    def name(self) -> str:
        """The name in messages and reports, such as ``ollama:llama3.1:8b``."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything except the prompt that determines an answer, as JSON values: part of every cache key."""

    @property
    def constraints(self) -> frozenset[str]:
        """The fields of ``Constraint`` that the model supports; others are never passed to it."""

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """Answer a prompt."""

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``complete`` without blocking the event loop."""

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """Answer a prompt in pieces, whose texts join to the whole answer."""

    def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """``stream`` without blocking the event loop."""
