"""Requests to a chat model with retries: the retryable errors, the waits, and the messages for users.

Providers' errors share no base class, so errors are classified by their HTTP status, code and headers, and by their
class names. No provider's package is imported.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, Retrying, stop_after_attempt
from tenacity.wait import wait_base, wait_random_exponential

from ruie_components.chat.base import ChatModel, Constraint, ModelInput, Response
from ruie_components.errors import ChatModelError, RuieError
from ruie_components.integers import counted

_TRANSPORT_ERRORS = {
    "APIConnectionError",
    "ChunkedEncodingError",
    "ClientConnectionError",
    "ClientPayloadError",
    "ConnectionError",
    "HTTPClientError",
    "ModelConnectionError",
    "ProtocolError",
    "Timeout",
    "TransportError",
    "URLError",
}
"""Classes of connection failures in HTTP clients (httpx, openai, aiohttp, requests, botocore, urllib)."""

_NO_ANSWER = {"APITimeoutError", "ModelTimeoutError", "ReadTimeout", "ReadTimeoutError", "SocketTimeoutError"}
"""Names of the error that a server was reached but did not answer in time."""

_RETRY_STATUS = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""HTTP status codes after which a later request may succeed."""

_NEVER_STATUS = {401, 403, 404}
"""HTTP status codes that hold for every request: no permission, no such model or server."""

_STATUS_OF_CODE = {
    # gRPC and Google
    "aborted": 409,
    "deadlineexceeded": 504,
    "internal": 500,
    "permissiondenied": 403,
    "resourceexhausted": 429,
    "unauthenticated": 401,
    "unavailable": 503,
    # AWS, whose throttling may come with status 400
    "internalserverexception": 500,
    "modelnotreadyexception": 503,
    "provisionedthroughputexceededexception": 429,
    "requestlimitexceeded": 429,
    "serviceunavailableexception": 503,
    "slowdown": 503,
    "throttling": 429,
    "throttlingexception": 429,
    "toomanyrequestsexception": 429,
    # OpenAI, Anthropic
    "overloaded": 529,
    "overloadederror": 529,
    "ratelimiterror": 429,
    "ratelimitexceeded": 429,
    "servererror": 500,
}
"""Textual codes, without case and separators."""

_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance")
"""Codes of an exhausted quota: another request would be refused, even if the status is 429."""

_LONGEST_WAIT = 120.0  # seconds; a server that demands more gets no second request
_BACKOFF: wait_base = wait_random_exponential(multiplier=0.5, max=20)  # seconds


def complete(
    model: ChatModel,
    prompt: ModelInput,
    *,
    constraint: Constraint | None = None,
    retries: int = 2,
    stopped: threading.Event | None = None,
) -> Response:
    """``model.complete`` with retries.

    Args:
        model: The chat model.
        prompt: Its input.
        constraint: The constraint on its answer.
        retries: How often to repeat a request that may succeed later (no connection, a rate limit, a server error):
            after the server's ``Retry-After``, else after a growing random time of at most 20 seconds. A request that
            timed out is not repeated.
        stopped: Ends the wait for another attempt when another thread sets it, as after Ctrl-C.

    Raises:
        ChatModelError: Every request failed, or the server refused it.
        concurrent.futures.CancelledError: ``stopped`` was set before another attempt.
    """
    try:
        return Retrying(**policy(retries, stopped=stopped))(model.complete, prompt, constraint=constraint)
    except Exception as error:
        if (translated := to_chat_model_error(error, model.name, retries)) is None:
            raise
        raise translated from error


async def acomplete(
    model: ChatModel, prompt: ModelInput, *, constraint: Constraint | None = None, retries: int = 2
) -> Response:
    """``complete`` without blocking the event loop."""
    try:
        return await AsyncRetrying(**policy(retries))(model.acomplete, prompt, constraint=constraint)
    except Exception as error:
        if (translated := to_chat_model_error(error, model.name, retries)) is None:
            raise
        raise translated from error


