"""How a chat model is asked, whatever it is: messages in, text out, transport errors tried again.

A model is anything with ``invoke(messages)`` (every LangChain chat model), or a function from messages to text.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tenacity import AsyncRetrying, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from ruie_components.errors import ChatModelError
from ruie_components.prompts import Message

_TRANSPORT_ERRORS = {"TransportError", "APIConnectionError", "ClientConnectionError", "ConnectionError", "Timeout"}
"""Base classes by which HTTP clients (httpx, openai, aiohttp, requests) name a failure on the way to the server."""

_NO_ANSWER = {"ReadTimeout", "APITimeoutError", "SocketTimeoutError"}
"""Names of the error that the server was reached, and did not answer in time."""

_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504, 529}
"""HTTP status codes that say "later", not "never"."""

_NEVER_STATUS = {401, 403, 404}
"""HTTP status codes that hold for every request: no right to ask, no such model or server."""

_CUT = ("length", "max_tokens", "MAX_TOKENS", "incomplete")
"""How servers say that an answer ended at its limit of tokens: Ollama and OpenAI, Anthropic, Google, OpenAI again."""

_WAIT = wait_random_exponential(multiplier=0.5, max=20)  # seconds


@dataclass(frozen=True)
class Answer:
    """What a chat model said, and the tokens it counted (``None`` where it doesn't say)."""

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cut: bool = False
    """Whether the model was stopped at its limit of tokens, before it had finished."""


def ask(model: Any, messages: list[Message], *, retries: int = 2, **options: Any) -> Answer:
    """Ask a chat model.

    Args:
        model: Anything with ``invoke(messages, **options)``, or a function from messages to text.
        messages: ``(role, content)`` pairs.
        retries: How often a transport error (no connection, "too many requests", a server error) is tried again,
            after a growing random wait of at most 20 seconds. A server that was silent for the whole time-out is not.
        options: Keyword arguments of ``invoke``. A plain function gets none of them.

    Raises:
        ChatModelError: The transport failed, and every retry too; or the server refused the request.
    """
    try:
        for attempt in Retrying(**retry_policy(retries)):
            with attempt:
                return read_answer(_call(model, messages, options))
    except Exception as error:
        if (said := in_words(error, model, retries)) is None:
            raise
        raise said from error
    raise AssertionError("tenacity ends with a result or an error")


async def aask(model: Any, messages: list[Message], *, retries: int = 2, **options: Any) -> Answer:
    """``ask`` without blocking the loop: by ``ainvoke``, a coroutine function, or else in a thread."""
    try:
        async for attempt in AsyncRetrying(**retry_policy(retries)):
            with attempt:
                return read_answer(await _acall(model, messages, options))
    except Exception as error:
        if (said := in_words(error, model, retries)) is None:
            raise
        raise said from error
    raise AssertionError("tenacity ends with a result or an error")


def _call(model: Any, messages: list[Message], options: dict[str, Any]) -> Any:
    if hasattr(model, "invoke"):
        return model.invoke(messages, **options)
    return model(messages)


async def _acall(model: Any, messages: list[Message], options: dict[str, Any]) -> Any:
    if hasattr(model, "ainvoke"):
        return await model.ainvoke(messages, **options)
    if inspect.iscoroutinefunction(model):
        return await model(messages)
    return await asyncio.to_thread(_call, model, messages, options)


def check_model(model: Any) -> None:
    """Refuse what can't be asked.

    Raises:
        TypeError: Neither ``invoke`` nor callable.
    """
    if not hasattr(model, "invoke") and not callable(model):
        raise TypeError(
            f"{type(model).__name__} is no chat model: give one with invoke(messages), such as a LangChain chat "
            "model, or a function from a list of (role, content) pairs to the answer's text"
        )


def retry_policy(retries: int) -> dict[str, Any]:
    """Arguments of tenacity's ``Retrying``: transport errors only, a growing random wait."""
    return {
        "stop": stop_after_attempt(retries + 1),
        "wait": _WAIT,
        "retry": retry_if_exception(is_worth_another_try),
        "reraise": True,
    }


def is_transport_error(error: BaseException | None) -> bool:
    """Whether the request failed on its way or at a busy server, so that the same request may succeed later."""
    if error is None:
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, ChatModelError):
        return is_transport_error(error.__cause__)
    if not _names(error).isdisjoint(_TRANSPORT_ERRORS):
        return True
    return getattr(error, "status_code", None) in _RETRY_STATUS


