"""Converts the answer of a framework's model to a ``Response``: text, token counts, whether it was truncated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_json

from ruie_components.chat.base import Response, TokenProbability

_END_KEYS = {"donereason", "finishreason", "stopreason", "completionreason", "stoptype", "incompletedetails", "status"}
"""Keys for the reason why an answer ended, by provider, without case and separators."""

_AT_LIMIT = re.compile(r"length|max_?(new_?|output_?|completion_?)?tokens?|context_?window|token_?limit|^limit$", re.I)
"""Their values for the token limit: Ollama, OpenAI and vLLM ``length``, Mistral ``model_length``, Anthropic, Bedrock
and Google ``max_tokens`` in any case, OpenAI's responses ``max_output_tokens``, llama.cpp ``limit``."""

_REFUSED = re.compile(r"filter|safety|refus|blocklist|prohibited|guardrail|recitation|spii", re.I)
"""Their values for an answer that was withheld: OpenAI and Azure, Google, Anthropic, Bedrock."""

_LONGEST_CHARACTER = 4  # bytes in UTF-8
# OpenAI, Anthropic, Google, Ollama
_INPUT_TOKENS = ("prompt_tokens", "input_tokens", "prompt_token_count", "prompt_eval_count")
_CACHED_TOKENS = ("cache_read_input_tokens", "cache_creation_input_tokens")
_OUTPUT_TOKENS = ("completion_tokens", "output_tokens", "candidates_token_count", "eval_count")


def read_response(answer: Any) -> Response:
    """Convert the return value of a model or function to a response.

    Args:
        answer: A string; a message with ``text`` or ``content``, and perhaps ``usage_metadata``,
            ``response_metadata`` and ``tool_calls``; or the answer as an object (a mapping, a list, a data class, a
            pydantic model, as ``with_structured_output`` returns), which becomes JSON.

    Raises:
        TypeError: ``answer`` is something else.
    """
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, Mapping) and answer.keys() == {"raw", "parsed", "parsing_error"}:  # include_raw=True
        raw = read_response(answer["raw"])
        parsed = raw.text if answer["parsed"] is None else read_response(answer["parsed"]).text
        return Response(parsed, raw.input_tokens, raw.output_tokens, raw.truncated)
    if _is_structured(answer):
        return Response(to_json(answer, by_alias=True, serialize_unknown=True).decode())
    usage = getattr(answer, "usage_metadata", None) or {}
    metadata = getattr(answer, "response_metadata", None)
    parts = (text_of(answer), _tool_calls(answer))  # models say "Sure:" before a call
    text = "\n".join(filter(None, parts)) or _refusal(answer, metadata)
    logprobs = as_mapping(as_mapping(metadata).get("logprobs")).get("content")  # OpenAI's protocol
    tokens = token_probabilities(logprobs) if isinstance(logprobs, list) else ()
    return Response(text, usage.get("input_tokens"), usage.get("output_tokens"), is_truncated(metadata), tokens)


class StreamedAnswer:
    """Converts the chunks of a stream. Tool calls and parsed objects, which later chunks complete, come at its end."""

    def __init__(self) -> None:
        self._whole: Any = None
        self._has_text = False

    def add(self, chunk: Any) -> Iterator[Response]:
        """The response of a chunk, if it has any that is complete."""
        if chunk is None:  # a function or structured model without an answer
            return
        if _is_structured(chunk):
            both = isinstance(self._whole, Mapping) and isinstance(chunk, Mapping)
            self._whole = {**self._whole, **chunk} if both else chunk
            return
        if getattr(chunk, "tool_call_chunks", None):
            self._whole = chunk if self._whole is None else self._whole + chunk
        piece = read_response(chunk if isinstance(chunk, str) else _WithoutTools(chunk))
        self._has_text = self._has_text or bool(piece.text)
        yield piece

    def end(self) -> Iterator[Response]:
        """The response of what the chunks completed, if there is any."""
        if self._whole is None:
            return
        text = read_response(self._whole).text if _is_structured(self._whole) else _tool_calls(self._whole)
        if text:
            yield Response(f"\n{text}" if self._has_text else text)


class _WithoutTools:
    """A chunk whose tool calls are still incomplete."""

    tool_calls: Sequence[Any] = ()

    def __init__(self, chunk: Any) -> None:
        self._chunk = chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chunk, name)


def token_probabilities(entries: Sequence[Mapping[str, Any]]) -> tuple[TokenProbability, ...]:
    """The tokens of an answer in OpenAI's protocol, which llama.cpp uses, too.

    Tokens that share one character are joined, with their joint probability.

    Args:
        entries: Objects with ``token``, ``logprob``, and perhaps ``bytes`` and ``top_logprobs``.

    >>> halves = [{"token": "?", "bytes": [195], "logprob": -1}, {"token": "?", "bytes": [169], "logprob": 0}]
    >>> token_probabilities(halves)
    (TokenProbability(text='é', logprob=-1.0, alternatives=()),)
    """
    joined: list[TokenProbability] = []
    pending, logprob = b"", 0.0
    for entry in entries:
        raw = entry.get("bytes")
        pending += bytes(raw) if raw else str(entry["token"]).encode("utf-8", "surrogatepass")
        logprob += float(entry["logprob"])
        try:
            text = pending.decode()
        except UnicodeDecodeError as error:
            if len(pending) < _LONGEST_CHARACTER and error.reason == "unexpected end of data":
                continue
            text = pending.decode("utf-8", "replace")
        likely = entry.get("top_logprobs") or ()
        joined.append(
            TokenProbability(text, logprob, tuple((str(one["token"]), float(one["logprob"])) for one in likely))
        )
        pending, logprob = b"", 0.0
    return tuple(joined)


