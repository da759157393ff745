"""Servers of chat models: addresses, availability and served models."""

from __future__ import annotations

import ipaddress
import os
from typing import Any
from urllib.parse import urlsplit

from ruie_components.errors import ChatModelError
from ruie_components.hosts import is_loopback

_OLLAMA_PORT = 11434
_TIMEOUT = 2.0  # seconds: a server on this machine answers in milliseconds


def ollama_url(host: str | None = None) -> str:
    """The address of an Ollama server.

    Args:
        host: As in ``OLLAMA_HOST``, which is the default: an address, a host, a port, or a host and a port. A server
            that listens on all addresses (0.0.0.0) is reached at this machine's loopback address.

    Raises:
        ChatModelError: It is not an address.

    >>> ollama_url("0.0.0.0"), ollama_url(":8080"), ollama_url("https://llm.example")
    ('http://127.0.0.1:11434', 'http://127.0.0.1:8080', 'https://llm.example:443')
    """
    host = (host or os.environ.get("OLLAMA_HOST") or "").strip()
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "http", host
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port or ({"http": 80, "https": 443}.get(scheme, _OLLAMA_PORT) if separator else _OLLAMA_PORT)
    except ValueError as error:
        raise ChatModelError(f"{host!r} is not the address of an Ollama server ({error}): check OLLAMA_HOST") from error
    return f"{scheme}://{_reachable(parts.hostname)}:{port}{parts.path.rstrip('/')}"


def _reachable(hostname: str | None) -> str:
    if not hostname:
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(hostname)
    except ValueError:
        return hostname
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else str(address)


def client_options(url: str) -> dict[str, Any]:
    """Arguments of an HTTP client for a server; requests to this machine use no proxy."""
    return {"trust_env": False} if is_loopback(urlsplit(url).hostname or "") else {}


def ollama_models(host: str | None = None, *, timeout: float = _TIMEOUT) -> list[str]:
    """The names of an Ollama server's chat models; empty if no server answers.

    Embedding models are left out as far as their names or families reveal them.

    Args:
        host: As in ``ollama_url``.
        timeout: Seconds to wait.
    """
    listed = _get(host, "/api/tags", timeout) or {}
    return [model["name"] for model in listed.get("models") or [] if "name" in model and not _embeds(model)]


def _embeds(model: dict[str, Any]) -> bool:
    family = (model.get("details") or {}).get("family") or ""
    return "embed" in model["name"] or "bert" in family


def _get(host: str | None, path: str, timeout: float) -> dict[str, Any] | None:
    import httpx

    try:
        url = ollama_url(host)
        response = httpx.get(url + path, timeout=timeout, **client_options(url))
        body = response.json() if response.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ChatModelError):
        return None
    return body if isinstance(body, dict) else None


_KINDS = {"llamacpp": "llama.cpp", "vllm": "vLLM"}  # the name by which they list themselves as owner of their models
_known_kinds: dict[str, str] = {}


def grammar_options(url: str, grammar: str, *, timeout: float = 10.0) -> dict[str, Any]:
    """The fields of a request that constrain an answer to a grammar, by the kind of server at an address.

    OpenAI's protocol has no grammars; llama.cpp's server and vLLM add them in different ways. The server's list of
    models tells which of them it is.

    Args:
        url: The base URL, such as ``http://localhost:8000/v1``.
        grammar: In GBNF.
        timeout: Seconds to wait for the list of models.

    Raises:
        ChatModelError: The server is neither of them, or doesn't answer.
    """
    kind = _server_kind(url, timeout)
    if kind == _KINDS["llamacpp"]:
        return {"grammar": grammar}
    if kind == _KINDS["vllm"]:
        return {"structured_outputs": {"grammar": grammar}}
    raise ChatModelError(f"the server at {url} is neither llama.cpp's nor vLLM's, and takes no grammar: leave hold out")


def _server_kind(url: str, timeout: float) -> str:
    if url not in _known_kinds:
        owners = {str(model.get("owned_by")) for model in _served(url, timeout)}
        _known_kinds[url] = next((kind for owner, kind in _KINDS.items() if owner in owners), "")
    return _known_kinds[url]


def only_model(url: str, *, timeout: float = 10.0) -> str:
    """The name of the only model on a server that speaks OpenAI's protocol.

    Args:
        url: The base URL, such as ``http://localhost:8000/v1``.
        timeout: Seconds to wait.

    Raises:
        ChatModelError: No such server answers, or it serves several models; the message lists them.
    """
    names = [str(model["id"]) for model in _served(url, timeout)]
    if len(names) != 1:
        served = ", ".join(names[:20]) or "no model"
        raise ChatModelError(f"the server at {url} has {served}: name one with openai:MODEL and base_url={url}")
    return names[0]


def _served(url: str, timeout: float) -> list[dict[str, Any]]:
    """The models that a server with OpenAI's protocol lists, each with its ``id``."""
    import httpx

    key = os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        response = httpx.get(f"{url.rstrip('/')}/models", timeout=timeout, headers=headers, **client_options(url))
        response.raise_for_status()
        return [{**model, "id": model["id"]} for model in response.json()["data"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise ChatModelError(
            f"no server with OpenAI's protocol answers at {url} ({type(error).__name__}: {error}): give its base URL, "
            "such as http://localhost:8000/v1"
        ) from error