def is_worth_another_try(error: BaseException | None) -> bool:
    """Whether the same request is made again: not where a server has kept silent for the whole time-out."""
    cause = error.__cause__ if isinstance(error, ChatModelError) else error
    return is_transport_error(error) and _names(cause).isdisjoint(_NO_ANSWER)


def holds_for_all(error: Exception) -> bool:
    """Whether another request may fare no better: no server, a silent one, no such model, no right to ask it."""
    cause = error.__cause__ if isinstance(error, ChatModelError) else error
    if isinstance(cause, TimeoutError) or not _names(cause).isdisjoint(_TRANSPORT_ERRORS):
        return True
    return getattr(cause, "status_code", None) in _NEVER_STATUS


def _names(error: BaseException | None) -> set[str]:
    return {base.__name__ for base in type(error).__mro__}


def in_words(error: Exception, model: Any, retries: int) -> ChatModelError | None:
    """The error for a person where the server was not reached or refused; ``None`` for any other error."""
    if isinstance(error, ChatModelError):
        return None
    what = f"{type(error).__name__}: {error}"
    if is_transport_error(error):
        tries = f", in {retries + 1} tries" if is_worth_another_try(error) else ""
        return ChatModelError(f"the chat model {model_name(model)!r} could not be asked{tries}: {what}")
    if isinstance(getattr(error, "status_code", None), int):
        return ChatModelError(f"the server of the chat model {model_name(model)!r} refused the request: {what}")
    return None


def read_answer(said: Any) -> Answer:
    """The text, the tokens and the end of what a model returned: a message, or a string.

    Raises:
        TypeError: Neither.
    """
    if isinstance(said, Answer):
        return said
    usage = getattr(said, "usage_metadata", None) or {}
    return Answer(text_of(said), usage.get("input_tokens"), usage.get("output_tokens"), _is_cut(said))


def _is_cut(said: Any) -> bool:
    told = getattr(said, "response_metadata", None) or {}
    return any(told.get(key) in _CUT for key in ("done_reason", "finish_reason", "stop_reason", "status"))


def text_of(said: Any) -> str:
    """The text of a message, of a chunk of one, or a string itself."""
    if isinstance(said, str):
        return said
    for name in ("text", "content"):
        text = getattr(said, name, None)
        if isinstance(text, str):
            return str(text)
    raise TypeError(f"the chat model returned {type(said).__name__}, which has no text: neither .text nor .content")


def model_name(model: Any) -> str:
    """A chat model's name, for people and for telling runs apart."""
    model = _innermost(model)
    for attribute in ("model", "model_name", "__name__"):
        if isinstance(name := getattr(model, attribute, None), str) and name:
            return name
    return type(model).__name__


def model_settings(model: Any) -> dict[str, Any]:
    """What decides a model's answers beside its name, as far as it says so: its own parameters, and bound ones."""
    told: dict[str, Any] = {}
    while hasattr(model, "bound"):  # as in _innermost
        told = {**(getattr(model, "kwargs", None) or {}), **told}
        model = model.bound
    own = dict(getattr(model, "_identifying_params", None) or {})
    if hasattr(model, "_get_ls_params"):
        own |= model._get_ls_params()
    return {**own, **told}


def schema_options(model: Any, schema: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The arguments of ``invoke`` that hold a model to a JSON schema.

    Ollama takes it as ``format``, OpenAI and servers that speak its protocol as ``response_format``. A model of
    another kind may have a method ``schema_options`` of its own. Others get nothing: they have the instruction, and
    what they answer is read all the same.
    """
    if hasattr(_innermost(model), "schema_options"):
        return dict(_innermost(model).schema_options(schema()))
    classes = {base.__name__ for base in type(_innermost(model)).__mro__}
    if "ChatOllama" in classes:
        return {"format": schema()}
    if "BaseChatOpenAI" in classes:
        return openai_schema(schema())
    return {}


def openai_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema as OpenAI's protocol takes it."""
    named = {"name": "extraction", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _innermost(model: Any) -> Any:
    while hasattr(model, "bound"):  # LangChain: model.bind(...), model.with_config(...)
        model = model.bound
    return model