def stream(
    model: ChatModel, prompt: ModelInput, *, constraint: Constraint | None = None, retries: int = 2
) -> Iterator[Response]:
    """``model.stream`` with retries before the first piece; a yielded piece can't be taken back.

    Raises:
        ChatModelError: As ``complete``.
    """

    def begin() -> tuple[Iterator[Response], Response | None]:
        pieces = iter(model.stream(prompt, constraint=constraint))
        return pieces, next(pieces, None)

    begun = False
    try:
        pieces, first = Retrying(**policy(retries))(begin)
        begun = True
        if first is not None:
            yield first
        yield from pieces
    except Exception as error:
        if (translated := to_chat_model_error(error, model.name, 0 if begun else retries)) is None:
            raise
        raise translated from error


async def astream(
    model: ChatModel, prompt: ModelInput, *, constraint: Constraint | None = None, retries: int = 2
) -> AsyncIterator[Response]:
    """``stream`` without blocking the event loop."""

    async def begin() -> tuple[AsyncIterator[Response], Response | None]:
        pieces = aiter(model.astream(prompt, constraint=constraint))
        return pieces, await anext(pieces, None)

    begun = False
    try:
        pieces: AsyncIterator[Response]
        first: Response | None
        pieces, first = await AsyncRetrying(**policy(retries))(begin)
        begun = True
        if first is not None:
            yield first
        async for piece in pieces:
            yield piece
    except Exception as error:
        if (translated := to_chat_model_error(error, model.name, 0 if begun else retries)) is None:
            raise
        raise translated from error