def text_of(message: Any) -> str:
    """The text of a message or chunk, or the string itself.

    Raises:
        TypeError: Neither.
    """
    if isinstance(message, str):
        return str(message)
    for name in ("text", "content"):
        if isinstance(text := getattr(message, name, None), str):
            return str(text)
    raise TypeError(f"the chat model returned {type(message).__name__}, which has neither .text nor .content")


def is_truncated(metadata: Any) -> bool:
    """Whether a provider's metadata says that the answer ended at the token limit.

    >>> is_truncated({"stopReason": "max_tokens"}), is_truncated({"choices": [{"finish_reason": "stop"}]})
    (True, False)
    """
    return any(_ends_at_limit(key, value) for key, value in _items(metadata))


def usage_in(*sources: Any) -> tuple[int | None, int | None]:
    """The token counts of prompt and answer, from the first source that has them under any provider's keys.

    >>> usage_in({"input_tokens": 7, "cache_read_input_tokens": 900, "output_tokens": 2})
    (907, 2)
    """
    mappings = [as_mapping(source) for source in sources]
    counts = (
        next((_count(mapping, key) for mapping in mappings for key in keys if isinstance(mapping.get(key), int)), None)
        for keys in (_INPUT_TOKENS, _OUTPUT_TOKENS)
    )
    return next(counts), next(counts)


def _count(usage: Mapping[str, Any], key: str) -> int:
    """A count of tokens. Anthropic leaves those in its cache out of ``input_tokens``."""
    others = _CACHED_TOKENS if key == "input_tokens" else ()
    return sum(usage[each] for each in (key, *others) if isinstance(usage.get(each), int))


def _is_structured(answer: Any) -> bool:
    if isinstance(answer, BaseModel):
        return not hasattr(answer, "response_metadata")  # LangChain's messages are pydantic models too
    return isinstance(answer, Mapping | list | tuple) or (is_dataclass(answer) and not hasattr(answer, "text"))


def _tool_calls(message: Any) -> str:
    """A LangChain message's tool calls as a JSON answer."""
    return calls_as_json([(call.get("name"), call.get("args")) for call in getattr(message, "tool_calls", None) or ()])


def calls_as_json(calls: Sequence[tuple[str | None, Any]]) -> str:
    """Tool calls as a JSON answer: the arguments, with the tool's name as type if they are one item.

    Args:
        calls: The name and the arguments of each; arguments that are no mapping, such as unfinished JSON, stay as text.
    """
    items = [_item(name, arguments) for name, arguments in calls]
    if len(items) > 1 and all(isinstance(item, dict) for item in items):
        return json.dumps(items, ensure_ascii=False)
    return "\n".join(item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in items)


def _refusal(answer: Any, metadata: Any) -> str:
    """Why an answer is empty: a refusal, or the filter that withheld it; empty where neither is told."""
    told = [getattr(answer, "additional_kwargs", None), getattr(answer, "content", None)]
    for key, value in _items(told):
        if key == "refusal" and isinstance(value, str) and value:
            return f"[refused] {value}"
    for key, value in _items(metadata):
        reason = str(value.name if isinstance(value, Enum) else value)
        if _is_end(key) and _REFUSED.search(reason):
            return f"[{reason}]"
    return ""


def _item(name: str | None, given: Any) -> dict[str, Any] | str:
    if isinstance(given, str):
        try:
            arguments = json.loads(given) if given.strip() else {}
        except ValueError:
            return given
        if not isinstance(arguments, dict):
            return given
    else:
        arguments = dict(given or {})
    if any(isinstance(value, dict | list) for value in arguments.values()):
        return arguments
    return (
        arguments
        if {"type", "label", "role", "relation", "predicate"} & set(arguments)
        else {
            "type": name,
            **arguments,
        }
    )


def _is_end(key: str) -> bool:
    return re.sub("[^a-z]", "", key.lower()) in _END_KEYS


def _ends_at_limit(key: str, value: Any) -> bool:
    if not _is_end(key):
        return re.sub("[^a-z]", "", key.lower()) == "stoppedlimit" and value is True  # llama.cpp
    key = key.lower()
    if isinstance(value, Enum):
        value = value.name
    if key == "status":
        return bool(value == "incomplete")
    if not isinstance(value, str):  # SGLang: {"type": "length"}; OpenAI: {"reason": "max_output_tokens"}
        told = as_mapping(value)
        value = told.get("type") or told.get("reason")
    return isinstance(value, str) and _AT_LIMIT.search(value) is not None


def _items(metadata: Any, depth: int = 4) -> Iterator[tuple[str, Any]]:
    """The keys and values of a provider's metadata, nested ones too."""
    if isinstance(metadata, list | tuple):
        for value in metadata if depth else ():
            yield from _items(value, depth - 1)
    for key, value in as_mapping(metadata).items():
        yield str(key), value
        if depth:
            yield from _items(value, depth - 1)


def as_mapping(value: Any) -> Mapping[str, Any]:
    """The content of a provider's object (a mapping or pydantic model) as a mapping; empty for other objects."""
    if isinstance(value, BaseModel):
        return dict(value)
    return value if isinstance(value, Mapping) else {}
