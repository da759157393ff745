"""Preference by a served model: OpenAI-style completions that return the log-probabilities of the prompt's tokens.

vLLM and SGLang do. Ollama, llama.cpp's server and chat endpoints don't: see ``outcome``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tenacity import Retrying
from tenacity.wait import wait_random_exponential

from ruie_components.chat.retry import is_retryable, policy
from ruie_components.keywords import KeywordStrategy
from ruie_training.errors import TrainingError
from ruie_training.preferences.scorer import (
    Advance,
    Pair,
    ScoresMissingError,
    Shown,
    alone,
    ignore_progress,
    prompt_and_answer,
)
from ruie_training.preferences.tokens import AnswerSplitter

if TYPE_CHECKING:
    import httpx

_LONGEST_WAIT = 30.0  # seconds before a retry, whatever the server asks for


class ServedScorer:
    """The average log-likelihood of the answer's tokens, from one or more servers.

    Args:
        urls: Base URLs of servers with the same model, such as ``http://localhost:8000/v1``. All pairs of a
            demonstration go to the same one, whose prefix cache then serves them; a retry goes to the next, at once
            where that one has not been tried for the pair.
        model: The model's name on the servers.
        tokenizer: The model's fast tokenizer. With it prompts are sent as tokens, split exactly where ``LocalScorer``
            splits them. Without it the server's token texts determine the answer's tokens, which fails if a character
            takes several tokens.
        protocol: ``echo`` asks with ``echo`` and ``logprobs``, ``prompt_logprobs`` with vLLM's option of that name.
        api_key: Sent as a bearer token.
        concurrency: The number of concurrent requests.
        retries: How often to repeat a request that may succeed later, as ``ruie_components.chat.retry`` decides.
        wait: Seconds, at most, before the first retry; the bound doubles each time, up to 30. A server that sends
            Retry-After is obeyed instead, up to 30 seconds.
        timeout: Seconds that a request may take. A server that stays silent for so long gets no second request for
            the pair; the next server gets it.
        keywords: How annotated spans are tagged in the prompt. See ``prompt_and_answer``.
    """

    kind = "likelihood"

    def __init__(
        self,
        urls: str | Sequence[str],
        model: str,
        *,
        tokenizer: Any = None,
        protocol: Literal["echo", "prompt_logprobs"] = "echo",
        api_key: str | None = None,
        concurrency: int = 16,
        retries: int = 6,
        wait: float = 0.5,
        timeout: float = 120.0,
        keywords: KeywordStrategy | str = KeywordStrategy.NONE,
    ) -> None:
        self.urls = [url.rstrip("/") for url in ([urls] if isinstance(urls, str) else urls)]
        if not self.urls:
            raise ValueError("a served scorer needs at least one URL")
        self.model = model
        self.protocol = protocol
        self.concurrency = concurrency
        self.retries = retries
        self.wait = wait
        self.timeout = timeout
        self.keywords = KeywordStrategy(keywords)
        self._splitter = AnswerSplitter(tokenizer) if tokenizer is not None else None
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    def score(self, pairs: Sequence[Pair], advance: Advance = ignore_progress) -> list[float]:
        """The average log-likelihood of each pair's answer, in nats per token; NaN if it is too long for the server.

        Raises:
            ScoresMissingError: Some pairs have no score after all retries; the message says how many and why.
            TrainingError: A server refuses the requests, or returns no log-probabilities of the prompt.
        """
        return self.likelihoods(alone(pairs), advance)

    def likelihoods(self, shown: Sequence[Shown], advance: Advance = ignore_progress) -> list[float]:
        """The average log-likelihood of each query's answer after its demonstrations, as ``score``."""
        import httpx

        requests = self._requests(shown)
        state = _State(self.concurrency)

        def score(request: _Request) -> float | None:
            value = self._score(client, request, state)
            advance(1)
            return value

        limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        with (
            httpx.Client(headers=self._headers, timeout=self.timeout, limits=limits) as client,
            ThreadPoolExecutor(self.concurrency) as workers,
        ):
            try:
                scores = list(workers.map(score, requests))
            except BaseException:
                state.stopped.set()  # so that a Ctrl-C waits neither for requests that are left nor for retries
                raise
        if state.refused:
            raise state.refused
        if None in scores:
            missing = scores.count(None)
            raise ScoresMissingError(
                f"{missing} of {len(scores)} pairs have no score: {', '.join(self.urls)} failed "
                f"in up to {self.retries + 1} attempts per pair, last with: {state.last}. Restart the server, lower "
                "concurrency or raise retries, and run the stage again",
                scores,
            )
        return [score for score in scores if score is not None]

    def _requests(self, shown: Sequence[Shown]) -> list[_Request]:
        written = [prompt_and_answer(one, self.keywords) for one in shown]
        # By the prompt's first block, so that a server's prefix cache serves all prompts that begin with it.
        first = [demonstrations[-1] if demonstrations else query for demonstrations, query in shown]
        homes = [int(example.content_id[:8], 16) % len(self.urls) for example in first]
        if self._splitter is None:
            return [
                _Request(home, prompt + answer, answer) for home, (prompt, answer) in zip(homes, written, strict=True)
            ]
        split = self._splitter.split(written)
        return [
            _Request(home, tokens, answer, tokens[-count:])
            for home, (_, answer), (tokens, count) in zip(homes, written, split, strict=True)
        ]

    def _score(self, client: httpx.Client, request: _Request, state: _State) -> float | None:
        """The score of a pair; None if every attempt failed, or if earlier failures show that requests are useless."""
        import httpx

        if state.stopped.is_set():
            return None
        backoff = wait_random_exponential(multiplier=self.wait, max=_LONGEST_WAIT)
        options: dict[str, Any] = {"longest_wait": _LONGEST_WAIT, "servers": len(self.urls), "stopped": state.stopped}
        score: float | None = None
        try:
            for i, attempt in enumerate(Retrying(**policy(self.retries, backoff, **options))):
                url = self.urls[(request.home + i) % len(self.urls)]
                with attempt:
                    score = self._read(self._complete(client, url, request), request)
        except CancelledError:
            return None
        except httpx.HTTPStatusError as error:
            return self._give_up(error, state)
        except httpx.RequestError as error:
            state.fail(f"{type(error).__name__}: {error}")
        except TrainingError as error:
            state.refuse(error)
        else:
            state.succeed()
        return score

    def _complete(self, client: httpx.Client, url: str, request: _Request) -> dict[str, Any]:
        import httpx

        response = client.post(f"{url}/completions", json=self._body(request))
        response.raise_for_status()
        try:
            body: dict[str, Any] = response.json()
        except ValueError as error:
            raise httpx.RemoteProtocolError(f"the body is not JSON: {error}") from error
        return body

    def _give_up(self, error: httpx.HTTPStatusError, state: _State) -> float | None:
        status, text = error.response.status_code, error.response.text
        if is_retryable(error, elsewhere=True):
            state.fail(f"status {status} {text[:200]}")
        elif status in (400, 413, 422) and "context" in text and ("length" in text or "maximum" in text):
            return float("nan")
        else:
            state.refuse(
                TrainingError(
                    f"{error.request.url} refuses completions of {self.model!r} with status {status}: {text[:300]}"
                )
            )
        return None

    def _body(self, request: _Request) -> dict[str, Any]:
        options = {"echo": True, "logprobs": 1} if self.protocol == "echo" else {"prompt_logprobs": 1}
        return {"model": self.model, "prompt": request.prompt, "max_tokens": 1, "temperature": 0, **options}

    def _read(self, body: Mapping[str, Any], request: _Request) -> float:
        try:
            read = _read_echo if self.protocol == "echo" else _read_prompt_logprobs
            tokens, likelihoods = read(body, request)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise TrainingError(
                f"the server returns no log-probabilities of the prompt ({self.protocol}): {error!r}. vLLM and SGLang "
                "do; for a chat model use the outcome scorer"
            ) from error
        count = len(request.answer_ids) or _count_answer(tokens, request.answer)
        answer = likelihoods[-count:]
        if len(answer) < count or None in answer:
            raise TrainingError(f"the server returned {len(likelihoods)} log-probabilities, too few for the answer")
        return float(sum(answer) / count)