def policy(
    retries: int,
    backoff: wait_base | None = None,
    *,
    longest_wait: float = _LONGEST_WAIT,
    servers: int = 1,
    stopped: threading.Event | None = None,
) -> dict[str, Any]:
    """Arguments of tenacity's ``Retrying`` and ``AsyncRetrying``.

    Args:
        retries: How often a request is repeated.
        backoff: How long to wait if the server does not say.
        longest_wait: The maximum ``Retry-After`` to obey, in seconds.
        servers: The number of servers that get the attempts in turn. An untried one is tried at once, even after
            another timed out.
        stopped: Ends a wait with ``concurrent.futures.CancelledError`` when another thread sets it. Not for asyncio.
    """

    def wait(state: RetryCallState) -> float:
        if state.attempt_number < servers:
            return 0.0
        error = state.outcome.exception() if state.outcome else None
        delay = retry_after(error) if error else None
        return min(delay, longest_wait) if delay is not None else (backoff or _BACKOFF)(state)

    def retry(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return is_retryable(error, elsewhere=state.attempt_number < servers)

    def sleep(seconds: float) -> None:
        if stopped is not None and stopped.wait(seconds):
            raise CancelledError

    return {
        "stop": stop_after_attempt(retries + 1),
        "wait": wait,
        "retry": retry,
        "reraise": True,
        **({"sleep": sleep} if stopped is not None else {}),
    }


def is_retryable(error: BaseException | None, *, elsewhere: bool = False) -> bool:
    """Whether to repeat a request, which may succeed later.

    Not if a quota is exhausted, if the request timed out, or if the server demands a wait of more than two minutes. The
    last two don't matter if the next request goes to another server (``elsewhere``).
    """
    causes = list(_causes(error))
    silent = any(not _names(cause).isdisjoint(_NO_ANSWER) for cause in causes)
    if any(map(_is_over_quota, causes)):
        return False
    if elsewhere and silent:
        return True
    if not elsewhere and (silent or any((retry_after(cause) or 0.0) > _LONGEST_WAIT for cause in causes)):
        return False
    return any(_is_transient(cause) for cause in causes)


def fails_for_all(error: BaseException) -> bool:
    """Whether every other prompt would fail, too: no server, a timeout, no such model, no permission, no quota."""
    return any(
        isinstance(cause, TimeoutError)
        or not _names(cause).isdisjoint(_TRANSPORT_ERRORS | _NO_ANSWER)
        or status_of(cause) in _NEVER_STATUS
        or _is_over_quota(cause)
        for cause in _causes(error)
    )


def to_chat_model_error(error: Exception, name: str, retries: int) -> ChatModelError | None:
    """The user's error for an unreachable server or a refusal; ``None`` for any other error.

    Args:
        error: The error of the request.
        name: The chat model's name.
        retries: The allowed number of repeats.
    """
    if isinstance(error, RuieError):
        return None
    cause = f"{type(error).__name__}: {error}"
    if is_retryable(error):
        attempts = counted(retries + 1, "attempt")
        return ChatModelError(f"the request to the chat model {name!r} failed after {attempts}: {cause}")
    if _is_over_quota(error):
        return ChatModelError(f"the account of the chat model {name!r} has no quota left: {cause}")
    if _is_transient(error) or not _names(error).isdisjoint(_NO_ANSWER):
        return ChatModelError(f"the request to the chat model {name!r} failed: {cause}")
    if status_of(error) is not None or hasattr(error, "is_retryable"):
        return ChatModelError(f"the server of the chat model {name!r} refused the request: {cause}")
    return None


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an error, wherever its client keeps it, or the status that its code implies."""
    response = getattr(error, "response", None)
    values = [getattr(error, name, None) for name in ("status_code", "http_status", "status", "code")]
    if isinstance(response, Mapping):  # botocore; its code goes first: throttling may come with status 400
        values.insert(0, _get(response, "Error", "Code"))
        values.append(_get(response, "ResponseMetadata", "HTTPStatusCode"))
    elif response is not None:
        values += [getattr(response, name, None) for name in ("status_code", "status")]
    return next((status for value in values if (status := _status(value)) is not None), None)


def retry_after(error: BaseException) -> float | None:
    """The server's ``Retry-After`` in seconds; ``None`` if it has none."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        headers = _get(response, "ResponseMetadata", "HTTPHeaders")
    else:
        headers = getattr(response, "headers", None) or getattr(error, "headers", None)
    if not headers or not hasattr(headers, "items"):
        return None
    lower = {str(name).lower(): str(value) for name, value in headers.items()}
    if (milliseconds := _number(lower.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    value = lower.get("retry-after")
    if value is None or (seconds := _number(value)) is not None:
        return seconds if value is not None else None
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes, as far as they may concern a request."""
    for _ in range(8):
        if error is None or (isinstance(error, RuieError) and not isinstance(error, ChatModelError)):
            return
        yield error
        error = error.__cause__


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError) or getattr(error, "is_retryable", None) is True:
        return True
    if isinstance(error, RuntimeError) and str(error) == "Event loop is closed":
        return True  # a kept connection of an earlier event loop, which the client has now dropped
    return not _names(error).isdisjoint(_TRANSPORT_ERRORS) or status_of(error) in _RETRY_STATUS


def _is_over_quota(error: BaseException) -> bool:
    if isinstance(error, RuieError):
        return False
    told = " ".join(str(value) for value in (error, getattr(error, "code", ""), getattr(error, "body", "")))
    return any(code in told or code in _response_text(error) for code in _QUOTA)


def _response_text(error: BaseException) -> str:
    """The body of the response that an error carries; empty where it has none or was not read."""
    try:
        text = getattr(getattr(error, "response", None), "text", "")
    except (RuntimeError, OSError):  # a streamed response of httpx or requests
        return ""
    return text if isinstance(text, str) else ""


def _names(error: BaseException) -> set[str]:
    return {base.__name__ for base in type(error).__mro__}


def _status(value: Any) -> int | None:
    if callable(value):  # gRPC
        value = _called(value)
    name = getattr(value, "name", value)  # enums
    if isinstance(name, str) and (status := _STATUS_OF_CODE.get(_letters(name))) is not None:
        return status
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value)
    return int(value) if isinstance(value, int) and 400 <= value < 600 else None


def _called(value: Callable[[], Any]) -> Any:
    try:
        return value()
    except TypeError:
        return None


def _letters(code: str) -> str:
    return "".join(filter(str.isalpha, code)).lower()


def _get(mapping: Mapping[str, Any], *path: str) -> Any:
    value: Any = mapping
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
