"""LangChain's ChatOllama with a context that fits the prompt, a timeout, and errors that say what to do.

Ollama silently truncates a prompt that is longer than its context, at the front, where the instruction and the
demonstrations are.
"""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import httpx
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_ollama import ChatOllama
from ollama import ResponseError
from pydantic import Field, PrivateAttr, model_validator

from ruie_components.chat.cut_prompts import PromptCutWarning, describe_cut, is_cut, prompt_size
from ruie_components.chat.servers import client_options, ollama_url
from ruie_components.errors import ChatModelError, PromptTooLongError

_SMALLEST_CONTEXT = 4096  # tokens; the server's default on small machines
_OPEN_END = 1024  # tokens reserved for an answer of any length
_LONGEST_TOKEN = 5  # characters, on average over a whole prompt: no tokenizer of a chat model does better
_NO_LIMIT = 2**31


class OllamaChat(ChatOllama):
    """A chat model that an Ollama server runs.

    Key init args:
        model: Its name on the server.
        base_url: The server's address. Default: ``OLLAMA_HOST``, else this machine.
        num_ctx: The size of the context in tokens. By default every call requests a context that fits its prompt and
            answer: a power of two, never smaller than before, because the server reloads the model for another size.
        num_predict: The most tokens of an answer. With ``-1`` (no limit) the context has 1,024 tokens more.
        temperature: Default: 0, the most likely answer.
        timeout: Seconds without any data from the server. Loading a large model takes minutes.

    A prompt with certainly more tokens than the model supports raises a ``PromptTooLongError`` before any request. A
    ``PromptCutWarning`` says that the server counted fewer tokens than the prompt has.
    """

    num_predict: int | None = 1024
    temperature: float | None = 0.0
    timeout: float | None = Field(default=300.0, gt=0)

    _largest_context: int = PrivateAttr(default=_SMALLEST_CONTEXT)
    _limit: int | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _reachable_server(cls, values: dict[str, Any]) -> dict[str, Any]:
        timeout = values.get("timeout", cls.model_fields["timeout"].default)
        url = values.get("base_url") or ollama_url()
        client = {"timeout": timeout, **client_options(url), **(values.get("client_kwargs") or {})}
        # without kept connections: they belong to one event loop, and a program may run several
        limits = {"limits": httpx.Limits(max_keepalive_connections=0), **(values.get("async_client_kwargs") or {})}
        return {**values, "base_url": url, "client_kwargs": client, "async_client_kwargs": limits}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        params = self._chat_params([])
        return {
            **super()._identifying_params,
            **params["options"],
            "think": params["think"],
            "format": params["format"],
        }

    def context_for(self, messages: Sequence[BaseMessage]) -> int:
        """The context size for a prompt, in tokens: the one that is set, or one that fits the prompt and its answer."""
        if self.num_ctx is not None:
            return self.num_ctx
        room = self.num_predict if self.num_predict is not None and self.num_predict > 0 else _OPEN_END
        fitting = 2 ** math.ceil(math.log2(_size(messages) + room))
        self._largest_context = max(self._largest_context, fitting)
        return min(self._largest_context, self._limit or self._largest_context)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._errors_in_words():
            self._ask_for_limit()
            fitted, kwargs = self._fitted(messages, kwargs)
            result = super(OllamaChat, fitted)._generate(messages, stop, run_manager, **kwargs)
        fitted._warn_if_cut(messages, result.generations[0])
        return result

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._errors_in_words():
            await asyncio.to_thread(self._ask_for_limit)
            fitted, kwargs = self._fitted(messages, kwargs)
            result = await super(OllamaChat, fitted)._agenerate(messages, stop, run_manager, **kwargs)
        fitted._warn_if_cut(messages, result.generations[0])
        return result

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with self._errors_in_words():
            self._ask_for_limit()
            fitted, kwargs = self._fitted(messages, kwargs)
            for chunk in super(OllamaChat, fitted)._stream(messages, stop, run_manager, **kwargs):
                fitted._warn_if_cut(messages, chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with self._errors_in_words():
            await asyncio.to_thread(self._ask_for_limit)
            fitted, kwargs = self._fitted(messages, kwargs)
            async for chunk in super(OllamaChat, fitted)._astream(messages, stop, run_manager, **kwargs):
                fitted._warn_if_cut(messages, chunk)
                yield chunk

    def _fitted(self, messages: Sequence[BaseMessage], kwargs: dict[str, Any]) -> tuple[Self, dict[str, Any]]:
        """This model with a context that fits the prompt, and the call's arguments with the same context."""
        self._refuse_if_too_long(messages)
        context = self.context_for(messages)
        if kwargs.get("options") is not None:  # they replace all options of the constructor
            kwargs = {**kwargs, "options": {"num_ctx": context, **kwargs["options"]}}
            context = kwargs["options"]["num_ctx"]
        return self.model_copy(update={"num_ctx": context}), kwargs

    def _ask_for_limit(self) -> None:
        """Ask the server once for the model's longest context; no limit if the server does not know."""
        if self._limit is not None or self.num_ctx is not None:
            return
        shown = self._client.show(self.model)
        known = [size for name, size in (shown.modelinfo or {}).items() if name.endswith(".context_length")]
        self._limit = int(known[0]) if known else _NO_LIMIT

    def _refuse_if_too_long(self, messages: Sequence[BaseMessage]) -> None:
        least = sum(len(str(one.text)) for one in messages) // _LONGEST_TOKEN
        if self._limit is not None and least > self._limit:
            raise PromptTooLongError(
                f"the prompt takes about {_size(messages):,} tokens, and {self.model!r} reads {self._limit:,} at the "
                "most. Split the text into smaller ones, show fewer demonstrations, or set max_tokens."
            )

    def _warn_if_cut(self, messages: Sequence[BaseMessage], generation: ChatGeneration) -> None:
        usage = getattr(generation.message, "usage_metadata", None)
        read = usage["input_tokens"] if usage else 0
        contents = _contents(messages)
        if is_cut(read, contents, context=self.num_ctx):
            told = describe_cut("Ollama", read, contents, "at the front")
            warnings.warn(
                f"{told} The context has {self.num_ctx:,} tokens: raise num_ctx "
                "(and OLLAMA_CONTEXT_LENGTH), show fewer demonstrations, or set max_tokens.",
                PromptCutWarning,
                stacklevel=2,
            )

    @contextmanager
    def _errors_in_words(self) -> Iterator[None]:
        """Turn the client's errors into errors that say what to do."""
        try:
            yield
        except httpx.TimeoutException as error:
            raise ChatModelError(
                f"Ollama at {self.base_url} did not respond within {self.timeout:g} seconds. A large model may take "
                "longer to load: raise timeout, or take a smaller model."
            ) from error
        except (ConnectionError, httpx.TransportError) as error:
            raise ChatModelError(
                f"no Ollama server answers at {self.base_url}: start one with `ollama serve`, or set OLLAMA_HOST to "
                "where it is"
            ) from error
        except ResponseError as error:
            raise ChatModelError(self._refusal(error)) from error

    def _refusal(self, error: ResponseError) -> str:
        if error.status_code == 404:
            return f"Ollama at {self.base_url} has no model {self.model!r}: get it with `ollama pull {self.model}`"
        return f"Ollama at {self.base_url} could not answer with {self.model!r}: {error.error}"


def _contents(messages: Sequence[BaseMessage]) -> list[str]:
    return [str(message.text) for message in messages]


def _size(messages: Sequence[BaseMessage]) -> int:
    """The estimated tokens of a prompt."""
    return prompt_size(_contents(messages))
