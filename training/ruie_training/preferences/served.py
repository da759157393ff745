"""Preference by a served model: OpenAI-style completions that return the log-probabilities of the prompt's tokens.

vLLM and SGLang do. Ollama, llama.cpp's server and chat endpoints don't: see ``outcome``.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ruie_components.keywords import KeywordStrategy
from ruie_training.errors import TrainingError
from ruie_training.preferences.scorer import Pair, ScoresMissingError, Shown, alone, prompt_and_answer
from ruie_training.preferences.tokens import AnswerSplitter

if TYPE_CHECKING:
    import httpx

_LATER = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""HTTP status codes that say "later", not "never"."""

_LONGEST_WAIT = 30.0  # seconds


class ServedScorer:
    """The average log-likelihood of the answer's tokens, asked from one or more servers.

    Args:
        urls: Base URLs of servers with the same model, such as ``http://localhost:8000/v1``. All pairs of a
            demonstration go to the same one, whose prefix cache then serves them; a retry goes to the next.
        model: The model's name there.
        tokenizer: The model's fast tokenizer. With it prompts are sent as tokens, split exactly where ``LocalScorer``
            splits them. Without it the server's token texts tell which are the answer's, which fails where a
            character takes several tokens.
        protocol: ``echo`` asks with ``echo`` and ``logprobs``, ``prompt_logprobs`` with vLLM's option of that name.
        api_key: Sent as a bearer token.
        concurrency: Requests under way at a time.
        retries: How often a request is tried again after a transport error or a status that says "later".
        wait: Seconds before the first retry; it doubles each time, up to 30. The server's Retry-After goes first.
        timeout: Seconds that a request may take.
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

    def score(self, pairs: Sequence[Pair]) -> list[float]:
        """The average log-likelihood of each pair's answer, in nats a token; NaN where the server finds it too long.

        Raises:
            ScoresMissingError: Some pairs have no score after all retries; the message says how many and why.
            TrainingError: A server refuses the requests, or returns no log-probabilities of the prompt.
        """
        return self.likelihoods(alone(pairs))

    def likelihoods(self, shown: Sequence[Shown]) -> list[float]:
        """The average log-likelihood of each query's answer after its demonstrations, as ``score``."""
        import httpx

        requests = self._requests(shown)
        state = _State()
        limits = httpx.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        with (
            httpx.Client(headers=self._headers, timeout=self.timeout, limits=limits) as client,
            ThreadPoolExecutor(self.concurrency) as workers,
        ):
            try:
                scores = list(workers.map(lambda request: self._try(client, request, state), requests))
            except BaseException:
                state.stopped = True  # so that a Ctrl-C does not wait for what is still to be asked
                raise
        if state.refused:
            raise state.refused
        if None in scores:
            missing = scores.count(None)
            raise ScoresMissingError(
                f"{missing} of {len(scores)} pairs have no score: {', '.join(self.urls)} failed "
                f"{self.retries + 1} times for a pair, the last time with: {state.last}. Start the server again, ask "
                "less at a time (concurrency) or more often (retries), and run the stage again",
                scores,
            )
        return [score for score in scores if score is not None]

    def _requests(self, shown: Sequence[Shown]) -> list[_Request]:
        written = [prompt_and_answer(one, self.keywords) for one in shown]
        # By what the prompt shows first: a server's prefix cache then serves all prompts that begin so.
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

    def _try(self, client: httpx.Client, request: _Request, state: _State) -> float | None:
        """The score of a pair, None where every try failed or others have shown that it's no use."""
        import httpx

        for attempt in range(self.retries + 1):
            if state.is_hopeless(self.concurrency):
                return None
            url = self.urls[(request.home + attempt) % len(self.urls)]
            pause = min(self.wait * 2**attempt, _LONGEST_WAIT) * random.uniform(0.5, 1)  # noqa: S311  a wait, not a secret
            try:
                response = client.post(f"{url}/completions", json=self._body(request))
                if response.is_success:
                    score = self._read(response.json(), request)
                    state.succeeded()
                    return score
                if response.status_code not in _LATER:
                    return self._refuse(url, response, state)
                state.last = f"status {response.status_code} {response.text[:200]}"
                pause = _retry_after(response) or pause
            except (httpx.TransportError, httpx.DecodingError, ValueError) as error:  # ValueError: a body cut short
                state.last = f"{type(error).__name__}: {error}"
            except TrainingError as error:
                state.refused = error
                return None
            if attempt < self.retries:
                time.sleep(pause)
        state.failed()
        return None

    def _refuse(self, url: str, response: httpx.Response, state: _State) -> float | None:
        said = response.text
        if response.status_code in (400, 413, 422) and "context" in said and ("length" in said or "maximum" in said):
            return float("nan")
        state.refused = TrainingError(
            f"{url} refuses completions of {self.model!r} with status {response.status_code}: {said[:300]}"
        )
        return None

    def _body(self, request: _Request) -> dict[str, Any]:
        asked = {"echo": True, "logprobs": 1} if self.protocol == "echo" else {"prompt_logprobs": 1}
        return {"model": self.model, "prompt": request.prompt, "max_tokens": 1, "temperature": 0, **asked}

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
        if len(answer) < count or any(found is None for found in answer):
            raise TrainingError(f"the server returned {len(likelihoods)} log-probabilities, too few for the answer")
        return float(sum(answer) / count)


@dataclass(frozen=True)
class _Request:
    home: int
    """Which server is asked first."""
    prompt: str | list[int]
    answer: str
    answer_ids: Sequence[int] = ()


@dataclass
class _State:
    """What the threads of one call tell each other."""

    refused: TrainingError | None = None
    last: str = ""
    stopped: bool = False
    _good: int = 0
    _bad: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def succeeded(self) -> None:
        with self._lock:
            self._good += 1

    def failed(self) -> None:
        with self._lock:
            self._bad += 1

    def is_hopeless(self, concurrency: int) -> bool:
        """Whether it's no use to go on: a refusal, or as many pairs given up as there are threads and none scored."""
        return self.stopped or self.refused is not None or (self._good == 0 and self._bad >= concurrency)


def _read_echo(body: Mapping[str, Any], request: _Request) -> tuple[list[str], list[Any]]:
    """Texts and log-probabilities of the prompt's tokens, without what was generated after them."""
    found = body["choices"][0]["logprobs"]
    size = len(request.prompt) if request.answer_ids else body["usage"]["prompt_tokens"]
    return found["tokens"][:size], found["token_logprobs"][:size]


def _read_prompt_logprobs(body: Mapping[str, Any], request: _Request) -> tuple[list[str], list[Any]]:
    tokens, likelihoods = [""], [None]
    rows = body["choices"][0]["prompt_logprobs"][1:]  # nothing foretells the first token
    ids = request.prompt[1:] if request.answer_ids else [None] * len(rows)
    for row, token in zip(rows, ids, strict=True):
        found = row[str(token)] if token is not None else next(iter(row.values()))  # the prompt's own token comes first
        tokens.append(found.get("decoded_token") or "")
        likelihoods.append(found["logprob"])
    return tokens, likelihoods


def _count_answer(tokens: Sequence[str], answer: str) -> int:
    """How many of the last tokens make up the answer; white space is not compared, as some servers leave it out."""
    wanted, found = _bare(answer), ""
    for count, token in enumerate(reversed(tokens), 1):
        found = _bare(token) + found
        if len(found) < len(wanted):
            continue
        if not found.endswith(wanted):
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


def _retry_after(response: httpx.Response) -> float | None:
    try:
        return min(float(response.headers["Retry-After"]), _LONGEST_WAIT)
    except (KeyError, ValueError):
        return None
