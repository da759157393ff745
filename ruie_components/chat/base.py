"""The chat-model protocol: a prompt goes in, a response comes out, whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from ruie_components.prompts import Message


class ModelInput(Protocol):
    """What a chat model reads: the same content as messages and as one string. Every ``Prompt`` is one."""

    @property
    def messages(self) -> list[Message]:
        """``(role, content)`` pairs, for a chat model."""

    @property
    def text(self) -> str:
        """One string, for a base model."""


@dataclass(frozen=True)
class MessageList:
    """Messages that come from elsewhere than ``build_prompt``, as a chat model's input."""

    messages: list[Message]

    @property
    def text(self) -> str:
        """The messages as one string in the paper's way: an answer follows the block that it answers."""
        pieces = [(" " if role == "ai" else "\n\n") + content for role, content in self.messages]
        return "".join(pieces).removeprefix("\n\n")


@dataclass(frozen=True)
class TokenProbability:
    """One generated token, its natural log-probability, and other likely tokens in its place with theirs."""

    text: str
    logprob: float
    alternatives: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Response:
    """What a chat model answered, whole or one piece of a stream.

    Attributes:
        text: The text of the answer or of the piece.
        input_tokens: Tokens of the prompt as the model counted them; ``None`` where it doesn't say.
        output_tokens: Tokens of the answer as the model counted them; ``None`` where it doesn't say.
        truncated: Whether the model was stopped at its token limit before it had finished.
        tokens: The generated tokens with their probabilities, where the model returns them.
        seconds: Of the request, where the model or a cache has timed it.
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
    """What an answer is held to.

    Attributes:
        json_schema: A JSON schema of the answer.
        grammar: A GBNF grammar of the answer (llama.cpp's form).
    """

    json_schema: Mapping[str, Any] | None = None
    grammar: str | None = None


@runtime_checkable
class ChatModel(Protocol):
    """A model that completes prompts.

    A model that was tuned for chat reads ``prompt.messages``, a base model ``prompt.text``. It makes one request a
    call: retries belong to the caller. Errors of the transport reach the caller as the client raised them.
    """

    @property
    def name(self) -> str:
        """For people and for telling runs apart, such as ``ollama:llama3.1:8b``."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything beside the prompt that decides an answer, as JSON values: part of every cache key."""

    @property
    def constraints(self) -> frozenset[str]:
        """The fields of ``Constraint`` that the model takes. Others are never passed to it."""

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """Answer a prompt."""

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``complete`` without blocking the event loop."""

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """Answer a prompt in pieces; texts of the pieces join to the whole answer."""

    def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """``stream`` without blocking the event loop."""
