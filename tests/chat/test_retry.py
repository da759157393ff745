"""Errors as providers' clients raise them, and what becomes of each."""

import asyncio
import http
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import ollama
import pytest
import requests
from langchain_core import exceptions as langchain_errors

from ruie_components import ChatModelError
from ruie_components.chat import MessageList, as_chat_model, retry

PROMPT = MessageList([("human", "Hello")])
APIConnectionError = type("APIConnectionError", (Exception,), {})


def http_error(status: int, body: str = "", **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://localhost/v1")
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    response = httpx.Response(status, text=body, headers=headers, request=request)
    return httpx.HTTPStatusError(f"status {status} {body}", request=request, response=response)


def requests_error(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"status {status}", response=response)


def with_attributes(message: str = "no", **attributes) -> Exception:
    error = RuntimeError(message)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def aws_error(code: str, status: int) -> Exception:
    """As botocore's ClientError carries it."""
    return with_attributes(response={"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}})


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


class GrpcCode:
    name, value = "UNAVAILABLE", (14, "unavailable")


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("refused"),
        TimeoutError(),
        httpx.ConnectTimeout("far"),
        httpx.ConnectError("refused"),
        requests.ConnectionError("refused"),
        APIConnectionError(),
        ollama.ResponseError("busy", 503),
        ollama.ResponseError("too many", 429),
        http_error(429),
        http_error(529),
        requests_error(503),
        langchain_errors.ModelRateLimitError("slow down"),
        langchain_errors.ModelAPIError("500"),
        langchain_errors.ModelConnectionError("refused"),
        with_attributes(code=http.HTTPStatus.TOO_MANY_REQUESTS),
        with_attributes(code="rate_limit_exceeded"),
        with_attributes(code=429, status="RESOURCE_EXHAUSTED"),
        with_attributes(status="RESOURCE_EXHAUSTED"),
        with_attributes(code=lambda: GrpcCode()),
        with_attributes(http_status=500),
        with_attributes(status="503"),
        aws_error("ThrottlingException", 400),
        aws_error("Unknown", 503),
        caused(ChatModelError("busy"), http_error(503)),
        caused(RuntimeError("wrapped"), http_error(429)),
    ],
    ids=repr,
)
def test_worth_another_request(error):
    assert retry.is_retryable(error)
    assert "failed after 3 attempts" in str(retry.to_chat_model_error(RuntimeErrorLike(error), "m", 2))


def RuntimeErrorLike(error: Exception) -> Exception:  # noqa: N802
    """A ChatModelError is already for people; its cause is what is judged here."""
    return error.__cause__ if isinstance(error, ChatModelError) else error


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadTimeout("silent for the whole timeout"),
        type("APITimeoutError", (APIConnectionError,), {})(),
        langchain_errors.ModelTimeoutError("silent"),
        ollama.ResponseError("no such model", 404),
        ollama.ResponseError("bad request", 400),
        http_error(401),
        http_error(429, '{"error": {"code": "insufficient_quota"}}'),
        with_attributes(status_code=429, code="insufficient_quota"),
        with_attributes(status_code=429, body={"error": {"code": "insufficient_quota"}}),
        caused(langchain_errors.ModelRateLimitError("limit"), with_attributes(code="insufficient_quota")),
        langchain_errors.ModelAuthenticationError("key"),
        aws_error("ValidationException", 400),
        http_error(429, retry_after="3600"),
        with_attributes(code="17"),
        with_attributes(code=7),
        with_attributes(status=True),
        ValueError("a bug"),
        ChatModelError("no such model"),
        None,
    ],
    ids=repr,
)
def test_not_worth_another_request(error):
    assert not retry.is_retryable(error)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (http_error(401), "the server of the chat model 'm' refused the request: HTTPStatusError: status 401"),
        (langchain_errors.ModelAuthenticationError("key"), "refused the request"),
        (with_attributes(status_code=429, code="insufficient_quota"), "has no quota left"),
        (httpx.ReadTimeout("silent"), "the request to the chat model 'm' failed: ReadTimeout: silent"),
        (http_error(429, retry_after="3600"), "the request to the chat model 'm' failed: HTTPStatusError"),
    ],
    ids=repr,
)
def test_the_message_says_what_happened(error, message):
    assert message in str(retry.to_chat_model_error(error, "m", 2))


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a bug"), ChatModelError("already said")], ids=repr)
def test_other_errors_stay_as_they_are(error):
    assert retry.to_chat_model_error(error, "m", 2) is None


