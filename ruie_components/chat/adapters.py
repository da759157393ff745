"""Adapts foreign chat models, and only this module knows them: LangChain's, LlamaIndex's, functions, names.

It imports no framework; an object's methods tell where it comes from.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

from ruie_components.chat.base import ChatModel, Constraint, ModelInput, Response
from ruie_components.chat.loading import load_model
from ruie_components.chat.reading import (
    StreamedAnswer,
    as_mapping,
    calls_as_json,
    is_truncated,
    read_response,
    usage_in,
)
from ruie_components.chat.servers import grammar_options
from ruie_components.prompts import Message


class RunnableModel(Protocol):
    """The part of a LangChain chat model, or another Runnable that takes messages, which is called here."""

    def invoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002  LangChain's name
        """Answer messages."""


class MessagesModel(Protocol):
    """The part of a LlamaIndex LLM that is called here."""

    def chat(self, messages: Any, **kwargs: Any) -> Any:
        """Answer messages."""

    async def achat(self, messages: Any, **kwargs: Any) -> Any:
        """Answer messages."""


AnyChatModel: TypeAlias = ChatModel | str | RunnableModel | MessagesModel | Callable[[list[Any]], Any]
"""The arguments of ``as_chat_model``: a ``ChatModel``, a name, a LangChain or LlamaIndex model, or a function."""


def load_chat_model(name: str, **options: Any) -> ChatModel:
    """Load a chat model by its name.

    Args:
        name: ``baseline``, the offline baseline, which only copies from demonstrations; ``ollama:MODEL``, such as
            ``ollama:llama3.1:8b``; ``gguf:PATH``, a file that llama.cpp runs in this process; ``openai:MODEL``, which
            with ``base_url`` is a model on any server that speaks OpenAI's protocol; or ``PROVIDER:MODEL`` with any
            provider that LangChain's ``init_chat_model`` knows.
        options: For Ollama the fields of ``OllamaChat`` (``temperature``, ``num_predict``, ``num_ctx``,
            ``base_url``, ``timeout`` in seconds, ...), for a file those of ``GgufChat``, for others those of the
            provider's LangChain class.

    Raises:
        ValueError: The form of the name is unknown, or an option is unknown or of a wrong type.
        ChatModelError: ``OLLAMA_HOST`` is not an address, or the provider's key is missing.
        ImportError: The package that the model needs is not installed; the message names it.

    >>> load_chat_model("baseline").name
    'baseline'
    """
    return as_chat_model(load_model(name, **options))


def as_chat_model(model: AnyChatModel) -> ChatModel:
    """Adapt any chat model to the protocol of this package.

    Args:
        model: A ``ChatModel``, which is returned as it is; a name that ``load_chat_model`` knows; a LangChain chat
            model, also with ``bind`` or ``with_config``, or another Runnable that takes messages, such as
            ``with_structured_output`` makes; a LlamaIndex LLM; or a function, sync or async, from a list of
            ``(role, content)`` pairs to the answer.

    Raises:
        TypeError: ``model`` is something else.
    """
    if isinstance(model, str):
        return load_chat_model(model)
    if not isinstance(model, type):
        if isinstance(model, ChatModel):
            return model
        if hasattr(model, "invoke"):
            return LangChainModel(model)
        if hasattr(model, "chat") and hasattr(model, "achat"):
            return LlamaIndexModel(model)
        if callable(model):
            return FunctionModel(model)
    given = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
    raise TypeError(
        f"expected a chat model, got {given}: give a name such "
        'as "ollama:llama3.1:8b", a LangChain chat model, a LlamaIndex LLM, or a function from a list of '
        "(role, content) pairs to the answer's text"
    )


class FunctionModel:
    """A function from messages to an answer, sync or async, as a chat model."""

    constraints: frozenset[str] = frozenset()

    def __init__(self, function: Callable[[list[Message]], Any]) -> None:
        self.function = function
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004  an object whose __call__ is async
        )

    def __repr__(self) -> str:
        return f"FunctionModel({self.name})"

    @property
    def name(self) -> str:
        """The function's name."""
        return _first_string(self.function, ("model", "model_name", "__name__")) or type(self.function).__name__

    @property
    def settings(self) -> Mapping[str, Any]:
        """Empty: a function has no known settings."""
        return {}

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """Call the function; an async one in its own event loop."""
        answer = self.function(prompt.messages)
        if inspect.isawaitable(answer):
            with ThreadPoolExecutor(1) as thread:  # this thread may already run a loop
                answer = thread.submit(asyncio.run, _awaited(answer)).result()
        return read_response(answer)

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """Await an async function; call another one in a thread."""
        is_async = self._is_async
        answer = self.function(prompt.messages) if is_async else await asyncio.to_thread(self.function, prompt.messages)
        return read_response(await answer if inspect.isawaitable(answer) else answer)

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """The whole answer as one piece."""
        yield self.complete(prompt)

    async def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """The whole answer as one piece."""
        yield await self.acomplete(prompt)


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


