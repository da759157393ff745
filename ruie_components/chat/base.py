"""The chat-model protocol: a prompt goes in, a response comes out, whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ruie_components.prompts import Prompt


@dataclass(frozen=True)
class TokenProbability:
    """One generated token and its natural log-probability."""

    text: str
    logprob: float


@dataclass(frozen=True)
class Response:
    """What a chat model answered, whole or one piece of a stream.

    Attributes:
        text: The text of the answer or of the piece.
        input_tokens: Tokens of the prompt as the model counted them; ``None`` where it doesn't say.
        output_tokens: Tokens of the answer as the model counted them; ``None`` where it doesn't say.
        truncated: Whether the model was stopped at its token limit before it had finished.
        tokens: The generated tokens with their probabilities, where the model returns them.
    """

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    truncated: bool = False
    tokens: tuple[TokenProbability, ...] = ()


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

    A chat model reads ``prompt.messages``, a base model ``prompt.text``. It makes one request a call: retries belong to
    the caller. Errors of the transport reach the caller as the client raised them.
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

    def complete(self, prompt: Prompt, *, constraint: Constraint | None = None) -> Response:
        """Answer a prompt."""

    async def acomplete(self, prompt: Prompt, *, constraint: Constraint | None = None) -> Response:
        """``complete`` without blocking the event loop."""

    def stream(self, prompt: Prompt, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """Answer a prompt in pieces; texts of the pieces join to the whole answer."""

    def astream(self, prompt: Prompt, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """``stream`` without blocking the event loop."""