@pytest.mark.parametrize(
    ("error", "for_all"),
    [
        (ConnectionError("refused"), True),
        (httpx.ReadTimeout("silent"), True),
        (http_error(401), True),
        (http_error(404), True),
        (with_attributes(code="insufficient_quota"), True),
        (http_error(503), False),
        (http_error(400), False),
        (ValueError("a bug"), False),
    ],
    ids=repr,
)
def test_which_errors_apply_to_every_request(error, for_all):
    assert retry.fails_for_all(error) is for_all


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (http_error(429, retry_after="7"), 7.0),
        (http_error(429, retry_after="0.5"), 0.5),
        (http_error(429, retry_after_ms="250"), 0.25),
        (http_error(429, retry_after="soon"), None),
        (http_error(429, retry_after="-1"), None),
        (http_error(429), None),
        (with_attributes(headers={"Retry-After": "3"}), 3.0),
        (with_attributes(response={"ResponseMetadata": {"HTTPHeaders": {"retry-after": "4"}}}), 4.0),
        (ConnectionError("refused"), None),
    ],
    ids=repr,
)
def test_how_long_the_server_asks_to_wait(error, seconds):
    assert retry.retry_after(error) == seconds


def test_a_date_to_wait_for():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < retry.retry_after(http_error(429, retry_after=later)) <= 30
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    assert retry.retry_after(http_error(429, retry_after=past)) == 0


def failing(error: Exception, times: int):
    calls = []

    def model(messages):
        calls.append(messages)
        if len(calls) <= times:
            raise error
        return "person: Ada"

    return model, calls


@pytest.fixture
def waits(monkeypatch):
    """The seconds that retries waited, without waiting for them."""
    seconds = []

    async def asleep(wait):
        seconds.append(wait)

    monkeypatch.setattr("tenacity.nap.time.sleep", seconds.append)
    monkeypatch.setattr("asyncio.sleep", asleep)
    return seconds


async def test_the_time_that_the_server_asks_for_is_waited(waits):
    model, calls = failing(http_error(429, retry_after="1.5"), 2)
    assert retry.complete(as_chat_model(model), PROMPT).text == "person: Ada"
    assert (len(calls), waits) == (3, [1.5, 1.5])
    model, calls = failing(http_error(429, retry_after="2"), 1)
    assert (await retry.acomplete(as_chat_model(model), PROMPT)).text == "person: Ada"
    assert waits[2:] == [2.0]


async def test_without_it_the_waits_grow_up_to_a_limit(waits):
    model, calls = failing(http_error(503), 99)
    with pytest.raises(ChatModelError, match="failed after 9 attempts"):
        retry.complete(as_chat_model(model), PROMPT, retries=8)
    assert len(calls) == 9
    assert all(0 <= wait <= 20 for wait in waits)


async def test_a_stream_is_begun_again_but_not_continued(waits):
    class Streaming:
        name, settings, constraints = "s", {}, frozenset()
        calls = 0

        def complete(self, prompt, *, constraint=None): ...
        async def acomplete(self, prompt, *, constraint=None): ...

        def stream(self, prompt, *, constraint=None):
            self.calls += 1
            if self.calls < 3:
                raise http_error(503)
            yield as_chat_model(lambda _: "person: ").complete(prompt)
            raise http_error(503)

        async def astream(self, prompt, *, constraint=None):
            for piece in self.stream(prompt):
                yield piece

    model = Streaming()
    pieces = retry.stream(model, PROMPT)
    assert next(pieces).text == "person: "
    with pytest.raises(ChatModelError):
        next(pieces)
    assert model.calls == 3
    model = Streaming()
    with pytest.raises(ChatModelError):
        [piece async for piece in retry.astream(model, PROMPT)]
    assert model.calls == 3


def test_an_interrupt_is_not_repeated():
    model, calls = failing(KeyboardInterrupt(), 1)
    with pytest.raises(KeyboardInterrupt):
        retry.complete(as_chat_model(model), PROMPT)
    assert len(calls) == 1
    assert asyncio.run(as_chat_model(model).acomplete(PROMPT)).text == "person: Ada"


def test_a_stream_that_breaks_off_was_one_attempt():
    model = as_chat_model(lambda _: "person: ")

    def breaks_off(prompt, *, constraint=None):
        yield model.complete(prompt)
        raise http_error(503)

    model.stream = breaks_off
    with pytest.raises(ChatModelError, match="failed after 1 attempt:"):
        list(retry.stream(model, PROMPT))


def test_a_connection_of_an_earlier_event_loop_is_worth_another_request():
    assert retry.is_retryable(RuntimeError("Event loop is closed"))
    assert not retry.is_retryable(RuntimeError("CUDA out of memory"))