class LangChainModel:
    """A LangChain chat model, or another Runnable from messages to an answer, as a chat model."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._inner = _innermost(model)
        self._classes = _class_names(_bound(model))
        wrapped = getattr(self._inner, "chat_model", None)
        self._wrapped = wrapped if isinstance(wrapped, ChatModel) else None  # made by RUIEChatModel
        self.tells_cut_prompts = "OllamaChat" in self._classes
        """Whether the model itself warns of a prompt that was cut, knowing its context."""

    def __repr__(self) -> str:
        return f"LangChainModel({self.name})"

    @property
    def name(self) -> str:
        """``PROVIDER:MODEL``, as far as the model tells them."""
        if self._wrapped is not None:
            return self._wrapped.name
        named = _first_string(self._inner, ("model", "model_name", "__name__"))
        provider = self._tracing().get("ls_provider")
        if named is None:
            return type(self._inner).__name__
        return f"{provider}:{named}" if provider and not named.startswith(f"{provider}:") else named

    @property
    def settings(self) -> Mapping[str, Any]:
        """The model's own parameters, the server that it is on, and what was bound to it.

        Two servers may call different models by one name, so an answer of one is none of the other.
        """
        bound: dict[str, Any] = {}
        model = self.model
        while hasattr(model, "bound"):
            bound = {**(getattr(model, "kwargs", None) or {}), **bound}
            model = model.bound
        if self._wrapped is not None:
            return _as_json({**self._wrapped.settings, **bound})
        own = dict(getattr(self._inner, "_identifying_params", None) or {})
        server = {"base_url": address} if (address := _address(self._inner)) else {}
        return _as_json({**own, **self._tracing(), **server, **bound})

    @property
    def constraints(self) -> frozenset[str]:
        """A JSON schema for Ollama and for servers that speak OpenAI's protocol; what a wrapped model takes.

        A grammar, too, if such a server has its own address; a request shows whether it takes one.
        """
        if self._wrapped is not None:
            return self._wrapped.constraints
        if self._base_url:
            return frozenset({"json_schema", "grammar"})
        takes_schema = self._classes & {"ChatOllama", "BaseChatOpenAI"}
        return frozenset({"json_schema"}) if takes_schema else frozenset()

    @property
    def _base_url(self) -> str | None:
        """The address of a server with OpenAI's protocol, other than OpenAI itself."""
        url = getattr(self._inner, "openai_api_base", None) if "BaseChatOpenAI" in self._classes else None
        return str(url) if url and "api.openai.com" not in str(url) else None

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``invoke`` the model."""
        return _read(self.model.invoke(prompt.messages, **self._options(constraint)))

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``ainvoke`` the model."""
        if not hasattr(self.model, "ainvoke"):
            return await asyncio.to_thread(self.complete, prompt, constraint=constraint)
        return _read(await self.model.ainvoke(prompt.messages, **self._options(constraint)))

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """``stream`` from the model."""
        if not hasattr(self.model, "stream"):
            yield self.complete(prompt, constraint=constraint)
            return
        rest = StreamedAnswer()
        for chunk in self.model.stream(prompt.messages, **self._options(constraint), **self._stream_options()):
            yield from rest.add(chunk)
        yield from rest.end()

    async def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """``astream`` from the model."""
        if not hasattr(self.model, "astream"):
            yield await self.acomplete(prompt, constraint=constraint)
            return
        rest = StreamedAnswer()
        async for chunk in self.model.astream(prompt.messages, **self._options(constraint), **self._stream_options()):
            for response in rest.add(chunk):
                yield response
        for response in rest.end():
            yield response

    def _options(self, constraint: Constraint | None) -> dict[str, Any]:
        """The arguments of ``invoke`` that constrain an answer."""
        if constraint is None:
            return {}
        if self._wrapped is not None:
            return {"constraint": constraint}
        if constraint.grammar is not None and self._base_url:
            own = getattr(self._inner, "extra_body", None) or {}
            return {"extra_body": {**own, **grammar_options(self._base_url, constraint.grammar)}}
        if constraint.json_schema is None:
            return {}
        if "ChatOllama" in self._classes:
            return {"format": dict(constraint.json_schema)}
        return _openai_schema(constraint.json_schema) if "BaseChatOpenAI" in self._classes else {}

    def _stream_options(self) -> dict[str, Any]:
        """Ask for the usage, which ChatOpenAI does not by itself with another base URL."""
        if "ChatOpenAI" not in self._classes:
            return {}
        was_set = "stream_usage" in getattr(_bound(self.model), "model_fields_set", ())
        return {} if was_set else {"stream_usage": True}

    def _tracing(self) -> dict[str, Any]:
        return dict(self._inner._get_ls_params()) if hasattr(self._inner, "_get_ls_params") else {}