@dataclass(frozen=True)
class _Request:
    home: int
    """The index of the server that gets the first attempt."""
    prompt: str | list[int]
    answer: str
    answer_ids: Sequence[int] = ()


@dataclass
class _State:
    """The shared state of the threads of one call."""

    concurrency: int
    refused: TrainingError | None = None
    last: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)
    """More attempts are useless or not wanted: a refusal, Ctrl-C, or no score and as many failed pairs as threads."""
    _good: int = 0
    _bad: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def succeed(self) -> None:
        with self._lock:
            self._good += 1

    def fail(self, cause: str) -> None:
        with self._lock:
            self.last = cause
            self._bad += 1
            if self._good == 0 and self._bad >= self.concurrency:
                self.stopped.set()

    def refuse(self, error: TrainingError) -> None:
        self.refused = error
        self.stopped.set()


def _read_echo(body: Mapping[str, Any], request: _Request) -> tuple[list[str], list[Any]]:
    """Texts and log-probabilities of the prompt's tokens, without generated ones."""
    logprobs = body["choices"][0]["logprobs"]
    size = len(request.prompt) if request.answer_ids else body["usage"]["prompt_tokens"]
    return logprobs["tokens"][:size], logprobs["token_logprobs"][:size]


def _read_prompt_logprobs(body: Mapping[str, Any], request: _Request) -> tuple[list[str], list[Any]]:
    tokens, likelihoods = [""], [None]
    rows = body["choices"][0]["prompt_logprobs"][1:]  # the first token has no probability
    ids = request.prompt[1:] if request.answer_ids else [None] * len(rows)
    for row, token in zip(rows, ids, strict=True):
        entry = row[str(token)] if token is not None else next(iter(row.values()))  # the prompt's token comes first
        tokens.append(entry.get("decoded_token") or "")
        likelihoods.append(entry["logprob"])
    return tokens, likelihoods


def _count_answer(tokens: Sequence[str], answer: str) -> int:
    """The number of last tokens that form the answer; white space is ignored, because some servers omit it."""
    wanted, suffix = _bare(answer), ""
    for count, token in enumerate(reversed(tokens), 1):
        suffix = _bare(token) + suffix
        if len(suffix) < len(wanted):
            continue
        if not suffix.endswith(wanted):
            break
        while count < len(tokens) and not _bare(tokens[-count - 1]):
            count += 1  # noqa: PLW2901  a space before the answer, as a token of its own, is the answer's
        return count
    raise TrainingError(
        f"the server's tokens don't add up to the answer {answer!r}: they end with {list(tokens[-8:])}. Give the "
        "scorer the model's tokenizer, so that the prompt is sent as tokens"
    )


def _bare(text: str) -> str:
    return "".join(text.split())