class LlamaIndexModel:
    """A LlamaIndex LLM as a chat model."""

    def __init__(self, llm: Any) -> None:
        self.llm = llm
        self._classes = _class_names(llm)

    def __repr__(self) -> str:
        return f"LlamaIndexModel({self.name})"

    @property
    def name(self) -> str:
        """The name of the LLM's model."""
        return str(self.llm.metadata.model_name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The common parameters of LlamaIndex's LLMs, and the server that the LLM is on."""
        names = ("temperature", "max_tokens", "context_window", "additional_kwargs")
        own = {name: getattr(self.llm, name) for name in names if hasattr(self.llm, name)}
        return _as_json(own | ({"base_url": address} if (address := _address(self.llm)) else {}))

    @property
    def constraints(self) -> frozenset[str]:
        """A JSON schema for the LLMs of Ollama and of OpenAI, and those built on the latter."""
        return frozenset({"json_schema"}) if self._classes & {"Ollama", "OpenAI"} else frozenset()

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``chat`` with the LLM."""
        return self._read(self.llm.chat(_llama_index_messages(prompt.messages), **self._options(constraint)))

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``achat`` with the LLM."""
        return self._read(await self.llm.achat(_llama_index_messages(prompt.messages), **self._options(constraint)))

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """``stream_chat`` with the LLM."""
        pieces = _Deltas()
        for chunk in self.llm.stream_chat(_llama_index_messages(prompt.messages), **self._options(constraint)):
            yield pieces.add(chunk)
        if pieces.last is not None:
            yield self._read(pieces.last, pieces.rest())

    async def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """``astream_chat`` with the LLM."""
        pieces = _Deltas()
        messages = _llama_index_messages(prompt.messages)
        async for chunk in await self.llm.astream_chat(messages, **self._options(constraint)):
            yield pieces.add(chunk)
        if pieces.last is not None:
            yield self._read(pieces.last, pieces.rest())

    def _options(self, constraint: Constraint | None) -> dict[str, Any]:
        if constraint is None or constraint.json_schema is None:
            return {}
        if "Ollama" in self._classes:
            return {"format": dict(constraint.json_schema)}
        return _openai_schema(constraint.json_schema) if "OpenAI" in self._classes else {}

    def _read(self, response: Any, text: str | None = None) -> Response:
        """A response of the LLM; ``text`` is what is left of a streamed one."""
        raw = as_mapping(response.raw)
        usage = usage_in(response.additional_kwargs, raw.get("usage") or raw.get("usage_metadata"), raw)
        if text is None:
            parts = (response.message.content, calls_as_json(_block_calls(response.message)))
            text = "\n".join(filter(None, parts))
        return Response(text, *usage, truncated=is_truncated(raw))


def _block_calls(message: Any) -> list[tuple[str | None, Any]]:
    """The tool calls among a LlamaIndex message's blocks: the name and the arguments of each."""
    blocks = getattr(message, "blocks", None) or ()
    return [
        (block.tool_name, block.tool_kwargs) for block in blocks if getattr(block, "block_type", None) == "tool_call"
    ]


class _Deltas:
    """The pieces of a LlamaIndex stream. Some LLMs leave ``delta`` out and give the whole text so far.

    The text of a structured LLM does not grow at its end: it is given as a whole after the last chunk. So are tool
    calls, of which every chunk has those so far.
    """

    def __init__(self) -> None:
        self.last: Any = None
        self._given = ""
        self._whole = ""  # of the chunk before
        self._is_left_out = False  # a delta of some chunk
        self._calls: list[tuple[str | None, Any]] = []

    def add(self, chunk: Any) -> Response:
        before, self._whole, self.last = self._whole, chunk.message.content or "", chunk
        delta = chunk.delta
        if delta is None:
            self._is_left_out = True
            grows = before and self._whole.startswith(before)
            delta = self._whole[len(self._given) :] if grows else ""
        self._given += delta
        self._calls = _block_calls(chunk.message) or self._calls
        return Response(delta)

    def rest(self) -> str:
        """What the chunks did not give piece by piece."""
        text, calls = self._rest_of_text(), calls_as_json(self._calls)
        return f"{text}\n{calls}" if calls and (self._given or text) else text + calls

    def _rest_of_text(self) -> str:
        if not self._is_left_out:
            return ""  # the content of a chunk may be its delta
        if not self._whole or self._whole.startswith(self._given):
            return self._whole[len(self._given) :]
        return f"\n{self._whole}"


def _read(answer: Any) -> Response:
    return Response("") if answer is None else read_response(answer)  # a structured model that called no tool


def _bound(model: Any) -> Any:
    """The model inside the wrappers of ``bind``, ``with_config`` and ``with_retry``."""
    while hasattr(model, "bound"):
        model = model.bound
    return model


def _innermost(runnable: Any) -> Any:
    """The chat model in a Runnable, for its name and parameters; the Runnable itself if none is visible."""
    model = _bound(runnable)
    if hasattr(model, "_llm_type"):
        return model
    inner = [*getattr(model, "steps", ()), getattr(model, "runnable", None), getattr(model, "default", None)]
    for step in inner:
        if step is not None and hasattr(chat_model := _innermost(step), "_llm_type"):
            return chat_model
    return model


def _address(model: Any) -> str | None:
    """The address of the server that a model was given, without what may be secret: name, password and parameters."""
    url = _first_string(model, ("base_url", "openai_api_base", "api_base"))
    if url is None:
        return None
    scheme = found[0] if (found := re.match(r"[\w+.-]+://", url)) else ""
    server = url[len(scheme) :].rpartition("@")[2]  # before ? and # are searched: a password may have them
    return scheme + re.split("[?#]", server)[0].rstrip("/")


def _class_names(value: Any) -> set[str]:
    return {base.__name__ for base in type(value).__mro__}


def _first_string(value: Any, names: Sequence[str]) -> str | None:
    return next((said for name in names if isinstance(said := getattr(value, name, None), str) and said), None)


def _openai_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    named = {"name": "extraction", "schema": dict(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON values in a fixed order; other values become their type's name."""
    text = json.dumps(settings, sort_keys=True, default=lambda value: type(value).__name__)
    return dict(json.loads(text))


_LLAMA_INDEX_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


def _llama_index_messages(messages: Sequence[Message]) -> list[Any]:
    from llama_index.core.base.llms.types import ChatMessage

    return [ChatMessage(role=_LLAMA_INDEX_ROLES[role], content=content) for role, content in messages]
